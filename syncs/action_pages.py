"""Pages of a sync on which something is started, and on which parked rows are looked at and released."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from jobs.costs import cost_of
from jobs.errors import JobRefused
from jobs.models import Job
from jobs.parked import MOST_KEYS, parked_count, parked_rows, release_parked
from jobs.start import parameters_of, start_job
from orgs import access
from orgs.access import Denied
from orgs.models import Permission
from orgs.tenant_admin import actor_of
from syncs.models import Parameter, Sync

CHANGE = "admin:syncs_sync_change"
_ROWS_A_PAGE = 50
_LONGEST_VALUE = 1000
_BEFORE_NAME = "parameter-"

View = Callable[..., HttpResponseBase]


@dataclasses.dataclass(frozen=True)
class Asked:
    """A parameter on a page that asks for it."""

    name: str
    value: str
    description: str
    required: bool

    @property
    def field(self) -> str:
        return f"{_BEFORE_NAME}{self.name}"


class ActionPages:
    """Of the admin of syncs; its other base is a ModelAdmin."""

    admin_site: Any
    opts: Any

    def action_urls(self) -> list[URLPattern]:
        """The addresses of these pages."""
        both = require_http_methods(["GET", "POST"])
        pages: list[tuple[str, str, View]] = [
            ("start", "start/", both(self.start_view)),
            ("preview", "preview/", both(self.preview_view)),
            ("full_resync", "full_resync/", both(self.full_resync_view)),
            ("baseline", "baseline/", both(self.baseline_view)),
            ("parked", "parked/", require_GET(self.parked_view)),
            ("release", "release/", require_POST(self.release_view)),
        ]
        site = self.admin_site
        return [
            path(f"<path:object_id>/{route}", site.admin_view(self._of_a_sync(page)), name=f"syncs_sync_{name}")
            for name, route, page in pages
        ]

    def _of_a_sync(self, page: View) -> View:
        """The page of a sync that the actor may see; what it may not do there is told on the sync's own page."""

        def of_a_sync(request: HttpRequest, object_id: str) -> HttpResponseBase:
            sync = self.get_object(request, object_id)  # type: ignore[attr-defined]
            if sync is None:
                answer: HttpResponse = self._missing(request, object_id)  # type: ignore[attr-defined]
                return answer
            try:
                return page(request, sync)
            except (Denied, JobRefused) as error:
                messages.error(request, str(error))
                return redirect(CHANGE, sync.pk)

        return of_a_sync

    def action_context(self, request: HttpRequest, sync: Sync) -> dict[str, Any]:
        """What the buttons on the sync's own page need to know."""
        return {
            "may_execute": access.may(actor_of(request), Permission.EXECUTE, sync),
            "may_baseline": bool(sync.key_fields) and sync.compare != "nothing",
            "has_parameters": Parameter.all_objects.filter(sync=sync).exists(),
            "parked": parked_count(sync),
        }

    # --- starting ---

    def start_view(self, request: HttpRequest, sync: Sync) -> HttpResponse:
        """Start a job, and go to its page."""
        return self._at_once(request, sync, f"Run {sync} now", "start")

    def preview_view(self, request: HttpRequest, sync: Sync) -> HttpResponse:
        """Start a preview, and go to its page."""
        return self._at_once(request, sync, f"Preview {sync}", "preview", preview=True)

    def _at_once(self, request: HttpRequest, sync: Sync, title: str, action: str, **options: Any) -> HttpResponse:
        """Start without a question, unless values of parameters are needed: then a page asks for them."""
        needs = Parameter.all_objects.filter(sync=sync, default=None).exists()
        if request.method == "POST" and needs and "asked" not in request.POST:
            access.require(actor_of(request), Permission.EXECUTE, sync)
            return redirect(f"admin:syncs_sync_{action}", sync.pk)
        return self._action(request, sync, title, action, **options)

    def full_resync_view(self, request: HttpRequest, sync: Sync) -> HttpResponse:
        """Tell what a full resync costs; start one."""
        return self._action(request, sync, f"Full resync of {sync}", "full_resync", full_resync=True)

    def baseline_view(self, request: HttpRequest, sync: Sync) -> HttpResponse:
        """Tell what a baseline does; start one."""
        return self._action(request, sync, f"Baseline of {sync}", "baseline", baseline=True)

    def _action(self, request: HttpRequest, sync: Sync, title: str, action: str, **options: Any) -> HttpResponse:
        access.require(actor_of(request), Permission.EXECUTE, sync)
        if request.method == "POST":
            given = _given(request, sync)
            try:
                canary = _canary(request)
                job = start_job(sync, by=actor_of(request), parameters=given, canary=canary, **options)
            except JobRefused as error:
                if "asked" not in request.POST:
                    raise
                messages.error(request, str(error))  # what was entered stays
            else:
                what = "Preview" if job.preview else "Job"
                messages.success(request, f"{what} {job.pk} of '{sync}' was started.")
                return redirect("admin:jobs_job_change", job.pk)
        context = {"action": action, "cost": cost_of(sync), "parameters": _asked(request, sync)}
        context["canary"] = request.POST.get("canary", "")[:10]
        return self._sync_page(request, "syncs/action.html", sync, title, **context)

    # --- parked rows ---

    def parked_view(self, request: HttpRequest, sync: Sync) -> HttpResponse:
        """Parked rows, searched, page by page."""
        search, after = (request.GET.get(name, "").replace("\0", "")[:2000] for name in ("q", "after"))
        trouble, page = "", None
        try:
            page = parked_rows(sync, search=search, after=after, limit=_ROWS_A_PAGE)
        except JobRefused as error:
            trouble = str(error)
        may_release = access.may(actor_of(request), Permission.EXECUTE, sync)
        context = {"q": search, "after": after, "parked": parked_count(sync), "may_release": may_release}
        title = f"Parked rows of {sync}"
        return self._sync_page(request, "syncs/parked.html", sync, title, page=page, trouble=trouble, **context)

    def release_view(self, request: HttpRequest, sync: Sync) -> HttpResponse:
        """Release the rows that were chosen, or all."""
        access.require(actor_of(request), Permission.EXECUTE, sync)
        keys = None if "all" in request.POST else [key.replace("\0", "") for key in request.POST.getlist("key")]
        if keys is not None and not 0 < len(keys) <= MOST_KEYS:
            messages.error(request, "No row was chosen, so none was released.")
        else:
            released = release_parked(sync, by=actor_of(request), keys=keys)
            rows = "1 row is" if released == 1 else f"{released:,} rows are"
            messages.success(request, f"{rows} released: the next job of '{sync}' sends them again.")
        return redirect("admin:syncs_sync_parked", sync.pk)

    def _sync_page(self, request: HttpRequest, template: str, sync: Sync, title: str, **context: Any) -> HttpResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "sync": sync, "title": title}
        return TemplateResponse(request, template, {**shared, **context})


