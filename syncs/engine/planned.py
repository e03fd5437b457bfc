"""Looking at what a plan is going to do, before it does it: row by row, with what each field holds and will hold."""

from __future__ import annotations

import bisect
import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from syncs.engine.before import Before
from syncs.engine.encode import encode_header, encode_rows
from syncs.engine.errors import engine_errors
from syncs.engine.files import flush_to_disk
from syncs.engine.plan import Plan, PlannedBatch
from syncs.engine.results import rows_from
from syncs.engine.sql import literal, literals, parquet
from syncs.engine.values import CLEARED
from syncs.engine.workspace import Workspace

# What changes something in Salesforce; the usual thing to look at.
CHANGES = ("insert", "update", "upsert", "delete", "undelete", "expire")
_WINDOW = 16_384  # lines of a plan that are searched, or written, at once
_SEARCH_SECONDS = 0.12  # after which a search stops at the end of its window
_LINE = "file_row_number AS line, _row, _seq, action, key, record_id, batch"


@dataclasses.dataclass(frozen=True)
class Change:
    """A field that a row writes.

    before: what the record holds; None for nothing. known: whether that was read; before means nothing without it.
    after: what is sent; None clears the field.
    """

    field: str
    known: bool
    before: str | None
    after: str | None

    @property
    def differs(self) -> bool:
        """Whether it changes the record, as far as anybody knows."""
        return not self.known or self.before != self.after


@dataclasses.dataclass(frozen=True)
class PlannedRow:
    """A line of a plan. line: its place there, from 0. row: of the source, None for a record that left it.

    key, record_id: "" where unknown. is_new: whether the record is not there yet, None when that was not read. changes:
    the fields that it writes; of a delete, what the record holds.
    """

    line: int
    row: int | None
    action: str
    key: str
    record_id: str
    is_new: bool | None
    changes: tuple[Change, ...]


@dataclasses.dataclass(frozen=True)
class PlannedRows:
    """A page of a plan. following: the line to go on after, or None when there are no more.

    A search that takes long ends before its page is full, or with nothing found yet: then too it can be gone on with.
    """

    rows: tuple[PlannedRow, ...]
    following: int | None


def page(
    workspace: Workspace,
    plan: Plan,
    before: Before | None,
    *,
    actions: Sequence[str] = CHANGES,
    search: str = "",
    after: int = -1,
    limit: int = 50,
) -> PlannedRows:
    """The first `limit` lines of a plan behind line `after`.

    before: the before-images, or None. actions: only lines of these. search: text, in whatever case, that must stand
    in the key, the record's id, or a value that is sent or was there.
    """
    reader = _Reader(workspace, plan, before)
    with workspace.connect(ordered=True) as connection:
        if not search:
            table = reader.lines(connection, actions, after, limit + 1)
            shown = table.slice(0, limit)
            following = shown.column("line")[limit - 1].as_py() if table.num_rows > limit else None
            return PlannedRows(reader.rows(connection, shown), following)
        found: list[PlannedRow] = []
        started = time.monotonic()
        while True:
            table = reader.lines(connection, actions, after, _WINDOW)
            found += reader.rows(connection, table, search=search, limit=limit + 1 - len(found))
            if len(found) > limit:
                return PlannedRows(tuple(found[:limit]), found[limit - 1].line)
            if table.num_rows < _WINDOW:
                return PlannedRows(tuple(found), None)
            after = table.column("line")[-1].as_py()
            if time.monotonic() - started > _SEARCH_SECONDS:
                return PlannedRows(tuple(found), after)


