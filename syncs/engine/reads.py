"""What a plan has to read from Salesforce: which records, by which keys, and which of their fields."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import duckdb

from connections.salesforce.describe import ObjectDescribe
from syncs.engine import conditions
from syncs.engine.decide import Decision, inserts_blindly
from syncs.engine.dropped import any_dropped, any_new_key
from syncs.engine.families import is_polymorphic
from syncs.engine.known import PRESENT, Known
from syncs.engine.sql import parquet
from syncs.engine.transform import Transform
from syncs.spec import SyncSpec


@dataclasses.dataclass(frozen=True)
class Columns:
    """The fields of a query for records: what stands in each place of its SELECT.

    paths: SOQL paths, each once; the first is the record's id. keys: places of the key's fields. lines: by index of a
    line, the place of what its field holds. targets: by API name, the place of what a rule asks for. expired: the place
    of the field that expiry stamps, or None. parents: by index of a line whose parent Salesforce finds, the place of
    the parent's id.
    """

    paths: tuple[str, ...]
    keys: tuple[int, ...]
    lines: dict[int, int]
    targets: dict[str, int]
    expired: int | None
    parents: dict[int, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, spec: SyncSpec, describe: ObjectDescribe, transform: Transform) -> Columns:
        """What is read for a sync: to compare with the destination all that is mapped, else what is asked for."""
        paths = ["Id"]

        def place(path: str) -> int:
            known = {each.lower(): number for number, each in enumerate(paths)}
            if path.lower() not in known:
                paths.append(path)
            return known.get(path.lower(), len(paths) - 1)

        everything = spec.compare == "destination"
        keys = tuple(place(line.selected) for line in transform.keys)
        lines = {
            line.index: place(line.selected)
            for line in transform.lines
            if line not in transform.keys
            and line.mapping.write_on != "insert"
            # SOQL does not read a field of a parent that may be of several objects.
            and not (line.relationship and is_polymorphic(line.field))
            and (everything or line.mapping.write_on == "only_if_empty")
        }
        asked = conditions.targets_of(spec.changed_rule) if spec.behaviour.changed == "conditional" else ()
        targets = {name: place(_spelled(describe, name)) for name in asked}
        expires = everything and spec.behaviour.dropped == "expire"
        expired = place(_spelled(describe, spec.expire_field)) if expires else None
        written = (line for line in transform.lines if line.relationship and line.mapping.write_on != "insert")
        parents = {line.index: place(line.field.name) for line in written if everything}
        return cls(tuple(paths), keys, lines, targets, expired, parents)

    @property
    def names(self) -> list[str]:
        """The columns of a file of records: r_<i> for the i-th path."""
        return [f"r_{place}" for place in range(len(self.paths))]

    @property
    def asks_for_values(self) -> bool:
        """More is needed of a record than its id and its key."""
        return bool(self.lines or self.targets)


def _spelled(describe: ObjectDescribe, name: str) -> str:
    field = describe.field(name)
    return field.name if field is not None else name


def reads_everything(spec: SyncSpec, rows: int, few: int) -> bool:
    """Whether all records under the target filter are read: to find what left the source, or for many rows.

    rows: of the source. few: up to so many, the records of these rows alone cost less.
    """
    return spec.compare == "destination" and (spec.behaviour.dropped != "ignore" or rows > few)


def key_queries(
    connection: duckdb.DuckDBPyConnection, decision: Decision, staged: str, snapshot: Path | None
) -> list[str]:
    """Queries for the keys whose records must be read, each with the columns k_<i>.

    decision: with what is known so far. staged: a FROM item with the columns of a staged table. snapshot: the file of
    the last one, or None.
    """
    spec, transform = decision.spec, decision.transform
    if not transform.keys or inserts_blindly(spec):
        return []
    parts = ", ".join(f"k_{place}" for place in range(len(transform.keys)))
    queries = []
    if spec.compare == "destination" or _asks_for_values(decision):
        rows = decision.differing_keys(staged) if spec.compare != "destination" else transform.key_query(staged)
        queries.append(_once(rows, parts))
    elif (condition := _condition(decision)) is not None:
        queries.append(_unknown(transform.key_query(staged), parts, snapshot, condition))
    if spec.behaviour.dropped != "ignore" and snapshot is not None and spec.compare == "snapshot":
        queries.append(_dropped_keys(connection, transform, staged, snapshot))
    return queries


def outside_query(transform: Transform, staged: str, known: Path) -> str:
    """A query for k_<i> of the rows that have no record under the target filter: it may be outside of it."""
    parts = ", ".join(f"k_{place}" for place in range(len(transform.keys)))
    held = f"SELECT hash(nkey) AS h FROM {parquet(known)}"
    rows = f"SELECT * FROM ({transform.key_query(staged)}) ANTI JOIN ({held}) ON h = hash(nkey)"
    return _once(rows, parts)


def _asks_for_values(decision: Decision) -> bool:
    asked = decision.spec.behaviour.changed == "conditional" and conditions.targets_of(decision.spec.changed_rule)
    return bool(asked) or any(line.mapping.write_on == "only_if_empty" for line in decision.transform.lines)


def _once(rows: str, parts: str) -> str:
    each = ", ".join(f"any_value({part}) AS {part}" for part in parts.split(", "))
    return f"SELECT {parts} FROM (SELECT nkey, {each} FROM ({rows}) WHERE nkey IS NOT NULL GROUP BY nkey)"


def _unknown(rows: str, parts: str, snapshot: Path | None, condition: str) -> str:
    """A query for those keys of the source for which a condition on the snapshot's `s_id` and `s_state` holds."""
    known = "SELECT NULL::VARCHAR AS s_nkey, NULL::VARCHAR AS s_id, NULL::VARCHAR AS s_state WHERE false"
    if snapshot is not None:
        known = f"SELECT nkey AS s_nkey, id AS s_id, state AS s_state FROM {parquet(snapshot)}"
    each = ", ".join(f"any_value({part}) AS {part}" for part in parts.split(", "))
    keys = f"SELECT nkey, {each} FROM ({rows}) WHERE nkey IS NOT NULL GROUP BY nkey"
    return f"SELECT {parts} FROM ({keys}) LEFT JOIN ({known}) ON s_nkey = nkey WHERE {condition}"


