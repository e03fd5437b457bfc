"""Staged rows with everything worked out that stands in no cell: expressions, replacements, dates; and filtered.

Rows are worked on in portions whose memory is known before: from the lengths of their cells, and from how much an
expression can make of them. What a person wrote runs in a sealed connection, under a clock.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from syncs.engine.computed import Work, work_of
from syncs.engine.errors import ExpressionTooSlow
from syncs.engine.files import TableWriter
from syncs.engine.portions import chunks, is_too_much, portions
from syncs.engine.sealed import LONGEST_PORTION, LONGEST_RUN, TakesTooLong, stopped_after
from syncs.engine.stage import Staged
from syncs.engine.workspace import Workspace
from syncs.spec import SyncSpec

_READ_ROWS = 122_880


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A staged table that is ready to be planned.

    path: Parquet with `_row`, and `c_<i>` for each column that a line of the mapping takes as it is; for each line
    that is worked out, `x_<line>` (text, NULL when blank), `xe_<line>` (true when there was an error) and `xw_<line>`
    (then, what stood in the columns); and with a filter, `_filter_error` (nobody can tell whether the row passes) and
    `_filter_values`. The staged table itself, when there is nothing to work out.
    rows: how many it has. filtered: how many the filter left out. has_filter: whether it has `_filter_error`.
    errors: rows with an error, by target field; those of the filter under "".
    """

    path: Path
    rows: int
    filtered: int = 0
    has_filter: bool = False
    errors: dict[str, int] = dataclasses.field(default_factory=dict)

    def at(self, folder: Path) -> Prepared:
        """The same table with its file in another folder, where it was copied under its name."""
        return dataclasses.replace(self, path=folder / self.path.name)

    def of(self, staged: Staged) -> Staged:
        """The staged table with this one in its place, for the steps that follow."""
        return dataclasses.replace(
            staged, path=self.path, rows=self.rows, filtered=self.filtered, has_filter=self.has_filter
        )

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        return {**dataclasses.asdict(self), "path": str(self.path)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Prepared:
        """The table that `to_json` wrote."""
        return cls(**{**data, "path": Path(data["path"])})


def prepare(
    workspace: Workspace,
    spec: SyncSpec,
    staged: Staged,
    to: Path,
    *,
    job_started_at: datetime.datetime,
    file_name: str,
    filter_here: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Prepared:
    """Filter the staged rows, and work out the lines of the mapping that are more than a cell, into the file `to`.

    spec: one that `problems` found nothing wrong with. job_started_at: with a time zone. file_name: of the source, or
    "". filter_here: the selection's filter is an expression that the source has not applied.
    progress: called with the number of rows read so far, about once per 100,000 rows.
    Raises `ExpressionTooSlow`, `DiskFull`, `Interrupted`, `OutOfMemory`. The file is on disk when this returns.
    """
    with workspace.connect(sealed=True, time_zone=spec.time_zone) as connection:
        work = work_of(
            connection,
            spec,
            staged.columns,
            filter_here=filter_here,
            job_started_at=job_started_at,
            file_name=file_name,
        )
        if work is None:
            return Prepared(staged.path, staged.rows)
        preparer = _Preparer(workspace, connection, work, staged)
        with TableWriter(to, preparer.schema) as writer, ThreadPoolExecutor(1) as pool:
            # While one portion is written, the next one is worked out.
            writing: Future[bool] | None = None
            for read, table in preparer.tables():
                if writing is not None and writing.result() and progress is not None:
                    progress(read)
                writing = pool.submit(preparer.write, table, writer)
            if writing is not None:
                writing.result()
            writer.finish()
    if progress is not None:
        progress(staged.rows)
    targets = {f"xe_{line.index}": spec.mappings[line.index].target for line in work.lines}
    errors = {{**targets, "_filter_error": ""}[name]: count for name, count in preparer.errors.items() if count}
    return Prepared(to, writer.rows, staged.rows - writer.rows, work.filter is not None, errors)


class _Preparer:
    """The state of one call of `prepare`. errors: rows with an error, by the column that says so."""

    def __init__(self, workspace: Workspace, connection: duckdb.DuckDBPyConnection, work: Work, staged: Staged) -> None:
        self._workspace, self._connection, self._work, self._staged = workspace, connection, work, staged
        self._padded = _Padded(staged.padded, work.padded) if work.padded else None
        self._until = time.monotonic() + LONGEST_RUN
        self.errors: dict[str, int] = {}
        fields = [("_row", pa.int64()), *((f"c_{place}", pa.string()) for place in work.kept)]
        if work.filter is not None:
            fields += [("_filter_error", pa.bool_()), ("_filter_values", pa.string())]
        for line in work.lines:
            fields += [(f"x_{line.index}", pa.string()), (f"xe_{line.index}", pa.bool_())]
            fields.append((f"xw_{line.index}", pa.string()))
        self.schema = pa.schema(fields)

    def tables(self) -> Iterator[tuple[int, pa.Table]]:
        """The rows in their order, worked out in portions, with the number of rows in the portions before."""
        read = 0
        names = ["_row", *(f"c_{place}" for place in self._work.columns)]
        with pq.ParquetFile(self._staged.path) as file:
            for batch in file.iter_batches(_READ_ROWS, columns=names):
                table = pa.Table.from_batches([batch])
                if self._padded is not None:
                    table = self._padded.added_to(table)
                for portion in portions(self._work, table):
                    self._workspace.check()
                    yield read, self._computed(portion)
                    read += portion.num_rows

    def _computed(self, table: pa.Table) -> pa.Table:
        """One portion, worked out."""
        seconds = min(LONGEST_PORTION, self._until - time.monotonic())
        if seconds <= 0:
            raise ExpressionTooSlow(self._why_too_slow(table, seconds))
        self._connection.register("portion", pa.Table.from_batches(chunks(self._work, table), schema=table.schema))
        query = self._work.query("portion", guarded=is_too_much(self._work, table))
        try:
            with stopped_after(self._connection, seconds):
                return self._connection.sql(query).to_arrow_table()
        except TakesTooLong as error:
            raise ExpressionTooSlow(self._why_too_slow(table, seconds)) from error
        finally:
            self._connection.unregister("portion")

    def _why_too_slow(self, table: pa.Table, seconds: float) -> str:
        first, last = table.column("_row")[0].as_py(), table.column("_row")[-1].as_py()
        names = ", ".join(line.mapping.target for line in self._work.lines) or "the filter"
        if seconds < LONGEST_PORTION:
            where = f"all rows of the source took more than {LONGEST_RUN / 60:,.0f} minutes"
        else:
            where = f"the rows {first} to {last} took more than {LONGEST_PORTION:,.0f} seconds"
        return f"The expressions and replacements of this sync are too slow ({names}): {where}. Make them simpler."

    def write(self, table: pa.Table, writer: TableWriter) -> bool:
        """Write what was worked out; return whether it filled up a row group."""
        return writer.add(self._finished(table))

    def _finished(self, table: pa.Table) -> pa.Table:
        """Trimmed, and with NULL for what is blank then."""
        table = table.cast(self.schema)
        for line in self._work.lines:
            place = table.schema.get_field_index(f"x_{line.index}")
            text = table.column(place)
            short = pc.utf8_trim_whitespace(text)
            blank = pc.equal(pc.binary_length(short), 0)
            text = pc.if_else(blank, pa.scalar(None, pa.string()), short if line.mapping.trim else text)
            table = table.set_column(place, table.schema.field(place), text)
        for name in self.schema.names:
            if name.startswith("xe_") or name == "_filter_error":
                self.errors[name] = self.errors.get(name, 0) + (pc.sum(table.column(name)).as_py() or 0)
        return table


class _Padded:
    """The untrimmed cells of rows in which something was trimmed, read beside the trimmed ones, in the same order."""

    def __init__(self, path: Path | None, places: tuple[int, ...]) -> None:
        self._places = places
        self._schema = pa.schema([("_row", pa.int64()), *((f"c_{place}", pa.string()) for place in places)])
        self._batches = self._read(path)
        self._pending = self._schema.empty_table()

    def added_to(self, table: pa.Table) -> pa.Table:
        """The table with `u_<i>`, the untrimmed cell, for each place."""
        found = self._up_to(table.column("_row")[-1].as_py()) if table.num_rows else self._pending.slice(0, 0)
        index = pc.index_in(table.column("_row"), found.column("_row").combine_chunks())
        for place in self._places:
            untrimmed = found.column(f"c_{place}").combine_chunks().take(index)
            cells = pc.if_else(pc.is_null(index), table.column(f"c_{place}"), untrimmed)
            table = table.append_column(f"u_{place}", cells)
        return table

    def _read(self, path: Path | None) -> Iterator[pa.RecordBatch]:
        if path is not None:
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(_READ_ROWS, columns=self._schema.names)

    def _up_to(self, last: int) -> pa.Table:
        """The untrimmed rows with numbers up to `last` that were not handed out yet."""
        pieces = [self._pending]
        while not pieces[-1].num_rows or pieces[-1].column("_row")[-1].as_py() <= last:
            batch = next(self._batches, None)
            if batch is None:
                break
            pieces.append(pa.Table.from_batches([batch]))
        rows = pa.concat_tables(pieces)
        count = pc.sum(pc.less_equal(rows.column("_row"), last)).as_py() or 0
        self._pending = rows.slice(count)
        return rows.slice(0, count)
