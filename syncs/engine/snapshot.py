"""What Salesforce is known to hold: one Parquet file per sync, written anew whenever a job has changed something."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from connections.salesforce.describe import ObjectDescribe
from syncs.engine.errors import engine_errors
from syncs.engine.families import Family, family_of
from syncs.engine.files import write_query
from syncs.engine.plan import Plan
from syncs.engine.sql import parquet
from syncs.engine.workspace import Workspace
from syncs.spec import SyncSpec

# Raise it whenever the same source value is written differently than before, so that old hashes mean nothing.
ENCODER_VERSION = 1

# What Salesforce answers to an update or a delete by an id that it does not hold (SOAP API guide, "StatusCode"). A bad
# id in a lookup is answered alike; then to read the key once more does no harm.
_NO_SUCH_RECORD = ("ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY")

METADATA = "sfsync_snapshot"
_PROBE = "What Salesforce is known to hold, 0123456789, äöü."


@dataclasses.dataclass(frozen=True)
class SnapshotHeader:
    """Whose records a snapshot tells of, and how it was made.

    fields: API names of the fields with a hash, in the order of the columns h_<i>; the key has none.
    encoder_version, hash_version: how values were written and hashed.
    key_rule: how keys were compared, as `key_rule` tells; "" in a snapshot that does not tell.
    """

    salesforce_org_id: str
    object: str
    key_fields: tuple[str, ...]
    fields: tuple[str, ...]
    encoder_version: int
    hash_version: str
    key_rule: str = ""

    @classmethod
    def of(cls, salesforce_org_id: str, spec: SyncSpec, describe: ObjectDescribe) -> SnapshotHeader:
        """The header of the snapshot that a job of this sync writes today.

        salesforce_org_id: of the org the connection leads to. describe: of the sync's object.
        """
        keys = [field for name in spec.key_fields if (field := describe.field(name)) is not None]
        compared = (mapping for mapping in spec.mappings if mapping.write_on != "insert")
        targets = (describe.field(mapping.target) for mapping in compared)
        return cls(
            salesforce_org_id=salesforce_org_id,
            object=describe.name,
            key_fields=tuple(key.name for key in keys),
            fields=tuple(field.name for field in targets if field is not None and field not in keys),
            encoder_version=ENCODER_VERSION,
            hash_version=hash_version(),
            key_rule="; ".join(key_rule(family_of(key.type) or "text", key.case_sensitive) for key in keys),
        )

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        return {**dataclasses.asdict(self), "key_fields": list(self.key_fields), "fields": list(self.fields)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SnapshotHeader:
        """The header that `to_json` wrote."""
        return cls(**{**data, "key_fields": tuple(data["key_fields"]), "fields": tuple(data["fields"])})


@dataclasses.dataclass(frozen=True)
class SnapshotManifest:
    """A snapshot that was written: its file, how many records it knows, its header."""

    path: Path
    rows: int
    header: SnapshotHeader

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        return {"path": str(self.path), "rows": self.rows, "header": self.header.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SnapshotManifest:
        """The manifest that `to_json` wrote."""
        return cls(Path(data["path"]), data["rows"], SnapshotHeader.from_json(data["header"]))


def key_rule(family: Family, case_sensitive: bool) -> str:
    """In words, how keys of such a field are compared; keys compared in another way cannot be found again."""
    if family in ("text", "email", "picklist", "multipicklist"):
        return "text, case-sensitive" if case_sensitive else "text, any case"
    return family


@functools.cache
def hash_version() -> str:
    """How this DuckDB hashes text: two that answer alike hash alike. `hash()` is promised for one version only."""
    with duckdb.connect(":memory:") as connection:
        row = connection.execute("SELECT hash(?), hash(hash(?), 1::UBIGINT)", [_PROBE, _PROBE]).fetchone()
    assert row is not None
    return f"{row[0]:016x}{row[1]:016x}"


def read_header(path: Path) -> SnapshotHeader:
    """The header of a snapshot file. Raises ValueError when the file is no snapshot."""
    with engine_errors():
        metadata = pq.read_schema(path).metadata or {}
    text = metadata.get(METADATA.encode())
    if text is None:
        raise ValueError(f"{path.name} is not a snapshot")
    return SnapshotHeader.from_json(json.loads(text))


def check_header(path: Path, header: SnapshotHeader) -> list[str]:
    """Why the snapshot in the file `path` must not be used for a job that would write `header`: a sentence each.

    The mapped fields may differ: a field the snapshot does not know is not known yet, that is all.
    """
    try:
        found = read_header(path)
    except ValueError as error:
        return [f"{error}."]
    reasons = []
    if found.salesforce_org_id[:15] != header.salesforce_org_id[:15]:
        reasons.append(
            f"It was made with the Salesforce org {found.salesforce_org_id}, but the connection leads to "
            f"{header.salesforce_org_id}."
        )
    if found.object.lower() != header.object.lower():
        reasons.append(f"It holds records of {found.object}, but the sync writes {header.object}.")
    if [field.lower() for field in found.key_fields] != [field.lower() for field in header.key_fields]:
        reasons.append(
            f"Its records are known by {', '.join(found.key_fields)}, but the sync key is "
            f"{', '.join(header.key_fields)}."
        )
    elif found.key_rule and header.key_rule and found.key_rule != header.key_rule:
        reasons.append(
            f"{', '.join(found.key_fields)} was compared as {found.key_rule} when it was made, and is compared as "
            f"{header.key_rule} since the field was changed in Salesforce, so its keys cannot be told from new ones."
        )
    if found.encoder_version != header.encoder_version or found.hash_version != header.hash_version:
        reasons.append("It was made by a version of sfsync whose hashes cannot be compared with those of this one.")
    return reasons


def commit(
    workspace: Workspace,
    plan: Plan,
    outcomes_file: Path,
    previous: Path | None,
    to: Path,
    header: SnapshotHeader,
    *,
    only_planned: bool = False,
) -> SnapshotManifest:
    """Write what Salesforce is known to hold after a job, from what was known before and what it confirmed.

    outcomes_file: the final outcomes of `finish`. previous: the last snapshot, or what was read of the destination, or
    None. to: the Parquet file to write: `nkey`, `key`, `id`, `state` (present, maybe, expired), `row_hash`, `h_<i>` for
    the i-th of header.fields. only_planned: of `previous`, records whose key is in no row of the source are left out.

    An update or a delete that failed because there is no record of the id any more leaves the key known without an id,
    as one that may be there, so that the next job reads it.

    Rows that were inserted or updated, or were put on record by a baseline, are present with what was sent; fields left
    alone by an update keep what is known of them. Deleted ones go. Expired ones keep what is known. Of those whose
    fate is unknown nothing is known any more but that they may be there. All others, failed ones too, stay as they are,
    unless another key was confirmed to have their record: a record has one key.
    """
    with workspace.connect() as connection:
        query = _committed(plan, outcomes_file, previous, header, only_planned)
        metadata = {METADATA: json.dumps(header.to_json())}
        hashes = ("row_hash", *(f"h_{place}" for place in range(len(header.fields))))
        rows = write_query(connection, query, to, compression="ZSTD", plain=hashes, metadata=metadata)
    return SnapshotManifest(to, rows, header)


def _committed(
    plan: Plan, outcomes_file: Path, previous: Path | None, header: SnapshotHeader, only_planned: bool
) -> str:
    """A query for the records of the new snapshot."""
    touched = _touched(plan, outcomes_file)
    joined = _joined(plan, previous, touched, only_planned)
    gone = "outcome IN ('deleted', 'already_gone') OR (outcome = 'failed' AND v_nkey IS NULL)"
    told = f"SELECT * REPLACE (coalesce(lost, false) AS lost) FROM {joined}"
    columns = ", ".join(_merged(plan, previous, header))
    return f"SELECT {columns} FROM ({told}) WHERE outcome IS NULL OR NOT ({gone})"


def _joined(plan: Plan, previous: Path | None, touched: str, only_planned: bool) -> str:
    """A FROM item with what was known (v_...) beside what happened (t_..., outcome, lost)."""
    if previous is None:
        names = ("v_nkey", "v_key", "v_id", "v_state", "v_row_hash")
        nothing = ", ".join(f"NULL AS {name}" for name in names)
        return f"(SELECT *, {nothing} FROM ({touched}))"
    known = range(len(read_header(previous).fields))
    before = "nkey AS v_nkey, key AS v_key, id AS v_id, state AS v_state, row_hash AS v_row_hash"
    old = ", ".join([before, *(f"h_{i} AS v_{i}" for i in known)])
    # A record that was inserted just now has an id that nobody knew before.
    claims = f"SELECT t_nkey AS c_nkey, left(t_id, 15) AS c_id FROM ({touched}) WHERE outcome = 'updated'"
    kept = parquet(previous)
    if only_planned:
        rows = f"SELECT hash(nkey) AS p_hash FROM {parquet(plan.rows_file)} WHERE _row IS NOT NULL"
        kept = f"(SELECT * FROM {kept} SEMI JOIN ({rows}) ON p_hash = hash(nkey))"
    unclaimed = f"{kept} ANTI JOIN ({claims}) ON c_id = left(id, 15) AND c_nkey <> nkey"
    return f"(SELECT {old} FROM {unclaimed}) FULL JOIN ({touched}) ON t_nkey = v_nkey"


def _merged(plan: Plan, previous: Path | None, header: SnapshotHeader) -> list[str]:
    """SQL: the columns of the new snapshot."""
    planned = {field.lower(): f"t_{place}" for place, field in enumerate(plan.fields)}
    known = {} if previous is None else {f.lower(): f"v_{i}" for i, f in enumerate(read_header(previous).fields)}
    # The hash of a whole row says nothing about a row of other fields.
    same_fields = {field.lower() for field in header.fields} == set(known)
    row_hash = "v_row_hash" if same_fields else "NULL"
    hashes = []
    for place, field in enumerate(header.fields):
        told, before = planned.get(field.lower(), "NULL::UINTEGER"), known.get(field.lower(), "NULL::UINTEGER")
        # A record that was inserted just now holds nothing in the fields that were left alone.
        inserted = "NULL" if field in plan.only_updated else told
        merged = f"CASE outcome WHEN 'updated' THEN coalesce({told}, {before}) WHEN 'inserted' THEN {inserted} "
        hashes.append(f"{merged} WHEN 'unknown' THEN NULL ELSE CASE WHEN NOT lost THEN {before} END END AS h_{place}")
    confirmed = "outcome IN ('inserted', 'updated')"
    unknown_row = "WHEN outcome = 'inserted' THEN NULL " if plan.only_updated else ""
    return [
        "coalesce(t_nkey, v_nkey) AS nkey",
        f"CASE WHEN {confirmed} OR v_nkey IS NULL THEN t_key ELSE v_key END AS key",
        f"CASE WHEN {confirmed} THEN coalesce(t_id, v_id) WHEN NOT lost THEN coalesce(v_id, t_id) END AS id",
        f"CASE WHEN {confirmed} THEN 'present' WHEN outcome = 'expired' THEN 'expired' "
        "WHEN outcome = 'unknown' OR lost THEN 'maybe' ELSE v_state END AS state",
        f"CASE {unknown_row}WHEN {confirmed} THEN t_row_hash WHEN outcome IS DISTINCT FROM 'unknown' AND NOT lost "
        f"THEN {row_hash} END AS row_hash",
        *hashes,
    ]


def _touched(plan: Plan, outcomes_file: Path) -> str:
    """A query for the rows whose outcome says something about a record: t_nkey, t_key, t_id, outcome, lost, hashes."""
    hashes = ", ".join(["row_hash AS t_row_hash", *(f"h_{i} AS t_{i}" for i in range(len(plan.fields)))])
    planned = f"SELECT * FROM {parquet(plan.rows_file)} WHERE nkey IS NOT NULL"
    if plan.baseline:
        # Nothing was sent, so there is nothing to join with: a table of any size passes through.
        return (
            "SELECT nkey AS t_nkey, key AS t_key, record_id AS t_id, 'updated' AS outcome, false AS lost, "
            f"{hashes} FROM ({planned}) WHERE action = 'baseline'"
        )
    no_record = " OR ".join(f"starts_with(error, '{code}')" for code in _NO_SUCH_RECORD)
    lost = f"outcome = 'failed' AND action IN ('update', 'delete', 'expire') AND coalesce({no_record}, false) AS lost"
    told = "CASE WHEN action = 'expire' AND outcome = 'updated' THEN 'expired' ELSE outcome END"
    outcomes = (
        f"(SELECT _seq AS o_seq, {told} AS outcome, record_id AS o_id, {lost} FROM {parquet(outcomes_file)} "
        "WHERE outcome <> 'not_sent')"
    )
    return (
        f"SELECT nkey AS t_nkey, key AS t_key, coalesce(o_id, record_id) AS t_id, outcome, lost, {hashes} "
        f"FROM ({planned}) JOIN {outcomes} ON o_seq = _seq"
    )
