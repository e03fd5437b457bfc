"""What becomes of known records whose key left the source, as SQL.

A record is deleted by its id, but it is its key that left the source. Where a key was renamed in Salesforce, the record
of a dropped key may be one that the source still holds under another key; such a record stays.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from syncs.engine.decide import EXISTING
from syncs.engine.sql import parquet

# Tables of the connection that plans: dropped records, and the first 15 characters of ids that stay in the source.
DROPPED, HELD = "dropped_records", "held_records"


def any_new_key(connection: duckdb.DuckDBPyConnection, keys: str, snapshot: Path) -> bool:
    """Whether the source has a key that the snapshot does not know.

    keys: a query for the source's keys, with a column `nkey`.
    """
    known = f"SELECT hash(nkey) AS k_hash FROM {parquet(snapshot)}"
    new = f"SELECT 1 FROM ({keys}) ANTI JOIN ({known}) ON k_hash = hash(nkey) WHERE nkey IS NOT NULL LIMIT 1"
    return bool(connection.execute(new).fetchall())


def any_dropped(connection: duckdb.DuckDBPyConnection, keys: str, snapshot: Path) -> bool:
    """Whether the snapshot knows a key that the source does not have."""
    return bool(connection.execute(f"{_missing(keys, snapshot)} LIMIT 1").fetchall())


def dropped_query(keys: str, snapshot: Path, action: str) -> str:
    """A query for dropped records that nothing is done to, all with the same action.

    Its columns: `_seq`, `action`, `nkey`, `key`, `record_id`, `fingerprint`.
    """
    return _numbered(f"SELECT nkey, key, id AS record_id, '{action}' AS action FROM ({_missing(keys, snapshot)})")


def acting_query(
    connection: duckdb.DuckDBPyConnection, keys: str, snapshot: Path, action: str, *, any_read: bool, dropped_read: bool
) -> str:
    """A query for dropped records that are deleted or expired, with the columns of `dropped_query`; makes the tables
    that it needs.

    action: `delete` or `expire`; without a record id where there is nothing to do: Salesforce holds no record of the
    key any more, or only one that the source holds under another key. A record that was expired before is `ignored`
    when it would be expired. It is `withheld` where several records have the key and none of them is the known one.
    any_read: there is a table of records read from Salesforce. dropped_read: all dropped keys were asked for.
    """
    identified = _identified(_missing(keys, snapshot), any_read, dropped_read)
    connection.execute(f"CREATE TEMP TABLE {DROPPED} AS {identified}")
    suspects = f"SELECT left(record_id, 15) AS d_id FROM {DROPPED} WHERE record_id IS NOT NULL"
    known = f"SELECT nkey, left(id, 15) AS id15 FROM {parquet(snapshot)} WHERE id IS NOT NULL"
    connection.execute(
        f"CREATE TEMP TABLE {HELD} AS SELECT DISTINCT id15 FROM ({known}) SEMI JOIN ({suspects}) ON d_id = id15 "
        f"ANTI JOIN (SELECT nkey AS d_nkey FROM {DROPPED}) ON d_nkey = nkey"
    )
    # Of several dropped keys of one record, one stands for it.
    twins = (
        f"SELECT left(record_id, 15) AS t_id, min(nkey) AS t_nkey FROM {DROPPED} WHERE record_id IS NOT NULL "
        "GROUP BY t_id HAVING count(*) > 1"
    )
    stays = "h_id IS NOT NULL OR coalesce(t_nkey <> nkey, false)"
    once = "WHEN state = 'expired' THEN 'ignored' " if action == "expire" else ""
    return _numbered(
        f"SELECT nkey, key, CASE WHEN NOT ({stays}) THEN record_id END AS record_id, "
        f"CASE WHEN ambiguous THEN 'withheld' {once}ELSE '{action}' END AS action FROM {DROPPED} "
        f"LEFT JOIN (SELECT id15 AS h_id FROM {HELD}) ON h_id = left(record_id, 15) "
        f"LEFT JOIN ({twins}) ON t_id = left(record_id, 15)"
    )


def _missing(keys: str, snapshot: Path) -> str:
    """A query for known records whose key is in no row of the source, not even in a rejected one."""
    held = f"SELECT nkey AS k FROM ({keys}) WHERE nkey IS NOT NULL"
    return f"SELECT * FROM (SELECT nkey, key, id, state FROM {parquet(snapshot)}) ANTI JOIN ({held}) ON k = nkey"


def _identified(missing: str, any_read: bool, dropped_read: bool) -> str:
    """Which record has each dropped key, by the snapshot and by what was read from Salesforce."""
    if not any_read:
        return f"SELECT nkey, key, state, id AS record_id, false AS ambiguous FROM ({missing})"
    read = f"SELECT nkey AS x_nkey, id AS x_id, n, ids FROM {EXISTING}"
    known = "coalesce(list_contains(list_transform(ids, lambda i: left(i, 15)), left(id, 15)), false)"
    record_id, ambiguous = "coalesce(id, CASE WHEN n = 1 THEN x_id END)", "id IS NULL AND coalesce(n, 0) > 1"
    if dropped_read:
        # What Salesforce says now counts more than what it said in an earlier job.
        record_id = f"CASE WHEN n = 1 THEN x_id WHEN {known} THEN id END"
        ambiguous = f"coalesce(n, 0) > 1 AND NOT {known}"
    return (
        f"SELECT nkey, key, state, {record_id} AS record_id, {ambiguous} AS ambiguous "
        f"FROM ({missing}) LEFT JOIN ({read}) ON x_nkey = nkey"
    )


def _numbered(query: str) -> str:
    return (
        "SELECT -row_number() OVER () AS _seq, action, nkey, key, record_id, hash(action, nkey) AS fingerprint "
        f"FROM ({query})"
    )
