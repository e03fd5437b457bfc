"""Delimited text files (CSV, TSV and their like) in an organization's folder."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, BinaryIO

from connections.declare import SettingsError, setting
from connections.sources.arrow_csv import BadUtf8, batches
from connections.sources.base import (
    MalformedRow,
    MisconfiguredSourceError,
    PermanentSourceError,
    Reading,
    Selection,
    Source,
    SourceError,
    Table,
    TransientSourceError,
    checked_columns,
)
from connections.sources.delimited_file.decode import codec_name, explain_bad_utf8, utf8_blocks
from connections.sources.delimited_file.folder import files_below, open_below
from connections.sources.delimited_file.parameters import with_parameters
from connections.sources.delimited_file.records import RecordCutter

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "delimited_file"
LABEL = "Delimited file"

_NAMED_DELIMITERS = {"\\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
_LIKELY_DELIMITERS = {",": "','", ";": "';'", "\t": "a tab", "|": "'|'"}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the files of one connection are written."""

    delimiter: str = setting("Delimiter", help="One character, or 'tab'.", default=",")
    quote: str = setting("Quote character", help="One character; blank if cells are never quoted.", default='"')
    encoding: str = setting("Encoding", help="For example utf-8, cp1252 or utf-16.", default="utf-8")
    header_rows: int = setting(
        "Header rows", help="The last one names the columns. 0: they are named column_1, column_2, ...", default=1
    )
    null_token: str = setting(
        "Null token",
        help="An unquoted cell with exactly this text is null. Blank: unquoted empty cells are null.",
        default="",
    )

    def __post_init__(self) -> None:
        for name, value in (("delimiter", self.delimiter_character), ("quote character", self.quote)):
            if (value or name == "delimiter") and (len(value) != 1 or not value.isascii() or value in "\r\n\0"):
                raise SettingsError(f"The {name} '{value}' is not one ASCII character.")
        if self.delimiter_character == self.quote:
            raise SettingsError(f"The delimiter and the quote character are both '{self.quote}'. Change one of them.")
        try:
            codec_name(self.encoding)
        except (LookupError, ValueError):
            raise SettingsError(
                f"The encoding '{self.encoding}' is unknown. Use for example utf-8 or cp1252."
            ) from None
        if not 0 <= self.header_rows <= 100:
            raise SettingsError(f"The number of header rows is {self.header_rows}; it must be 0 to 100.")

    @property
    def delimiter_character(self) -> str:
        """The delimiter itself, where the setting may name it."""
        return _NAMED_DELIMITERS.get(self.delimiter.lower(), self.delimiter)


