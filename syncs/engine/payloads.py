"""Payloads made of some rows of a batch: those left over, or those that were refused and may be taken another time.

A batch's own payload is the plan, byte for byte. Rows that are sent again are copied from it, and beside each such CSV
lies a list of the rows that it holds, so that what becomes of them is joined to these and no others.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from connections.salesforce.errors import NESTED_TROUBLES, TROUBLES, WRAPPING_ROW_CODES, Trouble
from syncs.engine.encode import BatchWriter
from syncs.engine.errors import engine_errors
from syncs.engine.files import flush_to_disk, stream
from syncs.engine.matching import FAILED, UNPROCESSED, rows_sent
from syncs.engine.plan import Plan
from syncs.engine.results import header_of, rows_of
from syncs.engine.sql import identifier, literal, literals, parquet
from syncs.engine.workspace import Workspace

_ROWS = pa.schema([("_seq", pa.int64())])
# As large as it comes.
WHOLE = 1 << 62
# Users and record types are pointed to by everything, and are not locked by it.
_NO_PARENTS = frozenset({"id", "ownerid", "recordtypeid"})


@dataclasses.dataclass(frozen=True)
class Part:
    """A payload with some of a batch's rows. rows, bytes: what it holds."""

    path: Path
    rows: int
    bytes: int


def rows_beside(payload: Path) -> Path | None:
    """The list of rows (Parquet, `_seq`) of a payload that holds some of its batch's rows; None for a batch's own."""
    path = _beside(payload)
    return path if path.exists() else None


def _beside(payload: Path) -> Path:
    return payload.with_suffix(".rows.parquet")


def remaining_payloads(
    workspace: Workspace,
    plan: Plan,
    batch_number: int,
    payload: Path,
    outcome_files: Sequence[Path],
    folder: Path,
    *,
    only_unprocessed: bool = False,
    max_rows: int = WHOLE,
    max_bytes: int = WHOLE,
    by_parent: bool = False,
) -> list[Part]:
    """Write the rows of an attempt that have no outcome yet, as one payload or several; none when there are none.

    payload: the CSV of the attempt. outcome_files: of the attempt. only_unprocessed: leave out rows of which nobody
    knows what became. Without a key these must not go twice. The others: as for `refused_payloads`.
    """
    if only_unprocessed and not outcome_files:
        return []
    wanted = f"SELECT _seq FROM {rows_sent(plan, plan.batch(batch_number), rows_beside(payload))}"
    if outcome_files:
        told = f"(SELECT _seq AS s, outcome FROM {parquet(*outcome_files)} WHERE batch = {batch_number})"
        wanted += f" ANTI JOIN (SELECT s FROM {told} WHERE outcome <> '{UNPROCESSED}') ON s = _seq"
        if only_unprocessed:
            unprocessed = f"SELECT s AS u FROM {told} WHERE outcome = '{UNPROCESSED}'"
            wanted = f"SELECT _seq FROM ({wanted}) SEMI JOIN ({unprocessed}) ON u = _seq"
    order = parents(plan, batch_number) if by_parent else ()
    return _copied(workspace, plan, batch_number, wanted, folder, "rest", max_rows, max_bytes, order)


def refused(workspace: Workspace, outcome_files: Sequence[Path]) -> dict[Trouble, int]:
    """How many rows were refused that may be taken another time, by what helps. outcome_files: of one pass."""
    if not outcome_files:
        return {}
    with workspace.connect() as connection:
        found = connection.execute(
            f"SELECT trouble, count(*) FROM ({_troubled(outcome_files)}) GROUP BY trouble"
        ).fetchall()
    return dict(found)


def refused_payloads(
    workspace: Workspace,
    plan: Plan,
    batch_number: int,
    outcome_files: Sequence[Path],
    folder: Path,
    *,
    troubles: Sequence[Trouble],
    max_rows: int,
    max_bytes: int,
    by_parent: bool = False,
) -> list[Part]:
    """Write the rows that were refused and may be taken another time, as one payload or several.

    outcome_files: of one pass, so that no row stands in them twice. troubles: rows with these only. max_rows,
    max_bytes: the largest payload to make. by_parent: rows of one parent stand together.
    """
    wanted = f"SELECT _seq FROM ({_troubled(outcome_files)}) WHERE trouble IN ({literals(troubles)})"
    order = parents(plan, batch_number) if by_parent else ()
    return _copied(workspace, plan, batch_number, wanted, folder, "again", max_rows, max_bytes, order)


