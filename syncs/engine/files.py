"""Files of a job's folder: written once, under a name of their own, and on disk before anybody is told of them."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

# A row group is what one DuckDB thread scans, and what is held in memory here.
_GROUP_ROWS = 122_880
_GROUP_BYTES = 24_000_000

# How many rows a query hands over at once, and how many cells: wide tables come in fewer rows.
_STREAM_ROWS = 32_768
_STREAM_CELLS = 1_000_000

# How many rows are sorted, or turned into errors, at a time.
_RANGE_ROWS = 50_000


class TableWriter:
    """A Parquet file in row groups of bounded size. A context manager; without `finish` the file is rubbish.

    path: the file, made when the first row group is full or at the end. schema: of all tables that are added.
    compression: of every column that is not in `plain`; those hold hashes, which no method makes smaller.
    metadata: text to keep in the file's footer.
    """

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        *,
        compression: str = "SNAPPY",
        plain: tuple[str, ...] = (),
        metadata: dict[str, str] | None = None,
    ) -> None:
        self._path, self._schema = path, schema.with_metadata(metadata) if metadata else schema
        self._compression = {name: "NONE" if name in plain else compression for name in schema.names}
        self._writer: pq.ParquetWriter | None = None
        self._pending: list[pa.Table] = []
        self._pending_rows = self._pending_bytes = 0
        self.rows = 0

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, table: pa.Table) -> bool:
        """Append rows; return whether they filled up a row group."""
        self._pending.append(table)
        self.rows += table.num_rows
        self._pending_rows += table.num_rows
        self._pending_bytes += table.nbytes
        full = self._pending_rows >= _GROUP_ROWS or self._pending_bytes >= _GROUP_BYTES
        if full:
            self._write_group()
        return full

    def finish(self) -> None:
        """Write what is left, and return once it is on disk. A table without rows is a file, too."""
        self._write_group()
        writer = self._open()
        self._writer = None
        writer.close()
        flush_to_disk(self._path)

    def _write_group(self) -> None:
        if self._pending_rows:
            table = pa.concat_tables(self._pending)
            self._open().write_table(table, row_group_size=table.num_rows)
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0

    def _open(self) -> pq.ParquetWriter:
        if self._writer is None:
            # Dictionaries and statistics cost more time than they save on tables that are read as a whole; but by
            # its numbers a row, or a batch of rows, is found without reading the others.
            numbers = [name for name in ("_row", "_seq", "batch") if name in self._schema.names]
            self._writer = pq.ParquetWriter(
                self._path,
                self._schema,
                compression=self._compression,
                use_dictionary=False,
                write_statistics=numbers or False,
            )
        return self._writer


def stream(connection: duckdb.DuckDBPyConnection, query: str) -> pa.RecordBatchReader:
    """The result of a query, batch by batch; the connection can run nothing else until it is read to its end."""
    relation = connection.sql(query)
    # `execute` would hold the whole result in memory before it hands out the first batch.
    rows = max(2048, min(_STREAM_ROWS, _STREAM_CELLS // len(relation.columns)))
    return relation.to_arrow_reader(rows)


def row_ranges(connection: duckdb.DuckDBPyConnection, relation: str) -> list[tuple[int, int]]:
    """Ranges of `_row`, first and last, that hold the rows of `relation` in portions that fit into memory.

    relation: a FROM item with a column `_row`; rows where it is NULL are in no range.
    """
    return connection.execute(
        f"SELECT min(_row), max(_row) FROM {relation} WHERE _row IS NOT NULL GROUP BY _row // {_RANGE_ROWS} ORDER BY 1"
    ).fetchall()


def write_query(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    path: Path,
    *,
    compression: str = "SNAPPY",
    plain: tuple[str, ...] = (),
    metadata: dict[str, str] | None = None,
) -> int:
    """Write the result of a query into a Parquet file; return how many rows it has. On disk when this returns."""
    reader = stream(connection, query)
    with TableWriter(path, reader.schema, compression=compression, plain=plain, metadata=metadata) as writer:
        for batch in reader:
            writer.add(pa.Table.from_batches([batch]))
        writer.finish()
    return writer.rows


def flush_to_disk(path: Path) -> None:
    """Return once the file `path`, and its name in its folder, would survive a power cut."""
    for place, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | os.O_DIRECTORY)):
        descriptor = os.open(place, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
