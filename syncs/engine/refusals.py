"""Rows that Salesforce refused for good, job after job: looking at those that are parked, and releasing them.

They stand in a Parquet file beside the snapshot: `nkey` (the sync key as it is compared), `key` (as it is written),
`failures` (jobs in a row that ended so), `row_hash`, `code` and `message` (Salesforce's last answer), `parked`. A row
that is not in it has a clean record.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from syncs.engine.errors import engine_errors
from syncs.engine.files import write_query
from syncs.engine.sql import literal, literals, parquet
from syncs.engine.workspace import Workspace


@dataclasses.dataclass(frozen=True)
class ParkedRow:
    """A row that is left out. nkey, key: its sync key, as it is compared and as it is written. failures: jobs."""

    nkey: str
    key: str
    failures: int
    code: str
    message: str


@dataclasses.dataclass(frozen=True)
class ParkedRows:
    """A page of parked rows, in order of their keys. following: the nkey to go on after, or None."""

    rows: tuple[ParkedRow, ...]
    following: str | None


@dataclasses.dataclass(frozen=True)
class Left:
    """What a release left: how many rows in all, how many of them parked."""

    rows: int
    parked: int


def page(workspace: Workspace, path: Path, *, search: str = "", after: str = "", limit: int = 50) -> ParkedRows:
    """The first `limit` parked rows behind the nkey `after`.

    search: text, in whatever case, that must stand in the key, the code or the message.
    """
    where = f"parked AND nkey > {literal(after)}"
    if search:
        wanted = f"lower({literal(search)})"
        where += f" AND ({' OR '.join(f'contains(lower({name}), {wanted})' for name in ('key', 'code', 'message'))})"
    query = (
        "SELECT nkey, coalesce(key, nkey), failures, coalesce(code, ''), coalesce(message, '') "
        f"FROM {parquet(path)} WHERE {where} ORDER BY nkey LIMIT {int(limit) + 1}"
    )
    with workspace.connect() as connection:
        found = [ParkedRow(*line) for line in connection.execute(query).fetchall()]
    shown = found[:limit]
    return ParkedRows(tuple(shown), shown[-1].nkey if len(found) > limit else None)


def unknown(workspace: Workspace, path: Path, keys: Sequence[str]) -> list[str]:
    """Those of the keys under which no row is parked, in their order."""
    query = f"SELECT key, nkey FROM {parquet(path)} WHERE {_are(keys)}"
    with workspace.connect() as connection:
        found = {key for line in connection.execute(query).fetchall() for key in line}
    return [key for key in dict.fromkeys(keys) if key not in found]


def release(workspace: Workspace, path: Path, to: Path, keys: Sequence[str] | None = None) -> Left:
    """Write the file anew without parked rows, so that the next job sends them, and counts from the start.

    to: the Parquet file to write. keys: of the rows to release, as they are written or as they are compared; None for
    all that are parked. Rows that are not parked stay. Raises `DiskFull`, `Interrupted`.
    """
    released = "parked" if keys is None else _are(keys)
    with engine_errors():
        metadata = pq.read_schema(path).metadata or {}
    with workspace.connect(ordered=True) as connection:
        query = f"SELECT * FROM {parquet(path)} WHERE ({released}) IS NOT TRUE"
        kept = {name.decode(): value.decode() for name, value in metadata.items()}
        rows = write_query(connection, query, to, compression="ZSTD", plain=("row_hash",), metadata=kept or None)
        [(parked,)] = connection.execute(f"SELECT count(*) FROM {parquet(to)} WHERE parked").fetchall()
    return Left(rows, parked)


def _are(keys: Sequence[str]) -> str:
    """SQL: whether a row is parked under one of the keys."""
    listed = literals(keys) or "NULL"
    return f"parked AND (key IN ({listed}) OR nkey IN ({listed}))"
