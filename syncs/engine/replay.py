"""Rows of an earlier job as a source of their own: all that were refused, or one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from syncs.engine import rules
from syncs.engine.files import TableWriter, row_ranges, stream
from syncs.engine.refused import REFUSED
from syncs.engine.sql import literal, parquet
from syncs.engine.stage import Staged
from syncs.engine.workspace import Workspace


def replay(workspace: Workspace, staged: Staged, errors_file: Path, to: Path) -> Staged:
    """Write a staged table with nothing but the rows that were refused; memory does not grow with the table.

    staged: what the earlier job read. errors_file: a Parquet of its row errors. to: the Parquet file to write;
    untrimmed rows, if any, go into a file beside it, `<to's name>-padded.parquet`. Rows keep their numbers. Malformed
    records are left out: they are no rows. So are rows that went on with a violation: they were sent. Raises
    `Interrupted`, `DiskFull` and `OutOfMemory`.
    """
    wanted = f"{REFUSED} AND code <> {literal(rules.MALFORMED)}"
    refused = f"(SELECT _row FROM {parquet(errors_file)} WHERE _row IS NOT NULL AND {wanted})"
    return _rows_of(workspace, staged, refused, to)


def one_row(workspace: Workspace, staged: Staged, row: int, to: Path) -> Staged:
    """Write a staged table with one row of another one, under its number there. As `replay`; no row: an empty table."""
    return _rows_of(workspace, staged, f"(SELECT {int(row)}::BIGINT AS _row)", to)


def _rows_of(workspace: Workspace, staged: Staged, refused: str, to: Path) -> Staged:
    """Write a staged table with those rows whose `_row` stands in the FROM item `refused`."""
    beside = to.with_name(f"{to.stem}-padded.parquet")
    trimmed = [0] * len(staged.columns)
    with workspace.connect(ordered=True) as connection:
        ranges = row_ranges(connection, refused)
        rows = _copy(workspace, connection, staged.path, refused, ranges, to)
        padded = 0
        if staged.padded is not None:
            padded = _copy(workspace, connection, staged.padded, refused, ranges, beside, trimmed)
    counts = {column: count for column, count in zip(staged.columns, trimmed, strict=True) if count}
    return dataclasses.replace(
        staged, path=to, padded=beside if padded else None, rows=rows, malformed=(), trimmed=counts
    )


def _copy(
    workspace: Workspace,
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    refused: str,
    ranges: list[tuple[int, int]],
    to: Path,
    trimmed: list[int] | None = None,
) -> int:
    """Copy the rows that are refused; return how many. trimmed: gets the cells with blanks at their edges, if given."""
    schema = connection.sql(f"SELECT * FROM {parquet(path)} LIMIT 0").to_arrow_table().schema
    with TableWriter(to, schema) as writer:
        for first, last in ranges:
            here = f"_row BETWEEN {first} AND {last}"
            wanted = f"(SELECT _row AS w_row FROM {refused} WHERE {here})"
            query = f"SELECT * FROM {parquet(path)} SEMI JOIN {wanted} ON w_row = _row WHERE {here} ORDER BY _row"
            for batch in stream(connection, query):
                workspace.check()
                table = pa.Table.from_batches([batch]).cast(schema)
                writer.add(table)
                if trimmed is not None:
                    _count_trimmed(table, trimmed)
        writer.finish()
    return writer.rows


def _count_trimmed(raw: pa.Table, counts: list[int]) -> None:
    for place in range(len(counts)):
        column = raw.column(f"c_{place}")
        differs = pc.not_equal(pc.binary_length(column), pc.binary_length(pc.utf8_trim_whitespace(column)))
        counts[place] += pc.sum(differs).as_py() or 0
