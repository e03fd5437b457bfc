"""Batches -> Salesforce, each by its lane. One step of one batch, and what is done when it fails.

The lanes keep the ledger that makes a crash harmless: see `bulk_lane` and `collections_lane`.
"""

from __future__ import annotations

import logging
import random

from django.db.models import F, Q
from django.db.models.functions import Now
from structlog.contextvars import bound_contextvars

from connections import budget
from connections.addresses import AddressRefused
from connections.declare import SettingsError
from connections.salesforce.errors import BudgetSpent, MisconfiguredError, TransientError
from connections.salesforce.session import counting
from connections.secrets import SecretsUnreadable
from jobs import exchanges, files, retry
from jobs.bulk_lane import BulkLane
from jobs.collections_lane import CollectionsLane
from jobs.leases import Lease, LeaseLost, hold
from jobs.loader import Loader, lane_of
from jobs.models import BEHIND_THE_CANARY, Batch, BatchState, Job, Status, unfinished_batches
from jobs.waiting import batch_waits, goes_on
from orgs.tenancy import organization_scope
from syncs.engine.errors import TransientEngineError

log = logging.getLogger("sfsync.jobs")


def advance_batch(pk: int) -> None:
    """Take a batch as far as it goes without waiting, and say when to look at it again."""
    with hold(Batch, pk) as lease:
        if lease is None:
            return
        batch = Batch.all_objects.select_related("job__sync", "organization").get(pk=pk)
        if batch.state == BatchState.DONE:
            return
        scope, about = organization_scope(batch.organization), bound_contextvars(batch=batch.number)
        with scope, files.job_log(batch.job), about:
            _try_step(batch, lease)
    wake_when_loaded(batch.job_id)


def loader_of(batch: Batch, lease: Lease) -> Loader:
    """The lane that the batch's present attempt goes by."""
    return BulkLane(batch, lease) if lane_of(batch) == "bulk" else CollectionsLane(batch, lease)


def _try_step(batch: Batch, lease: Lease) -> None:
    with counting() as calls, exchanges.kept(batch.job), budget.spending():
        try:
            lease.poll_in(_step_or_pause(loader_of(batch, lease)) if _has_the_turn(batch) else random.uniform(0.1, 0.5))
        except LeaseLost:
            log.info("%s was taken over by another worker, or is about to be.", batch)
        finally:
            Batch.all_objects.filter(pk=batch.pk).update(api_calls=F("api_calls") + calls.made)


def _has_the_turn(batch: Batch) -> bool:
    """Whether it may start: not behind a canary that nobody has let go on, nor beside another one of a serial job.

    Sweepers that look at different moments may choose different ones; of two that hold their leases at least one sees
    the other here.
    """
    if Batch.all_objects.filter(BEHIND_THE_CANARY, pk=batch.pk).exists():
        return False
    if not batch.job.serial or batch.state != BatchState.PLANNED:
        return True
    others = Batch.all_objects.filter(job=batch.job_id).exclude(pk=batch.pk).exclude(state=BatchState.DONE)
    return not others.filter(Q(lease_until__gte=Now()) | ~Q(state=BatchState.PLANNED)).exists()


def _step_or_pause(loader: Loader) -> float | None:
    try:
        pause = loader.step()
        goes_on(loader.batch)
        return pause
    except LeaseLost:
        raise
    except BudgetSpent as spent:
        return batch_waits(loader, spent)
    except (TransientError, TransientEngineError, OSError) as error:
        return _after_failure(loader, error)
    except (MisconfiguredError, SettingsError, SecretsUnreadable, AddressRefused) as error:
        if not loader.under_way:
            return loader.give_up(str(error))
        # What was sent is not forgotten: somebody may set it right while the results are still kept.
        return _after_failure(loader, error)
    except Exception as error:
        # Whatever it is, the rows on their way are not forgotten: the ledger says how to go on.
        log.exception("%s: an unexpected error.", loader.batch)
        return _after_surprise(loader, error)


def _after_failure(loader: Loader, error: Exception) -> float | None:
    """A call failed in a way that may pass. Decide whether to try again; return the pause in seconds."""
    batch, lease = loader.batch, loader.lease
    failures = batch.failures + 1
    sent = batch.state != BatchState.PLANNED
    if failures >= (retry.TRIES_AFTER_SENDING if sent else retry.TRIES_BEFORE_SENDING):
        return loader.give_up(f"Gave up after {failures} tries: {error}")
    log.warning("%s: %s; try %d failed.", batch, error, failures)
    lease.save(failures=failures, reason=str(error))
    return retry.delay(failures, getattr(error, "retry_after", None))


def _after_surprise(loader: Loader, error: Exception) -> float | None:
    """Something that should not happen. It is not waited for as long as for a Salesforce that is away."""
    surprises = loader.batch.surprises + 1
    if surprises >= retry.TRIES_BEFORE_SENDING:
        return loader.give_up(f"Gave up after {surprises} tries: {error}")
    loader.lease.save(surprises=surprises, reason=str(error))
    return retry.delay(surprises)


def wake_when_loaded(job_id: int) -> bool:
    """Make a job due when all its batches, or all of its canary, have ended; return whether it did.

    Safe to call at any time, by anybody.
    """
    if unfinished_batches(job_id).exists():
        return False
    rows = Job.all_objects.filter(pk=job_id, status__in=[Status.LOADING, Status.CANCELLING])
    return bool(rows.update(next_poll_at=Now()))
