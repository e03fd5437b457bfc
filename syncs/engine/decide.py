"""What becomes of each source row, as one SQL query: the encoded row beside what is known of its key."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path

from syncs.engine import conditions, hashes
from syncs.engine.echo import content, content_hashes
from syncs.engine.families import Line
from syncs.engine.known import PRESENT, Known
from syncs.engine.plan import Action, Operation
from syncs.engine.sql import parquet
from syncs.engine.transform import Transform
from syncs.spec import SyncSpec

# Tables of the connection that plans, made by `compare`.
DUPLICATES, EXISTING, SHARED = "duplicate_keys", "existing_records", "shared_records"
# Of single records that were read, by key: g_<i>, what line i's field holds, and rt_<n>, what a rule asks for.
TARGETS = "target_values"

# What a row's own column may say becomes of it.
ACTIONS = ("INSERT", "UPDATE", "UPSERT", "DELETE")

_SENT = ("insert", "update", "upsert", "delete")


def salesforce_matches(spec: SyncSpec, transform: Transform) -> bool:
    """Whether rows go as upserts, and Salesforce itself finds their records.

    It can do so by one external id, where new and changed rows are sent alike. Otherwise sfsync reads the keys it does
    not know, and sends inserts and updates.
    """
    behaviour = spec.behaviour
    alike = behaviour.new == "insert" and behaviour.changed == "update" and not spec.action_column
    by_external_id = len(transform.keys) == 1 and transform.keys[0].field.external_id
    filtered = spec.compare == "destination" and bool(spec.target_filter)
    return (
        alike and by_external_id and not filtered and all(line.mapping.write_on == "both" for line in transform.lines)
    )


def inserts_blindly(spec: SyncSpec) -> bool:
    """Every row becomes a new record, and nobody asks whether it is there already."""
    return spec.mode == "insert" and spec.compare == "nothing" and not spec.action_column


@dataclasses.dataclass(frozen=True)
class Decision:
    """The query that decides, for one sync and one source.

    known: what to compare with, or to take record ids from. refusals: a file of rows that Salesforce refused in earlier
    jobs (see parking.py), or None. rule: SQL over rs_<n> and rt_<n>, the condition of an update. duplicates, existing,
    shared, targets: whether the tables of these names hold anything. baseline: valid rows are only put on record.
    stamped: a snapshot file that tells which records were expired, where nothing is compared with it; or None.
    """

    spec: SyncSpec
    transform: Transform
    known: Known | None
    refusals: Path | None = None
    rule: str | None = None
    duplicates: bool = False
    existing: bool = False
    shared: bool = False
    targets: bool = False
    baseline: bool = False
    stamped: Path | None = None

    @cached_property
    def compared(self) -> tuple[Line, ...]:
        """The lines whose values decide whether a row has changed: not the key's, and none that only inserts write."""
        lines = self.transform.lines
        return tuple(line for line in lines if line not in self.transform.keys and line.mapping.write_on != "insert")

    @cached_property
    def upserts(self) -> bool:
        """Rows go as upserts."""
        return salesforce_matches(self.spec, self.transform)

    @property
    def parked_by(self) -> str:
        """The column with a hash of all that a row sends, what only inserts write too."""
        inserts_more = any(line.mapping.write_on == "insert" for line in self.transform.lines)
        return "whole" if self.transform.keys and inserts_more else "row_hash"

    @property
    def looks_first(self) -> bool:
        """Whether `first_look` can tell which rows are unchanged."""
        compares = self.spec.compare != "nothing" and not self.baseline and self.spec.behaviour.changed != "delete"
        return self.known is not None and self.known.same_fields and compares and not self.spec.action_column

    @property
    def untouched(self) -> Action:
        """What becomes of a row that is in Salesforce already, just as it is."""
        return "ignored" if self.spec.behaviour.changed == "ignore" else "unchanged"

    def columns_of(self, action: str) -> tuple[Line, ...]:
        """The lines whose columns a payload of this action has, besides the record's id.

        In an update the key has found the record; to write it again could only change its case.
        """
        skipped = {"insert": ("update",), "update": ("insert",), "upsert": ()}.get(action)
        if skipped is None:
            return ()
        lines = (line for line in self.transform.lines if line.mapping.write_on not in skipped)
        return tuple(line for line in lines if action != "update" or line not in self.transform.keys)

    def shared_records(self, staged: str, most: int) -> str:
        """A query for rows that would write one record together, under different keys: `nkey`, `id`, `n` rows, and the
        first `most` of them, `first_rows`.

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

    def differing_keys(self, staged: str) -> str:
        """A query for nkey and k_<i> of the rows that may be sent: with compare = nothing all of them, else those that
        are not known to be in Salesforce just as they are."""
        parts = ", ".join(f"v_{line.index} AS k_{place}" for place, line in enumerate(self.transform.keys))
        rows = f"SELECT nkey, {parts}, hash(nkey) AS nkey_hash, row_hash FROM ({self.hashed(staged)})"
        if self.known is None or not self.known.same_fields or self.spec.compare == "nothing":
            return rows
        return f"SELECT * FROM ({rows}) ANTI JOIN ({self._as_they_are()}) ON k_hash = nkey_hash AND k_row = row_hash"

    def _as_they_are(self) -> str:
        assert self.known is not None
        path = parquet(self.known.path)
        return f"SELECT hash(nkey) AS k_hash, row_hash AS k_row FROM {path} WHERE state = 'present'"

    def first_look(self, staged: str) -> str:
        """A query that tells the rows which are known to be in Salesforce, at a fraction of the memory of `query`:
        `_row`, `nkey`, `key`, `nkey_hash`, `same`, the masks, and the `fingerprint` of those that are the same.

        The key and the row are compared by a hash of 64 bits each. Rows that are not the same may still turn out to
        be unchanged.
        """
        masks = range(self.transform.masks)
        bad = " | ".join(f"bad_{m}" for m in masks)
        same = ["k_hash IS NOT NULL", f"({bad}) = 0"]
        joins = f" LEFT JOIN ({self._as_they_are()}) ON k_hash = nkey_hash AND k_row = row_hash"
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
        columns += self.transform.counted_masks
        columns.append(f"hash('{self.untouched}', nkey, whole) AS fingerprint")
        hashed = f"SELECT *, hash(nkey) AS nkey_hash FROM ({self.hashed(staged)})"
        return f"SELECT {', '.join(columns)} FROM ({hashed}){joins}"

    def query(self, staged: str) -> str:
        """A query with one row per staged row: `_row`, `_wave`, `action`, `nkey`, `key`, `record_id`, `row_hash`,
        `h_<i>` (of the i-th compared line), `whole` (where `parked_by` names it), `content_hi` and `content_lo`
        (without a key), `bad_<m>`, the counted masks, `fingerprint`, and `p_<i>`, what is sent for line i, NULL in rows
        that do not send it; with expiry also `p_expired`, which clears the stamp of a record whose row came back.

        staged: a FROM item with the columns of a staged table.
        """
        masks = range(self.transform.masks)
        columns = ["_row", "_wave", "action", "nkey", "key", "record_id", "row_hash"]
        columns += [f"h_{place}" for place in range(len(self.compared))]
        if not self.transform.keys:
            columns += ["content_hi", "content_lo"]
        if self.parked_by == "whole":
            columns.append("whole")
        columns += [f"(bad_{m} | CASE WHEN is_new THEN missing_{m} ELSE 0 END) AS bad_{m}" for m in masks]
        columns += self.transform.counted_masks
        columns += ["hash(action, nkey, whole) AS fingerprint"]
        columns += [self._sent(line) for line in self.transform.lines]
        if self.spec.behaviour.dropped == "expire":
            expired = "s_state = 'expired'" if self.known else "z_nkey IS NOT NULL" if self.stamped else "false"
            returned = f"action IN ('update', 'upsert') AND {expired}"
            columns.append(f"CASE WHEN {returned} THEN '#N/A' END AS p_expired")
        return f"SELECT {', '.join(columns)} FROM ({self._acted(staged)})"

    def _sent(self, line: Line) -> str:
        actions = [action for action in ("insert", "update", "upsert") if line in self.columns_of(action)]
        if not actions:
            return f"NULL::VARCHAR AS p_{line.index}"
        condition = " OR ".join(f"action = '{action}'" for action in actions)
        if line.mapping.write_on == "only_if_empty":
            condition = f"action = 'insert' OR (action = 'update' AND {self._empty(line)})"
        return f"CASE WHEN {condition} THEN e_{line.index} END AS p_{line.index}"

    def _empty(self, line: Line) -> str:
        """SQL: the record holds nothing in the line's field."""
        if self.spec.compare == "destination":
            return f"coalesce(s_{self.compared.index(line)} = {hashes.empty_hash()}, true)"
        return f"g_{line.index} IS NULL" if self.targets else "true"

    def _acted(self, staged: str) -> str:
        """Adds `action`: the wish, unless the row lacks what a new record must have, or is parked."""
        missing = " | ".join(f"missing_{m}" for m in range(self.transform.masks))
        action = f"CASE WHEN is_new AND ({missing}) <> 0 THEN 'rejected' ELSE wish END"
        if self.refusals is not None:
            sent = ", ".join(f"'{each}'" for each in _SENT)
            parked = hashes.parked_hash(self.parked_by, [line.field.name for line in self.transform.lines])
            action = f"CASE WHEN wish IN ({sent}) AND f_hash = {parked} THEN 'parked' ELSE {action} END"
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
        if self.spec.action_column:
            rejected.append("action_text IS NULL")
        valid = "'baseline'" if self.baseline else self._wish()
        wish = f"CASE WHEN {' OR '.join(rejected)} THEN 'rejected' ELSE {valid} END"
        new = "wish = 'insert' OR (wish = 'upsert' AND NOT present)"
        known = f"SELECT *, {self._present()} AS present, {self._changed()} AS changed FROM ({self._joined(staged)})"
        return f"SELECT *, ({new}) AS is_new FROM (SELECT *, {wish} AS wish FROM ({known}))"

    def _wish(self) -> str:
        """SQL: what a valid row is for."""
        if self.spec.action_column:
            return self._told()
        if self.upserts:
            return "CASE WHEN changed THEN 'upsert' ELSE 'unchanged' END"
        if inserts_blindly(self.spec):
            return "'insert'"
        behaviour = self.spec.behaviour
        new = "'insert'" if behaviour.new == "insert" else "'ignored'"
        # A row that was put on record is equal to what is known, even where nobody knows the id of its record.
        equal = (
            "WHEN present AND NOT changed THEN 'unchanged' " if behaviour.changed in ("update", "conditional") else ""
        )
        wish = f"CASE {equal}WHEN {self._exists()} THEN {self._of_match()} ELSE {new} END"
        if self.existing and self.spec.compare == "destination":
            # The record is there, but the target filter keeps it out.
            return f"CASE WHEN s_nkey IS NULL AND x_n = 1 THEN 'ignored' ELSE {wish} END"
        return wish

    def _of_match(self) -> str:
        """SQL: what becomes of a row that has a record."""
        match self.spec.behaviour.changed:
            case "update":
                return "CASE WHEN changed THEN 'update' ELSE 'unchanged' END"
            case "conditional":
                return f"CASE WHEN NOT changed THEN 'unchanged' WHEN {self.rule} THEN 'update' ELSE 'ignored' END"
            case "delete":
                return "'delete'"
            case _:
                return "'ignored'"

    def _told(self) -> str:
        """SQL: what a row's own column says. No record is made twice, and none is made by an update."""
        exists = self._exists()
        return (
            f"CASE action_text WHEN 'INSERT' THEN CASE WHEN {exists} THEN 'ignored' ELSE 'insert' END "
            f"WHEN 'UPDATE' THEN CASE WHEN {exists} THEN 'update' ELSE 'ignored' END "
            f"WHEN 'UPSERT' THEN CASE WHEN {exists} THEN 'update' ELSE 'insert' END "
            f"ELSE CASE WHEN {exists} THEN 'delete' ELSE 'ignored' END END"
        )

    def _exists(self) -> str:
        """SQL: Salesforce holds a record of this key."""
        if self.spec.behaviour.changed == "ignore" and not self.spec.action_column:
            # A record that is confirmed needs no id to be left alone.
            return "present OR x_n IS NOT NULL" if self.existing else "present"
        return "record_id IS NOT NULL"

    def _present(self) -> str:
        """SQL: Salesforce confirmed that it holds a record of this key."""
        return f"coalesce(s_state IN {PRESENT}, false)" if self.known else "false"

    def _changed(self) -> str:
        """SQL: what would be sent is not known to be in Salesforce already.

        A field that is left alone is equal. Where neither row leaves a field alone, the hashes of the whole rows, wide
        enough to be beyond doubt, show what two equal hashes of 32 bits may hide.
        """
        if self.known is None or self.spec.compare == "nothing":
            return "true"
        differs = []
        for place, line in enumerate(self.compared):
            condition = f"h_{place} IS DISTINCT FROM s_{place} AND h_{place} IS NOT NULL"
            if line.mapping.write_on == "only_if_empty":
                condition += f" AND {self._empty(line)}"
            differs.append(f"({condition})")
        if self.known.same_fields and all(line.mapping.write_on != "only_if_empty" for line in self.compared):
            differs.append("coalesce(row_hash & s_row_hash & 1 = 1 AND row_hash <> s_row_hash, false)")
        if self.spec.behaviour.dropped == "expire":
            differs.append("s_state = 'expired'")
        return f"(coalesce(s_state NOT IN {PRESENT}, true) OR {' OR '.join(differs) or 'false'})"

    def _joined(self, staged: str) -> str:
        """Adds what is known of the row's key: from the snapshot, from Salesforce, from the other rows."""
        ids = [name for name, there in (("x_id", self.existing), ("s_id", self.known)) if there]
        columns, joins = f"*, coalesce({', '.join([*ids, 'NULL'])})::VARCHAR AS record_id", ""
        if self.duplicates:
            columns += ", d_nkey IS NOT NULL AS is_duplicate"
            joins += f" LEFT JOIN (SELECT nkey AS d_nkey FROM {DUPLICATES}) ON d_nkey = nkey"
        if self.existing:
            joins += f" LEFT JOIN (SELECT nkey AS x_nkey, id AS x_id, n AS x_n FROM {EXISTING}) ON x_nkey = nkey"
        if self.targets:
            joins += f" LEFT JOIN (SELECT * RENAME (nkey AS v_nkey) FROM {TARGETS}) ON v_nkey = nkey"
        elif self.rule is not None and self.spec.changed_rule is not None:
            # No record was read, because no row may be one.
            asked = conditions.targets_of(self.spec.changed_rule)
            columns += "".join(f", NULL::VARCHAR AS rt_{number}" for number, _ in enumerate(asked))
        if self.shared:
            columns += ", m_nkey IS NOT NULL AS is_shared"
            joins += f" LEFT JOIN (SELECT nkey AS m_nkey FROM {SHARED}) ON m_nkey = nkey"
        if self.refusals is not None:
            parked = f"SELECT nkey AS f_nkey, row_hash AS f_hash FROM {parquet(self.refusals)} WHERE parked"
            joins += f" LEFT JOIN ({parked}) ON f_nkey = nkey"
        if self.known:
            joins += f" LEFT JOIN {self.known.columns()} ON s_nkey = nkey"
        if self.stamped is not None:
            stamped = f"SELECT nkey AS z_nkey FROM {parquet(self.stamped)} WHERE state = 'expired'"
            joins += f" LEFT JOIN ({stamped}) ON z_nkey = nkey"
        return f"SELECT {columns} FROM ({self.hashed(staged)}){joins}"

    def hashed(self, staged: str) -> str:
        """A query for the encoded rows with `h_<i>` (NULL where a field is left alone), `row_hash`, `whole` (of all
        that may be sent) and, without a key, the content."""
        lines = [line for line in self.transform.lines if line not in self.transform.keys]
        wide = ", ".join(f"{hashes.wide_hash(line, f'e_{line.index}')} AS x_{line.index}" for line in lines)
        inner = f"SELECT *{', ' if wide else ''}{wide} FROM ({self.transform.encoded(staged)})"
        columns = [f"{hashes.narrow_hash(f'x_{line.index}')} AS h_{i}" for i, line in enumerate(self.compared)]
        by_name = {line.field.name: f"x_{line.index}" for line in self.compared}
        row = hashes.row_hash(hashes.whole_hash(by_name), list(by_name.values()))
        whole = hashes.whole_hash({line.field.name: f"x_{line.index}" for line in lines})
        columns += [f"{whole} AS whole", f"{row} AS row_hash"]
        if not self.transform.keys:
            sent = [(line.family, f"e_{line.index}") for line in self.columns_of("insert")]
            inner = f"SELECT *, {content(sent, self.transform.time_zone)} AS content FROM ({inner})"
            columns.append(content_hashes("content"))
        return f"SELECT *, {', '.join(columns)} FROM ({inner})"


def operations_of(decision: Decision) -> tuple[Operation, ...]:
    """What rows of the source may be sent as."""
    if decision.upserts:
        return ("upsert",)
    return _SENT  # type: ignore[return-value]
