"""What became of each row of a batch: Salesforce's results, joined back to the plan."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from syncs.engine.files import TableWriter, stream
from syncs.engine.matching import (
    DELETED,
    FAILED,
    FAILURES,
    GONE,
    INSERTED,
    OUTCOME_SCHEMA,
    RESTORED,
    RETURNED,
    SUCCESSES,
    UNKNOWN,
    UNPROCESSED,
    UPDATED,
    matcher_of,
    rows_sent,
)
from syncs.engine.payloads import rows_beside
from syncs.engine.plan import Plan
from syncs.engine.results import header_of, rows_of
from syncs.engine.sql import literal, parquet
from syncs.engine.workspace import Workspace


@dataclasses.dataclass(frozen=True)
class AttemptOutcome:
    """What one attempt did to the rows it was given.

    file: Parquet with `_row`, `_seq`, `nkey`, `key`, `action`, `batch`, `outcome` (inserted, updated, deleted,
    restored, already_gone, failed; unprocessed: Salesforce says that it did nothing to it; unknown: nobody can tell),
    `record_id`, `error` (sf__Error, whole; of an unknown row, why).
    rows: how many of them have an outcome, the unprocessed not counted. counts: rows by outcome.
    remaining: rows of the attempt without an outcome. unprocessed: those of them that Salesforce returned as such; of
    the others nobody knows. unmatched: results that belong to no row of the attempt.
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
    """Join the results of one attempt back to the rows of its batch.

    payload: the CSV that was sent in this attempt: the batch's own, or one with some of its rows (see payloads.py).
    successes, failures, unprocessed: the job's results as they were downloaded, plain or `.gz` (Bulk API 2.0 guide,
    "Get Job Successful Record Results" and its neighbours). Columns are found by name, in any order. Answers of
    collections have the same form, and a column `_seq` that names the row.
    to: the Parquet file to write.

    Rows find their results by the key; those of updates and deletes by record id; without a key by content, where
    rows with the same content are interchangeable. Raises `ResultsUnreadable`, `DiskFull`, `Interrupted`.
    """
    batch, part = plan.batch(batch_number), rows_beside(payload)
    matcher = matcher_of(plan, batch, part, header_of(successes))
    with workspace.connect(ordered=True) as connection, contextlib.ExitStack() as stack:
        found = [
            stack.enter_context(rows_of(successes, ["sf__Id", "sf__Created", *matcher.columns()])),
            stack.enter_context(rows_of(failures, ["sf__Id", "sf__Error", *matcher.columns()])),
            stack.enter_context(rows_of(unprocessed, matcher.columns())),
        ]
        for name, results in zip((SUCCESSES, FAILURES, RETURNED), found, strict=True):
            connection.register(name, results.reader)
        matcher.prepare(connection)
        written, counts = _write(workspace, connection, matcher.outcomes(), to)
        unmatched = sum(results.count for results in found) - written
    left_out = counts.pop(UNPROCESSED, 0)
    rows = sum(counts.values())
    sent = batch.rows if part is None else pq.read_metadata(part).num_rows
    totals = {name: counts.get(name, 0) for name in (INSERTED, UPDATED, DELETED, RESTORED, GONE, FAILED)}
    return AttemptOutcome(to, rows, totals, max(0, sent - rows), left_out, max(0, unmatched))


def unknown_outcomes(
    workspace: Workspace,
    plan: Plan,
    batch_number: int,
    payload: Path,
    outcome_files: Sequence[Path],
    reason: str,
    to: Path,
) -> AttemptOutcome:
    """Write the outcome `unknown` for those rows of an attempt of which its results say nothing at all.

    payload: of the attempt. outcome_files: of the attempt. reason: why nobody can tell, in words.
    """
    told = "SELECT NULL::BIGINT AS s WHERE false"
    if outcome_files:
        told = f"SELECT _seq AS s FROM {parquet(*outcome_files)} WHERE batch = {batch_number}"
    rows = rows_sent(plan, plan.batch(batch_number), rows_beside(payload))
    query = (
        f"SELECT _row, _seq, nkey, key, action, batch, '{UNKNOWN}' AS outcome, record_id, {literal(reason)} AS error "
        f"FROM {rows} ANTI JOIN ({told}) ON s = _seq"
    )
    with workspace.connect(ordered=True) as connection:
        written, _ = _write(workspace, connection, query, to)
    return AttemptOutcome(to, written, {UNKNOWN: written}, 0, 0, 0)


def _write(
    workspace: Workspace, connection: duckdb.DuckDBPyConnection, query: str, to: Path
) -> tuple[int, dict[str, int]]:
    """Write outcome lines; return how many, and how many of each outcome."""
    counts: dict[str, int] = {}
    with TableWriter(to, OUTCOME_SCHEMA) as writer:
        for part in stream(connection, query):
            workspace.check()
            for entry in pc.value_counts(part.column("outcome")):
                name = entry["values"].as_py()
                counts[name] = counts.get(name, 0) + entry["counts"].as_py()
            writer.add(pa.Table.from_batches([part]).cast(OUTCOME_SCHEMA))
        writer.finish()
    return writer.rows, counts
