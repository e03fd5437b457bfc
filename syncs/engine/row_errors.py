"""Looking at the row errors of a job: a page of them, or all of one row with what the source said."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb

from syncs.engine.sql import literal, parquet
from syncs.engine.stage import Staged
from syncs.engine.workspace import Workspace


@dataclasses.dataclass(frozen=True)
class RowError:
    """One error of a row of the source. key, record_id, column and value are "" where they are not known."""

    row: int
    source: str
    code: str
    field: str
    column: str
    value: str
    message: str
    operation: str
    key: str
    record_id: str


@dataclasses.dataclass(frozen=True)
class RowErrors:
    """A page of row errors. following: the number to go on after, or None when there are no more.

    A search that takes long ends before its page is full, or with nothing found yet: then too it can be gone on with.
    """

    errors: tuple[RowError, ...]
    following: int | None


_TEXTS = ("source", "code", "field", "column", "value", "message", "operation", "key", "record_id")
_WINDOW = 65_536  # rows that are searched at once
_SEARCH_SECONDS = 0.12  # after which a search stops at the end of its window
_COLUMNS = ", ".join(f"coalesce(\"{name}\"::VARCHAR, '')" for name in _TEXTS)


def page(
    workspace: Workspace,
    staged: Staged,
    errors_file: Path,
    *,
    code: str = "",
    field: str = "",
    search: str = "",
    after: int = 0,
    limit: int = 50,
) -> RowErrors:
    """The errors of the first `limit` rows behind row `after`, all errors of a row that match on one page.

    code, field: only errors with exactly these; "" for any. search: text, in whatever case, that must stand in the
    value, the message, the key, or a cell of the source row. Errors of records that left the source are of no row,
    so they are not among these.
    """
    right = "".join(f" AND {name} = {literal(wanted)}" for name, wanted in (("code", code), ("field", field)) if wanted)
    with workspace.connect() as connection:
        rows: list[int] = []
        stopped_at = None
        started = time.monotonic()
        for window, last in _windows(connection, errors_file, after, search):
            matching = _matching(connection, staged, errors_file, f"{window}{right}", search, window)
            query = f"SELECT DISTINCT _row FROM ({matching}) ORDER BY _row LIMIT {int(limit) + 1 - len(rows)}"
            rows += [number for (number,) in connection.execute(query).fetchall()]
            if len(rows) > limit:
                break
            if last is not None and time.monotonic() - started > _SEARCH_SECONDS:
                stopped_at = last
                break
        shown = rows[:limit]
        following = shown[-1] if len(rows) > limit else stopped_at
        if not shown:
            return RowErrors((), following)
        here = f"_row BETWEEN {shown[0]} AND {shown[-1]} AND _row IN ({', '.join(map(str, shown))})"
        errors = _errors(connection, _matching(connection, staged, errors_file, f"{here}{right}", search, here))
    return RowErrors(errors, following)


def _windows(
    connection: duckdb.DuckDBPyConnection, errors_file: Path, after: int, search: str
) -> Iterator[tuple[str, int | None]]:
    """Conditions on `_row`, one window behind the other, each with its last row; None for that of the last window."""
    if not search:
        yield f"_row > {int(after)}", None
        return
    behind = f"SELECT min(_row), max(_row) FROM {parquet(errors_file)} WHERE _row > {int(after)}"
    first, last = connection.execute(behind).fetchone() or (None, None)
    while first is not None and first <= last:
        end = first + _WINDOW - 1
        yield f"_row BETWEEN {first} AND {end}", end if end < last else None
        first = end + 1


def _matching(
    connection: duckdb.DuckDBPyConnection, staged: Staged, errors_file: Path, where: str, search: str, rows: str
) -> str:
    """A query for the errors that fit. rows: the condition on `_row` that also holds for the rows of the source."""
    errors = f"SELECT * FROM {parquet(errors_file)} WHERE {where}"
    if not search:
        return errors
    cells = [f"c_{place}" for place in range(len(staged.columns))]
    own = _holds(("value", "message", "key"), search)
    if not cells:
        return f"{errors} AND {own}"
    # Once, and apart: within the other query it would be done anew for each use of that.
    found = f"SELECT _row FROM {parquet(staged.path)} WHERE {rows} AND {_holds(cells, search)}"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE in_source AS {found}")
    return f"{errors} AND (_row IN (SELECT _row FROM in_source) OR {own})"


def _holds(columns: Iterable[str], search: str) -> str:
    """SQL: whether one of the columns holds the text, in whatever case."""
    wanted = f"lower({literal(search)})"
    return f"({' OR '.join(f'contains(lower({name}), {wanted}) IS TRUE' for name in columns)})"


def one_row(
    workspace: Workspace, staged: Staged, errors_file: Path, row: int
) -> tuple[tuple[RowError, ...], dict[str, str | None] | None]:
    """All errors of one row, and its cells as the source gave them; None for those of a record that is no row."""
    here = f"_row = {int(row)}"
    with workspace.connect() as connection:
        errors = _errors(connection, f"SELECT * FROM {parquet(errors_file)} WHERE {here}")
        cells: Any = None
        # What was trimmed stands in the source as it was.
        for path in filter(None, (staged.padded, staged.path)):
            names = ", ".join(f"c_{place}" for place in range(len(staged.columns)))
            cells = cells or connection.execute(f"SELECT {names} FROM {parquet(path)} WHERE {here}").fetchone()
    return errors, dict(zip(staged.columns, cells, strict=True)) if cells else None


def _errors(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[RowError, ...]:
    lines = connection.execute(f"SELECT _row, {_COLUMNS} FROM ({query}) ORDER BY _row, code, field, message").fetchall()
    return tuple(RowError(*line) for line in lines)
