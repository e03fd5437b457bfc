"""Records that were read from Salesforce, made comparable with the rows of a source.

A compare with the destination is a compare with a snapshot that was taken just now: what was read is encoded and
hashed like the source's own rows, into a file of the same layout.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from connections.salesforce.describe import ObjectDescribe
from syncs.engine import hashes, values
from syncs.engine.decide import Decision
from syncs.engine.families import Family, family_of
from syncs.engine.files import write_query
from syncs.engine.reads import Columns
from syncs.engine.snapshot import METADATA, SnapshotHeader
from syncs.engine.sql import literal, parquet
from syncs.engine.transform import Transform, has_canonical, joined_key, normalised_key, shown_key
from syncs.engine.workspace import Workspace

NAMED_RECORDS = 10


@dataclasses.dataclass(frozen=True)
class Destination:
    """What Salesforce holds, as of now.

    path: a snapshot file (see snapshot.py), a line per key; of a key that several records have it knows no id.
    ambiguous: Parquet with `nkey`, `n`, `id` and `ids` of such keys. values: Parquet with `nkey` and `rt_<n>`, what a
    rule asks for, or None. records: how many there are. blank: how many of them have no key; they take no part.
    """

    path: Path
    ambiguous: Path
    values: Path | None
    records: int
    blank: int

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        paths = {name: None if path is None else str(path) for name, path in self._paths()}
        return {**paths, "records": self.records, "blank": self.blank}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Destination:
        """The destination that `to_json` wrote."""
        held = Path(data["values"]) if data["values"] else None
        return cls(Path(data["path"]), Path(data["ambiguous"]), held, data["records"], data["blank"])

    def _paths(self) -> Iterable[tuple[str, Path | None]]:
        return ("path", self.path), ("ambiguous", self.ambiguous), ("values", self.values)


def build(
    workspace: Workspace,
    decision: Decision,
    describe: ObjectDescribe,
    columns: Columns,
    records: Path,
    header: SnapshotHeader,
    folder: Path,
) -> Destination:
    """Make what was read comparable.

    records: Parquet with r_<i> for the i-th of columns.paths. folder: where the files go.
    """
    transform = decision.transform
    path, ambiguous = folder / "destination.parquet", folder / "ambiguous.parquet"
    held = folder / "values.parquet" if columns.targets else None
    read = keyed(columns, transform, records)
    suspects = f"SELECT hash(nkey) AS h FROM ({read}) GROUP BY h HAVING count(*) > 1"
    several = f"SELECT * FROM ({read}) SEMI JOIN ({suspects}) ON h = hash(nkey)"
    with workspace.connect() as connection:
        counts = connection.execute(f"SELECT count(*), count(*) FILTER (nkey IS NULL) FROM ({read})").fetchall()
        write_query(connection, f"SELECT * FROM ({grouped(several)}) WHERE n > 1", ambiguous)
        metadata = {METADATA: json.dumps(header.to_json())}
        plain = ("row_hash", *(f"h_{place}" for place in range(len(decision.compared))))
        query = _comparable(decision, columns, read, ambiguous)
        write_query(connection, query, path, compression="ZSTD", plain=plain, metadata=metadata)
        if held is not None:
            single = f"SELECT * FROM ({read}) ANTI JOIN (SELECT nkey AS a FROM {parquet(ambiguous)}) ON a = nkey"
            asked = ", ".join(["nkey", *target_columns(columns, describe, transform.time_zone)])
            write_query(connection, f"SELECT {asked} FROM ({single}) WHERE nkey IS NOT NULL", held)
    [(total, blank)] = counts
    return Destination(path, ambiguous, held, total, blank)


def keyed(columns: Columns, transform: Transform, records: Path) -> str:
    """A query for records that were read: r_<i>, `id`, `nkey` and `key`; `nkey` is NULL for one without a key."""
    parts = [
        normalised_key(line.family, line.field.case_sensitive, f"r_{place}", transform.time_zone)
        for line, place in zip(transform.keys, columns.keys, strict=True)
    ]
    shown = shown_key([f"r_{place}" for place in columns.keys])
    return f"SELECT *, r_0 AS id, {joined_key(parts)} AS nkey, {shown} AS key FROM {parquet(records)}"


def grouped(read: str, *values_of: str) -> str:
    """A query for the keys of records: `nkey`, `n` records, `id` of one, `ids` of the first ones, and further values.

    values_of: SQL with a name, of which any record's is taken.
    """
    further = "".join(
        f", any_value({value.rpartition(' AS ')[0]}) AS {value.rpartition(' AS ')[2]}" for value in values_of
    )
    return (
        "SELECT nkey, count(DISTINCT id) AS n, min(id) AS id, "
        f"list_slice(list_sort(list(DISTINCT id)), 1, {NAMED_RECORDS}) AS ids{further} "
        f"FROM ({read}) WHERE nkey IS NOT NULL GROUP BY nkey"
    )


def target_columns(columns: Columns, describe: ObjectDescribe, time_zone: str) -> list[str]:
    """SQL over records that were read: `rt_<n>`, the n-th value that a rule asks for, as one spelling of it."""
    found = []
    for number, (name, place) in enumerate(columns.targets.items()):
        field = describe.field(name)
        family = (family_of(field.type) if field else None) or "text"
        found.append(f"{spelled(family, f'r_{place}', time_zone)} AS rt_{number}")
    return found


def spelled(family: Family, text: str, time_zone: str) -> str:
    """SQL: the one spelling of a value that Salesforce returned; NULL for none. text: a column name."""
    if not has_canonical(family):
        return f"nullif({text}, '')"
    canonical = values.canonical(family, "v", time_zone)
    return f"list_transform([nullif({text}, '')], lambda v: coalesce({canonical}, v))[1]"


def _comparable(decision: Decision, columns: Columns, read: str, ambiguous: Path) -> str:
    """A query for the lines of a snapshot."""
    lines = decision.compared
    zone = decision.transform.time_zone
    texts = "".join(f", nullif(r_{columns.lines[line.index]}, '') AS t_{line.index}" for line in lines)
    state = (
        "'present'"
        if columns.expired is None
        else f"CASE WHEN r_{columns.expired} <> '' THEN 'expired' ELSE 'present' END"
    )
    state = f"coalesce({state}, 'present')"
    single = f"SELECT nkey, key, id, {state} AS state{texts} FROM ({read}) WHERE nkey IS NOT NULL"
    single = f"SELECT * FROM ({single}) ANTI JOIN (SELECT nkey AS a FROM {parquet(ambiguous)}) ON a = nkey"
    encoded = "".join(f", {_encoded(line.family, f't_{line.index}', zone)} AS e_{line.index}" for line in lines)
    encoded = f"SELECT nkey, key, id, state{encoded} FROM ({single})"
    wide = "".join(f", {hashes.wide_hash(line, f'e_{line.index}')} AS x_{line.index}" for line in lines)
    by_name = {line.field.name: f"x_{line.index}" for line in lines}
    row = hashes.row_hash(hashes.whole_hash(by_name), list(by_name.values()))
    narrow = "".join(f", {hashes.narrow_hash(f'x_{line.index}')} AS h_{i}" for i, line in enumerate(lines))
    known = f"SELECT nkey, key, id, state, {row} AS row_hash{narrow} FROM (SELECT *{wide} FROM ({encoded}))"
    nothing = "".join(f", NULL::UINTEGER AS h_{i}" for i in range(len(lines)))
    unsure = f"SELECT nkey, nkey AS key, NULL::VARCHAR AS id, 'maybe' AS state, NULL::UBIGINT AS row_hash{nothing}"
    return f"{known} UNION ALL {unsure} FROM {parquet(ambiguous)}"


def _encoded(family: Family, text: str, time_zone: str) -> str:
    """SQL: what would have been sent for this value; for none, what clears the field."""
    value = text
    if has_canonical(family):
        value = f"coalesce({values.canonical(family, text, time_zone)}, {text})"
    return f"coalesce({value}, {literal(values.CLEARED)})"
