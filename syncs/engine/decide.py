"""What becomes of each source row, as one SQL query: the encoded row beside what is known of its key."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from syncs.engine.echo import content, content_hashes
from syncs.engine.plan import Action, Operation
from syncs.engine.snapshot import read_header
from syncs.engine.sql import parquet
from syncs.engine.transform import Transform
from syncs.spec import SyncSpec

# Tables of the connection that plans, made by `compare`.
DUPLICATES, EXISTING, SHARED = "duplicate_keys", "existing_records", "shared_records"

_OPERATIONS: dict[str, Operation] = {"insert": "insert", "update": "update", "upsert": "upsert", "mirror": "upsert"}


@dataclasses.dataclass(frozen=True)
class Known:
    """A snapshot as the right side of a join.

    path: its file. places: for each hashed field of the plan, the place of its hash in the snapshot, or None for a
    field that was mapped later. same_fields: both have the same fields, so hashes of whole rows can be compared.
    only: a file of `nkey_hash`; records with other keys are left out. None for all records.
    """

    path: Path
    places: tuple[int | None, ...]
    same_fields: bool
    only: Path | None = None

    @classmethod
    def of(cls, path: Path, fields: tuple[str, ...]) -> Known:
        """The snapshot in the file `path`, seen from a plan with these hashed fields."""
        known = {field.lower(): place for place, field in enumerate(read_header(path).fields)}
        places = tuple(known.get(field.lower()) for field in fields)
        return cls(path, places, None not in places and len(places) == len(known))

    def columns(self) -> str:
        """A FROM item with s_nkey, s_id, s_state, s_row_hash and s_<i> for the hash of the plan's i-th field."""
        hashes = (
            f"{'NULL::UINTEGER' if place is None else f'h_{place}'} AS s_{i}" for i, place in enumerate(self.places)
        )
        columns = ["nkey AS s_nkey", "id AS s_id", "state AS s_state", "row_hash AS s_row_hash", *hashes]
        source = parquet(self.path)
        if self.only is not None:
            source += f" SEMI JOIN (SELECT nkey_hash FROM {parquet(self.only)}) ON nkey_hash = hash(nkey)"
        return f"(SELECT {', '.join(columns)} FROM {source})"


def operation_of(spec: SyncSpec) -> Operation:
    """What the rows of the source are sent as."""
    return _OPERATIONS[spec.mode]