def _condition(decision: Decision) -> str | None:
    """Which keys of the source have to be looked up, as SQL over the snapshot's id and state; None for none."""
    spec, behaviour = decision.spec, decision.spec.behaviour
    unsure = f"(s_state IS NULL OR s_state NOT IN {PRESENT})"
    if decision.upserts:
        # Where Salesforce does not watch over the key, a row whose fate is unknown could become a second record.
        watched = decision.transform.keys[0].field.unique or spec.compare == "nothing"
        return None if watched else "s_state = 'maybe'"
    if behaviour.changed == "ignore" and not spec.action_column:
        return unsure
    if behaviour.new == "ignore" and not spec.action_column:
        return "s_id IS NULL"
    return f"(s_id IS NULL OR {unsure})"


def _dropped_keys(connection: duckdb.DuckDBPyConnection, transform: Transform, staged: str, snapshot: Path) -> str:
    """A query for keys of known records that left the source and whose id has to be found out, or confirmed.

    A key that is new beside one that is gone may be the same record's, renamed in Salesforce as in the source.
    """
    every_key = transform.key_query(staged)
    renamed = any_dropped(connection, every_key, snapshot) and any_new_key(connection, every_key, snapshot)
    wanted = f"(SELECT nkey, key FROM {parquet(snapshot)} WHERE {'true' if renamed else 'id IS NULL'})"
    # Of several fields, the snapshot knows each as Salesforce compares it.
    split = (f"split_part(nkey, chr(31), {place + 1}) AS k_{place}" for place in range(len(transform.keys)))
    parts = "key AS k_0" if len(transform.keys) == 1 else ", ".join(split)
    held = f"SELECT nkey AS k FROM ({every_key}) WHERE nkey IS NOT NULL"
    return f"SELECT {parts} FROM {wanted} ANTI JOIN ({held}) ON k = nkey"


def known_for(spec: SyncSpec, transform: Transform, snapshot: Path | None, fields: tuple[str, ...]) -> Known | None:
    """What a plan compares with, or takes record ids from; None when nothing is known.

    With compare = nothing the snapshot only tells ids, where those are needed.
    """
    if snapshot is None or not transform.keys or inserts_blindly(spec):
        return None
    known = Known.of(snapshot, fields)
    if spec.compare == "nothing" and Decision(spec, transform, known).upserts:
        return None
    return known
