"""What every kind of source offers: check, tables, read.

SourceError
├── TransientSourceError        the same read may succeed later
├── PermanentSourceError        this read fails, and will again on the same data
└── MisconfiguredSourceError    the connection or the selection must be corrected first
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import pyarrow as pa

ROW_COLUMN = "_row"
MAX_MALFORMED = 10_000


class SourceError(Exception):
    """Root of the tree; the message names the place, the value and the way out."""


class TransientSourceError(SourceError):
    """The same read may succeed later."""


class PermanentSourceError(SourceError):
    """This read fails, and will again until the data is corrected."""


class MisconfiguredSourceError(SourceError):
    """The connection or the selection must be corrected by an administrator."""


@dataclasses.dataclass(frozen=True)
class Selection:
    """What to read: exactly one of a table, a query or a path is not empty.

    filter: a condition in the source's own language, without WHERE, or "". parameters: text by name; a filter, a query
    or a path says `@name` where it wants one. None stands for a value that is not known yet: then columns can be told
    where no path depends on it, and rows are not meant to be read.
    """

    table: str = ""
    query: str = ""
    path: str = ""
    filter: str = ""
    parameters: Mapping[str, str | None] = dataclasses.field(default_factory=dict, hash=False)


@dataclasses.dataclass(frozen=True)
class Table:
    """Something that can be selected: a table's name, or a file's path, and its columns (none if unreadable)."""

    name: str
    columns: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class MalformedRow:
    """A record that is no row. row: its number, from 1. text: its first 200 characters. reason: in words."""

    row: int
    text: str
    reason: str


@dataclasses.dataclass
class Reading:
    """A source being read, once, from front to back. Use it as a context manager, or close it.

    columns: names of the source's columns. batches: Arrow record batches of at most some megabytes with these columns,
    all of type string, and a last column `_row` (int64): the number of the record in the source, from 1; malformed
    records keep their numbers, so there may be gaps. malformed: grows while batches are taken. name: of what is read.
    hint: what may be wrong when columns are missing, or "". file_name: of the file that is read, without its folders;
    "" when it is no file.
    """

    columns: tuple[str, ...]
    batches: Iterator[pa.RecordBatch]
    malformed: list[MalformedRow]
    name: str
    hint: str = ""
    on_close: Callable[[], None] = lambda: None
    file_name: str = ""

    def close(self) -> None:
        """Stop reading, and let go of files and connections. May be called twice."""
        close_batches = getattr(self.batches, "close", None)
        try:
            if close_batches is not None:
                close_batches()
        finally:
            self.on_close()

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Source(abc.ABC):
    """One system that rows are read from.

    filters_itself: it understands the filter of a selection. Where it does not, it ignores the filter and yields every
    row.
    """

    filters_itself: ClassVar[bool] = False

    @abc.abstractmethod
    def check(self) -> list[str]:
        """Try the connection. Returns what was found, a line each. Raises SourceError."""

    @abc.abstractmethod
    def tables(self) -> list[Table]:
        """What can be selected, in order of name. Raises SourceError."""

    @abc.abstractmethod
    def read(self, selection: Selection) -> Reading:
        """Begin to read. Raises SourceError, also while batches are taken from the result."""


def checked_columns(columns: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The columns, if each can be told from the others. name: of what is read. Raises MisconfiguredSourceError."""
    if not columns:
        raise MisconfiguredSourceError(f"{name} has no columns.")
    if ROW_COLUMN in columns:
        raise MisconfiguredSourceError(
            f"{name} has a column named '{ROW_COLUMN}', a name that sfsync keeps for row numbers. Rename the column."
        )
    seen: set[str] = set()
    for column in columns:
        if column in seen:
            raise MisconfiguredSourceError(f"{name} has two columns named '{column}'. Rename or remove one of them.")
        seen.add(column)
    return columns


def parameters_in_words(parameters: Mapping[str, str | None]) -> str:
    """What parameters there are, to go on a sentence that names one which is not among them."""
    names = [f"@{name}" for name in sorted(parameters)]
    return f"; those are {', '.join(names)}" if names else "; it has none"
