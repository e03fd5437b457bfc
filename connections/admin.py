"""Connections in the admin: the form of each kind, tests, what there is to read and write, and files."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import PROTECT, ManyToOneRel, Model, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.html import format_html, format_html_join

from connections import budget, kinds, uploads
from connections.admin_pages import ConnectionPages
from connections.forms import form_for, names_of
from connections.models import Connection, ConnectionCheck
from connections.secrets import SecretsUnreadable
from orgs import access
from orgs.grants_admin import GrantInline
from orgs.models import Permission
from orgs.tenant_admin import actor_of

_CHECKS_SHOWN = 10
_FACTS = ["kind_label", "settings_version", "created_at"]


@admin.register(Connection)
class ConnectionAdmin(ConnectionPages):
    list_display = ["name", "kind_label", "last_test"]
    list_filter = ["kind"]
    search_fields = ["name", "description"]
    change_form_template = "connections/change_form.html"
    delete_confirmation_template = "connections/delete_confirmation.html"
    made_for_a_team = True
    inlines = [GrantInline]

    class Media:
        css = {"all": ["connections/connections.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        newest = ConnectionCheck.all_objects.filter(connection=OuterRef("pk")).order_by("-pk")
        last = {"last_ok": newest.values("ok")[:1], "last_at": newest.values("started_at")[:1]}
        rows = super().get_queryset(request).annotate(**{name: Subquery(query) for name, query in last.items()})
        # Secrets that no key opens must not keep the list from being shown.
        return rows.defer("secrets")

    @admin.display(description="Kind", ordering="kind")
    def kind_label(self, connection: Connection) -> str:
        return connection.get_kind_display()

    @admin.display(description="Last test", empty_value="never tested", ordering="last_at")
    def last_test(self, connection: Any) -> str | None:
        if connection.last_at is None:
            return None
        sign, words = ("ok", "successful") if connection.last_ok else ("bad", "failed")
        at = f"{connection.last_at:%Y-%m-%d %H:%M} UTC"
        return format_html('<span class="badge badge-{}">{}</span> <span class="quiet">{}</span>', sign, words, at)

    @admin.display(description="Settings")
    def settings_told(self, connection: Connection) -> str:
        """For those who may read the connection, but not change it."""
        stored = connection.all_settings()
        lines = []
        for field in form_for(connection.kind).declared:
            value = stored.get(field.name, "")
            told = ("stored" if value else "not stored") if field.metadata["secret"] else value
            lines.append((field.metadata["label"], told))
        return format_html_join("", "{}: {}<br>", lines)

    # --- the form ---

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = form_for(obj.kind if obj else request.GET.get("kind", ""))
        fields = ["name", "description", *names_of(form, clearing=change)]
        return super().get_form(request, obj, change, **{**kwargs, "form": form, "fields": fields})

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*_FACTS, "salesforce_org_id", "settings_told"] if obj else []

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        top = (None, {"fields": ["name", "description"]})
        if obj is None:
            names = names_of(form_for(request.GET.get("kind", "")), clearing=False)
            return [(None, {"fields": ["name", "description", "for_team"]}), ("Settings", {"fields": names})]
        facts = ("Facts", {"fields": [*_FACTS, "salesforce_org_id"] if obj.is_salesforce else _FACTS})
        if not self.has_change_permission(request, obj):
            return [top, ("Settings", {"fields": ["settings_told"]}), facts]
        return [top, ("Settings", {"fields": form_for(obj.kind)(instance=obj).settings_fields()}), facts]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The first page of adding is the choice of a kind."""
        if self.has_add_permission(request) and request.GET.get("kind") not in kinds.KINDS:
            context = self.page_context(request, "Choose what to connect", None)
            # A form that opened this page in a window of its own says so in the address.
            asked = {name: value for name, value in request.GET.items() if name != "kind"}
            context["is_popup"] = "_popup" in asked
            context["kinds"] = [
                (urlencode({**asked, "kind": kind}), label, kinds.ABOUT[kind]) for kind, label in kinds.choices()
            ]
            return TemplateResponse(request, "connections/choose_kind.html", context)
        label = dict(kinds.choices()).get(request.GET.get("kind", ""), "")
        return super().add_view(request, form_url, {"title": f"Add connection: {label}", **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        obj = self.get_object(request, object_id)
        try:
            more = self._around_the_form(request, obj) if obj else {}
            return super().change_view(request, object_id, form_url, {**more, **(extra_context or {})})
        except SecretsUnreadable as error:
            messages.error(request, f"{obj}: {error}")
            return redirect("admin:connections_connection_changelist")

    def _around_the_form(self, request: HttpRequest, obj: Connection) -> dict[str, Any]:
        actor = actor_of(request)
        checks = list(ConnectionCheck.all_objects.filter(connection=obj).defer("log")[:_CHECKS_SHOWN])
        reads_files = obj.kind == uploads.KIND
        return {
            "title": f"Connection {obj}" if self.has_view_permission(request, obj) else None,
            "subtitle": None,
            "check": checks[0] if checks else None,
            "checks": checks,
            "may_execute": access.may(actor, Permission.EXECUTE, obj),
            "may_write": access.may(actor, Permission.WRITE, obj),
            "reads_files": reads_files,
            "budget": budget.standings(obj) if self.has_view_permission(request, obj) else [],
            "share": f"{settings.SFSYNC_ORG_SHARE_PERCENT:g}",
            "files": uploads.stored_files(obj) if reads_files else [],
            "upload_mb": self.upload_mb,
        }

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        """To the page of the new connection, where it can be tested."""
        if not {"_addanother", "_popup"} & set(request.POST) and self.has_view_permission(request, obj):
            messages.success(request, f"The connection '{obj}' was added. Test it now.")
            return redirect(reverse("admin:connections_connection_change", args=[obj.pk]))
        return super().response_add(request, obj, post_url_continue)

    # --- deleting ---

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        used = [line for obj in objs for line in self._used_by(request, obj)]
        # Tests, grants and kept answers go with it: who may delete the connection needs no further permission.
        return [f"The connection '{obj}', with its tests" for obj in objs], {}, set(), used

    def _used_by(self, request: HttpRequest, obj: Connection) -> list[str]:
        """What keeps a connection from being deleted: by name where a person may see it, else by number."""
        lines: list[str] = []
        # Hidden ones too: the rows that use a connection have no name in it.
        for relation in obj._meta.get_fields(include_hidden=True):
            if not isinstance(relation, ManyToOneRel) or relation.on_delete is not PROTECT:
                continue
            model: Any = relation.related_model
            rows = model.all_objects.filter(**{relation.field.name: obj})
            total = rows.count()
            seen = _named(access.visible(actor_of(request), rows), model) if total else []
            lines += seen
            if total > len(seen):
                noun = model._meta.verbose_name if total - len(seen) == 1 else model._meta.verbose_name_plural
                lines.append(f"{total - len(seen):,} {noun} as {relation.field.verbose_name}")
        return lines

    def get_urls(self) -> list[URLPattern]:
        return [*self.page_urls(), *super().get_urls()]


def _named(rows: QuerySet[Any], model: type[Model]) -> list[str]:
    """Rows that have a name, by that; jobs have none, and there may be thousands of them."""
    if not any(field.name == "name" for field in model._meta.concrete_fields):
        return []
    return [f"{model._meta.verbose_name} '{name}'" for name in rows.values_list("name", flat=True)[:50]]
