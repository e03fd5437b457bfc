"""CSV uploads: what refuses a whole upload, its header, and all its rows staged as text.

The rules are those of the Bulk API 2.0 guide, "Prepare CSV files" and "Limits". An upload that breaks one fails as a
whole: `InvalidBatch` becomes the errorMessage of a 2.0 job, or the stateMessage of a 1.0 batch.
"""

from __future__ import annotations

import csv
import io
import threading
from dataclasses import dataclass
from pathlib import Path

import duckdb

from sandbox.rows.rules import literal, name
from sandbox.store import Store

MAX_HEADER = 32_000
MAX_FIELDS = 5_000
MAX_CELL = 131_072
MAX_RECORD = 400_000
UNESCAPED = "InvalidBatch : Failed to parse CSV. Found unescaped quote. A value with quote should be within a quote"
# Parsing takes memory by the size of the upload, so one upload is parsed at a time.
_PARSING = threading.Semaphore(1)


class InvalidBatch(Exception):
    """A whole upload is refused; the text is what the job or batch tells."""


@dataclass(frozen=True)
class Upload:
    """A CSV file and the table its rows are staged in. `line_ending` is LF, CRLF, or None where either will do."""

    path: Path
    table: str
    delimiter: str = ","
    line_ending: str | None = None


def read_header(upload: Upload) -> list[str]:
    """The header's names as they were written, quotes and all.

    Raises InvalidBatch for an empty upload, a byte order mark, a line ending that is not the job's, and a header that
    is too long or not text.
    """
    with upload.path.open("rb") as file:
        head = file.read(4 * MAX_HEADER + 4)
    if not head.strip():
        raise InvalidBatch("InvalidBatch : Records not found: the upload is empty")
    if head.startswith(b"\xef\xbb\xbf"):
        if head[3:4] == b'"':
            raise InvalidBatch(UNESCAPED)
        first = head[3:].split(b"\n")[0].decode("utf-8", "replace").split(upload.delimiter)[0].strip()
        raise InvalidBatch(f"InvalidBatch : Field name not found : \ufeff{first}")
    line, ending = first_line(head)
    wanted = upload.line_ending
    # A carriage return alone ends no line.
    if (ending is not None and wanted is not None and ending != wanted) or b"\r" in line:
        raise InvalidBatch(
            f"ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {wanted or 'LF'}"
        )
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidBatch("InvalidBatch : Failed to parse CSV. Invalid UTF-8") from None
    if text.count('"') % 2:
        raise InvalidBatch(UNESCAPED)
    if len(text) > MAX_HEADER:
        raise InvalidBatch(f"InvalidBatch : The header is longer than {MAX_HEADER} characters")
    written = _split(text, upload.delimiter)
    if len(written) > MAX_FIELDS:
        raise InvalidBatch(f"InvalidBatch : A record has more than {MAX_FIELDS} fields")
    return written


def titles(written: list[str], delimiter: str) -> list[str]:
    """The names of a header without their quotes."""
    return next(csv.reader(io.StringIO(delimiter.join(written)), delimiter=delimiter), [""])


def first_line(head: bytes) -> tuple[bytes, str | None]:
    """The first line outside quotes and its ending: LF, CRLF, or None when the file has one line only."""
    inside = False
    for place, byte in enumerate(head):
        if byte == 0x22:
            inside = not inside
        elif byte == 0x0A and not inside:
            if place and head[place - 1] == 0x0D:
                return head[: place - 1], "CRLF"
            return head[:place], "LF"
    return head, None


def _split(text: str, delimiter: str) -> list[str]:
    parts, start, inside = [], 0, False
    for place, character in enumerate(text):
        if character == '"':
            inside = not inside
        elif character == delimiter and not inside:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]


def stage(store: Store, upload: Upload, count: int) -> int:
    """Stage all rows as text in columns c0, c1, … of the upload's table; how many rows there are.

    Raises InvalidBatch for a file that is no CSV of `count` columns, or whose cells or records are too long.
    """
    columns = "{" + ", ".join(f"'c{place}': 'VARCHAR'" for place in range(count)) + "}"
    # The reader finds the line ending itself: told a wrong one, it would read no rows and say nothing.
    sql = (
        f"CREATE OR REPLACE TABLE {name(upload.table)} AS SELECT * FROM read_csv({literal(str(upload.path))},"
        f" auto_detect = false, header = true, columns = {columns}, delim = {literal(upload.delimiter)},"
        " quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = true, strict_mode = true,"
        f" max_line_size = {4 * MAX_RECORD + 4 * MAX_FIELDS})"
    )
    with _PARSING, store.reading() as cursor:
        try:
            cursor.execute(sql)
        except duckdb.Error as error:
            raise InvalidBatch(f"InvalidBatch : Failed to parse CSV. {_reason(str(error))}") from None
        if upload.path.stat().st_size > MAX_CELL:
            _check_lengths(cursor, upload, count)
        found = cursor.execute(f"SELECT count(*) FROM {name(upload.table)}").fetchone()
    return int(found[0]) if found else 0


def _check_lengths(cursor: duckdb.DuckDBPyConnection, upload: Upload, count: int) -> None:
    """Refuse cells and records above the limits. Bytes, which are known at once, tell whether to count characters."""
    places = range(count)
    table = name(upload.table)
    in_bytes = " + ".join(f"coalesce(strlen(c{place}), 0)" for place in places)
    found = cursor.execute(f"SELECT max({in_bytes}) FROM {table}").fetchone()
    if not found or (found[0] or 0) <= MAX_CELL:
        return
    characters = [f"coalesce(length(c{place}), 0)" for place in places]
    cells = f"greatest({', '.join(characters)}, 0)"
    found = cursor.execute(f"SELECT max({cells}), max({' + '.join(characters)}) FROM {table}").fetchone()
    cell, record = found or (0, 0)
    if cell > MAX_CELL:
        raise InvalidBatch(f"InvalidBatch : Failed to parse CSV. A field is longer than {MAX_CELL} characters")
    if record > MAX_RECORD:
        raise InvalidBatch(f"InvalidBatch : Failed to parse CSV. A record is longer than {MAX_RECORD} characters")


def _reason(text: str) -> str:
    """Salesforce's words for what the CSV reader stumbled over."""
    lower = text.lower()
    if "maximum line size" in lower:
        return f"A record is longer than {MAX_RECORD} characters"
    if "state machine" in lower:
        return "Line endings are mixed, or a quote is not escaped"
    if "quote" in lower:
        return "Found unescaped quote. A value with quote should be within a quote"
    if "unicode" in lower or "utf-8" in lower:
        return "Invalid UTF-8"
    if "number of columns" in lower:
        return "A row has another number of columns than the header"
    return text.splitlines()[0]
