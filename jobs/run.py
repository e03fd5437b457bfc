"""The main flow of a job.

    queued -> planning: stage -> read keys -> plan -> [waiting for approval] -> loading: batches -> finishing -> ended

`run_job` goes as far as it can without waiting and says when to come back; batches are worked on by
`load.advance_batch`, each by itself. What a stage leaves stands in the job's manifests, and a stage whose manifest
stands does not run again: that is all there is to resuming.
"""

from __future__ import annotations

import logging

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from connections import budget
from connections.addresses import AddressRefused
from connections.declare import SettingsError
from connections.salesforce.errors import BudgetSpent, MisconfiguredError, PermanentError, TransientError
from connections.salesforce.session import counting
from connections.secrets import SecretsUnreadable
from connections.sources.base import MisconfiguredSourceError, PermanentSourceError, TransientSourceError
from jobs import approval, canary, files, retry
from jobs.errors import Misconfigured, NotYet
from jobs.finish import finish, write_refused
from jobs.forecast import must_fit
from jobs.leases import Lease, LeaseLost, hold
from jobs.load import wake_when_loaded
from jobs.models import Job, Status
from jobs.slot import take_slot
from jobs.states import StatusChanged, move, note
from jobs.undoing import planner_of
from jobs.waiting import job_waits, stops
from orgs.tenancy import organization_scope
from syncs.engine.errors import MisconfiguredEngineError, PermanentEngineError, TransientEngineError

log = logging.getLogger("sfsync.jobs")

# The last batch to end wakes its job; should it be killed before it can, the job looks for itself.
LOOK_ANYWAY = 10.0  # seconds

TRANSIENT = (TransientError, TransientSourceError, TransientEngineError, OSError)
MISCONFIGURED = (
    Misconfigured,
    AddressRefused,
    SecretsUnreadable,
    SettingsError,
    MisconfiguredError,
    MisconfiguredSourceError,
    MisconfiguredEngineError,
    PermanentEngineError,
    PermanentError,
    PermanentSourceError,
)


def run_job(pk: int) -> None:
    """Take a job as far as it goes without waiting, and say when to look at it again."""
    with hold(Job, pk) as lease:
        if lease is None:
            return
        job = Job.all_objects.select_related("sync", "organization").get(pk=pk)
        if not job.is_live:
            return
        with organization_scope(job.organization), files.job_log(job), counting() as calls, budget.spending():
            try:
                lease.poll_in(_run(job, lease))
            finally:
                Job.all_objects.filter(pk=pk).update(api_calls=F("api_calls") + calls.made)
    wake_when_loaded(pk)


def _run(job: Job, lease: Lease) -> float | None:
    try:
        return _go_on_or_pause(job, lease)
    except LeaseLost:
        log.info("%s was taken over by another worker, or is about to be.", job)
        return 0.0
    except StatusChanged:
        return 0.0


def _go_on_or_pause(job: Job, lease: Lease) -> float | None:
    try:
        return _go_on(job, lease)
    except (LeaseLost, StatusChanged):
        raise
    except NotYet as waits:
        return waits.seconds
    except BudgetSpent as spent:
        pause = job_waits(job, lease, spent)
        if pause and stops(job) and job.status in (Status.PLANNING, Status.LOADING):
            return _give_up(job, lease, f"Stopped before anything was sent: {spent.what_happened}")
        return pause
    except TRANSIENT as error:
        return _after_failure(job, lease, error)
    except MISCONFIGURED as error:
        return _give_up(job, lease, str(error))
    except Exception as error:
        log.exception("%s: an unexpected error.", job)
        return _after_failure(job, lease, RuntimeError(f"An unexpected error ({error}); the job's log has more."))


def _go_on(job: Job, lease: Lease) -> float | None:
    """One pass through the flow, from the status the job is in. Returns seconds until the next look, or None."""
    if job.status == Status.QUEUED:
        move(job, Status.PLANNING, token=lease.token, started_at=Now(), reason="")
    if job.status == Status.PLANNING:
        guard = planner_of(job, lease).plan()
        lease.check()
        if job.preview:
            write_refused(job)
            text = f"Nothing was sent. {guard}".rstrip()
            move(job, Status.PLANNED, text=text, token=lease.token, reason=guard, planned_at=Now(), progress={})
            files.remove_rubbish(job)
            return None
        if guard:
            move(job, Status.WAITING_APPROVAL, text=guard, token=lease.token, reason=guard, planned_at=Now())
            return 0.0  # it stays due, so that an approval that comes this very moment is not overlooked
        move(job, Status.LOADING, token=lease.token, reason="", planned_at=Now())
    if job.status == Status.LOADING:
        if job.load_slot is None:
            must_fit(job)
            if not take_slot(job, lease):
                return 2.0
        if job.unfinished_batches().exists():
            return LOOK_ANYWAY
        if canary.stop_behind(job, lease):
            return 0.0
        move(job, Status.FINISHING, token=lease.token)
    if job.status == Status.CANCELLING and job.unfinished_batches().exists():
        return LOOK_ANYWAY
    if job.status in (Status.FINISHING, Status.CANCELLING):
        finish(job, lease)
    return None


def _after_failure(job: Job, lease: Lease, error: Exception) -> float | None:
    failures = job.failures + 1
    sent = job.load_slot is not None or job.status in (Status.FINISHING, Status.CANCELLING)
    if failures >= (retry.TRIES_AFTER_SENDING if sent else retry.TRIES_BEFORE_SENDING):
        return _give_up(job, lease, f"Gave up after {failures} tries: {error}")
    log.warning("%s: %s; try %d failed.", job, error, failures)
    if failures == 1:
        note(job, f"{error} It is tried again.")
    lease.save(failures=F("failures") + 1, reason=str(error))
    return retry.delay(failures, getattr(error, "retry_after", None))


def _give_up(job: Job, lease: Lease, reason: str) -> float | None:
    """End the job as failed, with the reason; what batches did so far is kept on them."""
    log.error("%s failed: %s", job, reason)
    if job.status == Status.LOADING and job.canary_rows is not None and approval.was_sent(job):
        # It did not get its turn after its canary: what that sent is written down before it ends.
        approval.end_the_rest(job, Status.FINISHING, reason, token=lease.token)
        return 0.0
    with transaction.atomic():
        if job.status == Status.LOADING:
            # Its batches have not started: it did not get its turn yet.
            move(job, Status.FINISHING, token=lease.token)
        end = Status.CANCELLED if job.status == Status.CANCELLING else Status.FAILED
        move(job, end, text=reason, token=lease.token, reason=reason)
    return None
