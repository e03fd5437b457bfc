"""Starting, approving, rejecting and cancelling jobs. Whatever is asked of a job from outside is asked here."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from jobs import approval, queue, results
from jobs.errors import JobRefused
from jobs.models import LIVE, Batch, BatchState, Job, Status
from jobs.states import StatusChanged, move, note
from jobs.undoable import done_by, why_not
from orgs import access, audit
from orgs.access import Actor
from orgs.models import Permission
from syncs.engine import rules
from syncs.models import BadParameters, Sync
from syncs.spec import SyncSpec

log = logging.getLogger("sfsync.jobs")

_MOST_CANARY_ROWS = 1_000_000


def start_job(
    sync: Sync,
    *,
    by: Actor,
    full_resync: bool = False,
    baseline: bool = False,
    replay_of: Job | None = None,
    test_row: int | None = None,
    preview: bool = False,
    canary: int | None = None,
    parameters: dict[str, str] | None = None,
    wake: bool = True,
    scheduled_for: datetime | None = None,
    idempotency_key: str | None = None,
) -> Job:
    """Create a job of `sync` with everything it will need, and wake a worker once that is committed.

    by: who asks; needs the permission to execute. full_resync: send every row, whatever Salesforce is known to hold.
    baseline: record what the source holds as known, and send nothing. replay_of: read nothing but the refused rows of
    this job. test_row: of what that job read, nothing but this row; the requests that send it are kept. preview: plan,
    and send nothing; of a paused sync too. canary: send so many rows first, then wait. parameters: values by name;
    those not given have their defaults, and in a replay those of the other job.
    wake: False when the caller works on the job itself. scheduled_for: the start of the sync's schedule that this is.
    idempotency_key: of the call that asks; no two jobs of an organization have the same. Raises Denied, and
    JobRefused when the sync is paused, has a live job, reaches for what is another organization's, lacks the value of
    a parameter, or cannot do what is asked.
    """
    access.require(by, Permission.EXECUTE, sync)
    if test_row is not None:
        _must_be_testable(sync, replay_of, test_row)
    try:
        with transaction.atomic():
            # As it is now, whole: somebody may have changed or paused it since it was read.
            sync = hold(sync)
            _must_be_startable(sync, preview=preview)
            if replay_of is not None:
                replay_of = Job.all_objects.get(pk=replay_of.pk)
                parameters = parameters_of(replay_of, sync) if parameters is None else parameters
            spec = _spec(sync, parameters, scheduled=scheduled_for is not None)
            _must_fit(spec, sync, full_resync=full_resync, baseline=baseline, replay_of=replay_of, test_row=test_row)
            _must_take_a_canary(canary, sends=not (preview or baseline) and test_row is None)
            job: Job = Job.all_objects.create(
                organization_id=sync.organization_id,
                sync=sync,
                source_id=sync.source_id,
                destination_id=sync.destination_id,
                spec=spec.to_json(),
                spec_hash=spec.hash(),
                full_resync=full_resync,
                baseline=baseline,
                replay_of=replay_of,
                test_row=test_row,
                preview=preview,
                canary_rows=canary,
                parameters=spec.parameters,
                started_by=by.name[:150],
                scheduled_for=scheduled_for,
                idempotency_key=idempotency_key,
                next_poll_at=timezone.now(),
            )
            note(job, _told(job, by))
            audit.record(by, "started", sync, _recorded(job))
    except IntegrityError as error:
        raise _has_one_already(sync, error, preview=preview) from None
    if wake:
        transaction.on_commit(lambda: _wake(job))
    return job


def _has_one_already(sync: Sync, error: IntegrityError, *, preview: bool) -> Exception:
    """Why a sync starts no further job: it has a live one; the error itself, where that is not the reason."""
    live = Job.all_objects.filter(sync=sync, preview=preview, status__in=LIVE).first()
    if live is None:
        return error
    what = "preview" if preview else "job"
    return JobRefused(
        f"The sync '{sync.name}' already has a {what}: job {live.pk}, {live.get_status_display().lower()} since "
        f"{live.created_at:%Y-%m-%d %H:%M} UTC. Wait for its end, or cancel it with `cancel_job {live.pk}`. "
        f"If nobody works on it any more, `resume_job {live.pk}` goes on with it."
    )


def start_undo(job: Job, *, by: Actor, preview: bool = False, wake: bool = True) -> Job:
    """Create a job that takes back what another one did, and wake a worker once that is committed.

    It has the other's own spec and connections, whatever the sync is by now; of a paused sync too. It waits for
    approval when its plan is made, whatever that is, and changes nothing but what nobody else has changed since.

    by: who asks; needs the permission to execute. preview, wake: as for `start_job`. Raises Denied, and JobRefused when
    the job cannot be undone or the sync has a live job.
    """
    access.require(by, Permission.EXECUTE, job.sync)
    # Assignment rules and hard deletes are no part of what is taken back.
    spec = dataclasses.replace(SyncSpec.from_json(job.spec), hard_delete=False, auto_assign="off")
    try:
        with transaction.atomic():
            sync = hold(job.sync)
            job = Job.all_objects.select_related("destination").get(pk=job.pk)
            reason = why_not(job)
            if reason:
                raise JobRefused(reason)
            if job.destination.organization_id != sync.organization_id:
                raise JobRefused(f"The connection of job {job.pk} does not exist in this organization.")
            undo: Job = Job.all_objects.create(
                organization_id=job.organization_id,
                sync=sync,
                source_id=job.source_id,
                destination_id=job.destination_id,
                spec=spec.to_json(),
                spec_hash=spec.hash(),
                undo_of=job,
                preview=preview,
                parameters=job.parameters,
                # It stays an undo when the other job is deleted.
                manifests={"undo": {"job": job.pk}},
                started_by=by.name[:150],
                next_poll_at=timezone.now(),
            )
            note(undo, _told(undo, by))
            audit.record(by, "started", sync, {"job": [None, undo.pk], "undo_of": [None, job.pk]})
    except IntegrityError as error:
        raise _has_one_already(job.sync, error, preview=preview) from None
    if wake:
        transaction.on_commit(lambda: _wake(undo))
    return undo


def start_again(job: Job, *, by: Actor, wake: bool = True) -> Job:
    """Do once more what a job was started for, with the same parameters, as its sync is set up now.

    Raises what `start_job` raises.
    """
    if job.is_undo:
        if job.undo_of is None:
            raise JobRefused(f"The job that job {job.pk} took back was deleted, so it cannot be undone again.")
        return start_undo(job.undo_of, by=by, preview=job.preview, wake=wake)
    return start_job(
        job.sync,
        by=by,
        full_resync=job.full_resync,
        baseline=job.baseline,
        replay_of=job.replay_of,
        test_row=job.test_row,
        preview=job.preview,
        canary=job.canary_rows,
        parameters=parameters_of(job, job.sync),
        wake=wake,
    )


def parameters_of(job: Job, sync: Sync) -> dict[str, str]:
    """The values that a job was started with, of the parameters that the sync still has."""
    names = set(sync.parameters.values_list("name", flat=True))
    return {name: value for name, value in job.parameters.items() if name in names}


def _spec(sync: Sync, parameters: dict[str, str] | None, *, scheduled: bool = False) -> SyncSpec:
    try:
        return sync.spec(parameters=parameters or {})
    except BadParameters as error:
        raise JobRefused(f"{error}{' A schedule has nobody to ask.' if scheduled else ''}") from None


def _must_fit(
    spec: SyncSpec, sync: Sync, *, full_resync: bool, baseline: bool, replay_of: Job | None, test_row: int | None
) -> None:
    """Raises JobRefused when the sync cannot do what is asked."""
    if full_resync + baseline + (replay_of is not None) > 1:
        raise JobRefused("A full resync, a baseline and a replay exclude each other. Ask for one of them.")
    if baseline and not spec.key_fields:
        raise JobRefused(f"A baseline records keys, and the sync '{sync.name}' has no sync key. Choose one first.")
    if baseline and spec.compare == "nothing":
        raise JobRefused(
            f"The sync '{sync.name}' compares with nothing, so nothing would ever look at a baseline. Let it compare "
            "with its snapshot first."
        )
    if replay_of is not None:
        _must_be_replayable(replay_of, spec, sync, test_row=test_row)


def _must_take_a_canary(rows: int | None, *, sends: bool) -> None:
    if rows is None:
        return
    if not 0 < rows <= _MOST_CANARY_ROWS:
        raise JobRefused(f"A canary has 1 to {_MOST_CANARY_ROWS:,} rows, not {rows:,}.")
    if not sends:
        raise JobRefused("A canary sends the first rows of a plan. Previews, baselines and tests of one row take none.")


def _must_be_testable(sync: Sync, job: Job | None, row: int) -> None:
    """Raises JobRefused when a row of a job cannot be sent alone."""
    if job is None or job.sync_id != sync.pk:
        raise JobRefused("A row is sent as another job of its sync read it. Say which one.")
    errors, cells = results.row_of(job, row)
    if cells is None:
        raise JobRefused(
            f"Job {job.pk} read no row {row} that could be sent. A malformed one is to be corrected first."
        )
    if any(error.code == rules.DUPLICATE_KEY for error in errors):
        raise JobRefused(
            f"Row {row} of job {job.pk} shares its key with other rows, and nobody can tell which of them is right. "
            "Correct the source first."
        )


def _must_be_replayable(job: Job, spec: SyncSpec, sync: Sync, *, test_row: int | None) -> None:
    if job.sync_id != sync.pk:
        raise JobRefused(f"Job {job.pk} is no job of the sync '{sync.name}', so it cannot be replayed by it.")
    if job.is_live:
        what = "Its refused rows can be replayed" if test_row is None else "A row of it can be sent alone"
        raise JobRefused(f"Job {job.pk} is {job.get_status_display().lower()}. {what} when it has ended.")
    if job.files_removed_at is not None:
        raise JobRefused(
            f"The files of job {job.pk} were deleted on {job.files_removed_at:%Y-%m-%d}, because they were past their "
            "retention, so its refused rows are gone. Start the sync: it takes up what is still in the source."
        )
    if test_row is None and (not job.replayable or "final" not in job.manifests):
        rest = " A malformed row has to be corrected in the source." if job.counts.get("malformed") else ""
        raise JobRefused(f"Job {job.pk} has no refused rows that could be replayed.{rest}")
    there = set(job.manifests["staged"]["columns"])
    missing = [line.source_column for line in spec.mappings if line.source_column and line.source_column not in there]
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        raise JobRefused(
            f"Job {job.pk} read no column {names}, which the sync '{sync.name}' maps by now, so its rows do not fit "
            "any more. Start the sync instead."
        )


def _told(job: Job, by: Actor) -> str:
    """The first event of a job."""
    what = ""
    if job.test_row is not None:
        what = f" to send row {job.test_row} of job {job.replay_of_id} alone, and keep the requests and answers"
    elif job.replay_of is not None:
        what = f" to replay the {job.replay_of.replayable:,} refused rows of job {job.replay_of_id}"
    elif job.undo_of is not None:
        what = f" to take back what job {job.undo_of_id} did to {done_by(job.undo_of).total:,} records"
    elif job.baseline:
        what = " as a baseline: what the source holds is recorded as known, and nothing is sent"
    elif job.full_resync:
        what = " as a full resync"
    if job.preview:
        what += " as a preview: nothing is sent"
    if job.canary_rows is not None:
        what += f" with a canary of {job.canary_rows:,} rows"
    values = "".join(f" @{name} = '{value}'." for name, value in job.parameters.items())
    return f"Started by {by.name}{what}.{values}"


def _recorded(job: Job) -> dict[str, Any]:
    """What the audit tells of a start."""
    changes = {"job": [None, job.pk], "full_resync": [None, job.full_resync]}
    more = {
        "preview": job.preview,
        "baseline": job.baseline,
        "replay_of": job.replay_of_id,
        "test_row": job.test_row,
        "canary": job.canary_rows,
        "parameters": job.parameters,
    }
    return {**changes, **{name: [None, value] for name, value in more.items() if value}}


def hold(sync: Sync) -> Sync:
    """The sync as it is now, kept from being deleted or started until the transaction around this has ended.

    SQLite has no locks of rows and needs none: its transactions write one after the other. Raises JobRefused when the
    sync was deleted meanwhile.
    """
    rows = Sync.all_objects.select_related("source", "destination", "organization").select_for_update(of=("self",))
    held: Sync | None = rows.filter(pk=sync.pk).first()
    if held is None:
        raise JobRefused(f"The sync '{sync.name}' was deleted meanwhile.")
    return held


def _must_be_startable(sync: Sync, *, preview: bool) -> None:
    if sync.paused and not preview:
        raise JobRefused(f"The sync '{sync.name}' is paused. Let it go on first.")
    for connection in (sync.source, sync.destination):
        if connection.organization_id != sync.organization_id:
            raise JobRefused(f"The connection {connection.pk} of '{sync.name}' does not exist in this organization.")


def _wake(job: Job) -> None:
    try:
        queue.send(queue.RUN_JOB, job.pk)
    except queue.BrokerDown as error:
        # It is due in the database; a worker's timer will find it.
        Job.all_objects.filter(pk=job.pk, status=Status.QUEUED).update(reason=str(error))
        waits = "stays queued" if job.status == Status.QUEUED else "waits"
        note(job, f"{error} The job {waits} and runs when the broker is back.")
        log.warning("%s %s: %s", job, waits, error)


def approve_job(job: Job, *, by: Actor, wake: bool = True, of_canary: bool | None = None) -> None:
    """Let a job go on that waits for approval; exactly the plan that was stored is sent.

    by: who approves; needs the permission to. wake: False when the caller works on the job itself. of_canary: whether
    it waited behind its canary when `by` looked at it; None when nobody says. Raises Denied, and JobRefused when it
    does not wait, when something was changed since, when the plan is too old, or when `by` started it itself and may
    not approve that.
    """
    _must_wait(job, by)
    way_out = f"Reject it with `reject_job {job.pk}` and start the sync again."
    if approval.is_own(job, by):
        raise JobRefused(
            f"Job {job.pk} was started by {job.started_by}. Its sync wants somebody else to approve: whoever approves "
            "must not be who started it."
        )
    if void := approval.why_void(job):
        raise JobRefused(f"{void} So the plan is void. {way_out}")
    if approval.is_aged(job):
        raise JobRefused(f"The plan is older than {settings.SFSYNC_APPROVAL_HOURS:g} hours. {way_out}")
    canary = approval.canary_is_over(job)
    if of_canary is not None and of_canary != canary:
        raise JobRefused(f"Job {job.pk} waits for another decision by now. Look at it again before you decide.")
    changes: dict[str, Any] = {"approved_by": by.name[:150], "reason": "", "next_poll_at": Now(), "canary_done": canary}
    text = f"Approved by {by.name}{': the rows behind the canary are sent' if canary else ''}."
    _move(job, by, "approved", lambda: move(job, Status.LOADING, text=text, **changes))
    if wake:
        transaction.on_commit(lambda: _wake(job))


def reject_job(job: Job, *, by: Actor, reason: str = "", wake: bool = True) -> None:
    """End a job that waits for approval. Nothing of it is sent, or nothing behind its canary; what that sent counts.

    by: who rejects; needs the permission to approve. wake: False when the caller works on the job itself. Raises
    Denied, and JobRefused when it does not wait.
    """
    _must_wait(job, by)
    text = f"Rejected by {by.name}" + (f": {reason}" if reason else ".")
    _end_waiting(job, by, "rejected", text, wake=wake)


def _end_waiting(job: Job, by: Actor, action: str, text: str, *, wake: bool = True) -> None:
    """End a job that has not begun, or waits; once it has sent a canary, what that did is written down first."""
    if not approval.was_sent(job):
        _move(job, by, action, lambda: move(job, Status.CANCELLED, text=text, reason=text))
        return
    _move(job, by, action, lambda: approval.end_the_rest(job, Status.CANCELLING, text))
    if wake:
        transaction.on_commit(lambda: _wake(job))


def cancel_job(job: Job, *, by: Actor) -> None:
    """Stop a job: nothing new is sent, what was sent is read back, confirmed rows count.

    by: needs the permission to execute. Raises Denied, and JobRefused when the job has ended, or is so far that
    nothing is left to stop.
    """
    access.require(by, Permission.EXECUTE, job)
    text = f"Cancelled by {by.name}."
    if job.status in (Status.QUEUED, Status.WAITING_APPROVAL):
        _end_waiting(job, by, "cancelled", text)
        return
    if job.status not in (Status.PLANNING, Status.LOADING):
        raise JobRefused(f"Job {job.pk} is {job.get_status_display().lower()} and cannot be cancelled.")
    _move(job, by, "cancelled", lambda: move(job, Status.CANCELLING, text=text, next_poll_at=Now()))
    Batch.all_objects.filter(job=job).exclude(state=BatchState.DONE).update(next_poll_at=Now())
    transaction.on_commit(lambda: _wake(job))


def _must_wait(job: Job, by: Actor) -> None:
    access.require(by, Permission.APPROVE, job)
    if job.status != Status.WAITING_APPROVAL:
        raise JobRefused(f"Job {job.pk} does not wait for approval; it is {job.get_status_display().lower()}.")


def _move(job: Job, by: Actor, action: str, step: Callable[[], None]) -> None:
    """Take a step that changes the job's status, and put it on record."""
    old = job.status
    try:
        with transaction.atomic():
            step()
            audit.record(by, action, job, {"status": [old, job.status]})
    except StatusChanged as error:
        raise JobRefused(f"{error} Look at it again before you decide.") from None
