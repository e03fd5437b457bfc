"""What Salesforce is known to hold after an undo: of records that it touched nothing, but that they are there."""

from __future__ import annotations

import json
from pathlib import Path

from syncs.engine.files import write_query
from syncs.engine.plan import Plan
from syncs.engine.snapshot import METADATA, SnapshotManifest, read_header
from syncs.engine.sql import literals, parquet
from syncs.engine.workspace import Workspace


def commit(
    workspace: Workspace, plan: Plan, outcomes_file: Path, previous: Path, to: Path, *, same_keys: bool
) -> SnapshotManifest:
    """Write what is known after an undo.

    plan, outcomes_file: of the undo. previous: the last snapshot; its header is kept. same_keys: records are known in
    it by the same key as in the plan, so that one that came back can be told by it.

    Records that the undo deleted go. Those that it changed or restored, or may have, are `maybe`: nothing is known of
    their values, so that the next job compares them again. All others stay as they are.
    """
    header = read_header(previous)
    hashes = [f"h_{place}" for place in range(len(header.fields))]
    # Of several rows with one record or key, any tells enough.
    told = ("deleted", "already_gone", "updated", "restored", "unknown")
    done = (
        "SELECT nkey AS t_nkey, key AS t_key, o_id AS t_id, left(o_id, 15) AS t_id15, gone "
        f"FROM (SELECT _seq, nkey, key FROM {parquet(plan.rows_file)}) JOIN (SELECT _seq AS o_seq, record_id AS o_id, "
        f"outcome IN ('deleted', 'already_gone') AS gone FROM {parquet(outcomes_file)} "
        f"WHERE outcome IN ({literals(told)})) ON o_seq = _seq"
    )
    by_id = f"SELECT t_id15, bool_and(gone) AS gone FROM ({done}) GROUP BY t_id15"
    by_key = f"SELECT t_nkey, min(t_key) AS t_key, min(t_id) AS t_id FROM ({done}) WHERE NOT gone GROUP BY t_nkey"
    unsure = f"t_id15 IS NOT NULL{' OR k_nkey IS NOT NULL' if same_keys else ''}"
    columns = f"CASE WHEN {unsure} THEN 'maybe' ELSE state END AS state, "
    columns += f"CASE WHEN NOT ({unsure}) THEN row_hash END AS row_hash"
    columns += "".join(f", CASE WHEN NOT ({unsure}) THEN {name} END AS {name}" for name in hashes)
    kept = f"SELECT * FROM {parquet(previous)} LEFT JOIN ({by_id}) ON t_id15 = left(id, 15)"
    record_id = "id"
    if same_keys:
        kept += f" LEFT JOIN (SELECT t_nkey AS k_nkey, t_id AS k_id FROM ({by_key})) ON k_nkey = nkey"
        # A key whose record came back beside another one is looked for again.
        record_id = "CASE WHEN k_nkey IS NULL OR left(k_id, 15) = left(id, 15) THEN id END AS id"
    query = f"SELECT nkey, key, {record_id}, {columns} FROM ({kept}) WHERE gone IS NOT TRUE"
    if same_keys:
        nothing = "".join(f", NULL::UINTEGER AS {name}" for name in hashes)
        known = f"SELECT nkey AS p_nkey FROM ({query})"
        query += (
            f" UNION ALL SELECT t_nkey, t_key, t_id, 'maybe', NULL::UBIGINT{nothing} FROM ({by_key}) "
            f"ANTI JOIN ({known}) ON p_nkey = t_nkey WHERE t_nkey IS NOT NULL"
        )
    with workspace.connect() as connection:
        metadata = {METADATA: json.dumps(header.to_json())}
        plain = ("row_hash", *hashes)
        rows = write_query(connection, query, to, compression="ZSTD", plain=plain, metadata=metadata)
    return SnapshotManifest(to, rows, header)
