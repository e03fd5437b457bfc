"""From CSV text, in pieces of whole records, to Arrow batches with row numbers. Every kind that yields CSV uses it."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyarrow import csv

from connections.sources.base import MAX_MALFORMED, ROW_COLUMN, MalformedRow, PermanentSourceError

_SHOWN_CHARACTERS = 200


class BadUtf8(Exception):
    """A piece was no UTF-8. piece: its number, from 0. offset: of the bad byte in it."""

    def __init__(self, piece: int, offset: int) -> None:
        super().__init__(piece, offset)
        self.piece = piece
        self.offset = offset


def batches(
    pieces: Iterator[bytes | bytearray],
    columns: tuple[str, ...],
    malformed: list[MalformedRow],
    *,
    name: str,
    delimiter: str = ",",
    quote: str = '"',
    null_token: str = "",
    blank_lines_are_rows: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Parse CSV into batches of string columns plus `_row`, one batch per piece.

    pieces: UTF-8 CSV without a header; each begins and ends with a whole record. malformed: gets the records with a
    wrong number of cells. null_token: an unquoted cell that equals it is null; a quoted one never is. Raises
    PermanentSourceError, also when more than 10,000 records are malformed, and BadUtf8.
    """
    parse = _Parse(columns, malformed, name, delimiter, quote, null_token, blank_lines_are_rows)
    for number, piece in enumerate(pieces):
        # A piece without a record would be an error to Arrow.
        if blank_lines_are_rows or piece.strip(b"\r\n"):
            yield from parse.piece(piece, number)


class _Parse:
    """The state of one parse: how many records came before, and the options."""

    def __init__(
        self,
        columns: tuple[str, ...],
        malformed: list[MalformedRow],
        name: str,
        delimiter: str,
        quote: str,
        null_token: str,
        blank_lines_are_rows: bool,
    ) -> None:
        self._columns = list(columns)
        self._malformed = malformed
        self._name = name
        self._records = 0
        self._parse = csv.ParseOptions(
            delimiter=delimiter,
            quote_char=quote or False,
            newlines_in_values=bool(quote),
            ignore_empty_lines=not blank_lines_are_rows,
            invalid_row_handler=self._on_invalid,
        )
        self._convert = csv.ConvertOptions(
            default_column_type=pa.string(),
            null_values=[null_token],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )

    def piece(self, piece: bytes | bytearray, number: int) -> Iterator[pa.RecordBatch]:
        before = len(self._malformed)
        # One block per piece, so that Arrow never cuts inside a record, and numbers the records one after another.
        options = csv.ReadOptions(use_threads=False, block_size=len(piece) + 1, column_names=self._columns)
        try:
            table = csv.read_csv(
                pa.py_buffer(piece), read_options=options, parse_options=self._parse, convert_options=self._convert
            )
        except pa.ArrowInvalid as error:
            self._explain(error, piece, number)
        gaps = [row.row for row in self._malformed[before:]]
        first = self._records + 1
        self._records += table.num_rows + len(gaps)
        numbers = _numbers(first, self._records, gaps)
        yield from table.append_column(ROW_COLUMN, numbers).combine_chunks().to_batches()

    def _on_invalid(self, row: csv.InvalidRow) -> str:
        if len(self._malformed) >= MAX_MALFORMED:
            return "error"
        cells = f"{row.actual_columns} cell{'' if row.actual_columns == 1 else 's'} instead of {row.expected_columns}"
        number = self._records + row.number
        self._malformed.append(MalformedRow(number, row.text[:_SHOWN_CHARACTERS], cells))
        return "skip"

    def _explain(self, error: pa.ArrowInvalid, piece: bytes | bytearray, number: int) -> None:
        if len(self._malformed) >= MAX_MALFORMED:
            raise PermanentSourceError(
                f"{self._name} has more than {MAX_MALFORMED:,} malformed rows; the first is row "
                f"{self._malformed[0].row} ({self._malformed[0].reason}). The delimiter or the quote character of the "
                "connection is probably wrong."
            ) from None
        try:
            piece.decode("utf-8")
        except UnicodeDecodeError as bad:
            raise BadUtf8(number, bad.start) from None
        raise PermanentSourceError(f"{self._name} cannot be read after row {self._records}: {error}") from None


def _numbers(first: int, last: int, gaps: list[int]) -> pa.ChunkedArray:
    """The numbers from `first` to `last` without those in `gaps`, which ascend."""
    ranges = []
    for gap in gaps:
        ranges.append(pa.arange(first, gap))
        first = gap + 1
    ranges.append(pa.arange(first, last + 1))
    return pa.chunked_array(ranges, pa.int64())
