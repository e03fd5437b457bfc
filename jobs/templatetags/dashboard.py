"""What a person sees first: how its jobs and syncs do."""

from __future__ import annotations

from typing import Any

from django import template
from django.db.models import Count, OuterRef, Subquery

from jobs.models import LIVE, Job, Status
from jobs.view import in_short
from orgs import access
from syncs.models import Sync

register = template.Library()

_SHOWN = 10
_BADGES = {
    Status.SUCCEEDED: "badge-ok",
    Status.PARTIAL: "badge-warn",
    Status.WAITING_APPROVAL: "badge-warn",
    Status.FAILED: "badge-bad",
    Status.CANCELLED: "",
    Status.PLANNED: "",
}
_PROBLEMS = [Status.PARTIAL, Status.FAILED, Status.WAITING_APPROVAL]


@register.filter
def badge(status: str) -> str:
    """The class of the badge of a job's status."""
    return _BADGES.get(Status(status), "badge-live")


@register.filter
def rows_in_short(job: Job) -> str:
    """What became of a job's rows, in a line."""
    return in_short(job)


@register.inclusion_tag("jobs/dashboard.html", takes_context=True)
def dashboard(context: Any) -> dict[str, Any]:
    """Counts, the last jobs, and the syncs whose last job needs somebody to look at it."""
    actor = context["actor"]
    jobs = access.visible(actor, Job.all_objects.all())
    syncs = access.visible(actor, Sync.all_objects.all())
    last = Job.all_objects.filter(sync=OuterRef("pk"), preview=False).order_by("-pk")
    ended = syncs.annotate(last_job=Subquery(last.values("pk")[:1]), last_status=Subquery(last.values("status")[:1]))
    troubled = ended.filter(last_status__in=_PROBLEMS).order_by("-last_job")
    numbers = jobs.filter(status__in=LIVE).values("status").annotate(rows=Count("pk")).values_list("status", "rows")
    by_status = dict(numbers)
    waiting = by_status.pop(Status.WAITING_APPROVAL, 0)
    return {
        "syncs": syncs.count(),
        "paused": syncs.filter(paused=True).count(),
        "running": sum(by_status.values()),
        "waiting": waiting,
        "jobs": jobs.select_related("sync").order_by("-pk").defer("spec", "manifests")[:_SHOWN],
        "troubled": [(sync, Status(sync.last_status)) for sync in troubled[:_SHOWN]],
        "may_create": access.may_create(actor, Sync),
    }
