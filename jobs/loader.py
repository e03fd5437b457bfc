"""What all lanes share: the ledger of one batch, and what is done with rows that are left over or were refused.

    attempt -> outcomes -> rows left over: sent anew where nothing can be doubled by that
                        -> rows refused that may be taken another time: sent again, in ever smaller steps
                        -> the end of the batch

An attempt is one Salesforce job, or one run of calls. Each row's last attempt is its outcome.
"""

from __future__ import annotations

import abc
import json
import logging
import math
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from django.db.models.functions import Now

from connections.salesforce.describe import ObjectDescribe
from connections.salesforce.errors import MisconfiguredError, Trouble
from connections.salesforce.session import SalesforceSession
from connections.sessions import salesforce_session
from jobs import files, guards, retry
from jobs.leases import Lease
from jobs.models import Batch, BatchState, Job, Status
from jobs.states import note
from syncs.engine import outcome, payloads
from syncs.engine.outcome import AttemptOutcome
from syncs.engine.payloads import Part
from syncs.engine.plan import Plan
from syncs.spec import SyncSpec

log = logging.getLogger("sfsync.jobs")

CANCELLED = "The job was cancelled."
# The rows that are sent again serially go by calls of collections up to here: truly one after the other, and cheaper.
_MOST_BY_CALLS = 20_000
# The most Salesforce jobs, and calls, that one batch sends refused rows again in.
_MOST_PARTS, _MOST_CALLS = 100, 200
_CALL_ROWS = 200
_TROUBLES: tuple[Trouble, ...] = ("lock", "heavy", "busy")
_WHY: dict[Trouble, str] = {
    "lock": "because others held their records or parents",
    "heavy": "because their triggers and flows took too long",
    "busy": "because Salesforce was busy",
}