def parents(plan: Plan, batch_number: int) -> tuple[str, ...]:
    """The columns of a batch's payload that point to another record: ids, and external ids of parents."""
    columns = {column.sent_as.lower(): column for column in plan.columns}
    found = []
    for name in header_of(plan.batch(batch_number).file):
        column = columns.get(name.lower())
        if column is not None and column.field.lower() not in _NO_PARENTS and ("." in name or column.family == "id"):
            found.append(name)
    return tuple(found)


def trouble_sql(error: str) -> str:
    """SQL: what `trouble_of` says of `error`, a column with whole row errors."""
    code = f"split_part({error}, ':', 1)"
    nested = " ".join(
        f"WHEN contains({error}, {literal(text)}) THEN {literal(trouble)}" for text, trouble in NESTED_TROUBLES
    )
    plain = " ".join(f"WHEN {literal(name)} THEN {literal(trouble)}" for name, trouble in TROUBLES.items())
    return (
        f"CASE WHEN {code} IN ({literals(sorted(WRAPPING_ROW_CODES))}) THEN CASE {nested} END "
        f"ELSE CASE {code} {plain} END END"
    )


def _troubled(outcome_files: Sequence[Path]) -> str:
    return (
        f"SELECT _seq, trouble FROM (SELECT _seq, {trouble_sql('error')} AS trouble "
        f"FROM {parquet(*outcome_files)} WHERE outcome = '{FAILED}') WHERE trouble IS NOT NULL"
    )


def places(plan: Plan, batch_number: int) -> str:
    """A query for `place`, from 0, and `_seq` of each row of a batch's own payload.

    The plan's lines of a batch stand in the order of its payload.
    """
    return (
        "SELECT row_number() OVER (ORDER BY file_row_number) - 1 AS place, _seq "
        f"FROM {parquet(plan.rows_file)} WHERE batch = {batch_number}"
    )


def _copied(
    workspace: Workspace,
    plan: Plan,
    batch_number: int,
    wanted: str,
    folder: Path,
    prefix: str,
    max_rows: int,
    max_bytes: int,
    order: Sequence[str],
) -> list[Part]:
    """Copy the rows of a batch that the query `wanted` names by `_seq` into payloads of their own."""
    batch = plan.batch(batch_number)
    names = header_of(batch.file)
    columns = ", ".join(map(identifier, names))
    names_of = _numbered(folder, prefix)
    writer = BatchWriter(lambda: next(names_of), max_rows=max_rows, max_bytes=max_bytes)
    rows: dict[int, list[pa.Array]] = {}
    with workspace.connect(ordered=True) as connection, contextlib.ExitStack() as stack:
        numbers = f"SELECT place AS p, _seq FROM ({places(plan, batch_number)}) SEMI JOIN ({wanted}) USING (_seq)"
        connection.execute(f"CREATE TEMP TABLE numbers AS {numbers}").fetchall()
        payload = stack.enter_context(rows_of(batch.file, names))
        connection.register("payload", placed(payload.reader))
        by = ", ".join([*map(identifier, order), "place"])
        query = f"SELECT {columns}, _seq FROM payload JOIN numbers ON p = place ORDER BY {by}"
        for part in stream(connection, query):
            workspace.check()
            table = pa.Table.from_batches([part])
            if table.num_rows:
                _remember(rows, writer.write(table.select(names)), table.column("_seq"))
    writer.close()
    parts = []
    for made in writer.done:
        with engine_errors():
            pq.write_table(pa.table([pa.concat_arrays(rows[made.number])], schema=_ROWS), _beside(made.path))
            flush_to_disk(_beside(made.path))
        parts.append(Part(made.path, made.rows, made.bytes))
    return parts


def _numbered(folder: Path, prefix: str) -> Iterator[tuple[Path, int]]:
    """Names for files, one behind the other, with their numbers."""
    for number in itertools.count(1):
        yield folder / f"{prefix}-batch-{number:05d}.csv", number


def placed(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """The same rows with `place`, their number from 0."""
    schema = reader.schema.append(pa.field("place", pa.int64()))

    def numbered() -> Iterator[pa.RecordBatch]:
        first = 0
        for batch in reader:
            place = pa.array(range(first, first + batch.num_rows), pa.int64())
            first += batch.num_rows
            yield pa.RecordBatch.from_arrays([*batch.columns, place], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, numbered())


def _remember(rows: dict[int, list[pa.Array]], numbers: pa.ChunkedArray, seqs: pa.ChunkedArray) -> None:
    """Add the rows to those of the payload that each went into."""
    first, whole = 0, seqs.combine_chunks()
    for chunk in numbers.chunks:
        if len(chunk):
            rows.setdefault(chunk[0].as_py(), []).append(whole.slice(first, len(chunk)))
            first += len(chunk)