class DelimitedFileSource(Source):
    """Reads the files below one folder, which is the organization's."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder

    def check(self) -> list[str]:
        """See what files there are."""
        names = list(files_below(self._folder))
        if not names:
            raise MisconfiguredSourceError("The organization's folder holds no files; put the file there first.")
        return [f"{len(names)} file{'' if len(names) == 1 else 's'}, for example '{names[0]}'"]

    def tables(self) -> list[Table]:
        """All files in the folder; one whose header cannot be read has no columns."""
        return [Table(name, self._columns_of(name)) for name in files_below(self._folder)]

    def read(self, selection: Selection) -> Reading:
        """Read the file at `selection.path`, which may hold parameters. Blank lines are no rows and have no number.

        The filter of the selection is none of its business.
        """
        if not selection.path:
            raise MisconfiguredSourceError("A file is selected by its path. Give the path of a file.")
        path, unknown = with_parameters(selection.path, selection.parameters)
        try:
            file = open_below(self._folder, path)
        except MisconfiguredSourceError as error:
            raise MisconfiguredSourceError(f"{error}{unknown}") from None
        try:
            return dataclasses.replace(self._reading(file, f"The file '{path}'"), file_name=PurePath(path).name)
        except BaseException:
            file.close()
            raise

    def _columns_of(self, path: str) -> tuple[str, ...]:
        try:
            with self.read(Selection(path=path)) as reading:
                return reading.columns
        except SourceError:
            return ()

    def _reading(self, file: BinaryIO, name: str) -> Reading:
        settings = self._settings
        opened = os.fstat(file.fileno())
        codec = codec_name(settings.encoding)
        cutter = RecordCutter(settings.delimiter_character, settings.quote, name)
        pieces = cutter.pieces(utf8_blocks(file, codec, name))
        columns, rest = self._header(pieces, cutter, file, name)
        malformed: list[MalformedRow] = []

        def rows() -> Iterator[pa.RecordBatch]:
            try:
                yield from batches(
                    _joined(rest, pieces),
                    columns,
                    malformed,
                    name=name,
                    delimiter=settings.delimiter_character,
                    quote=settings.quote,
                    null_token=settings.null_token,
                )
            except BadUtf8:
                raise explain_bad_utf8(file, name) from None
            now = os.fstat(file.fileno())
            if (now.st_size, now.st_mtime_ns) != (opened.st_size, opened.st_mtime_ns):
                raise TransientSourceError(f"{name} was changed while it was read. Run the sync again.")

        return Reading(columns, rows(), malformed, name, _hint(columns, settings.delimiter_character), file.close)

    def _header(
        self, pieces: Iterator[bytes], cutter: RecordCutter, file: BinaryIO, name: str
    ) -> tuple[tuple[str, ...], bytes]:
        """The names of the columns, and what follows the header in the first piece."""
        wanted = self._settings.header_rows
        piece = next(pieces, b"")
        position = _after_blank_lines(piece, 0)
        record = piece[position : cutter.first_end(piece, position)] if position < len(piece) else b""
        for taken in range(wanted):
            # More header rows than one piece holds would be a strange file, but not a wrong one.
            while position >= len(piece) and (more := next(pieces, b"")):
                piece, position = more, _after_blank_lines(more, 0)
            if position >= len(piece):
                raise PermanentSourceError(_too_short(name, taken, wanted))
            end = cutter.first_end(piece, position)
            record, position = piece[position:end], end
        if not record:
            raise PermanentSourceError(_too_short(name, 0, wanted))
        cells = self._cells(record, file, name)
        if wanted == 0:
            return tuple(f"column_{number}" for number in range(1, len(cells) + 1)), piece
        return checked_columns(_named(cells), name), piece[position:]

    def _cells(self, record: bytes, file: BinaryIO, name: str) -> list[str]:
        try:
            text = record.decode("utf-8")
        except UnicodeDecodeError:
            raise explain_bad_utf8(file, name) from None
        delimiter, quote = self._settings.delimiter_character, self._settings.quote
        line = text.rstrip("\r\n")
        if not quote:
            return line.split(delimiter)
        csv.field_size_limit(max(csv.field_size_limit(), len(text)))
        return next(csv.reader([line], delimiter=delimiter, quotechar=quote))


def _joined(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from others


def _after_blank_lines(text: bytes, position: int) -> int:
    while text[position : position + 1] in (b"\r", b"\n"):
        position += 1
    return position


def _named(cells: list[str]) -> tuple[str, ...]:
    """A column without a name gets that of its place; names lose the blanks at their edges."""
    return tuple(cell.strip() or f"column_{number}" for number, cell in enumerate(cells, 1))


def _too_short(name: str, rows: int, wanted: int) -> str:
    if rows == 0:
        return f"{name} is empty: it has no header and no rows."
    return f"{name} has {rows} rows, but {wanted} header rows are set on the connection. Correct that number."


def _hint(columns: tuple[str, ...], delimiter: str) -> str:
    if len(columns) != 1:
        return ""
    for character, shown in _LIKELY_DELIMITERS.items():
        if character in columns[0] and character != delimiter:
            return f"The header is one column that contains {shown}: is the delimiter {shown}?"
    return ""
