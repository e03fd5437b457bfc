"""Jobs in the admin: looked at and decided about, never edited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.views.decorators.http import require_GET, require_POST

from jobs import approval, exchanges, files, plans, results, view
from jobs.errors import JobRefused
from jobs.history_page import history_page
from jobs.models import LIVE, Batch, ErrorGroup, Job, JobEvent, Status
from jobs.start import approve_job, cancel_job, reject_job, start_again, start_job, start_undo
from jobs.templatetags.dashboard import badge
from jobs.undoable import done_by, why_not
from orgs import access
from orgs.access import Denied
from orgs.models import Permission
from orgs.tenant_admin import ScopedFilter, TenantAdmin, actor_of

CHANGE = "admin:jobs_job_change"
_MOST_BATCHES, _MOST_EVENTS, _ROWS_A_PAGE, _ROWS_ON_JOB = 500, 500, 50, 10
_CANCELLABLE = [Status.QUEUED, Status.PLANNING, Status.WAITING_APPROVAL, Status.LOADING]

View = Callable[..., HttpResponseBase]


@admin.register(Job)
class JobAdmin(TenantAdmin):
    list_display = ["number", "what", "shown_status", "started_by", "created_at", "duration", "rows", "reason"]
    list_filter = ["status", ("sync", ScopedFilter), "created_at"]
    list_select_related = ["sync"]
    search_fields = ["=id", "sync__name"]
    ordering = ["-pk"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    # --- the list ---

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        return super().get_queryset(request).select_related("sync", "organization")

    @admin.display(description="Job", ordering="pk")
    def number(self, job: Job) -> int:
        return job.pk

    @admin.display(description="Sync", ordering="sync")
    def what(self, job: Job) -> str:
        return format_html('{}<br><span class="quiet">{}</span>', job.sync, job.action) if job.action else str(job.sync)

    @admin.display(description="Status", ordering="status")
    def shown_status(self, job: Job) -> str:
        return format_html('<span class="badge {}">{}</span>', badge(job.status), job.get_status_display())

    @admin.display(description="Took")
    def duration(self, job: Job) -> str:
        return str(job.ended_at - job.started_at).partition(".")[0] if job.started_at and job.ended_at else "-"

    @admin.display(description="Rows")
    def rows(self, job: Job) -> str:
        return view.in_short(job)

    # --- the pages of a job ---

    def get_urls(self) -> list[URLPattern]:
        pages: list[tuple[str, str, View]] = [
            ("progress", "progress/", require_GET(self.progress_view)),
            ("row", "rows/<int:row>/", require_GET(self.row_view)),
            ("plan_csv", "plan.csv", require_GET(self.plan_csv_view)),
            ("plan", "plan/", require_GET(self.plan_view)),
            ("rows", "rows/", require_GET(self.rows_view)),
            ("refused", "refused.csv", require_GET(self.refused_view)),
            ("log", "log/", require_GET(self.log_view)),
            ("log_file", "job.log", require_GET(self.log_file_view)),
            ("cancel", "cancel/", require_POST(self.cancel_view)),
            ("approve", "approve/", require_POST(self.approve_view)),
            ("reject", "reject/", require_POST(self.reject_view)),
            ("again", "again/", require_POST(self.again_view)),
            ("replay", "replay/", require_POST(self.replay_view)),
            ("test", "test/", require_POST(self.test_view)),
            ("undo", "undo/", require_POST(self.undo_view)),
        ]
        site = self.admin_site
        history = site.admin_view(require_GET(lambda request: history_page(site, request)))
        return [
            path("history/", history, name="jobs_record_history"),
            *[
                path(f"<path:object_id>/{route}", site.admin_view(self._of_a_job(page)), name=f"jobs_job_{name}")
                for name, route, page in pages
            ],
            *super().get_urls(),
        ]

    def _of_a_job(self, page: View) -> View:
        """The page of a job that the actor may see; of any other it answers as Django does for a missing one."""

        def of_a_job(request: HttpRequest, object_id: str, **arguments: Any) -> HttpResponseBase:
            job = self.get_object(request, object_id)
            if job is None:
                return self._missing(request, object_id)
            try:
                return page(request, job, **arguments)
            except (Denied, JobRefused) as error:
                messages.error(request, str(error))
                return redirect(CHANGE, job.pk)

        # `require_GET` and `require_POST` look at the request first.
        return of_a_job

    def _missing(self, request: HttpRequest, object_id: str) -> HttpResponse:
        answer: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        return answer

    def _page(self, request: HttpRequest, template: str, job: Job, title: str, **context: Any) -> HttpResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "job": job, "title": title}
        return TemplateResponse(request, template, {**shared, **context})

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        """The page of a job."""
        job = self.get_object(request, object_id)
        if job is None:
            return self._missing(request, object_id)
        return self._page(
            request,
            "jobs/job.html",
            job,
            f"Job {job.pk} of {job.sync}",
            **self._progress_context(job),
            **self._verbs(request, job),
            groups=ErrorGroup.all_objects.filter(job=job),
            events=JobEvent.all_objects.filter(job=job)[:_MOST_EVENTS],
            has_refused=results.has_refused_rows(job),
            has_plan="plan" in job.manifests and job.files_removed_at is None,
            **self._planned(job),
            **self._decision(request, job),
            **self._exchanges(job),
            **self._undo(request, job),
        )

    def _undo(self, request: HttpRequest, job: Job) -> dict[str, Any]:
        """What an undo would take back, and why it cannot; the undos that there are."""
        undos = Job.all_objects.filter(undo_of=job).order_by("pk")
        done = done_by(job) if job.status not in LIVE and not job.preview else None
        if done is None or not done.total or not access.may(actor_of(request), Permission.EXECUTE, job):
            return {"undos": undos}
        return {"undos": undos, "done": done, "not_undoable": why_not(job)}

    def _progress_context(self, job: Job) -> dict[str, Any]:
        batches = list(Batch.all_objects.filter(job=job)[: _MOST_BATCHES + 1])
        return {
            "progress": view.progress(job),
            "sums": view.sums(job),
            "silent": view.changed_silently(job),
            "batches": batches[:_MOST_BATCHES],
            "more_batches": len(batches) > _MOST_BATCHES,
        }

    def _verbs(self, request: HttpRequest, job: Job) -> dict[str, bool]:
        """What the actor may do with the job as it stands."""
        actor = actor_of(request)
        execute, approve = (access.may(actor, each, job) for each in (Permission.EXECUTE, Permission.APPROVE))
        return {
            "may_cancel": execute and job.status in _CANCELLABLE,
            "may_decide": approve and job.status == Status.WAITING_APPROVAL,
            "may_run_again": execute and job.status not in LIVE,
            "may_replay": execute and job.status not in LIVE and job.replayable > 0 and job.files_removed_at is None,
            "may_test": execute and job.status not in LIVE and job.files_removed_at is None,
        }

    def _planned(self, job: Job) -> dict[str, Any]:
        """The first rows of what a job would do, for whoever previews it or has to decide."""
        if job.status not in (Status.WAITING_APPROVAL, Status.PLANNED):
            return {}
        try:
            return {"planned": plans.page(job, limit=_ROWS_ON_JOB), "shown_rows": _ROWS_ON_JOB}
        except JobRefused as error:
            return {"plan_trouble": str(error)}

    def _decision(self, request: HttpRequest, job: Job) -> dict[str, Any]:
        """What whoever has to decide about a job that waits needs to know."""
        if job.status != Status.WAITING_APPROVAL:
            return {}
        return {
            "of_canary": approval.canary_is_over(job),
            "is_own": approval.is_own(job, actor_of(request)),
            "void": approval.why_void(job),
            "decide_until": approval.decide_until(job),
        }

    def _exchanges(self, job: Job) -> dict[str, Any]:
        """What the test of one row sent, and what was answered."""
        if job.test_row is None:
            return {}
        try:
            return {"exchanges": exchanges.exchanges_of(job)}
        except JobRefused as error:
            return {"exchanges_trouble": str(error)}

    def progress_view(self, request: HttpRequest, job: Job) -> HttpResponse:
        """The part of the page that changes; asked for again and again while the job is live."""
        response = TemplateResponse(request, "jobs/progress.html", {"job": job, **self._progress_context(job)})
        if job.status not in LIVE or job.status == Status.WAITING_APPROVAL:
            # What else the page shows has changed too: the browser takes it anew, once.
            response["HX-Refresh"] = "true"
        return response

    def plan_view(self, request: HttpRequest, job: Job) -> HttpResponse:
        """What the job is going to do, row by row."""
        asked = {name: request.GET.get(name, "")[:500].replace("\0", "") for name in ("q", "action")}
        asked["action"] = asked["action"] if asked["action"] in plans.ACTIONS else "changes"
        after = request.GET.get("after", "")
        page = plans.page(
            job,
            action=asked["action"],
            search=asked["q"],
            after=int(after) if after.isdecimal() and len(after) < 18 else -1,
            limit=_ROWS_A_PAGE,
        )
        context = {"page": page, "asked": asked, "after": after, "actions": plans.ACTIONS, "sums": view.sums(job)}
        return self._page(request, "jobs/plan.html", job, f"Plan of job {job.pk}", **context)

    def plan_csv_view(self, request: HttpRequest, job: Job) -> FileResponse:
        """All that the plan changes, as CSV."""
        name = f"plan-of-job-{job.pk}.csv"
        file = plans.open_plan_csv(job)
        return FileResponse(file, as_attachment=True, filename=name, content_type="text/csv; charset=utf-8")

    def rows_view(self, request: HttpRequest, job: Job) -> HttpResponse:
        """The row errors, searched, page by page."""
        asked = {name: request.GET.get(name, "")[:500] for name in ("q", "code", "field")}
        after = request.GET.get("after", "")
        page = results.row_errors(
            job,
            code=asked["code"],
            field=asked["field"],
            search=asked["q"],
            after=int(after) if after.isdecimal() and len(after) < 18 else 0,
            limit=_ROWS_A_PAGE,
        )
        groups = ErrorGroup.all_objects.filter(job=job)
        codes = list(dict.fromkeys([*groups.values_list("code", flat=True), *filter(None, [asked["code"]])]))
        title = f"Row errors of job {job.pk}"
        return self._page(request, "jobs/rows.html", job, title, page=page, asked=asked, after=after, codes=codes)

    def row_view(self, request: HttpRequest, job: Job, row: int) -> HttpResponse:
        """One row: all its errors, and all its cells."""
        errors, cells = results.row_error(job, row)
        title = f"Row {row} of job {job.pk}"
        may_test = cells is not None and self._verbs(request, job)["may_test"]
        return self._page(request, "jobs/row.html", job, title, row=row, errors=errors, cells=cells, may_test=may_test)

    def refused_view(self, request: HttpRequest, job: Job) -> FileResponse:
        """The refused rows as CSV."""
        name = f"refused-rows-of-job-{job.pk}.csv"
        file = results.open_refused_rows_csv(job)
        return FileResponse(file, as_attachment=True, filename=name, content_type="text/csv; charset=utf-8")

    def log_view(self, request: HttpRequest, job: Job) -> HttpResponse:
        text, more = view.log_tail(job)
        return self._page(request, "jobs/log.html", job, f"Log of job {job.pk}", text=text, more=more)

    def log_file_view(self, request: HttpRequest, job: Job) -> FileResponse:
        try:
            file = files.log_path(job).open("rb")
        except FileNotFoundError:
            raise JobRefused(f"Job {job.pk} has no log, not yet or no more.") from None
        name = f"job-{job.pk}.log"
        return FileResponse(file, as_attachment=True, filename=name, content_type="text/plain; charset=utf-8")

    # --- verbs ---

    def cancel_view(self, request: HttpRequest, job: Job) -> HttpResponse:
        cancel_job(job, by=actor_of(request))
        return self._done(request, job, "is being cancelled" if job.is_live else "is cancelled")

    def approve_view(self, request: HttpRequest, job: Job) -> HttpResponse:
        seen = {"yes": True, "no": False}.get(request.POST.get("of_canary", ""))
        approve_job(job, by=actor_of(request), of_canary=seen)
        return self._done(request, job, "goes on")

    def reject_view(self, request: HttpRequest, job: Job) -> HttpResponse:
        reject_job(job, by=actor_of(request), reason=request.POST.get("reason", "")[:500])
        what = "what its canary sent counts, the rest is not sent" if job.is_live else "nothing was sent"
        return self._done(request, job, f"is rejected; {what}")

    def again_view(self, request: HttpRequest, job: Job) -> HttpResponse:
        """Do what this job was started for again, with its parameters, as the sync is set up now."""
        return self._done(request, start_again(job, by=actor_of(request)), "was started")

    def replay_view(self, request: HttpRequest, job: Job) -> HttpResponse:
        """Start a job that reads nothing but the rows that were refused in this one."""
        again = start_job(job.sync, by=actor_of(request), replay_of=job)
        return self._done(request, again, f"was started: it tries {job.replayable:,} rows of job {job.pk} again")

    def test_view(self, request: HttpRequest, job: Job) -> HttpResponse:
        """Start a job that sends nothing but one row of what this one read, and keeps the requests and answers."""
        actor = actor_of(request)
        access.require(actor, Permission.EXECUTE, job)
        row = request.POST.get("row", "")
        if not (row.isascii() and row.isdecimal() and len(row) < 18):
            raise JobRefused("Say which row is to be sent, by its number in the source.")
        test = start_job(job.sync, by=actor, replay_of=job, test_row=int(row))
        return self._done(request, test, f"was started: it sends row {row} of job {job.pk} alone")

    def undo_view(self, request: HttpRequest, job: Job) -> HttpResponse:
        """Start a job that takes back what this one did; it waits for approval. Or its preview."""
        preview = "preview" in request.POST
        undo = start_undo(job, by=actor_of(request), preview=preview)
        what = "plans what would take job {} back" if preview else "was started; it waits for approval before it sends"
        return self._done(request, undo, what.format(job.pk))

    def _done(self, request: HttpRequest, job: Job, what: str) -> HttpResponse:
        messages.success(request, f"Job {job.pk} {what}.")
        return redirect(CHANGE, job.pk)
