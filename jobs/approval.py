"""Whether a plan may still be sent: what makes an approval void, who may give it, and how long it can be given.

A job that waits holds nothing: no worker, no lease, no turn at Salesforce. So anything may change meanwhile, and is
looked at when it is approved, and again before the first call that sends.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from connections.models import Connection
from jobs.models import Batch, BatchState, Job, Status, unfinished_batches
from jobs.states import StatusChanged, move
from jobs.storable import storable
from orgs.access import Actor
from syncs.models import BadParameters, Sync

log = logging.getLogger("sfsync.jobs")

# So that a tick stays short; what is left is found by the next one.
_MOST_AT_ONCE = 50
_MOST_NAMES = 5
_NAMES = {
    "selection": "what is read of the source",
    "mappings": "the mapping",
    "key_fields": "the sync key",
    "columns": "the columns of the source",
}


def why_void(job: Job) -> str:
    """What was changed since the plan of a job was made, in words: a sentence; "" when it still stands.

    Whether the connection still leads to the same Salesforce org is not known before a login: `slot.take_slot` looks.
    """
    # An undo has the spec of the job that it takes back, whatever the sync is by now.
    if not job.is_undo and (changed := _what_changed(job)):
        return changed
    for planned, pk in zip(job.connection_versions, (job.source_id, job.destination_id), strict=False):
        connection = Connection.all_objects.only("name", "settings_version").get(pk=pk)
        if connection.settings_version != planned:
            return f"The settings of the connection '{connection.name}' were changed since this plan was made."
    return ""


def _what_changed(job: Job) -> str:
    """What is different about the sync of a job since it was started, in a sentence; "" when it is the same."""
    sync = Sync.all_objects.get(pk=job.sync_id)
    if (sync.source_id, sync.destination_id) != (job.source_id, job.destination_id):
        return f"The sync '{sync.name}' was changed since this plan was made: it has another source or destination."
    try:
        spec = sync.spec(parameters=job.parameters)
    except BadParameters as error:  # it has others by now
        return f"The sync '{sync.name}' was changed since this plan was made: {error}"
    if spec.hash() != job.spec_hash:
        what = _difference(job.spec, spec.to_json())
        return f"The sync '{sync.name}' was changed since this plan was made{what}."
    return ""


def _difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Which settings differ, for people; "" when only ones of another version of sfsync do."""
    after = {name: list(value) if isinstance(value, tuple) else value for name, value in after.items()}
    changed = [name for name in after if name in before and after[name] != before[name]]
    named = [f"{_NAMES.get(name, name.replace('_', ' '))}{_lines(name, before, after)}" for name in changed]
    more = f" and {len(named) - _MOST_NAMES} more" if len(named) > _MOST_NAMES else ""
    return f": {', '.join(named[:_MOST_NAMES])}{more}" if named else ""


def _lines(name: str, before: dict[str, Any], after: dict[str, Any]) -> str:
    """Of the mapping, the fields whose lines differ."""
    if name != "mappings":
        return ""
    old, new = ({line["target"]: _plain(line) for line in side[name]} for side in (before, after))
    fields = [field for field in {**old, **new} if old.get(field) != new.get(field)]
    more = f" and {len(fields) - _MOST_NAMES} more" if len(fields) > _MOST_NAMES else ""
    return f" of {', '.join(fields[:_MOST_NAMES])}{more}" if fields else ""


def _plain(line: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in line.items()}


def is_own(job: Job, by: Actor) -> bool:
    """Whether somebody would approve what it started itself, and may not.

    A schedule's job was started by nobody. The name is the login's, which is one person's in all the installation; an
    API token acts under the login of its member.
    """
    if not job.sync.approver_differs or job.scheduled_for is not None:
        return False
    names = {by.name[:150]}
    if by.membership is not None:
        names.add(by.membership.user.get_username()[:150])
    return job.started_by in names


def decide_until(job: Job) -> datetime | None:
    """When the plan of a job grows too old to approve; None for one that has no plan."""
    return job.planned_at + timedelta(hours=settings.SFSYNC_APPROVAL_HOURS) if job.planned_at else None


def is_aged(job: Job) -> bool:
    """Whether the plan of a job is too old to approve."""
    until = decide_until(job)
    return until is None or until < timezone.now()


# --- a canary ---


def canary_is_over(job: Job) -> bool:
    """Whether the job stops at a canary whose rows have all been sent: what it waits for is to let the rest go."""
    return job.canary_rows is not None and not job.canary_done and not unfinished_batches(job.pk).exists()


def was_sent(job: Job) -> bool:
    """Whether a job that waits, or has no turn, has sent some of its rows: those of a canary."""
    return Batch.all_objects.filter(job=job, state=BatchState.DONE).exists()


def end_the_rest(job: Job, new: Status, reason: str, *, token: str | None = None) -> None:
    """End a job that waits behind its canary: what that sent counts, the rest is not sent.

    job: none of its batches is under way. new: FINISHING, to end as failed, or CANCELLING. token: of the lease, for its
    holder. Raises StatusChanged when somebody was faster; then nothing has changed.
    """
    with transaction.atomic():
        rest = Batch.all_objects.filter(job=job, state=BatchState.PLANNED)
        rest.update(state=BatchState.DONE, unresolved="not_sent", reason=storable(reason), next_poll_at=None)
        move(job, new, text=reason, token=token, reason=reason, next_poll_at=Now())


# --- what nobody decided about ---


def end_aged() -> int:
    """End jobs that have waited for approval for too long. Called by the clock, by any number of workers.

    Returns how many jobs this call ended.
    """
    hours = settings.SFSYNC_APPROVAL_HOURS
    aged = Job.all_objects.filter(
        status=Status.WAITING_APPROVAL, planned_at__lt=timezone.now() - timedelta(hours=hours)
    )
    return sum(_end_aged(job, f"Nobody approved the plan within {hours:g} hours") for job in aged[:_MOST_AT_ONCE])


def _end_aged(job: Job, why: str) -> bool:
    try:
        if was_sent(job):
            end_the_rest(job, Status.FINISHING, f"{why}: what the canary sent counts, the rest was not sent.")
        else:
            reason = f"{why}, so nothing was sent. Start the sync again to plan anew."
            move(job, Status.FAILED, text=reason, reason=reason)
    except StatusChanged:
        return False
    log.info("%s: %s.", job, why)
    return True