def plan_csv(workspace: Workspace, plan: Plan, before: Before | None, to: Path) -> int:
    """Write the lines of a plan that change something as CSV; return how many there are.

    Columns: `_row`, `_action`, `_key`, `_record_id`, then each field as it is sent, `#N/A` where it is cleared, and
    `<field> before` where before-images are there.
    """
    reader = _Reader(workspace, plan, before)
    columns = ["_row", "_action", "_key", "_record_id", *reader.titles]
    columns += [f"{title} before" for title in (before.fields if before else ())]
    schema = pa.schema([(name, pa.string()) for name in columns])
    rows, after = 0, -1
    with workspace.connect(ordered=True) as connection, to.open("xb") as file:
        file.write(encode_header(schema))
        while True:
            lines = reader.lines(connection, CHANGES, after, _WINDOW)
            if not lines.num_rows:
                break
            workspace.check()
            table = reader.cells(connection, lines, "").drop_columns(["line", "known"]).rename_columns(columns)
            file.write(encode_rows(table.cast(schema)))
            rows += table.num_rows
            after = lines.column("line")[-1].as_py()
    with engine_errors():
        flush_to_disk(to)
    return rows


class _Reader:
    """Reads lines of one plan together with their payload and their before-images."""

    def __init__(self, workspace: Workspace, plan: Plan, before: Before | None) -> None:
        self._workspace, self._plan, self._before = workspace, plan, before
        written = [column.sent_as for column in plan.columns]
        mapped = {*written, *(column.field for column in plan.columns)}
        stamps = [title for title in (before.fields if before else ()) if title not in mapped]
        # What expiry stamps is in no line of the mapping.
        self.titles = [*written, *stamps]

    def lines(self, connection: duckdb.DuckDBPyConnection, actions: Sequence[str], after: int, limit: int) -> pa.Table:
        """Lines of the plan in their order: line, _row, _seq, action, key, record_id, batch."""
        return connection.sql(
            f"SELECT {_LINE} FROM read_parquet({literal(str(self._plan.rows_file))}, file_row_number = true) "
            f"WHERE file_row_number > {int(after)} AND action IN ({literals(actions)}) "
            f"ORDER BY file_row_number LIMIT {int(limit)}"
        ).to_arrow_table()

    def rows(
        self, connection: duckdb.DuckDBPyConnection, lines: pa.Table, *, search: str = "", limit: int | None = None
    ) -> tuple[PlannedRow, ...]:
        """The lines with what they change; those in which the text `search` stands, at most `limit`."""
        table = self.cells(connection, lines, search)
        if limit is not None:
            table = table.slice(0, limit)
        return tuple(self._row(line) for line in table.to_pylist())

    def _row(self, line: dict[str, Any]) -> PlannedRow:
        fields = self._before.fields if self._before else ()
        # A before-image that is not there, of a line that changes a record: the record is not there either.
        known = self._before is not None and line["action"] != "insert"
        held = {title: line[f"b_{i}"] for i, title in enumerate(fields)}
        changes = []
        for place, title in enumerate(self.titles):
            sent = line[f"a_{place}"]
            if line["action"] == "delete":
                if known and held.get(title) is not None:
                    changes.append(Change(title, True, held[title], None))
            elif sent is not None:
                after = None if sent == CLEARED else sent
                changes.append(Change(title, known and title in held, held.get(title), after))
        key, record_id = line["key"] or "", line["record_id"] or ""
        is_new = True if line["action"] == "insert" else not line["known"] if known else None
        return PlannedRow(line["line"], line["_row"], line["action"], key, record_id, is_new, tuple(changes))

    def cells(self, connection: duckdb.DuckDBPyConnection, lines: pa.Table, search: str) -> pa.Table:
        """The lines beside `a_<i>`, what is sent in the i-th title, and `b_<i>`, what the i-th before-image holds."""
        connection.register("plan_lines", lines)
        sent = self._sent(connection, lines)
        after, joins = [f"a_{place}" for place in range(len(self.titles))], ""
        record, known, held = "record_id", "false", []
        if sent is not None:
            connection.register("sent", sent)
            joins += " LEFT JOIN sent ON s_line = line"
        if self._before is not None:
            record, known = "coalesce(record_id, b_id)", "b_seq IS NOT NULL"
            held = [f"b_{i}" for i in range(len(self._before.fields))]
            images = f"SELECT _seq AS b_seq, record_id AS b_id, {', '.join(held)} FROM {parquet(self._before.path)}"
            wanted = "(SELECT _seq AS w FROM plan_lines)"
            joins += f" LEFT JOIN (SELECT * FROM ({images}) SEMI JOIN {wanted} ON w = b_seq) ON b_seq = _seq"
        columns = ["line", "_row", "action", "key", f"{record} AS record_id", f"{known} AS known"]
        columns += after if sent is not None else [f"NULL::VARCHAR AS {name}" for name in after]
        query = f"SELECT {', '.join([*columns, *held])} FROM plan_lines{joins}"
        if search:
            text = f"lower({literal(search)})"
            holds = (f"contains(lower({name}), {text}) IS TRUE" for name in ["key", "record_id", *after, *held])
            query = f"SELECT * FROM ({query}) WHERE {' OR '.join(holds)}"
        table = connection.sql(f"{query} ORDER BY line").to_arrow_table()
        for name in ("plan_lines", "sent"):
            connection.unregister(name)
        return table

    def _sent(self, connection: duckdb.DuckDBPyConnection, lines: pa.Table) -> pa.Table | None:
        """Of the lines that send something: `s_line`, and a_<i> for the i-th title."""
        found = []
        batches = connection.execute(
            "SELECT batch, min(line), list(line ORDER BY line) FROM plan_lines "
            "WHERE batch IS NOT NULL AND action <> 'delete' GROUP BY batch"
        ).fetchall()
        for number, first, wanted in batches:
            # The plan's lines of a batch stand in the order of its payload.
            [(place,)] = connection.execute(
                f"SELECT count(*) FROM read_parquet({literal(str(self._plan.rows_file))}, file_row_number = true) "
                f"WHERE batch = {number} AND file_row_number < {first}"
            ).fetchall()
            found.append(self._payload(connection, self._plan.batch(number), place, wanted))
        return pa.concat_tables(found) if found else None

    def _payload(
        self, connection: duckdb.DuckDBPyConnection, batch: PlannedBatch, place: int, lines: Sequence[int]
    ) -> pa.Table:
        """Rows of a batch's payload from a place on, one for each line."""
        mark = batch.marks[max(0, bisect.bisect_right(batch.marks, (place, 1 << 62)) - 1)]
        parts, rows = [], 0
        skip = place - mark[0]
        with rows_from(batch.file, mark[1]) as payload:
            for part in payload:
                parts.append(pa.Table.from_batches([part]))
                rows += part.num_rows
                if rows >= skip + len(lines):
                    break
        table = pa.concat_tables(parts).slice(skip, len(lines))
        titles = {name.lower(): name for name in table.column_names}
        columns = [pa.array(lines, pa.int64())]
        for title in self.titles:
            name = titles.get(title.lower())
            columns.append(pa.nulls(table.num_rows, pa.string()) if name is None else table.column(name))
        return pa.Table.from_arrays(columns, names=["s_line", *(f"a_{i}" for i in range(len(self.titles)))])


def counts_in_words(plan: Plan) -> Iterator[tuple[str, int]]:
    """What a plan does, a few words each: for whoever reads it in a shell."""
    words = {
        "insert": "to insert",
        "update": "to update",
        "upsert": "to insert or update",
        "source_delete": "to delete, by rows of the source",
        "undelete": "to restore from the recycle bin",
        "delete": "to delete, because they left the source",
        "expire": "to expire",
        "unchanged": "unchanged",
        "ignored": "ignored by the mode",
        "filtered": "filtered out",
        "parked": "parked",
        "rejected": "rejected by a rule",
        "malformed": "malformed",
        "withheld": "withheld from deletion",
    }
    return ((text, plan.counts[name]) for name, text in words.items() if plan.counts.get(name))
