"""What became of each row of a batch: Salesforce's results, joined back to the plan."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from syncs.engine.encode import encode_header, encode_rows, without_blank_lines
from syncs.engine.errors import engine_errors
from syncs.engine.files import TableWriter, flush_to_disk, stream
from syncs.engine.matching import (
    DELETED,
    FAILED,
    FAILURES,
    GONE,
    INSERTED,
    OUTCOME_SCHEMA,
    PAYLOAD,
    RETURNED,
    SUCCESSES,
    UNPROCESSED,
    UPDATED,
    matcher_of,
)
from syncs.engine.plan import Plan
from syncs.engine.results import header_of, rows_of
from syncs.engine.workspace import Workspace


@dataclasses.dataclass(frozen=True)
class AttemptOutcome:
    """What one Salesforce job did to the rows it was given.

    file: Parquet with `_row`, `_seq`, `nkey`, `key`, `action`, `batch`, `outcome` (inserted, updated, deleted,
    already_gone, failed, or unprocessed: Salesforce says that it did nothing to it), `record_id`, `error` (sf__Error,
    whole). rows: how many of them have an outcome, the unprocessed not counted.
    counts: rows by outcome. remaining: rows of the attempt without an outcome. unprocessed: those of them that
    Salesforce returned as such; of the others nobody knows. unmatched: results that belong to no row of the batch.
    """

    file: Path
    rows: int
    counts: dict[str, int]
    remaining: int
    unprocessed: int
    unmatched: int

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        return {**dataclasses.asdict(self), "file": str(self.file)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> AttemptOutcome:
        """The outcome that `to_json` wrote."""
        return cls(**{**data, "file": Path(data["file"])})


def read_outcomes(
    workspace: Workspace,
    plan: Plan,
    batch_number: int,
    payload: Path,
    successes: Path,
    failures: Path,
    unprocessed: Path | None,
    to: Path,
) -> AttemptOutcome:
    """Join the results of one Salesforce job back to the rows of its batch.

    payload: the CSV that was sent in this attempt: the batch's own, or one made by `remaining_payload`.
    successes, failures, unprocessed: the job's results as they were downloaded, plain or `.gz` (Bulk API 2.0 guide,
    "Get Job Successful Record Results" and its neighbours). Columns are found by name, in any order.
    to: the Parquet file to write.

    Rows find their results by the key; those of updates and deletes by record id; without a key by content, where
    rows with the same content are interchangeable. Raises `ResultsUnreadable`, `DiskFull`, `Interrupted`.
    """
    batch = plan.batch(batch_number)
    matcher = matcher_of(plan, batch)
    resent = None if payload.name == batch.file.name else payload
    counts: dict[str, int] = {}
    with workspace.connect(ordered=True) as connection, contextlib.ExitStack() as stack:
        found = [
            stack.enter_context(rows_of(successes, ["sf__Id", "sf__Created", *matcher.columns()])),
            stack.enter_context(rows_of(failures, ["sf__Id", "sf__Error", *matcher.columns()])),
            stack.enter_context(rows_of(unprocessed, matcher.columns())),
        ]
        for name, results in zip((SUCCESSES, FAILURES, RETURNED), found, strict=True):
            connection.register(name, results.reader)
        sent = matcher.prepare(connection, resent)
        with TableWriter(to, OUTCOME_SCHEMA) as writer:
            for part in stream(connection, matcher.outcomes()):
                workspace.check()
                for entry in pc.value_counts(part.column("outcome")):
                    name = entry["values"].as_py()
                    counts[name] = counts.get(name, 0) + entry["counts"].as_py()
                writer.add(pa.Table.from_batches([part]).cast(OUTCOME_SCHEMA))
            writer.finish()
        unmatched = sum(results.count for results in found) - writer.rows
    left_out = counts.pop(UNPROCESSED, 0)
    rows = sum(counts.values())
    totals = {name: counts.get(name, 0) for name in (INSERTED, UPDATED, DELETED, GONE, FAILED)}
    return AttemptOutcome(to, rows, totals, max(0, sent - rows), left_out, max(0, unmatched))


def remaining_payload(
    workspace: Workspace,
    plan: Plan,
    batch_number: int,
    payload: Path,
    outcome_files: Sequence[Path],
    to: Path,
    *,
    only_unprocessed: bool = False,
) -> int:
    """Write the CSV of the batch's rows that have no outcome yet; return how many there are (with 0, no file is made).

    payload: the CSV of the last attempt, or the batch's own. outcome_files: of all attempts so far.
    only_unprocessed: leave out rows of which nobody knows what became. Without a key these must not go twice.
    """
    matcher = matcher_of(plan, plan.batch(batch_number))
    names = header_of(payload)
    rows = 0
    with workspace.connect(ordered=True) as connection, contextlib.ExitStack() as stack:
        connection.register(PAYLOAD, stack.enter_context(rows_of(payload, names)).reader)
        file = None
        for part in stream(connection, matcher.remaining(names, outcome_files, only_unprocessed)):
            workspace.check()
            table = pa.Table.from_batches([part])
            if file is None and table.num_rows:
                file = stack.enter_context(to.open("xb"))
                file.write(encode_header(table.schema))
            if file is not None:
                file.write(encode_rows(without_blank_lines(table)))
            rows += table.num_rows
    if rows:
        with engine_errors():
            flush_to_disk(to)
    return rows
