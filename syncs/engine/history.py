"""What jobs did to records, kept for years: one file per job, and larger ones that those are merged into.

A file holds the rows that were sent, with what was sent of each field and, where it was read, what the field held
before. Its rows stand in small groups, so that one of them is read without the others; an index beside it says at which
places a key, or a record id, stands. The file of a job has the order in which rows were sent, which costs
nothing; in a merged file the changes of a record stand together.

Columns: `key` as shown, `id` (18 characters), `job`, `ended_at` (of the job), `row` of the source (NULL for a record
that left it), `action`, `outcome`, `error`; `after.<name>`, the text that was sent for a field, by the name it was sent
as (NULL: not sent, `#N/A`: cleared); `before.<name>`, what the field held ('' for nothing, NULL: not known).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from syncs.engine.before import Before
from syncs.engine.errors import PermanentEngineError, engine_errors
from syncs.engine.files import flush_to_disk, stream
from syncs.engine.matching import UPDATED
from syncs.engine.plan import Plan, PlannedBatch
from syncs.engine.results import header_of, rows_of
from syncs.engine.sql import identifier, literal, parquet
from syncs.engine.workspace import Workspace

# Rows of a group: what is read to see one of them.
GROUP_ROWS = 8_192
AFTER, BEFORE = "after.", "before."
BASE = pa.schema(
    [
        ("key", pa.string()),
        ("id", pa.string()),
        ("job", pa.int64()),
        ("ended_at", pa.timestamp("us", "UTC")),
        ("row", pa.int64()),
        ("action", pa.string()),
        ("outcome", pa.string()),
        ("error", pa.string()),
    ]
)
# Few different values, which a dictionary makes small; it would cost more than it saves in the others.
_ALIKE = ["job", "ended_at", "action", "outcome"]

_INDEX_ROWS = 32_768
_PROBE = "What jobs did to records, 0123456789, äöü."


class HistoryUnreadable(PermanentEngineError):
    """What was sent and what became of it do not fit together, so that no history can be written."""


def write(
    workspace: Workspace, plan: Plan, outcomes_file: Path, before: Before | None, job: int, at: datetime, to: Path
) -> int:
    """Write what a job did to records; return the number of rows. Without any there is no file.

    outcomes_file: of the job's end (see finish.py). before: None when nothing was read. job: its number. at: when it
    ended, with a time zone. Rows that neither a key nor an id can find are left out: refused inserts without a key.
    On disk when this returns. Raises HistoryUnreadable, DiskFull, Interrupted.
    """
    with workspace.connect(ordered=True) as connection:
        batches = _sent(connection, plan, outcomes_file)
        names = list(dict.fromkeys(name for batch in batches for name in _fields_of(batch)))
        fields = [f"{AFTER}{name}" for name in names] + [
            f"{BEFORE}{name}" for name in (before.fields if before else ())
        ]
        schema = pa.schema([*BASE, *((name, pa.string()) for name in fields)])
        constants = {"job": pa.scalar(job, pa.int64()), "ended_at": pa.scalar(at, pa.timestamp("us", "UTC"))}
        with _Writer(to, schema) as writer:
            for batch in batches:
                for table in _rows_of(connection, plan, batch, outcomes_file, before):
                    workspace.check()
                    for name, value in constants.items():
                        table = table.append_column(name, pa.repeat(value, table.num_rows))
                    kept = _kept(table)
                    writer.add(table if pc.all(kept).as_py() else table.filter(kept))
            writer.finish()
        if writer.rows:
            _write_index(connection, to)
    return writer.rows


def merge(workspace: Workspace, files: Sequence[Path], since: datetime | None, to: Path) -> int:
    """Write the rows of several files as one; return how many they are. Without any there is no file.

    The changes of a record stand together. since: rows of jobs that ended before are left out.
    On disk when this returns. Raises DiskFull, Interrupted, and DuckDB's errors for a file that is gone.
    """
    kept = f" WHERE ended_at >= {literal(since.isoformat())}::TIMESTAMPTZ" if since else ""
    rows = f"SELECT * FROM {parquet(*files, by_name=True)}{kept}"
    with workspace.connect(ordered=True) as connection:
        reader = stream(connection, f"SELECT * FROM ({rows}) ORDER BY coalesce(lower(key), id), ended_at, job")
        names = [name for name in reader.schema.names if name not in BASE.names]
        with _Writer(to, pa.schema([*BASE, *((name, pa.string()) for name in names)])) as writer:
            for batch in reader:
                workspace.check()
                writer.add(pa.Table.from_batches([batch]))
            writer.finish()
        if writer.rows:
            _write_index(connection, to)
    return writer.rows


def remove(path: Path) -> None:
    """Delete a file of history, and what lies beside it."""
    path.unlink(missing_ok=True)
    for index in path.parent.glob(f"{path.stem}.index-*"):
        index.unlink(missing_ok=True)


# --- what a job did ---


def _sent(connection: duckdb.DuckDBPyConnection, plan: Plan, outcomes_file: Path) -> list[PlannedBatch]:
    """The batches of which something was sent."""
    query = f"SELECT DISTINCT batch FROM {parquet(outcomes_file)} WHERE batch IS NOT NULL AND outcome <> 'not_sent'"
    numbers = {number for (number,) in connection.execute(query).fetchall()}
    return [batch for batch in plan.batches if batch.number in numbers]


def _fields_of(batch: PlannedBatch) -> list[str]:
    """The columns of a batch's payload that are values of fields."""
    return [name for name in header_of(batch.file) if name.lower() != "id"]


