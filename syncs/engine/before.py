"""Before-images: what records hold that a plan changes or deletes, read before anything is sent.

They are shown beside what is sent, kept for the history of a record, and put back when a job is undone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from connections.salesforce.describe import ObjectDescribe
from syncs.engine.destination import spelled
from syncs.engine.files import write_query
from syncs.engine.plan import Plan
from syncs.engine.reads import Columns
from syncs.engine.sql import parquet
from syncs.engine.transform import Transform, joined_key, normalised_key
from syncs.engine.workspace import Workspace
from syncs.spec import SyncSpec

# Of a record that was read.
_ID15 = "left(r_0, 15)"
_TWICE = "records_read_twice"
_TOUCHING = "action IN ('update', 'upsert', 'delete', 'expire') AND batch IS NOT NULL"


@dataclasses.dataclass(frozen=True)
class Before:
    """Before-images of a plan.

    path: Parquet with `_seq` of the plan's line, `record_id`, and `b_<i>`, what the i-th of `fields` held, written as
    it would be sent; NULL for nothing. A line whose record does not exist is not in it. fields: titles of a payload's
    columns. rows: how many lines.
    """

    path: Path
    fields: tuple[str, ...]
    rows: int

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        return {"path": str(self.path), "fields": list(self.fields), "rows": self.rows}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Before:
        """What `to_json` wrote."""
        return cls(Path(data["path"]), tuple(data["fields"]), data["rows"])


def columns_of(spec: SyncSpec, describe: ObjectDescribe, transform: Transform) -> Columns:
    """The fields that are read of a record: all that are mapped and may be changed, as in a compare with them."""
    return Columns.of(dataclasses.replace(spec, compare="destination"), describe, transform)


def records_to_read(workspace: Workspace, plan: Plan, ids: Path, keys: Path) -> tuple[int, int]:
    """Write which records a plan changes or deletes; return how many are known by id, and how many by key only.

    ids, keys: the Parquet files to write, each with `k_0`: the record's id, or the key of a row whose record
    Salesforce will find or make.
    """
    touched = f"SELECT record_id, key FROM {parquet(plan.rows_file)} WHERE {_TOUCHING}"
    with workspace.connect() as connection:
        known = write_query(connection, f"SELECT record_id AS k_0 FROM ({touched}) WHERE record_id IS NOT NULL", ids)
        asked = f"SELECT key AS k_0 FROM ({touched}) WHERE record_id IS NULL AND key IS NOT NULL"
        return known, write_query(connection, asked, keys)


def write(
    workspace: Workspace,
    spec: SyncSpec,
    describe: ObjectDescribe,
    transform: Transform,
    plan: Plan,
    records: Sequence[Path],
    to: Path,
) -> Before:
    """Join records that were read to the plan's lines that change or delete them.

    transform: of the plan. records: Parquet files with r_<i> for the i-th of `columns_of(...).paths`; a record may
    stand in several. to: the Parquet file to write.
    """
    columns, zone = columns_of(spec, describe, transform), transform.time_zone
    titles = {
        line.sent_as: (line.family, columns.lines[line.index])
        for line in transform.lines
        if line.index in columns.lines
    }
    titles |= {line.sent_as: (line.family, place) for line, place in zip(transform.keys, columns.keys, strict=True)}
    # A lookup that Salesforce finds by a field of the parent is put back by the parent's id: it may have no such field.
    by_index = {line.index: line for line in transform.lines}
    titles |= {by_index[index].field.name: ("id", place) for index, place in columns.parents.items()}
    stamp = describe.field(spec.expire_field) if columns.expired is not None else None
    if stamp is not None and stamp.name not in titles and columns.expired is not None:
        titles[stamp.name] = ("date" if stamp.type == "date" else "datetime", columns.expired)
    held = [f"{spelled(family, f'r_{place}', zone)} AS b_{i}" for i, (family, place) in enumerate(titles.values())]
    names = [f"b_{i}" for i in range(len(titles))]
    with workspace.connect() as connection:
        if records:
            read = _read(columns, transform, parquet(*records), held)
            query = _joined(plan, read, names, twice=_some_stand_twice(connection, parquet(*records)))
        else:
            nothing = "".join(f", NULL::VARCHAR AS {name}" for name in names)
            query = f"SELECT NULL::BIGINT AS _seq, NULL::VARCHAR AS record_id{nothing} WHERE false"
        rows = write_query(connection, query, to, compression="ZSTD")
    return Before(to, tuple(titles), rows)


def _read(columns: Columns, transform: Transform, records: str, held: Sequence[str]) -> str:
    """A query for the records that were read: `id15`, `id`, `r_nkey` and what they held."""
    parts = [
        normalised_key(line.family, line.field.case_sensitive, f"r_{place}", transform.time_zone)
        for line, place in zip(transform.keys, columns.keys, strict=True)
    ]
    key = joined_key(parts) if parts else "NULL::VARCHAR"
    return f"SELECT {_ID15} AS id15, r_0 AS id, {key} AS r_nkey, {', '.join(held)} FROM {records}"


def _some_stand_twice(connection: duckdb.DuckDBPyConnection, records: str) -> bool:
    """Make a table of the hashes of records that were read more than once; whether there are any."""
    hashes = f"SELECT hash({_ID15}) AS twice FROM {records} GROUP BY twice HAVING count(*) > 1"
    connection.execute(f"CREATE TEMP TABLE {_TWICE} AS {hashes}")
    return bool(connection.execute(f"SELECT count(*) FROM {_TWICE}").fetchall()[0][0])


def _joined(plan: Plan, read: str, names: Sequence[str], *, twice: bool) -> str:
    """A query for the lines of the file: by the record's id, else by the key.

    Of the two sides of each join the plan's narrow lines are held, and the wide records flow by.
    """
    once = read
    if twice:
        first = ", ".join(f"any_value({name}) AS {name}" for name in ["id", "r_nkey", *names])
        several = f"SELECT * FROM ({read}) SEMI JOIN {_TWICE} ON twice = hash(id15)"
        alone = f"SELECT * FROM ({read}) ANTI JOIN {_TWICE} ON twice = hash(id15)"
        once = f"{alone} UNION ALL BY NAME SELECT id15, {first} FROM ({several}) GROUP BY id15"
    touched = f"SELECT _seq, nkey, record_id FROM {parquet(plan.rows_file)} WHERE {_TOUCHING}"
    shown = ", ".join(["_seq", "id AS record_id", *names])
    known = f"SELECT _seq, left(record_id, 15) AS t_id15 FROM ({touched}) WHERE record_id IS NOT NULL"
    asked = f"SELECT _seq, nkey AS t_nkey FROM ({touched}) WHERE record_id IS NULL"
    by_id = f"SELECT {shown} FROM ({once}) JOIN ({known}) ON id15 = t_id15"
    by_key = f"SELECT {shown} FROM ({once}) JOIN ({asked}) ON r_nkey = t_nkey"
    return f"{by_id} UNION ALL {by_key}"
