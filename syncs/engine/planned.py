"""Looking at what a plan is going to do, before it does it."""

from __future__ import annotations

from syncs.engine.plan import Plan
from syncs.engine.sql import parquet
from syncs.engine.workspace import Workspace


def deletes(workspace: Workspace, plan: Plan, *, after: str = "", limit: int = 50) -> list[tuple[str, str]]:
    """Records that a plan deletes: (key, record id) each, by record id, those behind the id `after`."""
    query = (
        f"SELECT coalesce(key, ''), record_id FROM {parquet(plan.rows_file)} "
        "WHERE action = 'delete' AND record_id > $after ORDER BY record_id LIMIT $limit"
    )
    with workspace.connect() as connection:
        return connection.execute(query, {"after": after, "limit": limit}).fetchall()