def _rows_of(
    connection: duckdb.DuckDBPyConnection, plan: Plan, batch: PlannedBatch, outcomes_file: Path, before: Before | None
) -> Iterator[pa.Table]:
    """The rows of a batch, with what became of them and what was sent."""
    lines = _Lines(stream(connection, _lines(connection, plan, batch, outcomes_file, before)))
    names = _fields_of(batch)
    if names:
        with rows_of(batch.file, names) as payload:
            for part in payload.reader:
                table = lines.take(part.num_rows)
                for name, values in zip(names, part.columns, strict=True):
                    table = table.append_column(f"{AFTER}{name}", values)
                yield table
    else:
        for number in range(0, batch.rows, GROUP_ROWS):
            yield lines.take(min(GROUP_ROWS, batch.rows - number))
    lines.must_be_at_its_end()


def _lines(
    connection: duckdb.DuckDBPyConnection, plan: Plan, batch: PlannedBatch, outcomes_file: Path, before: Before | None
) -> str:
    """A query for what became of each row of a batch, in the order of its payload."""
    expired = f"CASE WHEN action = 'expire' AND outcome = '{UPDATED}' THEN 'expired' ELSE outcome END AS outcome"
    told = (
        f'SELECT _seq, key, record_id AS id, _row AS "row", action, {expired}, error FROM {parquet(outcomes_file)} '
        f"WHERE batch = {batch.number}"
    )
    places = (
        f"SELECT _seq AS p_seq, file_row_number AS place FROM {parquet(plan.rows_file)} WHERE batch = {batch.number}"
    )
    if before is None and _in_order(connection, places, told):
        return f"SELECT * EXCLUDE (_seq) FROM ({told})"
    query = f"SELECT * EXCLUDE (_seq) FROM ({places}) LEFT JOIN ({told}) ON _seq = p_seq"
    if before is not None:
        [(low, high)] = connection.execute(f"SELECT min(p_seq), max(p_seq) FROM ({places})").fetchall()
        held = [f"coalesce(b_{i}, '') AS {identifier(BEFORE + name)}" for i, name in enumerate(before.fields)]
        images = f"SELECT {', '.join(['_seq AS b_seq', *held])} FROM {parquet(before.path)}"
        query += f" LEFT JOIN ({images} WHERE _seq BETWEEN {low} AND {high}) ON b_seq = p_seq"
    without = "p_seq, place" if before is None else "p_seq, b_seq, place"
    return f"SELECT * EXCLUDE ({without}) FROM ({query}) ORDER BY place"


def _in_order(connection: duckdb.DuckDBPyConnection, places: str, told: str) -> bool:
    """Whether the outcomes of a batch stand in the order of its payload, as they mostly do; sorting them costs more."""
    ours = connection.sql(f"SELECT p_seq FROM ({places}) ORDER BY place").to_arrow_table().column(0)
    theirs = connection.sql(f"SELECT _seq FROM ({told})").to_arrow_table().column(0)
    return bool(ours.equals(theirs))


def _kept(table: pa.Table) -> pa.ChunkedArray:
    """Which rows were sent, and can be found again."""
    sent = pc.fill_null(pc.not_equal(table.column("outcome"), "not_sent"), False)
    return pc.and_(sent, pc.or_(pc.is_valid(table.column("key")), pc.is_valid(table.column("id"))))