class Loader(abc.ABC):
    """One step of one batch, by the holder of its lease."""

    def __init__(self, batch: Batch, lease: Lease) -> None:
        self.batch = batch
        self.lease = lease
        self.workspace = files.workspace()
        lease.on_lost = self.workspace.interrupt

    @abc.abstractmethod
    def step(self) -> float | None:
        """Go on from the state the batch is in. Returns seconds until the next look, None when it has ended."""

    @abc.abstractmethod
    def give_up(self, reason: str) -> float | None:
        """End the batch, with what is known of its rows. reason: in plain words."""

    @property
    @abc.abstractmethod
    def under_way(self) -> bool:
        """Something was sent, and it is not known what became of it."""

    @cached_property
    def session(self) -> SalesforceSession:
        return salesforce_session(self.batch.job.destination)

    @cached_property
    def spec(self) -> SyncSpec:
        return SyncSpec.from_json(self.batch.job.spec)

    @cached_property
    def plan(self) -> Plan:
        return Plan.from_json(self.batch.job.manifests["plan"])

    @cached_property
    def describe(self) -> ObjectDescribe:
        text = Path(self.batch.job.manifests["describe"]["path"]).read_text(encoding="utf-8")
        return ObjectDescribe.from_json(json.loads(text))

    @property
    def payload(self) -> Path:
        """The CSV that the present attempt sends."""
        return Path(self.batch.payload["path"])

    # --- the ledger ---

    def _save(self, **changes: Any) -> None:
        """Write the ledger after a success, and keep the row in memory the same."""
        self._write(failures=0, surprises=0, **changes)

    def _write(self, **changes: Any) -> None:
        self.lease.save(**changes)
        for name, value in changes.items():
            setattr(self.batch, name, value)

    def _cancelling(self) -> bool:
        return Job.all_objects.filter(pk=self.batch.job_id, status=Status.CANCELLING).exists()

    def _same_salesforce_org(self) -> None:
        """The plan was made for one Salesforce org. One that a login leads to by now knows nothing of its jobs."""
        org_id = self.session.identity.org_id
        if org_id != self.batch.job.salesforce_org_id:
            raise MisconfiguredError(
                f"The connection now leads to the Salesforce org {org_id}, but the plan was made for "
                f"{self.batch.job.salesforce_org_id}. Set the connection right again."
            )

    def _is_sealed(self) -> bool:
        """Whether the batch's own payload is what was approved; when it is not, the batch ends, and sends nothing.

        What is sent again is copied from it, so the first look at it is enough.
        """
        if self.payload != self.plan.batch(self.batch.number).file:
            return True
        if not guards.is_broken(self.batch.job, self.batch, self.payload):
            return True
        reason = (
            f"The file of batch {self.batch.number} was changed after its plan was made: its checksum differs from the "
            "one that was stored then. It was not sent. Find out who can write to the folder of the job's files, and "
            "start the sync again."
        )
        self._end(unresolved="not_sent", reason=reason)
        return False

    def _note(self, text: str) -> None:
        log.info("%s: %s", self.batch, text)
        note(self.batch.job, f"{self.batch}: {text}")

    def _end(self, *, unresolved: str = "", reason: str = "") -> None:
        """The batch is over. unresolved: what its rows without an outcome are; reason: why, in plain words."""
        told = [entry["reason"] for entry in self.batch.outcomes if entry.get("what") == "unknown"]
        reason = " ".join(dict.fromkeys([*told, *filter(None, [reason])]))
        if told and (not unresolved or sum(self.batch.counts.values()) >= self.batch.rows):
            unresolved = "unknown"
        self._write(state=BatchState.DONE, unresolved=unresolved, reason=reason, failures=0, waiting=[])
        if reason:
            note(self.batch.job, f"{self.batch}: {reason}")
        log.info("%s has ended. %s", self.batch, reason)

    # --- outcomes ---

    def _keep(self, read: AttemptOutcome, what: str, changes: dict[str, Any], **about: Any) -> None:
        """Save what an attempt did, or of which of its rows nobody can tell. Kept again, it replaces itself.

        what: "results" or "unknown". changes: further columns, saved in the same statement.
        """
        batch = self.batch
        entry = {"attempt": batch.attempt, "what": what, "pass": batch.retries, "again": self._is_again, **about}
        same = (entry["attempt"], entry["what"])
        outcomes = [old for old in batch.outcomes if (old.get("attempt"), old.get("what")) != same]
        outcomes.append({**entry, **read.to_json()})
        self._save(outcomes=outcomes, counts=added_up(outcomes), **changes)

    @property
    def _is_again(self) -> bool:
        """The attempt sends rows that have an outcome already: they were refused."""
        return bool(self.batch.payload.get("again"))

    def _files(self, **wanted: Any) -> list[Path]:
        """The outcome files of entries that hold all these values."""
        return [
            Path(entry["file"])
            for entry in self.batch.outcomes
            if all(entry.get(name) == value for name, value in wanted.items())
        ]

    def _keep_unknown(self, reason: str) -> None:
        """Write down that nobody knows what became of the attempt's rows of which its results say nothing."""
        told = self._files(attempt=self.batch.attempt, what="results")
        with files.attempt(self.batch.job, f"batch-{self.batch.number}") as folder:
            read = outcome.unknown_outcomes(
                self.workspace, self.plan, self.batch.number, self.payload, told, reason, folder / "unknown.parquet"
            )
        if read.rows:
            self._keep(read, "unknown", {}, reason=reason)

    # --- what comes next ---

    def _next(self) -> float | None:
        """The attempt's rows all have an outcome: send the next payload of the pass, or begin another, or end."""
        if self._cancelling():
            self._end(unresolved="not_sent" if self.batch.waiting else "", reason=CANCELLED)
            return None
        if self.batch.waiting:
            first, *rest = self.batch.waiting
            self._plan_attempt(first, rest)
            return 0.0
        return self._send_refused_again()

    def _plan_attempt(self, payload: dict[str, Any], waiting: list[dict[str, Any]], **changes: Any) -> None:
        self._save(
            state=BatchState.PLANNED,
            payload=payload,
            waiting=waiting,
            salesforce_job_id="",
            salesforce_state="",
            calls={},
            **changes,
        )

    def _send_refused_again(self) -> float | None:
        """Rows that were refused for a passing reason are sent again; when there are none, the batch is over."""
        batch, told = self.batch, self._files(**{"pass": self.batch.retries})
        refused = payloads.refused(self.workspace, told)
        tries = batch.retries + 1
        steps = {trouble: retry.step(trouble, tries) for trouble in _TROUBLES if refused.get(trouble)}
        going = {trouble: step for trouble, step in steps.items() if step is not None}
        rows = sum(refused[trouble] for trouble in going)
        if not going:
            if steps:
                rows = sum(refused.values())
                what = "1 row is" if rows == 1 else f"{rows:,} rows are"
                why = _WHY[next(iter(steps))]
                self._note(f"After {tries} tries {what} still refused {why}, and stay so in this job.")
            self._end()
            return None
        worst = next(iter(going))
        step = going[worst]
        lane = self._lane_of(step, rows)
        max_rows, call_rows = self._sizes(step, rows, lane)
        with files.attempt(batch.job, f"batch-{batch.number}") as folder:
            parts = payloads.refused_payloads(
                self.workspace,
                self.plan,
                batch.number,
                told,
                folder,
                troubles=list(going),
                max_rows=max_rows,
                max_bytes=self.spec.batch_bytes if lane == "bulk" else payloads.WHOLE,
                by_parent=step.grouped,
            )
        first, *rest = [self._payload_of(part, lane, call_rows, again=True) for part in parts]
        pause = retry.delay(tries + 1)
        text = self._told(worst, step, rows, len(parts), lane, call_rows, pause)
        if tries > 1 and retry.step(worst, tries - 1) == step:
            log.info("%s: %s", batch, text)
        else:
            self._note(text)
        if step.serial:
            self._one_at_a_time()
        self._plan_attempt(first, rest, retries=tries, barren=0, rest_until=Now() + timedelta(seconds=pause))
        return pause

    def _send_the_rest(self, said: str, trouble: Trouble, *, only_unprocessed: bool) -> float | None:
        """Send those rows of the attempt anew that have no outcome. said: what happened, in words."""
        batch, left = self.batch, self.batch.payload["rows"]
        step = retry.Step()
        if trouble != "busy":
            step = retry.Step(max(_CALL_ROWS, min(10_000, left // 2)), grouped=True, serial=left <= 10_000)
        lane = self._lane
        max_rows, call_rows = self._sizes(step, left, lane)
        with files.attempt(batch.job, f"batch-{batch.number}") as folder:
            parts = payloads.remaining_payloads(
                self.workspace,
                self.plan,
                batch.number,
                self.payload,
                self._files(attempt=batch.attempt),
                folder,
                only_unprocessed=only_unprocessed,
                max_rows=max_rows,
                max_bytes=self.spec.batch_bytes if lane == "bulk" else payloads.WHOLE,
                by_parent=step.grouped,
            )
        if not parts:
            return self._next()
        first, *rest = [self._payload_of(part, lane, call_rows, again=self._is_again) for part in parts]
        self._note(f"{said}; {sum(part.rows for part in parts):,} rows go into {_jobs(len(parts))}.")
        if step.serial:
            self._one_at_a_time()
        self._plan_attempt(first, [*rest, *batch.waiting])
        return retry.delay(batch.barren) if batch.barren else 0.0

    @property
    def _lane(self) -> str:
        return lane_of(self.batch)

    def _lane_of(self, step: retry.Step, rows: int) -> str:
        """How refused rows are sent again. A plain insert never goes by calls: a lost answer could not be settled."""
        batch = self.batch
        few_at_once = step.serial or (step.rows is not None and step.rows <= _CALL_ROWS)
        may_go = batch.operation != "insert" and not self.spec.hard_delete and rows <= _MOST_BY_CALLS
        return "collections" if batch.lane == "bulk" and few_at_once and may_go else batch.lane

    def _sizes(self, step: retry.Step, rows: int, lane: str) -> tuple[int, int]:
        """The most rows of a Salesforce job and of a call, so that there are not too many of them."""
        if lane == "bulk":
            return max(step.rows or self.spec.batch_rows, math.ceil(rows / _MOST_PARTS)), _CALL_ROWS
        at_once = min(_CALL_ROWS, max(step.rows or _CALL_ROWS, math.ceil(rows / _MOST_CALLS)))
        return payloads.WHOLE, at_once

    def _payload_of(self, part: Part, lane: str, call_rows: int, *, again: bool) -> dict[str, Any]:
        known = {"path": str(part.path), "rows": part.rows, "bytes": part.bytes, "lane": lane, "again": again}
        return known if lane == "bulk" else {**known, "call_rows": call_rows}

    def _one_at_a_time(self) -> None:
        if Job.all_objects.filter(pk=self.batch.job_id, serial=False).update(serial=True):
            note(self.batch.job, "From here on one batch of this job is sent at a time, so that they do not lock out.")

    def _told(
        self, trouble: Trouble, step: retry.Step, rows: int, parts: int, lane: str, call_rows: int, pause: float
    ) -> str:
        """How refused rows are sent again, in plain words."""
        how = [f"again in {pause:.0f} s" if pause >= 1 else "again"]
        if lane != "bulk":
            how.append(f"in calls of at most {call_rows}, one after the other")
        elif step.rows is not None:
            how.append(f"in {_jobs(parts)} of at most {step.rows:,} rows")
        columns = payloads.parents(self.plan, self.batch.number) if step.grouped else ()
        if columns:
            how.append(f"ordered by {', '.join(columns)}, so that rows of one parent go together")
        return f"{_rows(rows)} refused {_WHY[trouble]}. They are sent {', '.join(how)}."


def lane_of(batch: Batch) -> str:
    """The lane of a batch's present attempt."""
    lane: str = batch.payload.get("lane") or batch.lane
    return lane


def _rows(rows: int) -> str:
    return "1 row was" if rows == 1 else f"{rows:,} rows were"


def _jobs(count: int) -> str:
    return "a new Salesforce job" if count == 1 else f"{count} new Salesforce jobs"


def added_up(outcomes: list[dict[str, Any]]) -> dict[str, int]:
    """Rows per outcome over all attempts; made anew from their manifests, so nothing is ever added twice.

    A row that was refused and sent again counts as what its last attempt made of it.
    """
    total: dict[str, int] = {}
    for entry in outcomes:
        for name, rows in entry["counts"].items():
            total[name] = total.get(name, 0) + rows
        if entry.get("again"):
            total["failed"] = total.get("failed", 0) - sum(entry["counts"].values())
    return total