def _canary(request: HttpRequest) -> int | None:
    """The rows of the canary that were entered. Raises JobRefused when that is no number."""
    text = request.POST.get("canary", "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise JobRefused("The rows of a canary are a number, such as 10.")
    return int(text)


def _given(request: HttpRequest, sync: Sync) -> dict[str, str]:
    """The values that were entered. One that is asked for and was left blank is missing."""
    given = {}
    for parameter in Parameter.all_objects.filter(sync=sync):
        value = request.POST.get(f"{_BEFORE_NAME}{parameter.name}")
        if value is not None and (value or parameter.default is not None):
            given[parameter.name] = value.replace("\0", "")[:_LONGEST_VALUE]
    return given


def _asked(request: HttpRequest, sync: Sync) -> list[Asked]:
    """All parameters of a sync: with what was just entered, or their defaults, or what the last job was given."""
    last = Job.all_objects.filter(sync=sync).order_by("-pk").only("parameters").first()
    before = parameters_of(last, sync) if last else {}
    asked = []
    for each in Parameter.all_objects.filter(sync=sync):
        shown = before.get(each.name, "") if each.default is None else each.default
        value = request.POST.get(f"{_BEFORE_NAME}{each.name}", shown)
        asked.append(Asked(each.name, value, each.description, each.default is None))
    return asked
