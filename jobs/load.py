"""Batches -> Salesforce. The ledger that makes a crash harmless.

    planned -> created -> closing -> closed -> done
                  |                     |
                  +----> aborting <-----+        and from there done, or planned again for the rows that are left

Each state is saved before the call that follows it, so whoever finds a batch knows what may have happened:

    planned     perhaps an open, empty job at Salesforce that nobody knows: harmless; make a new one
    created     perhaps uploaded: abort it, learn what became of its rows, and only then send the rest anew.
                A job takes one upload, ever; so an upload is never repeated, and none is given up half done
    closing     perhaps Salesforce was told to go on: ask, and tell it again when the job is still open
    closed      ask until it has ended, then read what became of each row
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now
from structlog.contextvars import bound_contextvars

from connections.addresses import AddressRefused
from connections.declare import SettingsError
from connections.salesforce import bulk
from connections.salesforce.errors import JobGone, MisconfiguredError, PermanentError, TransientError, job_error_lasts
from connections.salesforce.session import SalesforceSession, counting
from connections.secrets import SecretsUnreadable
from connections.sessions import salesforce_session
from jobs import files, retry
from jobs.leases import Lease, LeaseLost, hold
from jobs.models import Batch, BatchState, Job, Status
from jobs.states import note
from orgs.tenancy import organization_scope
from syncs.engine import outcome
from syncs.engine.errors import TransientEngineError
from syncs.engine.plan import Plan

log = logging.getLogger("sfsync.jobs")

# A Salesforce job that settles no row at all, this many times in a row, is not tried again.
MOST_BARREN_ATTEMPTS = 10
RESULTS: tuple[bulk.Results, ...] = ("successfulResults", "failedResults", "unprocessedrecords")
# Results that do not agree with the Salesforce job's own numbers are downloaded again, this many times at most.
MOST_REREADS = 5
POLL_LONGEST = 10.0  # seconds


def advance_batch(pk: int) -> None:
    """Take a batch as far as it goes without waiting, and say when to look at it again."""
    with hold(Batch, pk) as lease:
        if lease is None:
            return
        batch = Batch.all_objects.select_related("job", "organization").get(pk=pk)
        if batch.state == BatchState.DONE:
            return
        scope, about = organization_scope(batch.organization), bound_contextvars(batch=batch.number)
        with scope, files.job_log(batch.job), about:
            _try_step(batch, lease)
    wake_when_loaded(batch.job_id)


def _try_step(batch: Batch, lease: Lease) -> None:
    with counting() as calls:
        try:
            lease.poll_in(_step_or_pause(batch, lease))
        except LeaseLost:
            log.info("%s was taken over by another worker, or is about to be.", batch)
        finally:
            Batch.all_objects.filter(pk=batch.pk).update(api_calls=F("api_calls") + calls.made)


def _step_or_pause(batch: Batch, lease: Lease) -> float | None:
    try:
        return Loader(batch, lease, salesforce_session(batch.job.destination)).step()
    except LeaseLost:
        raise
    except (TransientError, TransientEngineError, OSError) as error:
        return _after_failure(batch, lease, error)
    except (MisconfiguredError, SettingsError, SecretsUnreadable, AddressRefused) as error:
        return _after_misconfiguration(batch, lease, error)
    except Exception as error:
        # Whatever it is, the rows on their way are not forgotten: the ledger says how to go on.
        log.exception("%s: an unexpected error.", batch)
        return _after_surprise(batch, lease, error)


def _after_failure(batch: Batch, lease: Lease, error: Exception) -> float | None:
    """A call failed in a way that may pass. Decide whether to try again; return the pause in seconds."""
    failures = batch.failures + 1
    sent = batch.state != BatchState.PLANNED
    if failures >= (retry.TRIES_AFTER_SENDING if sent else retry.TRIES_BEFORE_SENDING):
        return _give_up(batch, lease, failures, error)
    log.warning("%s: %s; try %d failed.", batch, error, failures)
    lease.save(failures=failures, reason=str(error))
    return retry.delay(failures, getattr(error, "retry_after", None))


def _after_surprise(batch: Batch, lease: Lease, error: Exception) -> float | None:
    """Something that should not happen. It is not waited for as long as for a Salesforce that is away."""
    surprises = batch.surprises + 1
    if surprises >= retry.TRIES_BEFORE_SENDING:
        return _give_up(batch, lease, surprises, error)
    lease.save(surprises=surprises, reason=str(error))
    return retry.delay(surprises)


def _give_up(batch: Batch, lease: Lease, tries: int, error: Exception) -> float | None:
    unresolved = "not_sent" if batch.state == BatchState.PLANNED else "unknown"
    return _end(batch, lease, unresolved=unresolved, reason=f"Gave up after {tries} tries: {error}")


def _after_misconfiguration(batch: Batch, lease: Lease, error: Exception) -> float | None:
    """Salesforce does not let us in, or the object is gone: only a person can mend that."""
    if batch.state == BatchState.PLANNED:
        return _end(batch, lease, unresolved="not_sent", reason=str(error))
    # What was sent is not forgotten: somebody may set it right while the results are still kept.
    return _after_failure(batch, lease, error)


def _end(batch: Batch, lease: Lease, *, unresolved: str = "", reason: str = "") -> float | None:
    """The batch is over. unresolved: what its rows without an outcome are; reason: why, in plain words."""
    lease.save(state=BatchState.DONE, unresolved=unresolved, reason=reason, failures=0)
    if reason:
        note(batch.job, f"{batch}: {reason}")
    log.info("%s has ended. %s", batch, reason)
    return None


class Loader:
    """One step of one batch, by the holder of its lease."""

    def __init__(self, batch: Batch, lease: Lease, session: SalesforceSession) -> None:
        self.batch = batch
        self.lease = lease
        self.session = session
        self.workspace = files.workspace()
        lease.on_lost = self.workspace.interrupt

    def step(self) -> float | None:
        """Go on from the state the batch is in. Returns seconds until the next look, None when it has ended."""
        self._same_salesforce_org()
        steps: dict[str, Callable[[], float | None]] = {
            BatchState.PLANNED: self._send,
            BatchState.CREATED: self._abort,
            BatchState.CLOSING: self._close_again,
            BatchState.CLOSED: self._poll,
            BatchState.ABORTING: self._abort,
        }
        return steps[self.batch.state]()

    def _save(self, **changes: Any) -> None:
        """Write the ledger, and keep the row in memory the same."""
        self.lease.save(failures=0, surprises=0, **changes)
        self.batch.failures = self.batch.surprises = 0
        for name, value in changes.items():
            setattr(self.batch, name, value)

    def _cancelling(self) -> bool:
        return Job.all_objects.filter(pk=self.batch.job_id, status=Status.CANCELLING).exists()

    # --- sending ---

    def _send(self) -> float | None:
        if self._cancelling():
            return _end(self.batch, self.lease, unresolved="not_sent", reason="The job was cancelled.")
        try:
            self._create()
            self.lease.check()
            bulk.upload(self.session, self.batch.salesforce_job_id, Path(self.batch.payload["path"]))
        except PermanentError as error:
            return self._refused(error)
        if self._cancelling():
            return self._abort()
        self._save(state=BatchState.CLOSING)
        return self._close()

    def _create(self) -> None:
        batch, spec = self.batch, self.batch.job.spec
        key = spec["key_fields"][0] if batch.operation == "upsert" else None
        self.lease.check()
        operation = cast(bulk.Operation, batch.operation)
        job = bulk.create_job(self.session, spec["object"], operation, key)
        try:
            self._save(
                state=BatchState.CREATED,
                salesforce_job_id=job.id,
                attempt=batch.attempt + 1,
                polls=0,
                records_processed=0,
            )
        except LeaseLost:
            # Nobody will ever look at this job; do not leave it open.
            bulk.abort(self.session, job.id)
            raise
        log.info("%s: Salesforce job %s to %s %d rows.", batch, job.id, batch.operation, batch.payload["rows"])

    def _same_salesforce_org(self) -> None:
        """The plan was made for one Salesforce org. One that a login leads to by now knows nothing of its jobs."""
        org_id = self.session.identity.org_id
        if org_id != self.batch.job.salesforce_org_id:
            raise MisconfiguredError(
                f"The connection now leads to the Salesforce org {org_id}, but the plan was made for "
                f"{self.batch.job.salesforce_org_id}. Set the connection right again."
            )

    def _refused(self, error: PermanentError) -> float | None:
        """Salesforce refused the Salesforce job itself, or its upload: no row can have been processed."""
        if self.batch.state == BatchState.CREATED:
            log.warning("%s: the upload was refused: %s", self.batch, error)
            return self._abort()
        return _end(self.batch, self.lease, unresolved="not_sent", reason=f"Salesforce refused the batch: {error}")

    def _close(self) -> float | None:
        self.lease.check()
        bulk.close(self.session, self.batch.salesforce_job_id)
        self._save(state=BatchState.CLOSED)
        return self._pause()

    def _close_again(self) -> float | None:
        job = bulk.state(self.session, self.batch.salesforce_job_id)
        if job.state != "Open":
            self._save(state=BatchState.CLOSED)
            return self._poll()
        if self._cancelling():
            return self._abort()
        try:
            return self._close()
        except PermanentError as error:
            # E.g. "Found multiple contents": the job cannot be used any more, and has processed nothing.
            log.warning("%s: Salesforce job %s cannot be closed: %s", self.batch, job.id, error)
            return self._abort()

    # --- waiting and reading ---

    def _pause(self) -> float:
        """Seconds until the next look at a Salesforce job; longer, the longer it takes."""
        polls = self.batch.polls
        self._save(polls=polls + 1)
        return min(POLL_LONGEST, settings.SFSYNC_TICK_SECONDS * 1.3**polls)

    def _abort(self) -> float | None:
        if self.batch.state != BatchState.ABORTING:
            self._save(state=BatchState.ABORTING, polls=0)
        try:
            job = bulk.state(self.session, self.batch.salesforce_job_id)
            if not job.terminal:
                self.lease.check()
                bulk.abort(self.session, job.id)
                job = bulk.state(self.session, job.id)
        except JobGone:
            return self._gone()
        except PermanentError as error:
            # It ended between the question and the abort; the next look will tell.
            log.info("%s: %s", self.batch, error)
            return self._pause()
        return self._settle(job) if job.terminal else self._pause()

    def _poll(self) -> float | None:
        if self._cancelling():
            return self._abort()
        try:
            job = bulk.state(self.session, self.batch.salesforce_job_id)
        except JobGone:
            return self._gone()
        if job.terminal:
            return self._settle(job)
        if job.state == "Open":  # the PATCH did not arrive after all
            self._save(state=BatchState.CLOSING)
            return self._close_again()
        self._save(records_processed=job.records_processed)
        return self._pause()

    def _gone(self) -> float | None:
        reason = (
            f"Salesforce job {self.batch.salesforce_job_id} does not exist any more, so nobody can tell what became of "
            "its rows. Run the sync again; rows with a sync key are compared again."
        )
        return _end(self.batch, self.lease, unresolved="unknown", reason=reason)

    def _settle(self, job: bulk.JobInfo) -> float | None:
        """The Salesforce job has ended: read what became of each row, and decide about the rest."""
        try:
            read = self._read_results(job)
        except JobGone:
            return self._gone()
        settled = sum(read.counts.values())
        if settled != job.records_processed and self.batch.rereads < MOST_REREADS:
            self.lease.save(rereads=F("rereads") + 1)
            raise TransientError(
                f"Salesforce job {job.id} processed {job.records_processed} rows, but its results hold {settled}; "
                "they are downloaded again."
            )
        entry = {"salesforce_job_id": job.id, "state": job.state, **read.to_json()}
        # Read again after a crash, an attempt replaces itself.
        outcomes = [old for old in self.batch.outcomes if old["salesforce_job_id"] != job.id] + [entry]
        counts = _added_up(outcomes)
        barren = 0 if settled else self.batch.barren + 1
        self._save(outcomes=outcomes, counts=counts, records_processed=job.records_processed, barren=barren)
        log.info("%s: Salesforce job %s is %s: %s.", self.batch, job.id, job.state, read.counts)
        return self._go_on(job, read)

    def _read_results(self, job: bulk.JobInfo) -> outcome.AttemptOutcome:
        plan = Plan.from_json(self.batch.job.manifests["plan"])
        sent = Path(self.batch.payload["path"])
        with files.attempt(self.batch.job, f"batch-{self.batch.number}") as folder:
            successes, failures, unprocessed = told = [
                bulk.download(self.session, job.id, which, folder / f"{which}.csv") for which in RESULTS
            ]
            to = folder / "outcomes.parquet"
            read = outcome.read_outcomes(
                self.workspace, plan, self.batch.number, sent, successes, failures, unprocessed, to
            )
            for path in told:
                path.unlink()
        return read

    def _go_on(self, job: bulk.JobInfo, read: outcome.AttemptOutcome) -> float | None:
        """Rows are left over: send them anew where nothing can be doubled by that, else say what is known."""
        batch, lease = self.batch, self.lease
        settled = sum(read.counts.values())
        left = batch.payload["rows"] - settled
        if left == 0:
            return _end(batch, lease)
        untouched = job.records_processed == settled == read.unprocessed == 0
        if job.state == "JobComplete" or not (untouched or read.unprocessed == left):
            # Some of these rows may be in Salesforce; sent again they could be there twice.
            return _end(
                batch, lease, unresolved="unknown", reason=f"Salesforce job {job.id} says nothing about {left} rows."
            )
        if self._cancelling():
            return _end(batch, lease, unresolved="not_sent", reason="The job was cancelled.")
        said = job.error_message or f"Salesforce job {job.id} was {job.state.lower()}"
        if job.state == "Failed" and job.records_processed == 0 and job_error_lasts(said):
            return _end(batch, lease, unresolved="not_sent", reason=f"Salesforce refused the batch: {said}")
        if batch.barren >= MOST_BARREN_ATTEMPTS:
            return _end(batch, lease, unresolved="not_sent", reason=f"{said}, {batch.barren} times in a row.")
        return self._send_the_rest(said, left)

    def _send_the_rest(self, said: str, left: int) -> float | None:
        plan = Plan.from_json(self.batch.job.manifests["plan"])
        sent, number = Path(self.batch.payload["path"]), self.batch.number
        settled = [Path(entry["file"]) for entry in self.batch.outcomes]
        with files.attempt(self.batch.job, f"batch-{number}") as folder:
            rest = folder / "payload.csv"
            rows = outcome.remaining_payload(self.workspace, plan, number, sent, settled, rest)
        if rows != left:
            return _end(
                self.batch,
                self.lease,
                unresolved="unknown",
                reason=f"{left} rows are left over, but {rows} were found again.",
            )
        self._save(
            state=BatchState.PLANNED,
            payload={"path": str(rest), "rows": rows, "bytes": rest.stat().st_size},
            salesforce_job_id="",
        )
        note(self.batch.job, f"{self.batch}: {said}; {rows} rows go into a new Salesforce job.")
        return retry.delay(self.batch.barren) if self.batch.barren else 0.0


def _added_up(outcomes: list[dict[str, Any]]) -> dict[str, int]:
    """Rows per outcome over all attempts; made anew from their manifests, so nothing is ever added twice."""
    total: dict[str, int] = {}
    for entry in outcomes:
        for name, rows in entry["counts"].items():
            total[name] = total.get(name, 0) + rows
    return total


def wake_when_loaded(job_id: int) -> bool:
    """Make a job due when all its batches have ended. Safe to call at any time, by anybody; True if it did."""
    unfinished = Batch.all_objects.filter(job_id=job_id).exclude(state=BatchState.DONE)
    if unfinished.exists():
        return False
    rows = Job.all_objects.filter(pk=job_id, status__in=[Status.LOADING, Status.CANCELLING])
    return bool(rows.update(next_poll_at=Now()))
