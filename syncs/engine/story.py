"""What happened to one record: its rows in the files of history, newest first, each field with what it was before."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa

from syncs.engine.history import AFTER, BASE, BEFORE, hashed_as, id_term, index_of, key_term, without_id_term
from syncs.engine.matching import DELETED, INSERTED, UPDATED
from syncs.engine.sql import identifier, literal, literals, parquet
from syncs.engine.values import CLEARED
from syncs.engine.workspace import Workspace

# How it is known what a field was before: it was read; an earlier job sent it; the record did not exist; or it is not.
Basis = Literal["read", "sent", "new", "unknown"]
# With these outcomes a record holds what was sent.
_WROTE = (INSERTED, UPDATED, "expired")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The files of each sync, by its number.
Files = Mapping[int, Sequence[Path]]


@dataclasses.dataclass(frozen=True)
class FieldChange:
    """What was done to a field. name: as it was sent. before, after: None for nothing. basis: how `before` is known."""

    name: str
    before: str | None
    after: str | None
    basis: Basis

    @property
    def changed(self) -> bool | None:
        """Whether its value became another one; None where nobody can tell."""
        return None if self.basis == "unknown" else self.before != self.after


@dataclasses.dataclass(frozen=True)
class Change:
    """What one row of a job did to a record. row: of the source; None for a record that left it. key, record_id: ""
    where they are not known. error: the answer of a refused row, or why its fate is unknown."""

    sync: int
    job: int
    at: datetime
    row: int | None
    action: str
    outcome: str
    error: str
    key: str
    record_id: str
    fields: tuple[FieldChange, ...]


@dataclasses.dataclass(frozen=True)
class Story:
    """A page of changes, newest first. following: what to go on after, or "" at the end."""

    changes: tuple[Change, ...]
    following: str


class BadPlace(ValueError):
    """A place to go on after that no page ended with."""


def story_of_key(
    workspace: Workspace, files: Files, key: str, *, since: datetime | None = None, after: str = "", limit: int = 50
) -> Story:
    """The changes under a key, in whatever case.

    files: of the syncs to look at. since: only jobs that ended later. after: as the page before said.
    Raises BadPlace, and FileNotFoundError for a file that is gone.
    """
    with workspace.connect() as connection:
        found = _found(connection, files, _KEY, _lowered(connection, [key]))
        return _story(connection, found, since, after, limit)


def story_of_id(
    workspace: Workspace,
    files: Files,
    record_id: str,
    *,
    since: datetime | None = None,
    after: str = "",
    limit: int = 50,
) -> Story:
    """The changes of a record, and what was refused under its keys before it had an id.

    record_id: 15 or 18 characters. The others, and what is raised: as for `story_of_key`.
    """
    with workspace.connect() as connection:
        found = _found(connection, files, _ID, [record_id[:15]])
        for sync, keys in _keys_in(found).items():
            found += _found(connection, {sync: files[sync]}, _KEY_WITHOUT_ID, _lowered(connection, keys))
        return _story(connection, found, since, after, limit)


# --- finding rows ---


@dataclasses.dataclass(frozen=True)
class _By:
    """What rows are found by. value: SQL. term: makes SQL of the term of a value, SQL. where: SQL."""

    value: str
    term: Callable[[str], str]
    where: str = "true"


_KEY = _By("lower(key)", key_term)
_ID = _By("left(id, 15)", id_term)
_KEY_WITHOUT_ID = _By("lower(key)", without_id_term, "id IS NULL")


def _lowered(connection: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> list[str]:
    """Keys in lower case, as the engine does it."""
    [values] = connection.execute(f"SELECT {', '.join(f'lower({literal(key)})' for key in keys)}").fetchall()
    return list(values)


def _found(connection: duckdb.DuckDBPyConnection, files: Files, by: _By, values: Sequence[str]) -> list[pa.Table]:
    """The rows that have one of the values; with a column `sync`."""
    sync_of = {path: sync for sync, paths in files.items() for path in paths}
    found = []
    for path, places in _places(connection, list(sync_of), by, values).items():
        # By the place alone a group of rows is found, without a look at the others.
        there = f"SELECT * FROM {parquet(path)} WHERE file_row_number IN ({', '.join(map(str, places))})"
        wanted = f"{by.value} IN ({literals(values)}) AND {by.where}"
        rows = connection.sql(f"SELECT *, {sync_of[path]}::BIGINT AS sync FROM ({there}) WHERE {wanted}")
        found.append(rows.to_arrow_table())
    return found


def _places(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[Path], by: _By, values: Sequence[str]
) -> dict[Path, list[int]]:
    """In which files, and where in them, such rows may stand."""
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(path)
    hashed = hashed_as(connection)
    indexes = {str(index_of(path, hashed)): path for path in paths}
    there = [index for index in indexes if Path(index).exists()]
    found: dict[Path, list[int]] = defaultdict(list)
    if there:
        terms = ", ".join(by.term(literal(value)) for value in values)
        query = f"SELECT filename, place FROM {parquet(*there, with_name=True)} WHERE term IN ({terms}) ORDER BY ALL"
        for index, place in connection.execute(query).fetchall():
            found[indexes[index]].append(place)
    for path in [indexes[index] for index in indexes if index not in there]:
        # Its index was written by an engine with other hashes: the file itself is looked through.
        wanted = f"{by.value} IN ({literals(values)}) AND {by.where}"
        query = f"SELECT file_row_number FROM {parquet(path)} WHERE {wanted} ORDER BY 1"
        found[path] = [place for (place,) in connection.execute(query).fetchall()]
    return {path: places for path, places in found.items() if places}


def _keys_in(found: Sequence[pa.Table]) -> dict[int, list[str]]:
    """The keys of rows, by sync."""
    keys: dict[int, set[str]] = defaultdict(set)
    for table in found:
        for sync, key in zip(table.column("sync").to_pylist(), table.column("key").to_pylist(), strict=True):
            if key is not None:
                keys[sync].add(key)
    return {sync: sorted(some) for sync, some in keys.items()}


# --- telling ---


def _story(
    connection: duckdb.DuckDBPyConnection, found: Sequence[pa.Table], since: datetime | None, after: str, limit: int
) -> Story:
    if not any(table.num_rows for table in found):
        return Story((), "")
    table = _together(found)
    connection.register("found", table)
    names = _names_of(table)
    place = _place_sql()
    where = f"WHERE ({place}) < ({_place(after)})" if after else ""
    query = f"SELECT * FROM ({_query(table, names, since)}) {where} ORDER BY ({place}) DESC LIMIT {int(limit) + 1}"
    rows = connection.sql(query).to_arrow_table().to_pylist()
    shown = rows[:limit]
    following = _place_of(shown[-1]) if len(rows) > limit else ""
    return Story(tuple(_change(row, names) for row in shown), following)


def _together(found: Sequence[pa.Table]) -> pa.Table:
    """All rows as one table. Files may spell a field in different ways; for SQL it is one column."""
    spelled: dict[str, str] = {}
    for table in found:
        for name in table.schema.names:
            spelled.setdefault(name.lower(), name)
    renamed = [table.rename_columns([spelled[name.lower()] for name in table.schema.names]) for table in found]
    return pa.concat_tables(renamed, promote_options="default")


def _names_of(table: pa.Table) -> list[str]:
    """The fields of which something is told, in lower case and as they are spelled."""
    names: dict[str, str] = {}
    for prefix in (AFTER, BEFORE):
        for name in table.schema.names:
            if name.startswith(prefix):
                names.setdefault(name.removeprefix(prefix).lower(), name.removeprefix(prefix))
    return list(names.values())


def _query(table: pa.Table, names: Sequence[str], since: datetime | None) -> str:
    """A query for the rows with a_<i>, b_<i> and w_<i> of the i-th field: sent now, read before, sent last."""
    there = {name.lower() for name in table.schema.names}
    wrote = f"outcome IN ({literals(_WROTE)})"
    columns = [*(identifier(name) for name in BASE.names), "sync"]
    for i, name in enumerate(names):
        texts = [
            identifier(prefix + name) if (prefix + name).lower() in there else "NULL::VARCHAR"
            for prefix in (AFTER, BEFORE)
        ]
        # What is known of a record was sent to that record, whichever key it had.
        last = f"last_value(CASE WHEN {wrote} THEN {texts[0]} END IGNORE NULLS) OVER earlier"
        columns += [
            f"{texts[0]} AS a_{i}",
            f"{texts[1]} AS b_{i}",
            f"CASE WHEN id IS NOT NULL THEN {last} END AS w_{i}",
        ]
    kept = f" WHERE ended_at >= {literal(since.isoformat())}::TIMESTAMPTZ" if since else ""
    return (
        f"SELECT {', '.join(columns)} FROM (SELECT * FROM found{kept}) WINDOW earlier AS "
        "(PARTITION BY left(id, 15) ORDER BY ended_at, job ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    )


def _change(row: dict[str, Any], names: Sequence[str]) -> Change:
    fields = (_field(row, name, i) for i, name in enumerate(names))
    return Change(
        sync=row["sync"],
        job=row["job"],
        at=row["ended_at"],
        row=row["row"],
        action=row["action"] or "",
        outcome=row["outcome"],
        error=row["error"] or "",
        key=row["key"] or "",
        record_id=row["id"] or "",
        fields=tuple(field for field in fields if field is not None),
    )


def _field(row: dict[str, Any], name: str, i: int) -> FieldChange | None:
    """What a row did to a field; None for nothing."""
    sent, held, last = row[f"a_{i}"], row[f"b_{i}"], row[f"w_{i}"]
    if sent is None:
        # Of a record that was deleted it is told what it held.
        gone = row["outcome"] == DELETED
        return FieldChange(name, held, None, "read") if gone and held else None
    after = None if sent == CLEARED else sent
    if held is not None:
        return FieldChange(name, held or None, after, "read")
    if row["outcome"] == INSERTED:
        return FieldChange(name, None, after, "new")
    if last is not None:
        return FieldChange(name, None if last == CLEARED else last, after, "sent")
    return FieldChange(name, None, after, "unknown")


# --- pages ---


def _place_sql() -> str:
    return "epoch_us(ended_at), job, coalesce(\"row\", 0), coalesce(id, '')"


def _place_of(row: dict[str, Any]) -> str:
    moment = (row["ended_at"] - _EPOCH) // timedelta(microseconds=1)
    return f"{moment}-{row['job']}-{row['row'] or 0}-{row['id'] or ''}"


def _place(after: str) -> str:
    """SQL: the place that `_place_of` told. Raises BadPlace."""
    numbers, record_id = after.split("-")[:3], after.split("-")[3:]
    if len(record_id) != 1 or not all(each.isascii() and each.isdigit() and len(each) < 19 for each in numbers):
        raise BadPlace(f"'{after[:100]}' is no place in a history: take the address of a page from the one before.")
    return f"{', '.join(numbers)}, {literal(record_id[0])}"
