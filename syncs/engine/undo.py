"""What a job did to records, beside what they hold now: from both follows what takes it back.

    outcomes, payloads, before-images of the job -> what it did -> read from Salesforce: what is there now -> decided

Nothing is guessed. A field goes back when it holds what the job wrote, and held something else before; one that holds a
third thing was changed since by somebody, and stays. A record that the job made goes only while it is as the job left
it. Rows whose outcome nobody knows are told by what Salesforce shows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from connections.salesforce.describe import ObjectDescribe
from syncs.engine.destination import spelled
from syncs.engine.families import Family, family_of
from syncs.engine.files import TableWriter, stream, write_query
from syncs.engine.hashes import stored
from syncs.engine.payloads import placed, places
from syncs.engine.plan import Plan, PlannedColumn
from syncs.engine.results import header_of, rows_of
from syncs.engine.sql import identifier, literal, literals, parquet
from syncs.engine.transform import compared, joined_key, normalised_key
from syncs.engine.values import CLEARED
from syncs.engine.workspace import Workspace

# What a job may have done to a record. Of those that begin with `maybe` nobody knows whether it did.
DID = ("inserted", "updated", "deleted", "restored", "maybe_inserted", "maybe_deleted", "maybe_restored")
# What is read of each record, besides its fields, as far as the object has it.
_ABOUT = ("Id", "IsDeleted", "CreatedDate", "CreatedById")


@dataclasses.dataclass(frozen=True)
class Undone:
    """A job that is taken back.

    before_file: Parquet with `_seq`, `record_id` and `b_<i>`, what records held in
    the i-th of before_fields before it; None when it kept none. since: when it began, in UTC, as `2024-05-01T10:11:12`.
    user_id: as whom it wrote.
    """

    plan: Plan
    before_file: Path | None
    before_fields: tuple[str, ...]
    since: str
    user_id: str


@dataclasses.dataclass(frozen=True)
class UndoField:
    """A field that the job wrote.

    name, family: of the field that takes the value back. written: the title of its column in the job's payloads.
    path: in SOQL, what reads it in the form in which it was written; "" where SOQL cannot. written_family,
    case_sensitive: how that compares.
    before: place of what it held before among the before-images' fields, or None when that is not known.
    before_written: place of the same in the form in which it was written, or None.
    """

    name: str
    family: Family
    written: str
    path: str
    written_family: Family
    case_sensitive: bool
    before: int | None
    before_written: int | None

    @property
    def by_parent(self) -> bool:
        """The job named a parent record by a field of it; its id takes the field back."""
        return self.written.lower() != self.name.lower()


def fields_of(undone: Undone, describe: ObjectDescribe) -> tuple[UndoField, ...]:
    """The fields that a job wrote, or whose values came back with a record that it restored.

    Raises KeyError with the name of one that the object has no more, or that the user may not see any more.
    """
    names = [
        name
        for batch in undone.plan.batches
        if batch.operation in ("insert", "update", "upsert")
        for name in header_of(batch.file)
    ]
    if any(batch.operation == "undelete" for batch in undone.plan.batches):
        names += undone.before_fields
    columns = {column.sent_as.lower(): column for column in undone.plan.columns}
    before = {name.lower(): place for place, name in enumerate(undone.before_fields)}
    found: dict[str, UndoField] = {}
    for name in names:
        if name.lower() != "id":
            found.setdefault(name.lower(), _field(name, columns.get(name.lower()), describe, before))
    return tuple(found.values())


def _field(name: str, column: PlannedColumn | None, describe: ObjectDescribe, before: dict[str, int]) -> UndoField:
    field = describe.field(column.field if column else name)
    family = family_of(field.type) if field else None
    if field is None or family is None:
        raise KeyError(column.field if column else name)
    by_parent = column is not None and "." in column.sent_as
    return UndoField(
        name=field.name,
        family=family,
        written=name,
        # SOQL does not read a field of a parent that may be of several objects.
        path="" if ":" in name else name if by_parent else field.name,
        written_family=column.family if column else family,
        case_sensitive=column.case_sensitive if by_parent and column else True,
        before=before.get(field.name.lower()),
        before_written=before.get(name.lower()),
    )


def paths_of(fields: Sequence[UndoField], describe: ObjectDescribe) -> list[str]:
    """What to read of each record, in SOQL; its id first."""
    about = [name for name in _ABOUT if name == "Id" or describe.field(name) is not None]
    return list(dict.fromkeys([*about, *(path for field in fields for path in (field.path, field.name) if path)]))


# --- what the job did ---


def write_rows(
    workspace: Workspace, undone: Undone, fields: Sequence[UndoField], outcomes_file: Path, folder: Path
) -> Path:
    """Write what the job did, a line for each record that it changed, or may have changed.

    outcomes_file: its final outcomes.
    Parquet with `_seq` (the job's), `nkey`, `key`, `did`, `record_id`, `has_before`; w_<i>, what it wrote into the i-th
    field, encoded, NULL where it left the field alone; b_<i>, what was there before; bw_<i>, the same in the form in
    which it was written.
    """
    written, to = folder / "written.parquet", folder / "rows.parquet"
    with workspace.connect(ordered=True) as connection:
        _write_written(workspace, connection, undone.plan, fields, written)
        write_query(connection, _rows(undone, fields, outcomes_file, written), to)
    return to


def _write_written(
    workspace: Workspace, connection: duckdb.DuckDBPyConnection, plan: Plan, fields: Sequence[UndoField], to: Path
) -> None:
    """Write what was sent: `w_seq` and w_<i>."""
    names = [f"w_{place}" for place in range(len(fields))]
    schema = pa.schema([("w_seq", pa.int64()), *((name, pa.string()) for name in names)])
    with TableWriter(to, schema) as writer:
        for batch in plan.batches:
            if batch.operation not in ("insert", "update", "upsert"):
                continue
            there = {name.lower(): name for name in header_of(batch.file)}
            wanted = [there.get(field.written.lower()) for field in fields]
            cells = ", ".join(
                f"{identifier(title) if title else 'NULL::VARCHAR'} AS {name}"
                for title, name in zip(wanted, names, strict=True)
            )
            numbers = f"SELECT place AS p, _seq AS w_seq FROM ({places(plan, batch.number)})"
            connection.execute(f"CREATE OR REPLACE TEMP TABLE numbers AS {numbers}").fetchall()
            with rows_of(batch.file, list(there.values())) as payload:
                connection.register("payload", placed(payload.reader))
                query = f"SELECT w_seq{f', {cells}' if cells else ''} FROM payload JOIN numbers ON p = place"
                for part in stream(connection, query):
                    workspace.check()
                    writer.add(pa.Table.from_batches([part]).cast(schema))
                connection.unregister("payload")
        writer.finish()


def _rows(undone: Undone, fields: Sequence[UndoField], outcomes_file: Path, written: Path) -> str:
    before = "SELECT NULL::BIGINT AS b_seq, NULL::VARCHAR AS b_id WHERE false"
    images = ""
    if undone.before_file is not None:
        for place, field in enumerate(fields):
            images += "" if field.before is None else f", b_{field.before} AS i_{place}"
            images += "" if field.before_written is None else f", b_{field.before_written} AS j_{place}"
        before = f"SELECT _seq AS b_seq, record_id AS b_id{images} FROM {parquet(undone.before_file)}"
    did = (
        "CASE WHEN outcome <> 'unknown' THEN outcome "
        "WHEN action IN ('update', 'expire') OR (action = 'upsert' AND b_seq IS NOT NULL) THEN 'updated' "
        "WHEN action = 'delete' THEN 'maybe_deleted' WHEN action = 'undelete' THEN 'maybe_restored' "
        "ELSE 'maybe_inserted' END"
    )
    columns = ["_seq", "nkey", "key", f"{did} AS did", "coalesce(record_id, b_id) AS record_id"]
    columns.append("b_seq IS NOT NULL AS has_before")
    for place, field in enumerate(fields):
        known = f"i_{place}" if images and field.before is not None else "NULL::VARCHAR"
        # A record that was restored came back with what it held.
        brought = f"CASE WHEN b_seq IS NOT NULL THEN coalesce({known}, {literal(CLEARED)}) END"
        restored = "outcome = 'restored' OR action = 'undelete'"
        columns += [f"CASE WHEN {restored} THEN {brought} ELSE w_{place} END AS w_{place}", f"{known} AS b_{place}"]
        spelled_so = f"j_{place}" if images and field.before_written is not None else "NULL::VARCHAR"
        columns.append(f"{spelled_so} AS bw_{place}")
    happened = literals(("inserted", "updated", "deleted", "restored", "unknown"))
    outcomes = f"(SELECT * FROM {parquet(outcomes_file)} WHERE outcome IN ({happened}))"
    return (
        f"SELECT {', '.join(columns)} FROM {outcomes} "
        f"LEFT JOIN (SELECT * FROM {parquet(written)}) ON w_seq = _seq LEFT JOIN ({before}) ON b_seq = _seq"
    )


def write_keys(workspace: Workspace, rows: Path, keys: int, to: Path) -> int:
    """Write the keys of rows that may have become records without anybody having been told their ids: k_<i>.

    keys: how many fields the sync key has. Returns how many there are.
    """
    split = ", ".join(f"split_part(nkey, chr(31), {place + 1}) AS k_{place}" for place in range(keys))
    parts = "key AS k_0" if keys == 1 else split or "key AS k_0"
    query = f"SELECT DISTINCT {parts} FROM {parquet(rows)} WHERE did = 'maybe_inserted' AND record_id IS NULL"
    with workspace.connect() as connection:
        return write_query(connection, f"{query} AND nkey IS NOT NULL", to)


def write_claims(workspace: Workspace, plan: Plan, found: Path | None, rows: Path, to: Path) -> None:
    """Write the rows with the ids that records of their keys turned out to have: as `write_rows`, and `n`, how many.

    found: Parquet with r_0, the id, and r_<i>, the fields of the key; None when none was looked for.
    """
    nothing = "SELECT NULL::VARCHAR AS c_nkey, NULL::BIGINT AS n, NULL::VARCHAR AS c_id WHERE false"
    claims = nothing
    if found is not None:
        parts = [
            normalised_key(key.family, key.case_sensitive, f"r_{place + 1}", plan.time_zone)
            for place, key in enumerate(plan.keys)
        ]
        held = f"SELECT {joined_key(parts)} AS c_nkey, r_0 FROM {parquet(found)}"
        claims = f"SELECT c_nkey, count(DISTINCT r_0) AS n, min(r_0) AS c_id FROM ({held}) GROUP BY c_nkey"
    asked = "did = 'maybe_inserted' AND record_id IS NULL AND c_nkey = nkey"
    query = (
        "SELECT * EXCLUDE (c_nkey, c_id) REPLACE (coalesce(record_id, c_id) AS record_id) "
        f"FROM {parquet(rows)} LEFT JOIN ({claims}) ON {asked}"
    )
    with workspace.connect() as connection:
        write_query(connection, query, to)


def write_ids(workspace: Workspace, rows: Path, to: Path) -> int:
    """Write the ids of the records that are concerned: `k_0`. Returns how many there are."""
    with workspace.connect() as connection:
        query = f"SELECT DISTINCT record_id AS k_0 FROM {parquet(rows)} WHERE record_id IS NOT NULL"
        return write_query(connection, query, to)


def has_doubts(workspace: Workspace, rows: Path) -> bool:
    """Whether of any row nobody knows what became of it."""
    with workspace.connect() as connection:
        query = f"SELECT count(*) FROM {parquet(rows)} WHERE starts_with(did, 'maybe')"
        [(count,)] = connection.execute(query).fetchall()
    return bool(count)


# --- what takes it back ---


@dataclasses.dataclass(frozen=True)
class Now:
    """What the records concerned hold now. file: Parquet with r_<i> for the i-th of paths; records in the recycle bin
    too. undeletable: records of the object can be restored."""

    file: Path
    paths: Sequence[str]
    undeletable: bool = True

    def column(self, path: str) -> str:
        """The column of what is read by this path, or NULL."""
        places = [place for place, each in enumerate(self.paths) if each.lower() == path.lower()]
        return f"r_{places[0]}" if places else "NULL::VARCHAR"


def decided(undone: Undone, fields: Sequence[UndoField], rows: Path, now: Now) -> str:
    """A query for what is to become of each record: `_row` (from 1, the job's last row first), `nkey`, `key`,
    `record_id`, `did`, `action` (update, delete, undelete, unchanged, rejected), `why` (a code, where the record as a
    whole is not taken back, else NULL); by field w_<i>, b_<i>, n_<i> (what is there now, NULL for nothing),
    f_<i> (as_written, as_before, changed, unsure, or NULL for one that was not written), t_<i> (what goes back).
    """
    told = _beside(undone, fields, rows, now)
    place = range(len(fields))
    any_changed = " OR ".join(f"f_{i} IN ('changed', 'unsure')" for i in place) or "false"
    any_back = " OR ".join(f"t_{i} IS NOT NULL" for i in place) or "false"
    inserted = f"CASE WHEN NOT there THEN 'unchanged' WHEN {any_changed} THEN 'rejected' ELSE 'delete' END"
    updated = f"CASE WHEN {any_back} THEN 'update' WHEN {any_changed} THEN 'rejected' ELSE 'unchanged' END"
    deleted = "CASE WHEN there THEN 'unchanged' ELSE 'undelete' END"
    action = (
        f"CASE WHEN why IS NOT NULL THEN 'rejected' WHEN did = 'untold' THEN 'unchanged' "
        f"WHEN did IN ('inserted', 'restored') THEN {inserted} "
        f"WHEN did = 'deleted' THEN {deleted} ELSE {updated} END"
    )
    return (
        f"SELECT row_number() OVER (ORDER BY _seq DESC) AS _row, * EXCLUDE (_seq), {action} AS action "
        f"FROM ({told}) ORDER BY _row"
    )


def _beside(undone: Undone, fields: Sequence[UndoField], rows: Path, now: Now) -> str:
    """A query for what the job did beside what is there now; `did` is settled as far as it can be."""
    zone = undone.plan.time_zone
    deleted = f"coalesce({now.column('IsDeleted')}::VARCHAR = 'true', false)"
    created, creator = now.column("CreatedDate"), now.column("CreatedById")
    ours = f"coalesce(left({created}, 19) >= {literal(undone.since)} AND "
    ours += f"left({creator}, 15) = {literal(undone.user_id[:15])}, false)"
    facts = ", ".join(
        [
            "r_0 IS NOT NULL AS found",
            f"r_0 IS NOT NULL AND NOT {deleted} AS there",
            f"r_0 IS NOT NULL AND {ours} AS ours",
            *(f"{spelled(f.family, now.column(f.name), zone)} AS n_{i}" for i, f in enumerate(fields)),
            *(f"{spelled(f.written_family, now.column(f.path), zone)} AS p_{i}" for i, f in enumerate(fields)),
        ]
    )
    current = f"SELECT * FROM {parquet(now.file)}"
    joined = f"SELECT d.*, {facts} FROM {parquet(rows)} d LEFT JOIN ({current}) ON left(r_0, 15) = left(record_id, 15)"
    kept = "_seq, nkey, key, record_id, has_before, n, found, there"
    texts = "".join(f", w_{i}, b_{i}, bw_{i}, n_{i}, p_{i}" for i in range(len(fields)))
    states = "".join(f", {_state(f, i)} AS f_{i}" for i, f in enumerate(fields))
    settled = f"SELECT *, {_settled()} AS done FROM ({joined})"
    told = f"SELECT {kept}, done AS did, {_why(now)} AS why{texts}{states} FROM ({settled})"
    back = "".join(f", {_back(f, i)} AS t_{i}" for i, f in enumerate(fields))
    return f"SELECT *{back} FROM ({told})"


def _settled() -> str:
    """SQL: what the job did to the record, as Salesforce shows; `untold` for nothing."""
    return (
        "CASE WHEN did = 'maybe_inserted' THEN CASE WHEN ours THEN 'inserted' "
        "WHEN record_id IS NULL AND nkey IS NOT NULL OR NOT found AND record_id IS NOT NULL THEN 'untold' "
        "ELSE 'maybe_inserted' END "
        "WHEN did = 'maybe_deleted' THEN CASE WHEN there THEN 'untold' ELSE 'deleted' END "
        "WHEN did = 'maybe_restored' THEN CASE WHEN there THEN 'restored' ELSE 'untold' END "
        "ELSE did END"
    )


def _why(now: Now) -> str:
    """SQL: the code of why the record as a whole is not taken back, or NULL."""
    lasting = "" if now.undeletable else f"WHEN done = 'deleted' AND NOT there THEN {literal(NOT_UNDELETABLE)} "
    return (
        f"CASE WHEN done = 'maybe_inserted' OR n > 1 THEN {literal(UNKNOWN)} "
        f"WHEN done = 'restored' AND NOT has_before AND there THEN {literal(NO_BEFORE)} "
        f"WHEN done IN ('deleted', 'updated') AND NOT found THEN {literal(GONE)} {lasting}"
        f"WHEN done = 'updated' AND NOT there THEN {literal(DELETED_SINCE)} "
        f"WHEN done = 'updated' AND NOT has_before THEN {literal(NO_BEFORE)} END"
    )


# Why a record, or a field of it, is not taken back.
CHANGED = "Changed Since"
DELETED_SINCE = "Deleted Since"
GONE = "Gone For Good"
NO_BEFORE = "No Before-Image"
NOT_UNDELETABLE = "Cannot Be Restored"
UNKNOWN = "Outcome Unknown"


def _stored(family: Family, value: str) -> str:
    """SQL: what two texts have in common that Salesforce holds as one value."""
    # Salesforce keeps no parts of a second.
    return f"left({value}, 19)" if family == "datetime" else stored(family, value)


def _state(field: UndoField, place: int) -> str:
    """SQL: how a field stands: as_written, as_before, changed, unsure; NULL where it was not written."""
    cleared = literal(CLEARED)

    def same(a: str, b: str, family: Family) -> str:
        return f"{_stored(family, f'coalesce({a}, {cleared})')} = {_stored(family, f'coalesce({b}, {cleared})')}"

    wrote, now, before = f"w_{place}", f"p_{place}", f"b_{place}"
    as_written = same(now, wrote, field.written_family)
    if field.by_parent and not field.case_sensitive:
        sides = [compared(field.written_family, False, f"coalesce({each}, {cleared})") for each in (now, wrote)]
        as_written = " = ".join(sides)
    known = "true"
    if field.before is None or not field.path:
        known = "done <> 'updated'" if field.path else "false"
    # A field that holds what it held before is as it was; and into one that the job left as it was, it wrote nothing.
    left_so = same(wrote, f"bw_{place}", field.written_family) if field.before_written is not None else "false"
    back_already = same(f"n_{place}", before, field.family)
    as_before = f"done = 'updated' AND ({left_so} OR {back_already})" if field.before is not None else "false"
    return (
        f"CASE WHEN {wrote} IS NULL OR done NOT IN ('inserted', 'restored', 'updated') THEN NULL "
        f"WHEN {as_before} THEN 'as_before' WHEN NOT ({known}) THEN 'unsure' WHEN {as_written} THEN 'as_written' "
        "ELSE 'changed' END"
    )


def _back(field: UndoField, place: int) -> str:
    """SQL: what is sent to take a field back, or NULL."""
    return (
        f"CASE WHEN why IS NULL AND did = 'updated' AND f_{place} = 'as_written' "
        f"THEN coalesce(b_{place}, {literal(CLEARED)}) END"
    )
