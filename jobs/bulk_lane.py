"""The lane of many rows: Bulk API 2.0. The ledger that makes a crash harmless.

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
from datetime import timedelta
from typing import Any, cast

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from connections import budget
from connections.models import LimitName
from connections.salesforce import assignment, bulk
from connections.salesforce.errors import (
    JobGone,
    PermanentError,
    TransientError,
    job_error_lasts,
    job_trouble,
    what_to_do_about_job,
)
from jobs import files
from jobs.forecast import CALLS_PER_SALESFORCE_JOB, bulk_batches
from jobs.leases import LeaseLost
from jobs.loader import CANCELLED, Loader
from jobs.models import Batch, BatchState
from jobs.polling import Speed, took
from syncs.engine import outcome

log = logging.getLogger("sfsync.jobs")

# A Salesforce job that settles no row at all, this many times in a row, is not tried again.
MOST_BARREN_ATTEMPTS = 10
# Seconds between looks at a Salesforce job that was told to stop.
ABORT_PAUSE = 5.0
RESULTS: tuple[bulk.Results, ...] = ("successfulResults", "failedResults", "unprocessedrecords")
# Results that do not agree with the Salesforce job's own numbers are downloaded again, this many times at most.
MOST_REREADS = 5
# Two looks at a Salesforce job, and its results of three kinds.
CALLS_TO_READ = 5


class BulkLane(Loader):
    """One Salesforce job at a time."""

    def step(self) -> float | None:
        self._same_salesforce_org()
        steps: dict[str, Callable[[], float | None]] = {
            BatchState.PLANNED: self._send,
            BatchState.CREATED: self._abort,
            BatchState.CLOSING: self._close_again,
            BatchState.CLOSED: self._poll,
            BatchState.ABORTING: self._abort,
        }
        return steps[self.batch.state]()

    @property
    def under_way(self) -> bool:
        return self.batch.state != BatchState.PLANNED

    def give_up(self, reason: str) -> float | None:
        if self.under_way:
            self._keep_unknown(reason)
        self._end(unresolved="not_sent", reason=reason)
        return None

    # --- sending ---

    def _send(self) -> float | None:
        if self._cancelling():
            self._end(unresolved="not_sent", reason=CANCELLED)
            return None
        if not self._is_sealed():
            return None
        try:
            self._create()
            self.lease.check()
            bulk.upload(self.session, self.batch.salesforce_job_id, self.payload)
        except PermanentError as error:
            return self._refused(error)
        if self._cancelling():
            return self._abort()
        self._save(state=BatchState.CLOSING)
        return self._close()

    def _create(self) -> None:
        batch = self.batch
        key = self.spec.key_fields[0] if batch.operation == "upsert" else None
        operation = cast(bulk.Operation, batch.operation)
        if operation == "delete" and self.spec.hard_delete:
            operation = "hardDelete"
        self._take_from_budget()
        rule = self._assignment_rule()
        self.lease.check()
        job = bulk.create_job(self.session, self.spec.object, operation, key, assignment_rule_id=rule)
        try:
            self._save(
                state=BatchState.CREATED,
                salesforce_job_id=job.id,
                salesforce_state=job.state,
                attempt=batch.attempt + 1,
                polls=0,
                records_processed=0,
            )
        except LeaseLost:
            # Nobody will ever look at this job; do not leave it open.
            bulk.abort(self.session, job.id)
            raise
        log.info("%s: Salesforce job %s to %s %d rows.", batch, job.id, operation, batch.payload["rows"])

    def _take_from_budget(self) -> None:
        """Have what the Salesforce job needs, beside what it takes to read the others that are under way."""
        identity = self.session.identity
        others = Batch.all_objects.filter(job__salesforce_org_id=identity.org_id, lane="bulk")
        under_way = others.exclude(state__in=[BatchState.PLANNED, BatchState.DONE]).exclude(pk=self.batch.pk).count()
        budget.have(identity, CALLS_PER_SALESFORCE_JOB + 2 + CALLS_TO_READ * under_way)
        budget.use(identity, LimitName.BATCHES, bulk_batches(self.batch.payload["rows"]))

    def _assignment_rule(self) -> str | None:
        """The assignment rule that the Salesforce job has to name, so that it runs."""
        wanted, object = self.spec.auto_assign, self.spec.object
        if wanted == "off" or self.batch.operation == "delete" or object.lower() not in assignment.BULK_OBJECTS:
            return None
        return assignment.active_rule(self.session, object) if wanted == "default" else wanted

    def _refused(self, error: PermanentError) -> float | None:
        """Salesforce refused the Salesforce job itself, or its upload: no row can have been processed."""
        if self.batch.state == BatchState.CREATED:
            log.warning("%s: the upload was refused: %s", self.batch, error)
            return self._abort()
        self._end(unresolved="not_sent", reason=f"Salesforce refused the batch: {error}")
        return None

    def _close(self) -> float | None:
        self.lease.check()
        bulk.close(self.session, self.batch.salesforce_job_id)
        return self._closed("UploadComplete")

    def _closed(self, state: str) -> float | None:
        times = {"closed": timezone.now().timestamp()}
        self._save(state=BatchState.CLOSED, salesforce_state=state, progress_at=Now(), calls=times)
        return self._pause()

    def _close_again(self) -> float | None:
        job = bulk.state(self.session, self.batch.salesforce_job_id)
        if job.state != "Open":
            self._closed(job.state)
            return self._poll()
        if self._cancelling():
            return self._abort()
        try:
            return self._close()
        except PermanentError as error:
            # E.g. "Found multiple contents": the job cannot be used any more, and has processed nothing.
            log.warning("%s: Salesforce job %s cannot be closed: %s", self.batch, job.id, error)
            return self._abort()

    # --- waiting ---

    def _pause(self) -> float:
        """Seconds until the next look at a Salesforce job."""
        now, batch = timezone.now().timestamp(), self.batch
        closed = batch.calls.get("closed", now)
        rows, elapsed = batch.payload["rows"], max(0.0, now - closed)
        expected = Speed.from_json(batch.job.forecast.get("speed", [])).expected(rows)
        expected = expected.corrected(elapsed, batch.records_processed, rows)
        calls = {"closed": closed, "looked": now, "expected": expected.seconds}
        self._save(polls=batch.polls + 1, calls=calls)
        return expected.next_look(elapsed, settings.SFSYNC_TICK_SECONDS)

    def _time(self) -> dict[str, Any]:
        """How long the Salesforce job took, about: "seconds", 0 when nobody can tell, and whether it was "watched"."""
        calls = self.batch.calls
        if not {"closed", "looked", "expected"} <= calls.keys():
            return {"seconds": 0.0, "watched": False}
        closed, looked, expected = calls["closed"], calls["looked"], calls["expected"]
        seconds, watched = took(looked - closed, timezone.now().timestamp() - closed, expected)
        return {"seconds": round(seconds, 2), "watched": watched}

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
            return min(self._pause(), ABORT_PAUSE)
        return self._settle(job) if job.terminal else min(self._pause(), ABORT_PAUSE)

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
        known = (self.batch.salesforce_state, self.batch.records_processed)
        if (job.state, job.records_processed) != known:
            self._save(salesforce_state=job.state, records_processed=job.records_processed, progress_at=Now())
        elif self._is_stuck():
            self._note(
                f"Salesforce job {job.id} is {job.state} and has done nothing for {settings.SFSYNC_STUCK_HOURS:g} h "
                f"({job.records_processed:,} of {self.batch.payload['rows']:,} rows). It is aborted, and the rest goes "
                "anew. If this happens again, look at Setup > Bulk Data Load Jobs and at status.salesforce.com."
            )
            return self._abort()
        return self._pause()

    def _is_stuck(self) -> bool:
        long_ago = Now() - timedelta(hours=settings.SFSYNC_STUCK_HOURS)
        return Batch.all_objects.filter(pk=self.batch.pk, progress_at__lt=long_ago).exists()

    # --- reading ---

    def _gone(self) -> float | None:
        return self.give_up(
            f"Salesforce job {self.batch.salesforce_job_id} does not exist any more, so nobody can tell what became of "
            "its rows. Run the sync again; rows with a sync key are compared again."
        )

    def _settle(self, job: bulk.JobInfo) -> float | None:
        """The Salesforce job has ended: read what became of each row, and decide about the rest."""
        time = self._time()
        try:
            read = self._read_results(job)
        except JobGone:
            return self._gone()
        if read.rows != job.records_processed and self.batch.rereads < MOST_REREADS:
            self.lease.save(rereads=F("rereads") + 1)
            raise TransientError(
                f"Salesforce job {job.id} processed {job.records_processed} rows, but its results hold {read.rows}; "
                "they are downloaded again."
            )
        changes = {"records_processed": job.records_processed, "barren": 0 if read.rows else self.batch.barren + 1}
        self._keep(read, "results", changes, salesforce_job_id=job.id, state=job.state, **time)
        log.info("%s: Salesforce job %s is %s: %s.", self.batch, job.id, job.state, read.counts)
        return self._go_on(job, read)

    def _read_results(self, job: bulk.JobInfo) -> outcome.AttemptOutcome:
        with files.attempt(self.batch.job, f"batch-{self.batch.number}") as folder:
            successes, failures, unprocessed = told = [
                bulk.download(self.session, job.id, which, folder / f"{which}.csv") for which in RESULTS
            ]
            to = folder / "outcomes.parquet"
            read = outcome.read_outcomes(
                self.workspace, self.plan, self.batch.number, self.payload, successes, failures, unprocessed, to
            )
            for path in told:
                path.unlink()
        return read

    def _go_on(self, job: bulk.JobInfo, read: outcome.AttemptOutcome) -> float | None:
        """Rows are left over: send them anew where nothing can be doubled by that, else say what is known."""
        left = self.batch.payload["rows"] - read.rows
        if left == 0:
            return self._next()
        said = job.error_message or f"Salesforce job {job.id} was {job.state.lower()}"
        stop = self._why_stop(job, said)
        # A job that ended before it had read its rows returns none of them.
        untouched = job.state != "JobComplete" and job.records_processed == read.rows == read.unprocessed == 0
        silent = 0 if untouched else left - read.unprocessed
        if silent:
            said = f"Salesforce job {job.id} says nothing about {silent} rows"
        if silent and (stop or not self._harmless_again):
            # Some of these rows may be in Salesforce; sent again they could be there twice.
            self._keep_unknown(f"{said}.")
        if stop:
            self._end(unresolved="not_sent", reason=stop)
            return None
        trouble = job_trouble(job.error_message) if job.state == "Failed" else "busy"
        only_unprocessed = bool(silent) and not self._harmless_again
        return self._send_the_rest(said, trouble, only_unprocessed=only_unprocessed)

    def _why_stop(self, job: bulk.JobInfo, said: str) -> str:
        """Why rows that are left over are not sent any more; "" when they are."""
        if self._cancelling():
            return CANCELLED
        if job.state == "Failed" and job.records_processed == 0 and job_error_lasts(said):
            advice = what_to_do_about_job(said)
            return f"Salesforce refused the batch: {said.rstrip('.')}. {advice}".rstrip()
        if self.batch.barren >= MOST_BARREN_ATTEMPTS:
            return f"{said}, {self.batch.barren} times in a row."
        return ""

    @property
    def _harmless_again(self) -> bool:
        """Rows may be sent although they may have arrived: the same record is written again, not a second one."""
        if self.batch.operation != "upsert":
            return self.batch.operation in ("update", "delete")
        keys = [self.describe.field(name) for name in self.spec.key_fields]
        return len(keys) == 1 and keys[0] is not None and (keys[0].unique or keys[0].name == "Id")
