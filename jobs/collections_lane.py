"""The lane of few rows: calls of at most 200 records each, one after the other; also how events are published.

    planned -> sending -> done

A call has no id that one could ask for later. So before each call the ledger says which rows it sends, and after it
where its answers lie. Whoever finds a call without an answer, because its worker died or the answer was lost, waits
until Salesforce cannot be at work on it any more, and then settles it by the rows themselves:

    update      the same values are written again: harmless
    delete      again; a record that is gone by now was deleted by the first call
    undelete    again, by SOAP; a record that is not in the recycle bin any more was restored, by the first call or with
                its parent, if it is there
    upsert      again, by a key that tells which record it is. Records that the first call made are looked up before, so
                that they count as inserted
    insert      records with these keys that were made since are the first call's; only the other rows go again.
                Rows without a key are unknown, and never sent again
    events      again: they are published at least once
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from connections import budget
from connections.models import LimitName
from connections.salesforce import collections, events, query, soap
from connections.salesforce.collections import Result
from connections.salesforce.errors import (
    MisconfiguredError,
    PermanentError,
    SalesforceError,
    TransientError,
    row_error_text,
)
from jobs import files
from jobs.loader import CANCELLED, Loader
from jobs.models import Batch, BatchState
from syncs.engine import outcome, records
from syncs.engine.records import Piece

log = logging.getLogger("sfsync.jobs")

# Salesforce's clock may be so many seconds behind ours, and its servers' clocks behind each other.
_CLOCKS_APART = 60
_LONGEST_LOOK = 30.0  # seconds


class CollectionsLane(Loader):
    """One run of calls at a time."""

    def step(self) -> float | None:
        self._same_salesforce_org()
        if self.batch.state == BatchState.PLANNED:
            if self._cancelling():
                self._end(unresolved="not_sent", reason=CANCELLED)
                return None
            if not self._is_sealed():
                return None
            self._begin()
        if self._sending is not None:
            pause = self._wait_out()
            if pause is not None:
                return pause
            self._settle()
        return self._send()

    @property
    def under_way(self) -> bool:
        return self._sending is not None

    def give_up(self, reason: str) -> float | None:
        if self.batch.state == BatchState.PLANNED:
            self._end(unresolved="not_sent", reason=reason)
            return None
        if self._sending is not None:
            self._unanswerable()
        return self._stop(reason)

    # --- the ledger of calls ---

    @property
    def _sending(self) -> dict[str, Any] | None:
        """The call without an answer: offset and rows in the payload, and Salesforce's time before it."""
        sending: dict[str, Any] | None = self.batch.calls.get("sending")
        return sending

    @property
    def _sent_to(self) -> int:
        """The offset of the first row that was in no call yet."""
        done = self.batch.calls["done"]
        return int(done[-1]["end"]) if done else 0

    @property
    def _most(self) -> int:
        """The most rows of a call."""
        return int(self.batch.payload.get("call_rows", collections.MOST_RECORDS))

    def _begin(self) -> None:
        with files.attempt(self.batch.job, f"batch-{self.batch.number}-calls") as folder:
            self._save(
                state=BatchState.SENDING,
                attempt=self.batch.attempt + 1,
                calls={"folder": str(folder), "done": [], "sending": None, "rows": self._most},
                records_processed=0,
            )
        batch = self.batch
        log.info("%s: calls of %d rows to %s %d rows.", batch, self._most, batch.operation, batch.payload["rows"])

    def _arm(self, piece: Piece, *, again: bool) -> None:
        """Save which rows are about to be sent. After this, nobody sends them without settling first."""
        sending = self._sending if again else None
        told = self.session.salesforce_time or timezone.now() - timedelta(seconds=_CLOCKS_APART)
        # What the first try may have made counts for the second one too.
        after = sending["after"] if sending else told.replace(microsecond=0).isoformat()
        sending = {"offset": piece.offset, "rows": len(piece.seqs), "after": after, "again": again}
        self.lease.check()
        self._write(calls={**self.batch.calls, "sending": sending}, sent_at=Now())

    def _answered(self, piece: Piece, answers: Sequence[tuple[int, Result]]) -> None:
        """Keep what became of the rows of a call, and go on behind them."""
        folder = Path(self.batch.calls["folder"])
        # The lease's token keeps apart two workers who answer the same call.
        stem = f"{piece.offset:07}-{self.lease.token[:12]}"
        successes, failures = folder / f"{stem}-good.csv", folder / f"{stem}-bad.csv"
        records.write_answers(answers, successes, failures)
        self._done({"end": piece.end, "successes": str(successes), "failures": str(failures)})

    def _done(self, call: dict[str, Any]) -> None:
        calls = self.batch.calls
        rows = min(self._most, 2 * calls["rows"])
        calls = {**calls, "done": [*calls["done"], call], "sending": None, "rows": rows}
        self._save(calls=calls, records_processed=call["end"])

    def _unanswerable(self) -> None:
        """Nobody will ever know what became of the rows of the call."""
        assert self._sending is not None
        self._done({"end": self._sending["offset"] + self._sending["rows"], "unknown": True})

    # --- sending ---

    def _pieces(self, offset: int, rows: int) -> Generator[Piece, None, None]:
        return records.pieces(self.workspace, self.plan, self.batch.number, self.payload, offset=offset, most_rows=rows)

    def _send(self) -> float | None:
        with contextlib.closing(self._pieces(self._sent_to, self.batch.calls["rows"])) as pieces:
            for piece in pieces:
                if self._cancelling():
                    return self._stop(CANCELLED)
                self._arm(piece, again=False)
                try:
                    results = self._call(piece.records)
                except TransientError as error:
                    self._no_answer(error)
                    raise
                except (PermanentError, MisconfiguredError) as error:
                    return self._refused(piece, error)
                smaller = self.batch.calls["rows"] < self._most
                self._answered(piece, list(zip(piece.seqs, results, strict=True)))
                if smaller:  # it was, because of a bad row; from here on it need not be
                    return 0.0
        self._read("")
        return self._next()

    def _call(self, each: Sequence[bytes]) -> list[Result]:
        spec = self.spec
        if self._lane == "events":
            budget.use(self.session.identity, LimitName.EVENTS, len(each))
            return events.publish(self.session, each)
        options = collections.WriteOptions(spec.auto_assign, allow_save=spec.duplicate_rules == "allow_save")
        match self.batch.operation:
            case "insert":
                return collections.create(self.session, each, options)
            case "update":
                return collections.update(self.session, each, options)
            case "upsert":
                return collections.upsert(self.session, spec.object, spec.key_fields[0], each, options)
            case "undelete":
                return self._restored([record.decode() for record in each])
            case _:
                return collections.delete(self.session, [record.decode() for record in each])

    def _restored(self, ids: list[str]) -> list[Result]:
        """Bring records back from the recycle bin. One that is there already is as it is wanted."""
        results = soap.undelete(self.session, ids)
        doubtful = [result.id for result in results if result.error.startswith("UNDELETE_FAILED")]
        if not doubtful:
            return results
        id_field = self.describe.fields["Id"]
        keys = [(each,) for each in doubtful]
        found = query.records_by_key(self.session, self.plan.object, ["Id"], [id_field], keys)
        there = {record_id[:15] for (record_id,) in found}
        return [Result(each.id, False) if each.error and each.id[:15] in there else each for each in results]

    def _no_answer(self, error: TransientError) -> None:
        """A call failed. Where it may have had its effect, the ledger keeps it, to be settled."""
        sending = self._sending
        if not error.effect_unknown:
            sending = None
        elif error.code and sending is not None:
            # Salesforce itself answered: it is not at work on the call any more.
            sending = {**sending, "over": True}
        self._write(calls={**self.batch.calls, "sending": sending})
        if sending is not None and not sending.get("over"):
            self._note(
                f"The answer to a call with {sending['rows']} rows was lost ({error}). Salesforce may be at work on "
                f"them for {settings.SFSYNC_LONGEST_CALL_SECONDS:g} s; then they are looked up."
            )

    def _refused(self, piece: Piece, error: SalesforceError) -> float | None:
        """Salesforce refused a whole call: none of its rows was processed."""
        calls = {**self.batch.calls, "sending": None}
        if error.code != "JSON_PARSER_ERROR":
            self._write(calls=calls)
            return self._stop(f"Salesforce refused a call: {error}")
        # One value that cannot be read takes the whole call with it: look for it by halves.
        if len(piece.seqs) > 1:
            self._write(calls={**calls, "rows": max(1, len(piece.seqs) // 2)})
        else:
            self._answered(piece, [(piece.seqs[0], Result("", False, row_error_text(error.code, str(error))))])
        return 0.0

    # --- settling a call without an answer ---

    def _wait_out(self) -> float | None:
        """Seconds until Salesforce cannot be at work on the call any more; None when it is not."""
        sending, longest = self._sending, settings.SFSYNC_LONGEST_CALL_SECONDS
        since = Now() - timedelta(seconds=longest)
        if (sending and sending.get("over")) or not Batch.all_objects.filter(
            pk=self.batch.pk, sent_at__gt=since
        ).exists():
            return None
        sent_at = self.batch.sent_at
        waited = (timezone.now() - sent_at).total_seconds() if isinstance(sent_at, datetime) else 0.0
        return min(_LONGEST_LOOK, max(0.1, longest - waited))

    def _settle(self) -> None:
        """Find out what became of the rows of the call, and send those again that it is right to send again."""
        sending = self._sending
        assert sending is not None
        with contextlib.closing(self._pieces(sending["offset"], sending["rows"])) as pieces:
            piece = next(iter(pieces))
        made = self._made_since(piece, datetime.fromisoformat(sending["after"]))
        if self._cancelling() or made is None:
            self._note(f"Nobody can tell what became of {len(piece.seqs)} rows whose answer was lost.")
            self._unanswerable()
            return
        known = [(seq, Result(record_id, True)) for seq, record_id in made.items()]
        if self.batch.operation != "insert":
            known = []
        done = {seq for seq, _ in known}
        left = [place for place, seq in enumerate(piece.seqs) if seq not in done]
        results: list[Result] = []
        if left:
            self._arm(piece, again=True)
            try:
                results = self._call([piece.records[place] for place in left])
            except TransientError as error:
                self._no_answer(error)
                raise
        answers = [
            (piece.seqs[place], self._of_both(piece.seqs[place], result, made))
            for place, result in zip(left, results, strict=True)
        ]
        log.info("%s: a call with %d rows was settled; %d of them went again.", self.batch, len(piece.seqs), len(left))
        self._answered(piece, [*known, *answers])

    def _made_since(self, piece: Piece, after: datetime) -> dict[int, str] | None:
        """The records that the call made, by `_seq`; none for one that makes no records; None when nobody can tell."""
        if self._lane == "events" or self.batch.operation in ("update", "delete", "undelete"):
            return {}
        unknown: dict[int, str] | None = None if self.batch.operation == "insert" else {}
        fields = [field for name in self.plan.key_fields if (field := self.describe.field(name)) is not None]
        if not fields or len(fields) != len(self.plan.key_fields):
            return unknown
        try:
            found = list(query.made_records(self.session, self.plan.object, fields, records.keys_of(self.plan, piece)))
        except PermanentError as error:  # an object that does not tell when its records were made
            log.warning("%s: %s", self.batch, error)
            return unknown
        if self.batch.operation == "insert":
            # A record with such a key that we made a moment before is as good: better than to make a second one.
            after -= timedelta(seconds=_CLOCKS_APART)
        me = self.session.identity.user_id[:15]
        ours = [record for record in found if record.created_at >= after and record.created_by[:15] == me]
        places = records.found_by_key(self.workspace, self.plan, piece, [record.key for record in ours])
        return {seq: ours[place].id for seq, place in places.items()}

    def _of_both(self, seq: int, second: Result, made: dict[int, str]) -> Result:
        """What became of a row that was in two calls."""
        if self.batch.operation == "delete" and second.error.startswith("ENTITY_IS_DELETED"):
            return Result(second.id, False)
        return Result(second.id, second.created or seq in made, second.error)

    # --- reading ---

    def _stop(self, reason: str) -> float | None:
        """Make no further call. What was answered counts, the rest was not sent."""
        self._read(reason)
        self._end(unresolved="not_sent", reason=reason)
        return None

    def _read(self, reason: str) -> None:
        """Write the outcomes of all calls of the attempt."""
        batch, done = self.batch, self.batch.calls["done"]
        answered = [call for call in done if not call.get("unknown")]
        with files.attempt(batch.job, f"batch-{batch.number}") as folder:
            good, bad = records.joined_answers(
                [Path(call["successes"]) for call in answered], [Path(call["failures"]) for call in answered], folder
            )
            unsent = folder / "unsent.csv"
            seqs = records.seqs_of(self.workspace, self.plan, batch.number, self.payload)
            records.write_unsent(seqs[self._sent_to :], unsent)
            to = folder / "outcomes.parquet"
            read = outcome.read_outcomes(self.workspace, self.plan, batch.number, self.payload, good, bad, unsent, to)
            for path in (good, bad, unsent):
                path.unlink()
        self._keep(read, "results", {}, salesforce_job_id="", state="Sent")
        if read.remaining > read.unprocessed:
            self._keep_unknown(reason or "The answer to a call was lost, and nobody can tell what became of its rows.")
