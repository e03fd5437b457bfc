"""Rows that Salesforce refuses in job after job: counted, and after so many jobs parked, until they change.

A file of its own beside the snapshot, because it tells of rows, many of which have no record yet.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from syncs.engine import hashes
from syncs.engine.files import write_query
from syncs.engine.matching import FAILED
from syncs.engine.payloads import trouble_sql
from syncs.engine.plan import Plan
from syncs.engine.sql import parquet
from syncs.engine.workspace import Workspace

_MOST_FAILURES = 65_535


@dataclasses.dataclass(frozen=True)
class Refusals:
    """The rows that were refused for good in their last job.

    path: Parquet with `nkey`, `key`, `failures` (jobs in a row), `row_hash` (of what was refused), `code`, `message`,
    `parked`. rows: how many there are. parked: how many of them are not sent any more.
    """

    path: Path
    rows: int
    parked: int

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        return {"path": str(self.path), "rows": self.rows, "parked": self.parked}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Refusals:
        """The refusals that `to_json` wrote."""
        return cls(Path(data["path"]), data["rows"], data["parked"])


def commit(
    workspace: Workspace,
    plan: Plan,
    outcomes_file: Path,
    previous: Path | None,
    park_after: int,
    to: Path,
    *,
    whole: bool,
) -> Refusals | None:
    """Write which rows are refused in a row after a job; None when there are none.

    outcomes_file: the final outcomes of `finish`. previous: the last such file, or None. park_after: a row that was
    refused in so many jobs in a row is parked; 0 parks none. whole: the job read all of its source, so that rows it did
    not see have left.

    Rows that were refused for good count one more. Those that were refused in a way that may pass, or were not sent, or
    were parked, stay as they were. All others are forgotten.
    """
    with workspace.connect() as connection:
        query = _committed(plan, outcomes_file, previous, park_after, whole)
        rows = write_query(connection, query, to, compression="ZSTD")
        if not rows:
            to.unlink()
            return None
        [(parked,)] = connection.execute(f"SELECT count(*) FROM {parquet(to)} WHERE parked").fetchall()
    return Refusals(to, rows, parked)


def _committed(plan: Plan, outcomes_file: Path, previous: Path | None, park_after: int, whole: bool) -> str:
    before = "SELECT NULL::VARCHAR AS b_nkey, NULL::VARCHAR AS b_key, NULL::UBIGINT AS b_hash, "
    before += "NULL::VARCHAR AS b_code, NULL::VARCHAR AS b_message, 0 AS b_failures, false AS b_parked WHERE false"
    if previous is not None:
        before = (
            "SELECT nkey AS b_nkey, key AS b_key, row_hash AS b_hash, code AS b_code, message AS b_message, "
            f"failures::INTEGER AS b_failures, parked AS b_parked FROM {parquet(previous)}"
        )
    # What may pass says nothing against the row.
    lasting = f"outcome = '{FAILED}' AND ({trouble_sql('error')}) IS NULL"
    refused = (
        f"SELECT _seq AS o_seq, outcome, error, {lasting} AS lasting FROM {parquet(outcomes_file)} "
        f"WHERE outcome IN ('{FAILED}', 'not_sent', 'unknown')"
    )
    # Of the plan's rows only those that failed, or were waited for, say something.
    sent = "whole" if "whole" in pq.read_schema(plan.rows_file).names else "row_hash"
    sent = hashes.parked_hash(sent, [column.field for column in plan.columns])
    rows = (
        f"SELECT nkey AS t_nkey, key AS t_key, {sent} AS t_hash, action, outcome, error, "
        "coalesce(lasting, false) AS lasting "
        f"FROM (SELECT * FROM {parquet(plan.rows_file)} WHERE nkey IS NOT NULL AND _row IS NOT NULL) "
        f"LEFT JOIN ({refused}) ON o_seq = _seq"
    )
    unseen = "t_nkey IS NULL" if not whole else "false"
    stays = f"b_nkey IS NOT NULL AND ({unseen} OR action = 'parked' OR action = 'rejected' OR outcome IS NOT NULL)"
    failures = f"CASE WHEN lasting THEN least({_MOST_FAILURES}, coalesce(b_failures, 0) + 1) ELSE b_failures END"
    parked = f"lasting AND failures >= {park_after} OR NOT lasting AND b_parked" if park_after else "false"
    told = (
        "SELECT coalesce(t_nkey, b_nkey) AS nkey, coalesce(t_key, b_key) AS key, lasting, b_parked, "
        f"({failures})::USMALLINT AS failures, CASE WHEN lasting THEN t_hash ELSE b_hash END AS row_hash, "
        "CASE WHEN lasting THEN split_part(error, ':', 1) ELSE b_code END AS code, "
        "CASE WHEN lasting THEN error ELSE b_message END AS message "
        f"FROM ({rows}) FULL JOIN ({before}) ON t_nkey = b_nkey WHERE lasting OR ({stays})"
    )
    return (
        f"SELECT nkey, key, failures, row_hash, code, message, coalesce({parked}, false) AS parked "
        f"FROM (SELECT * REPLACE (coalesce(lasting, false) AS lasting) FROM ({told})) "
        # A key that stands in the source several times is refused once.
        "QUALIFY row_number() OVER (PARTITION BY nkey ORDER BY lasting DESC) = 1"
    )