@dataclasses.dataclass(frozen=True)
class Decision:
    """The query that decides, for one sync and one source.

    duplicates, existing, shared: whether the tables of these names hold anything.
    """

    spec: SyncSpec
    transform: Transform
    known: Known | None
    duplicates: bool
    existing: bool
    shared: bool = False

    @property
    def hashed(self) -> tuple[int, ...]:
        """Indexes of the lines that have a hash: all but the key's, which tells rows apart instead."""
        return tuple(line.index for line in self.transform.lines if line not in self.transform.keys)

    @property
    def looks_first(self) -> bool:
        """Whether `first_look` can tell which rows are unchanged."""
        return self.known is not None and self.known.same_fields and self.spec.compare == "snapshot"

    @property
    def untouched(self) -> Action:
        """What becomes of a row that is in Salesforce already, just as it is."""
        return "ignored" if self.spec.mode == "insert" else "unchanged"

    def shared_records(self, staged: str, most: int) -> str:
        """A query for the rows of an update that would write one record together, under different keys: `nkey`, `id`,
        `n` rows, and the first `most` of them, `first_rows`.

        staged: a FROM item with the columns of a staged table.
        """
        known, read = "SELECT NULL::VARCHAR AS nkey, NULL::VARCHAR AS id WHERE false", ""
        if self.known is not None:
            known = f"SELECT nkey, id FROM {parquet(self.known.path)} WHERE id IS NOT NULL"
        if self.existing:
            # What was read counts more than what was known; of several records with one key, none is written.
            known = f"SELECT * FROM ({known}) ANTI JOIN (SELECT nkey AS x_nkey FROM {EXISTING}) ON x_nkey = nkey"
            read = f" UNION ALL SELECT nkey, id FROM {EXISTING} WHERE n = 1"
        ids = f"SELECT nkey AS i_nkey, id, left(id, 15) AS id15 FROM ({known}{read})"
        suspects = f"SELECT hash(id15) AS h FROM ({ids}) GROUP BY h HAVING count(*) > 1"
        some = f"SELECT * FROM ({ids}) SEMI JOIN ({suspects}) ON h = hash(id15)"
        rows = f"SELECT _row, nkey, id, id15 FROM ({self.transform.key_query(staged)}) JOIN ({some}) ON i_nkey = nkey"
        records = (
            f"SELECT id15 AS r_id15, count(*) AS n, min(_row, {most}) AS first_rows FROM ({rows}) "
            "GROUP BY id15 HAVING count(DISTINCT nkey) > 1"
        )
        return (
            "SELECT nkey, any_value(id) AS id, any_value(n) AS n, any_value(first_rows) AS first_rows "
            f"FROM ({rows}) JOIN ({records}) ON r_id15 = id15 GROUP BY nkey"
        )

    def first_look(self, staged: str) -> str:
        """A query that tells the rows which are known to be in Salesforce, at a fraction of the memory of `query`:
        `_row`, `nkey`, `key`, `nkey_hash`, `same`, `adjusted_<m>`, `soft_<m>`, and the `fingerprint` of those that
        are the same.

        The key and the row are compared by a hash of 64 bits each. Rows that are not the same may still turn out to
        be unchanged.
        """
        assert self.known is not None
        masks = range(self.transform.masks)
        bad = " | ".join(f"bad_{m}" for m in masks)
        same = ["k_hash IS NOT NULL", f"({bad}) = 0"]
        present = (
            f"SELECT hash(nkey) AS k_hash, row_hash AS k_row FROM {parquet(self.known.path)} WHERE state = 'present'"
        )
        joins = f" LEFT JOIN ({present}) ON k_hash = nkey_hash AND k_row = row_hash"
        if self.duplicates:
            same.append("d_nkey IS NULL")
            joins += f" LEFT JOIN (SELECT nkey AS d_nkey FROM {DUPLICATES}) ON d_nkey = nkey"
        if self.existing:
            same.append("x_nkey IS NULL")
            joins += f" LEFT JOIN (SELECT nkey AS x_nkey FROM {EXISTING} WHERE n > 1) ON x_nkey = nkey"
        if self.shared:
            same.append("m_nkey IS NULL")
            joins += f" LEFT JOIN (SELECT nkey AS m_nkey FROM {SHARED}) ON m_nkey = nkey"
        columns = ["_row", "nkey", "key", "nkey_hash", f"({' AND '.join(same)}) AS same"]
        columns += [f"adjusted_{m}" for m in masks] + [f"soft_{m}" for m in self.transform.soft_masks]
        columns.append(f"hash('{self.untouched}', nkey, whole) AS fingerprint")
        hashed = f"SELECT *, hash(nkey) AS nkey_hash FROM ({self._hashed(staged)})"
        return f"SELECT {', '.join(columns)} FROM ({hashed}){joins}"

    def query(self, staged: str) -> str:
        """A query with one row per staged row: `_row`, `action`, `nkey`, `key`, `record_id`, `row_hash`, `h_<i>`,
        `content_hi` and `content_lo` (without a key), `bad_<m>`, `adjusted_<m>`, `soft_<m>`, `fingerprint` and
        `p_<i>`, what is sent for line i, NULL in rows that are not sent.

        staged: a FROM item with the columns of a staged table.
        """
        operation = operation_of(self.spec)
        masks = range(self.transform.masks)
        columns = ["_row", "action", "nkey", "key", "record_id", "row_hash"]
        columns += [f"h_{place}" for place in range(len(self.hashed))]
        if not self.transform.keys:
            columns += ["content_hi", "content_lo"]
        columns += [f"(bad_{m} | CASE WHEN is_new THEN missing_{m} ELSE 0 END) AS bad_{m}" for m in masks]
        columns += [f"adjusted_{m}" for m in masks] + [f"soft_{m}" for m in self.transform.soft_masks]
        columns += ["hash(action, nkey, whole) AS fingerprint"]
        columns += [
            f"CASE WHEN action = '{operation}' THEN e_{i} END AS p_{i}" for i in range(len(self.transform.lines))
        ]
        return f"SELECT {', '.join(columns)} FROM ({self._acted(staged)})"

    def _acted(self, staged: str) -> str:
        """Adds `action`: the wish, unless the row lacks what a new record must have."""
        missing = " | ".join(f"missing_{m}" for m in range(self.transform.masks))
        action = f"CASE WHEN is_new AND ({missing}) <> 0 THEN 'rejected' ELSE wish END"
        return f"SELECT *, {action} AS action FROM ({self._wished(staged)})"

    def _wished(self, staged: str) -> str:
        """Adds `wish`, the action but for the rules of new records, and `is_new`: the row may become a new record."""
        bad = " | ".join(f"bad_{m}" for m in range(self.transform.masks))
        rejected = [f"({bad}) <> 0"]
        if self.transform.keys:
            rejected.append("nkey IS NULL")
        if self.duplicates:
            rejected.append("is_duplicate")
        if self.existing:
            rejected.append("x_n > 1")
        if self.shared:
            rejected.append("is_shared")
        wish = f"CASE WHEN {' OR '.join(rejected)} THEN 'rejected' ELSE {self._wish()} END"
        new = "wish = 'insert' OR (wish = 'upsert' AND NOT present)"
        known = f"SELECT *, {self._present()} AS present, {self._changed()} AS changed FROM ({self._joined(staged)})"
        return f"SELECT *, ({new}) AS is_new FROM (SELECT *, {wish} AS wish FROM ({known}))"

    def _wish(self) -> str:
        """SQL: what a valid row is for, by mode (what new and changed rows are for, in each mode)."""
        everything = self.spec.compare == "nothing"
        match self.spec.mode:
            case "insert":
                found = "false" if not self.existing else "x_n IS NOT NULL"
                return "'insert'" if everything else f"CASE WHEN present OR {found} THEN 'ignored' ELSE 'insert' END"
            case "update":
                changed = "true" if everything else "changed"
                return f"CASE WHEN record_id IS NULL THEN 'ignored' WHEN {changed} THEN 'update' ELSE 'unchanged' END"
            case _:
                return "'upsert'" if everything else "CASE WHEN changed THEN 'upsert' ELSE 'unchanged' END"

    def _present(self) -> str:
        """SQL: Salesforce confirmed that it holds a record of this key."""
        return "coalesce(s_state = 'present', false)" if self.known else "false"

    def _changed(self) -> str:
        """SQL: what would be sent is not known to be in Salesforce already.

        A field that is left alone is equal. Where neither row leaves a field alone, the hashes of the whole rows, wide
        enough to be beyond doubt, show what two equal hashes of 32 bits may hide.
        """
        if self.known is None:
            return "true"
        differs = [f"h_{i} IS DISTINCT FROM s_{i} AND h_{i} IS NOT NULL" for i in range(len(self.hashed))]
        if self.known.same_fields:
            differs.append("coalesce(row_hash & s_row_hash & 1 = 1 AND row_hash <> s_row_hash, false)")
        return f"(coalesce(s_state <> 'present', true) OR {' OR '.join(differs)})"

    def _joined(self, staged: str) -> str:
        """Adds what is known of the row's key: from the snapshot, from Salesforce, from the other rows."""
        ids = [name for name, there in (("x_id", self.existing), ("s_id", self.known)) if there]
        record_id = f"coalesce({', '.join([*ids, 'NULL'])})::VARCHAR"
        joins = ""
        columns = f"*, {record_id} AS record_id"
        if self.duplicates:
            columns += ", d_nkey IS NOT NULL AS is_duplicate"
            joins += f" LEFT JOIN (SELECT nkey AS d_nkey FROM {DUPLICATES}) ON d_nkey = nkey"
        if self.existing:
            joins += f" LEFT JOIN (SELECT nkey AS x_nkey, id AS x_id, n AS x_n FROM {EXISTING}) ON x_nkey = nkey"
        if self.shared:
            columns += ", m_nkey IS NOT NULL AS is_shared"
            joins += f" LEFT JOIN (SELECT nkey AS m_nkey FROM {SHARED}) ON m_nkey = nkey"
        if self.known:
            joins += f" LEFT JOIN {self.known.columns()} ON s_nkey = nkey"
        return f"SELECT {columns} FROM ({self._hashed(staged)}){joins}"

    def _hashed(self, staged: str) -> str:
        """Adds `h_<i>` (NULL where a field is left alone), `whole`, `row_hash` and the content.

        The last bit of `row_hash` tells whether no field is left alone; the others are those of `whole`.
        """
        wide = ", ".join(f"hash(e_{index}) AS x_{index}" for index in self.hashed)
        inner = f"SELECT *{', ' if wide else ''}{wide} FROM ({self.transform.encoded(staged)})"
        columns = [
            f"CASE WHEN e_{index} IS NOT NULL THEN (x_{index} >> 32)::UINTEGER END AS h_{place}"
            for place, index in enumerate(self.hashed)
        ]
        # In the order of the names, so that a mapping whose lines change places is the same mapping.
        by_name = sorted(self.hashed, key=lambda index: self.transform.lines[index].field.name)
        whole = f"hash({', '.join(f'x_{index}' for index in by_name)})" if by_name else "0::UBIGINT"
        filled = " AND ".join(f"e_{index} IS NOT NULL" for index in self.hashed) or "true"
        columns += [f"{whole} AS whole", f"(({whole} >> 1) << 1) | ({filled})::UBIGINT AS row_hash"]
        if not self.transform.keys:
            sent = [(line.family, f"e_{line.index}") for line in self.transform.lines]
            inner = f"SELECT *, {content(sent, self.transform.time_zone)} AS content FROM ({inner})"
            columns.append(content_hashes("content"))
        return f"SELECT *, {', '.join(columns)} FROM ({inner})"
