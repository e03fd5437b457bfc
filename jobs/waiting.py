"""Jobs and batches that wait until their Salesforce org has room for them again, or stop, as their sync says."""

from __future__ import annotations

import logging
import random

from django.db.models.functions import Now

from connections import budget
from connections.salesforce.errors import BudgetSpent, SalesforceError
from connections.salesforce.session import SalesforceSession
from connections.sessions import salesforce_session
from jobs.leases import Lease
from jobs.loader import Loader
from jobs.models import Batch, BatchState, Job, Status
from jobs.states import note

log = logging.getLogger("sfsync.jobs")

WAITS = "Waits: "
_LONGEST = 60.0  # seconds


def stops(job: Job) -> bool:
    """Its sync says that a job stops where the budget is spent, rather than to wait."""
    return bool(job.sync.when_over_budget == "stop")


def asked(session: SalesforceSession) -> bool:
    """Ask Salesforce whether there is room again, if it is time to; then everybody who waits for it looks again."""
    try:
        if not budget.look(session):
            return False
        org_id = session.identity.org_id
    except SalesforceError as error:
        log.info("Salesforce could not be asked for its limits: %s", error)
        return False
    # They look within a moment of each other, but not all at once.
    Job.all_objects.filter(salesforce_org_id=org_id, reason__startswith=WAITS, status=Status.PLANNING).update(
        next_poll_at=Now()
    )
    waiting = Batch.all_objects.filter(job__salesforce_org_id=org_id, reason__startswith=WAITS)
    waiting.exclude(state=BatchState.DONE).update(next_poll_at=Now())
    return True


def job_waits(job: Job, lease: Lease, spent: BudgetSpent) -> float:
    """Put a job off. Returns seconds until the next look."""
    if asked(salesforce_session(job.destination)):
        return 0.0
    if not job.reason.startswith(WAITS):
        note(job, f"{WAITS}{spent}")
    log.info("%s waits: %s", job, spent)
    lease.save(reason=f"{WAITS}{spent}")
    return _pause(spent)


def batch_waits(loader: Loader, spent: BudgetSpent) -> float | None:
    """Put a batch off, or end it where its sync says so and nothing of it is on its way."""
    batch, lease = loader.batch, loader.lease
    if asked(loader.session):
        return 0.0
    if stops(batch.job) and not loader.under_way:
        return loader.give_up(f"Stopped: {spent.what_happened}")
    log.info("%s waits: %s", batch, spent)
    lease.save(reason=f"{WAITS}{spent}")
    Job.all_objects.filter(pk=batch.job_id, status=Status.LOADING).update(reason=f"{WAITS}{spent}")
    return _pause(spent)


def goes_on(batch: Batch) -> None:
    """Called after a step for which there was room."""
    if batch.reason.startswith(WAITS):
        Batch.all_objects.filter(pk=batch.pk, reason__startswith=WAITS).update(reason="")
        Job.all_objects.filter(pk=batch.job_id, status=Status.LOADING, reason__startswith=WAITS).update(reason="")


def _pause(spent: BudgetSpent) -> float:
    # Whoever comes first asks Salesforce; the others come after it has answered. Looking into the database costs no
    # call, and shows within a minute that somebody cancelled or raised the share.
    return min(_LONGEST, spent.retry_after or 1.0) + random.uniform(0.1, 1.0)