class _Lines:
    """The rows of a query, in portions of the size that is asked for."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader = reader
        self._left = reader.schema.empty_table()

    def take(self, rows: int) -> pa.Table:
        """The next rows. Raises HistoryUnreadable when there are fewer."""
        while self._left.num_rows < rows:
            batch = next(self._reader, None)
            if batch is None:
                raise HistoryUnreadable("A payload holds more rows than the plan says, so its history is not written.")
            self._left = pa.concat_tables([self._left, pa.Table.from_batches([batch])])
        taken, self._left = self._left.slice(0, rows), self._left.slice(rows)
        return taken

    def must_be_at_its_end(self) -> None:
        """Raises HistoryUnreadable when there are more rows."""
        if self._left.num_rows or any(batch.num_rows for batch in self._reader):
            raise HistoryUnreadable("A payload holds fewer rows than the plan says, so its history is not written.")


# --- files ---


class _Writer:
    """A file of history, in groups of `GROUP_ROWS`. Without `finish` it is rubbish."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._writer: pq.ParquetWriter | None = None
        self._pending: list[pa.Table] = []
        self._count = 0
        self.rows = 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, table: pa.Table) -> None:
        """Append rows; columns that they lack are NULL."""
        self._pending.append(_filled_up(table, self._schema))
        self._count += table.num_rows
        self.rows += table.num_rows
        if self._count >= GROUP_ROWS:
            self._write(self._count // GROUP_ROWS * GROUP_ROWS)

    def finish(self) -> None:
        """Write what is left, and return once it is on disk."""
        self._write(self._count)
        writer, self._writer = self._writer, None
        if writer is not None:
            with engine_errors():
                writer.close()
                flush_to_disk(self._path)

    def _write(self, rows: int) -> None:
        if not rows:
            return
        table = pa.concat_tables(self._pending)
        with engine_errors():
            if self._writer is None:
                self._writer = pq.ParquetWriter(
                    self._path, self._schema, compression="ZSTD", use_dictionary=_ALIKE, write_statistics=["ended_at"]
                )
            self._writer.write_table(table.slice(0, rows), row_group_size=GROUP_ROWS)
        self._pending, self._count = [table.slice(rows)], self._count - rows


def _filled_up(table: pa.Table, schema: pa.Schema) -> pa.Table:
    there = set(table.schema.names)
    columns = [
        table.column(field.name).cast(field.type) if field.name in there else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


# --- the index ---


def key_term(key: str) -> str:
    """SQL: under what the rows with a key stand in an index. key: SQL, in lower case."""
    return f"(hash({key}) >> 32)::UINTEGER"


def id_term(id15: str) -> str:
    """SQL: under what the rows with a record id stand in an index. id15: SQL, its first 15 characters."""
    return f"(hash({id15}, 'id') >> 32)::UINTEGER"


def without_id_term(key: str) -> str:
    """SQL: under what the rows with a key and no record id stand in an index. key: SQL, in lower case."""
    return f"(hash({key}, 'no id') >> 32)::UINTEGER"


def hashed_as(connection: duckdb.DuckDBPyConnection) -> str:
    """How this DuckDB hashes: two that answer alike find each other's terms."""
    [(probe,)] = connection.execute(f"SELECT {without_id_term(literal(_PROBE))}").fetchall()
    return f"{probe:08x}"


def index_of(path: Path, hashed: str) -> Path:
    """The index of a file: Parquet with `term` and `place` (from 0), by `term`. What it finds is still to be compared.

    hashed: as `hashed_as` says; a DuckDB that hashes otherwise finds no index of its name.
    """
    return path.with_name(f"{path.stem}.index-{hashed}.parquet")


def _write_index(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    rows = f"(SELECT lower(key) AS key, left(id, 15) AS id, file_row_number::INTEGER AS place FROM {parquet(path)})"
    terms = (
        f"SELECT {key_term('key')} AS term, place FROM {rows} WHERE key IS NOT NULL "
        f"UNION ALL SELECT {id_term('id')}, place FROM {rows} WHERE id IS NOT NULL "
        f"UNION ALL SELECT {without_id_term('key')}, place FROM {rows} WHERE id IS NULL ORDER BY term"
    )
    index = index_of(path, hashed_as(connection))
    reader = stream(connection, terms)
    with (
        engine_errors(),
        pq.ParquetWriter(
            index,
            reader.schema,
            compression={"term": "NONE", "place": "SNAPPY"},
            use_dictionary=False,
            column_encoding={"term": "DELTA_BINARY_PACKED", "place": "PLAIN"},
            write_statistics=["term"],
        ) as writer,
    ):
        for batch in reader:
            writer.write_table(pa.Table.from_batches([batch]), row_group_size=_INDEX_ROWS)
    with engine_errors():
        flush_to_disk(index)


def new_name(folder: Path) -> Path:
    """A path for a new file of history."""
    return folder / f"{uuid.uuid4().hex[:12]}.parquet"
