"""Rows to the CSV files that Salesforce gets, cut where a file would grow too large."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from syncs.engine.files import flush_to_disk
from syncs.engine.plan import Operation, PlannedBatch

# Every text in quotes, null as an empty cell: UTF-8, commas, LF (Bulk API 2.0 guide, "Prepare CSV Files").
_HEADER = pyarrow.csv.WriteOptions(include_header=True, quoting_style="needed")
_ROWS = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")


class BatchWriter:
    """Writes tables into numbered CSV files, none of which exceeds the limits; a row never stands in two.

    folder, prefix: files are called <prefix>-batch-<number>.csv.
    max_rows, max_bytes: the largest file to make. A single row of more bytes than that gets a file of its own.
    """

    def __init__(self, folder: Path, prefix: str, *, max_rows: int, max_bytes: int) -> None:
        self._folder, self._prefix = folder, prefix
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._done: list[PlannedBatch] = []
        self._file: io.BufferedWriter | None = None
        self._path = folder
        self._operation: Operation = "insert"
        self._rows = self._bytes = 0

    def write(self, operation: Operation, table: pa.Table) -> pa.ChunkedArray:
        """Append the rows of `table`, whose columns are all text; return the batch number of each row (int32)."""
        table = without_blank_lines(table)
        numbers: list[pa.Array] = []
        while table.num_rows:
            if self._file is None or operation != self._operation or self._rows == self._max_rows:
                self._open(operation, table.schema)
            count, part = self._fitting(table)
            if count == 0:
                self._close_file()
                continue
            self._append(part, count)
            numbers.append(pa.repeat(pa.scalar(self._number, pa.int32()), count))
            table = table.slice(count)
        return pa.chunked_array(numbers, pa.int32())

    def close(self) -> tuple[PlannedBatch, ...]:
        """Finish the last file; return all batches written."""
        self._close_file()
        return tuple(self._done)

    @property
    def _number(self) -> int:
        return len(self._done) + 1

    def _open(self, operation: Operation, schema: pa.Schema) -> None:
        self._close_file()
        self._operation = operation
        self._path = self._folder / f"{self._prefix}-batch-{self._number:05d}.csv"
        self._file = self._path.open("xb")
        self._rows = self._bytes = 0
        self._append(encode_header(schema), 0)

    def _append(self, part: pa.Buffer, rows: int) -> None:
        assert self._file is not None
        self._file.write(part)
        self._rows += rows
        self._bytes += part.size

    def _fitting(self, table: pa.Table) -> tuple[int, pa.Buffer]:
        """The first rows of `table` that still fit into the open file: how many (0 when none does), and their CSV."""
        room = self._max_bytes - self._bytes
        high = min(table.num_rows, self._max_rows - self._rows)
        if self._rows:
            # Rows are much alike: it is no use to encode many times what there is room for.
            high = min(high, 64 + 2 * self._rows * max(room, 0) // self._bytes)
        part = encode_rows(table.slice(0, high))
        if part.size <= room:
            return high, part
        low = 0
        while low + 1 < high:
            middle = (low + high) // 2
            shorter = encode_rows(table.slice(0, middle))
            if shorter.size <= room:
                low, part = middle, shorter
            else:
                high = middle
        if low == 0 and self._rows == 0:
            # A row that no file has room for still has to go, alone.
            return 1, encode_rows(table.slice(0, 1))
        return low, part

    def _close_file(self) -> None:
        if self._file is None:
            return
        self._file.close()
        self._file = None
        flush_to_disk(self._path)
        self._done.append(PlannedBatch(self._number, self._operation, self._path, self._rows, self._bytes))


def encode_rows(table: pa.Table) -> pa.Buffer:
    """The CSV lines of `table`, without a header."""
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink, _ROWS)
    return sink.getvalue()


def encode_header(schema: pa.Schema) -> pa.Buffer:
    """The CSV header line of tables with this schema."""
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(schema.empty_table(), sink, _HEADER)
    return sink.getvalue()


def without_blank_lines(table: pa.Table) -> pa.Table:
    """A null in a table's only column would be a blank line, which readers of CSV skip; an empty text is a row."""
    if table.num_columns != 1:
        return table
    return table.set_column(0, table.schema.field(0), table.column(0).fill_null(""))
