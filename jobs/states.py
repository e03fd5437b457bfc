"""The status of a job: what may follow what. Nothing else changes a status."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from jobs.models import ENDED, Job, JobEvent, Status
from jobs.storable import storable

ALLOWED: dict[str, set[str]] = {
    Status.QUEUED: {Status.PLANNING, Status.FAILED, Status.CANCELLED},
    Status.PLANNING: {Status.WAITING_APPROVAL, Status.LOADING, Status.PLANNED, Status.FAILED, Status.CANCELLING},
    # After a canary, what became of its rows is written down before the job ends.
    Status.WAITING_APPROVAL: {
        Status.LOADING,
        Status.FINISHING,
        Status.FAILED,
        Status.CANCELLING,
        Status.CANCELLED,
    },
    Status.LOADING: {Status.WAITING_APPROVAL, Status.FINISHING, Status.CANCELLING},
    Status.CANCELLING: {Status.CANCELLED},
    Status.FINISHING: {Status.SUCCEEDED, Status.PARTIAL, Status.FAILED},
    **{status: set() for status in ENDED},
}


class StatusChanged(Exception):
    """The job is no longer in the status from which it was to be moved."""


def move(job: Job, new: Status, *, text: str = "", token: str | None = None, **changes: Any) -> None:
    """Move `job` to the status `new`, and write the event.

    The UPDATE names the old status, and the lease's token when one is given, so that of two movers one wins.
    `changes` are further columns, saved in the same statement. Raises ValueError for a move that is not allowed,
    StatusChanged when somebody was faster.
    """
    old = job.status
    if new not in ALLOWED[old]:
        raise ValueError(f"a job does not go from {old} to {new}")
    if new in ENDED:
        changes.update(ended_at=Now(), load_slot=None, next_poll_at=None)
    with transaction.atomic():
        rows = Job.all_objects.filter(pk=job.pk, status=old)
        if token is not None:
            rows = rows.filter(token=token)
        if not rows.update(status=new, **storable(changes)):
            raise StatusChanged(f"Job {job.pk} is not {old} any more.")
        note(job, text, status=new)
    job.refresh_from_db()


def note(job: Job, text: str, *, status: str | None = None) -> None:
    """Write an event of `job` for people to read."""
    JobEvent.all_objects.create(
        organization_id=job.organization_id, job=job, status=status or job.status, text=storable(text)
    )
