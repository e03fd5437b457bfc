"""Rows to the CSV files that Salesforce gets, cut where a file would grow too large."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from syncs.engine.files import flush_to_disk

# Every text in quotes, null as an empty cell: UTF-8, commas, LF (Bulk API 2.0 guide, "Prepare CSV Files").
_HEADER = pyarrow.csv.WriteOptions(include_header=True, quoting_style="needed")
_ROWS = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")


# So many rows, about, lie between two places of a file from which it can be read.
_MARK_ROWS = 8_192


class BatchWriter:
    """Writes tables of one kind into CSV files, none of which exceeds the limits; a row never stands in two.

    name: gives the path and the number of a new file. max_rows, max_bytes: the largest file to make. A single row of
    more bytes than that gets a file of its own.
    """

    def __init__(self, name: Callable[[], tuple[Path, int]], *, max_rows: int, max_bytes: int) -> None:
        self._name, self._max_rows, self._max_bytes = name, max_rows, max_bytes
        self.done: list[WrittenFile] = []
        self._file: io.BufferedWriter | None = None
        self._path = Path()
        self._number = self._rows = self._bytes = 0
        self._marks: list[tuple[int, int]] = []

    def write(self, table: pa.Table) -> pa.ChunkedArray:
        """Append the rows of `table`, whose columns are all text; return the file's number for each row (int32)."""
        table = without_blank_lines(table)
        numbers: list[pa.Array] = []
        while table.num_rows:
            if self._file is None or self._rows == self._max_rows:
                self._open(table.schema)
            count, part = self._fitting(table)
            if count == 0:
                self.close()
                continue
            self._append(part, count)
            numbers.append(pa.repeat(pa.scalar(self._number, pa.int32()), count))
            table = table.slice(count)
        return pa.chunked_array(numbers, pa.int32())

    def close(self) -> None:
        """Finish the last file."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        flush_to_disk(self._path)
        self.done.append(WrittenFile(self._number, self._path, self._rows, self._bytes, tuple(self._marks)))

    def _open(self, schema: pa.Schema) -> None:
        self.close()
        self._path, self._number = self._name()
        self._file = self._path.open("xb")
        self._rows = self._bytes = 0
        self._marks = []
        self._append(encode_header(schema), 0)

    def _append(self, part: pa.Buffer, rows: int) -> None:
        assert self._file is not None
        if rows and (not self._marks or self._rows >= self._marks[-1][0] + _MARK_ROWS):
            self._marks.append((self._rows, self._bytes))
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


@dataclasses.dataclass(frozen=True)
class WrittenFile:
    """A CSV file that was written.

    number: its own. rows, bytes: what it holds, its header counted in the bytes. marks: places from which it can be
    read: how many rows stand before, and how many bytes.
    """

    number: int
    path: Path
    rows: int
    bytes: int
    marks: tuple[tuple[int, int], ...]


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
