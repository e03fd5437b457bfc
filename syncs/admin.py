"""Syncs in the admin: what goes where, which field gets what, what keeps it from running, and its start."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.views.decorators.http import require_POST

from connections.models import Connection
from jobs.errors import JobRefused
from jobs.models import LIVE, Job, Status
from jobs.remove import delete_sync
from jobs.templatetags.dashboard import badge
from orgs import access, audit
from orgs.access import Denied
from orgs.grants_admin import GrantInline
from orgs.models import Permission
from orgs.tenant_admin import ScopedFilter, TenantAdmin, actor_of
from syncs.action_pages import CHANGE, ActionPages
from syncs.admin_lines import FieldMappingInline, ParameterInline, ScheduleInline, show_at_lines
from syncs.asked import FILES, chosen, is_quiet, is_refresh, offers_of, propose, tried_filter
from syncs.forms import SyncForm
from syncs.models import FieldMapping, Sync
from syncs.problems import problems_of

_JOBS_SHOWN = 10
_CONFIRMED = "_confirmed"


@admin.register(Sync)
class SyncAdmin(ActionPages, TenantAdmin):
    list_display = ["name", "object", "way", "short_mode", "next_start", "last_job", "verbs"]
    list_filter = ["mode", "paused", ("source", ScopedFilter), ("destination", ScopedFilter)]
    list_select_related = ["source", "destination", "schedule"]
    search_fields = ["name", "description", "object"]
    inlines = [FieldMappingInline, ParameterInline, ScheduleInline, GrantInline]
    radio_fields = {"mode": admin.VERTICAL, "compare": admin.VERTICAL}
    change_form_template = "syncs/change_form.html"
    delete_confirmation_template = "syncs/delete_confirmation.html"
    made_for_a_team = True

    class Media:
        css = {"all": ["syncs/syncs.css"]}
        js = ["syncs/form.js", "syncs/rules.js"]

    # --- the list ---

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        actor = actor_of(request)
        newest = Job.all_objects.filter(sync=OuterRef("pk")).order_by("-pk")
        mine = Sync.all_objects.filter(pk=OuterRef("pk"))
        return (
            super()
            .get_queryset(request)
            .annotate(
                last_job_id=Subquery(newest.values("pk")[:1]),
                last_status=Subquery(newest.values("status")[:1]),
                may_execute=Exists(access.visible(actor, mine, Permission.EXECUTE)),
                may_write=Exists(access.visible(actor, mine, Permission.WRITE)),
            )
        )

    @admin.display(description="Source and destination", ordering="source__name")
    def way(self, sync: Sync) -> str:
        return f"{sync.source} \N{RIGHTWARDS ARROW} {sync.destination}"

    @admin.display(description="Mode", ordering="mode")
    def short_mode(self, sync: Sync) -> str:
        return str(sync.get_mode_display()).partition(":")[0]

    @admin.display(description="Next start", ordering="schedule__next_start_at", empty_value="by hand")
    def next_start(self, sync: Sync) -> str | None:
        if sync.paused:
            return "paused"
        planned = getattr(sync, "schedule", None)
        if planned is None or not planned.enabled or planned.next_start_at is None:
            return None
        return f"{planned.next_start_at:%Y-%m-%d %H:%M} UTC"

    @admin.display(description="Last job", empty_value="none yet")
    def last_job(self, sync: Any) -> str | None:
        if sync.last_job_id is None:
            return None
        url = reverse("admin:jobs_job_change", args=[sync.last_job_id])
        shown = Status(sync.last_status)
        return format_html('<a class="badge {}" href="{}">{}</a>', badge(shown), url, shown.label)

    @admin.display(description="", empty_value="")
    def verbs(self, sync: Any) -> str:
        """Buttons of the list's own form, which carries the CSRF token."""
        button = '<button class="verb" type="submit" formmethod="post" formaction="{}">{}</button> '
        shown = []
        if sync.may_execute and not sync.paused:
            shown.append((reverse("admin:syncs_sync_start", args=[sync.pk]), "Run now"))
        if sync.may_write:
            verb, words = ("go_on", "Go on") if sync.paused else ("pause", "Pause")
            shown.append((reverse(f"admin:syncs_sync_{verb}", args=[sync.pk]), words))
        return format_html_join("", button, shown)

    # --- the form ---

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        if request.method == "POST":
            obj = self.get_object(request, object_id) if object_id else None
            # Django saves within a transaction, and within one no connection is asked for anything.
            offers = offers_of(request, obj)
            _ = (
                offers.tables,
                offers.columns,
                offers.objects,
                offers.describe,
                offers.parents,
                tried_filter(request, obj),
            )
            if obj is not None and self.has_change_permission(request, obj) and not is_quiet(request):
                answer = self._ask_before(request, obj)
                if answer is not None:
                    return answer
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _ask_before(self, request: HttpRequest, obj: Sync) -> HttpResponse | None:
        """A page that says what the change costs, with buttons to go on and back; None when it costs nothing."""
        if _CONFIRMED in request.POST:
            return None
        form = self.get_form(request, obj, change=True)(request.POST, instance=Sync.all_objects.get(pk=obj.pk))
        if not form.is_valid():
            return None  # the page with its errors comes first
        told = obj.cost_of_change(form.cleaned_data["object"], form.cleaned_data["key_fields"])
        if not told:
            return None
        own = ("csrfmiddlewaretoken", _CONFIRMED)
        entered = [(name, value) for name, values in request.POST.lists() if name not in own for value in values]
        context = {
            **self.admin_site.each_context(request),
            "title": f"Change sync '{obj}'?",
            "opts": self.opts,
            "original": obj,
            "told": told,
            "entered": entered,
        }
        return TemplateResponse(request, "syncs/confirm_change.html", context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        before = Sync.all_objects.get(pk=obj.pk) if change else None
        super().save_model(request, obj, form, change)
        if before is not None and before.cost_of_change(obj.object, obj.key_fields):
            obj.give_up_snapshot()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        members = {
            "offers": offers_of(request, obj),
            "actor": actor_of(request),
            "quiet": is_quiet(request),
            "tried": tried_filter(request, obj),
        }
        names = [name for _, options in self.get_fieldsets(request, obj) for name in options["fields"]]
        fields = [name for name in names if name != "for_team"]
        form = type("SyncForm", (SyncForm,), members)
        return super().get_form(request, obj, change, **{**kwargs, "form": form, "fields": fields})

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Those that are called late stand below the mapping."""
        top = ["name", "description", "paused"] if obj else ["name", "description", "for_team", "paused"]
        source = chosen(request, obj, "source") or (obj.source if obj else None)
        selection = ["source_path"] if source and source.kind == FILES else ["source_table", "source_query"]
        behaviour = ["on_new", "on_changed", "changed_rule", "on_dropped", "expire_field"]
        late = ["late", "collapse"]
        guards = "A job that hits one shows its plan and waits for approval."
        batches = "Most rows and bytes of CSV in one Salesforce job. The defaults suit nearly all."
        sending = ["auto_assign", "duplicate_rules", "bulk_serial", "park_after", "hard_delete"]
        approval = ["approval", "approver_differs", "guard_rows", "guard_percent", "guard_rejected_percent"]
        approval += ["guard_count_percent", "guard_budget_percent"]
        control = ["keep_before", "priority", "when_over_budget"]
        return [
            (None, {"fields": top}),
            ("From", {"fields": ["source", *selection, "source_filter", "source_rules", "columns"]}),
            ("To", {"fields": ["destination", "object", "key_fields", "target_filter"]}),
            ("How", {"fields": ["mode", *behaviour, "compare", "action_column", "time_zone"]}),
            ("Options of sending", {"classes": late, "fields": sending}),
            ("Approval and guards", {"classes": late, "fields": approval, "description": guards}),
            ("Undo and budget", {"classes": late, "fields": control}),
            ("Batches", {"classes": late, "fields": ["batch_rows", "batch_bytes"], "description": batches}),
        ]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The first page of adding is the choice of the two connections."""
        ends = [chosen(request, None, name) for name in ("source", "destination")]
        if request.method == "GET" and self.has_add_permission(request) and None in ends:
            rows = access.visible(actor_of(request), Connection.all_objects.defer("secrets"), Permission.EXECUTE)
            context = {
                **self.admin_site.each_context(request),
                "title": "Add sync: choose its connections",
                "opts": self.opts,
                "sources": [each for each in rows if not each.is_salesforce],
                "destinations": [each for each in rows if each.is_salesforce],
            }
            return TemplateResponse(request, "syncs/choose_connections.html", context)
        if is_refresh(request):
            propose(request, offers_of(request, None))
        return super().add_view(request, form_url, extra_context)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        obj = kwargs.get("obj")
        offers = offers_of(request, obj)
        may_change = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        context["may_refresh"] = may_change
        if obj is not None:
            context.update(self.action_context(request, obj))
            context["may_write"] = may_change
            context["jobs"] = Job.all_objects.filter(sync=obj).order_by("-pk")[:_JOBS_SHOWN]
            problems = problems_of(obj, offers) if may_change and request.method == "GET" else []
            context["problems"] = problems
            show_at_lines(problems, context["inline_admin_formsets"])
        if may_change:
            # The form has asked by now, or does so here; the reasons stand above it.
            _ = offers.tables, offers.objects, offers.columns, offers.describe, offers.parents
            context["trouble"] = offers.trouble
        return super().render_change_form(request, context, *args, **kwargs)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        return self._told(request, obj) or super().response_add(request, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        return self._told(request, obj) or super().response_change(request, obj)

    def _told(self, request: HttpRequest, obj: Sync) -> HttpResponse | None:
        """To the sync's page, which lists what keeps it from running; None when nothing does."""
        if not self.has_view_permission(request, obj):
            return None
        # What was saved is what was entered, and that was asked about before the transaction began.
        found = problems_of(obj, offers_of(request, obj))
        if not found:
            return None
        number = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        messages.warning(request, f"The sync '{obj}' was saved, but it cannot run yet: {number}, listed below.")
        return redirect(CHANGE, obj.pk)

    # --- verbs ---

    def get_urls(self) -> list[URLPattern]:
        views = [("pause", self.pause_view), ("go_on", self.go_on_view)]
        site = self.admin_site
        return [
            *self.action_urls(),
            *[
                path(f"<path:object_id>/{name}/", site.admin_view(require_POST(view)), name=f"syncs_sync_{name}")
                for name, view in views
            ],
            *super().get_urls(),
        ]

    def pause_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._set_paused(request, object_id, True)

    def go_on_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._set_paused(request, object_id, False)

    def _set_paused(self, request: HttpRequest, object_id: str, paused: bool) -> HttpResponse:
        sync = self.get_object(request, object_id)
        if sync is None:
            return self._missing(request, object_id)
        try:
            access.require(actor_of(request), Permission.WRITE, sync)
        except Denied as error:
            messages.error(request, str(error))
            return redirect(CHANGE, sync.pk)
        with transaction.atomic():
            if Sync.all_objects.filter(pk=sync.pk, paused=not paused).update(paused=paused):
                verb = "paused" if paused else "went on"
                audit.record(actor_of(request), verb, sync, {"paused": [not paused, paused]})
        told = "is paused: no job of it starts" if paused else "goes on"
        messages.success(request, f"The sync '{sync}' {told}.")
        return redirect(CHANGE, sync.pk)

    def _missing(self, request: HttpRequest, object_id: str) -> HttpResponse:
        answer: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        return answer

    # --- deleting ---

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        running = Job.all_objects.filter(sync__in=objs, status__in=LIVE)
        live = [f"Job {job.pk}, {job.get_status_display().lower()}" for job in running]
        jobs = Job.all_objects.filter(sync__in=objs).count()
        lines = FieldMapping.all_objects.filter(sync__in=objs).count()
        told = [
            f"{lines} line{pluralize(lines)} of its mapping, and its schedule",
            f"{jobs} job{pluralize(jobs)}, with all files, counts and row errors",
            "what is known of the records that it wrote; nothing changes in Salesforce",
        ]
        return ([] if live else told, {}, set(), live)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        try:
            delete_sync(obj, by=actor_of(request))
        except JobRefused as error:
            raise Denied(str(error), exists=True) from None

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Deleting a sync writes its record itself."""
        return None
