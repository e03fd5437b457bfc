"""Starting, approving, rejecting and cancelling jobs. Whatever is asked of a job from outside is asked here."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from jobs import queue
from jobs.errors import JobRefused
from jobs.models import LIVE, Batch, BatchState, Job, Status
from jobs.states import StatusChanged, move, note
from orgs.tenancy import is_reachable
from syncs.models import Sync

log = logging.getLogger("sfsync.jobs")


def start_job(sync: Sync, *, by: str = "", full_resync: bool = False, wake: bool = True) -> Job:
    """Create a job of `sync` with everything it will need, and wake a worker once that is committed.

    by: who asked, for the record. full_resync: send every row, whatever Salesforce is known to hold.
    wake: False when the caller works on the job itself. Raises JobRefused when the sync has a live job, or reaches
    for what is another organization's.
    """
    _must_be_reachable(sync)
    for connection in (sync.source, sync.destination):
        if connection.organization_id != sync.organization_id:
            raise JobRefused(f"The connection {connection.pk} of '{sync.name}' does not exist in this organization.")
    spec = sync.spec()
    try:
        with transaction.atomic():
            job: Job = Job.all_objects.create(
                organization_id=sync.organization_id,
                sync=sync,
                source_id=sync.source_id,
                destination_id=sync.destination_id,
                spec=spec.to_json(),
                spec_hash=spec.hash(),
                full_resync=full_resync,
                started_by=by,
                next_poll_at=timezone.now(),
            )
            note(job, f"Started by {by}." if by else "Started.")
    except IntegrityError:
        live = Job.all_objects.filter(sync=sync, status__in=LIVE).first()
        if live is None:
            raise
        raise JobRefused(
            f"The sync '{sync.name}' already has a job: job {live.pk}, {live.get_status_display().lower()} since "
            f"{live.created_at:%Y-%m-%d %H:%M} UTC. Wait for its end, or cancel it with `cancel_job {live.pk}`. "
            f"If nobody works on it any more, `resume_job {live.pk}` goes on with it."
        ) from None
    if wake:
        transaction.on_commit(lambda: _wake(job))
    return job


def _wake(job: Job) -> None:
    try:
        queue.send(queue.RUN_JOB, job.pk)
    except queue.BrokerDown as error:
        # It is due in the database; a worker's timer will find it.
        Job.all_objects.filter(pk=job.pk, status=Status.QUEUED).update(reason=str(error))
        waits = "stays queued" if job.status == Status.QUEUED else "waits"
        note(job, f"{error} The job {waits} and runs when the broker is back.")
        log.warning("%s %s: %s", job, waits, error)


def approve_job(job: Job, *, by: str, wake: bool = True) -> None:
    """Let a job go on that waits for approval; exactly the plan that was stored is sent.

    by: who approved, for the record. wake: False when the caller works on the job itself.
    Raises JobRefused when it does not wait, when the sync was changed since, or when the plan is too old.
    """
    _must_wait(job)
    if job.sync.spec().hash() != job.spec_hash:
        raise JobRefused(
            f"The sync '{job.sync.name}' was changed since this plan was made, so the plan is void. "
            f"Reject it with `reject_job {job.pk}` and start the sync again."
        )
    if job.planned_at is None or job.planned_at < timezone.now() - timedelta(hours=settings.SFSYNC_APPROVAL_HOURS):
        raise JobRefused(
            f"The plan is older than {settings.SFSYNC_APPROVAL_HOURS:g} hours. "
            f"Reject it with `reject_job {job.pk}` and start the sync again."
        )
    _move(job, Status.LOADING, text=f"Approved by {by}.", approved_by=by, reason="", next_poll_at=Now())
    if wake:
        transaction.on_commit(lambda: _wake(job))


def reject_job(job: Job, *, by: str, reason: str = "") -> None:
    """End a job that waits for approval without sending anything. Raises JobRefused when it does not wait."""
    _must_wait(job)
    text = f"Rejected by {by}" + (f": {reason}" if reason else ".")
    _move(job, Status.CANCELLED, text=text, reason=text)


def cancel_job(job: Job, *, by: str) -> None:
    """Stop a job: nothing new is sent, what was sent is read back, confirmed rows count.

    Raises JobRefused when the job has ended, or is so far that nothing is left to stop.
    """
    _must_be_reachable(job)
    if job.status in (Status.QUEUED, Status.WAITING_APPROVAL):
        _move(job, Status.CANCELLED, text=f"Cancelled by {by}.", reason=f"Cancelled by {by}.")
        return
    if job.status not in (Status.PLANNING, Status.LOADING):
        raise JobRefused(f"Job {job.pk} is {job.get_status_display().lower()} and cannot be cancelled.")
    _move(job, Status.CANCELLING, text=f"Cancelled by {by}.", next_poll_at=Now())
    Batch.all_objects.filter(job=job).exclude(state=BatchState.DONE).update(next_poll_at=Now())
    transaction.on_commit(lambda: _wake(job))


def _must_be_reachable(row: Sync | Job) -> None:
    """Refuse what belongs to another organization than the current one, in words that do not tell that it exists."""
    if not is_reachable(row):
        raise JobRefused(f"There is no {row._meta.verbose_name} {row.pk} in this organization.")


def _must_wait(job: Job) -> None:
    _must_be_reachable(job)
    if job.status != Status.WAITING_APPROVAL:
        raise JobRefused(f"Job {job.pk} does not wait for approval; it is {job.get_status_display().lower()}.")


def _move(job: Job, new: Status, *, text: str, **changes: Any) -> None:
    try:
        move(job, new, text=text, **changes)
    except StatusChanged as error:
        raise JobRefused(f"{error} Look at it again before you decide.") from None
