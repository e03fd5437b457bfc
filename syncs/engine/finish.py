"""The end of a job: one outcome for each row that was to be sent, its row errors, its error groups, and its sums."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from syncs.engine.files import TableWriter, stream
from syncs.engine.matching import DELETED, FAILED, GONE, INSERTED, OUTCOME_SCHEMA, RESTORED, UNPROCESSED, UPDATED
from syncs.engine.nul import visible_table
from syncs.engine.plan import Plan
from syncs.engine.rejects import ERROR_SCHEMA
from syncs.engine.sql import literal, literals, parquet
from syncs.engine.stage import Staged
from syncs.engine.workspace import Workspace
from syncs.spec import SyncSpec

NOT_SENT, UNKNOWN = "not_sent", "unknown"

_MOST_GROUPS = 200
_SENT = ("insert", "update", "upsert", "delete", "undelete", "expire")


@dataclasses.dataclass(frozen=True)
class ErrorGroup:
    """Row errors that are alike.

    source: "rule" for sfsync's own, "salesforce" for what was refused there. code: the rule, or the status code.
    field: API names, or "". count: how many errors. sample_row: number of a row of the source, or None.
    """

    source: str
    code: str
    field: str
    count: int
    sample_row: int | None
    sample_message: str


@dataclasses.dataclass(frozen=True)
class Final:
    """What a job did.

    outcomes_file: Parquet, one line for each row that was to be sent, with the columns of an attempt's outcomes;
    `outcome` may also be not_sent or unknown, then `error` says why. errors_file: Parquet, all row errors.
    source: number of the source's rows by outcome, and `read`, all of them. dropped: number of the known records that
    left the source by outcome, and `dropped`, all of them. errors: number of row errors. groups: the largest error
    groups, at most 200. imbalance: what does not add up, a sentence each; nothing may stand there.
    """

    outcomes_file: Path
    errors_file: Path
    source: dict[str, int]
    dropped: dict[str, int]
    errors: int
    groups: tuple[ErrorGroup, ...]
    imbalance: tuple[str, ...]

    @property
    def balanced(self) -> bool:
        """Each row has exactly one outcome."""
        return not self.imbalance

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        data = dataclasses.asdict(self)
        data["outcomes_file"], data["errors_file"] = str(self.outcomes_file), str(self.errors_file)
        return {**data, "groups": list(data["groups"]), "imbalance": list(self.imbalance)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Final:
        """The end that `to_json` wrote."""
        changed = {
            "outcomes_file": Path(data["outcomes_file"]),
            "errors_file": Path(data["errors_file"]),
            "groups": tuple(ErrorGroup(**group) for group in data["groups"]),
            "imbalance": tuple(data["imbalance"]),
        }
        return cls(**{**data, **changed})


def finish(
    workspace: Workspace,
    spec: SyncSpec,
    staged: Staged,
    plan: Plan,
    outcome_files: Sequence[Path],
    unresolved: Mapping[int, str],
    folder: Path,
    prefix: str,
) -> Final:
    """Give each row that was to be sent its outcome, that of its last attempt, and count.

    outcome_files: of all attempts of all batches; of one batch in the order of its attempts.
    unresolved: by batch number, why its rows without an outcome have none: "not_sent" or "unknown", or one of them, a
    colon and a reason in words. A row without an outcome in a batch that is not named here is unknown; one that
    Salesforce returned as unprocessed, not sent.
    folder, prefix: files are called <folder>/<prefix>-<name>.
    """
    outcomes_file, errors_file = folder / f"{prefix}-outcomes.parquet", folder / f"{prefix}-row-errors.parquet"
    with workspace.connect(ordered=True) as connection:
        _write(
            connection, workspace, _outcomes(connection, plan, outcome_files, unresolved), OUTCOME_SCHEMA, outcomes_file
        )
        errors = _write(connection, workspace, _errors(plan, outcomes_file), ERROR_SCHEMA, errors_file)
        source, dropped = _count(connection, plan, outcomes_file)
        groups = _groups(connection, errors_file)
    return Final(outcomes_file, errors_file, source, dropped, errors, groups, _imbalance(source, dropped))


def refused_by_code(workspace: Workspace, outcome_files: Sequence[Path]) -> dict[str, int]:
    """How many rows Salesforce refused in their last attempts, by its status code, the most frequent first.

    outcome_files: of all attempts, of one batch in the order of its attempts.
    """
    if not outcome_files:
        return {}
    with workspace.connect() as connection:
        found = connection.execute(
            f"SELECT split_part(error, ':', 1), count(*) FROM ({_last_attempts(outcome_files)}) "
            f"WHERE outcome = '{FAILED}' GROUP BY 1 ORDER BY 2 DESC, 1"
        ).fetchall()
    return dict(found)


def _write(connection: duckdb.DuckDBPyConnection, workspace: Workspace, query: str, schema: pa.Schema, to: Path) -> int:
    with TableWriter(to, schema) as writer:
        for batch in stream(connection, query):
            workspace.check()
            table = pa.Table.from_batches([batch]).cast(schema)
            writer.add(visible_table(table) if schema is ERROR_SCHEMA else table)
        writer.finish()
    return writer.rows


def _outcomes(
    connection: duckdb.DuckDBPyConnection, plan: Plan, files: Sequence[Path], unresolved: Mapping[int, str]
) -> str:
    """A query for the final line of each row that was to be sent."""
    names = ", ".join(OUTCOME_SCHEMA.names)
    planned = f"(SELECT * FROM {parquet(plan.rows_file)} WHERE action IN ({literals(_SENT)}))"
    told = f"SELECT {names} FROM (SELECT NULL) WHERE false"
    if files:
        told = f"SELECT {names} FROM {parquet(*files)} WHERE outcome <> '{UNPROCESSED}'"
        [(lines, rows)] = connection.execute(f"SELECT count(*), count(DISTINCT _seq) FROM ({told})").fetchall()
        if lines != rows:
            told = _last_attempts(files)
    else:
        told = f"SELECT {names} FROM ({_empty_outcomes()})"
    reasons = ", ".join(f"({number}, {literal(reason)})" for number, reason in unresolved.items()) or "(-1, '')"
    returned = "SELECT NULL::BIGINT AS u WHERE false"
    if files:
        returned = f"SELECT DISTINCT _seq AS u FROM {parquet(*files)} WHERE outcome = '{UNPROCESSED}'"
    # A dropped record that Salesforce no longer holds is in no batch: there is nothing to delete.
    not_sent = f"starts_with(reason, '{NOT_SENT}') OR (reason IS NULL AND u IS NOT NULL)"
    outcome = f"CASE WHEN batch IS NULL THEN '{GONE}' WHEN {not_sent} THEN '{NOT_SENT}' ELSE '{UNKNOWN}' END"
    untold = (
        f"SELECT _row, _seq, nkey, key, action, batch, {outcome} AS outcome, record_id, "
        "nullif(trim(substr(reason, strpos(reason || ':', ':') + 1)), '') AS error "
        f"FROM (SELECT * FROM {planned} ANTI JOIN (SELECT _seq AS s FROM ({told})) ON s = _seq) "
        f"LEFT JOIN (VALUES {reasons}) AS r(number, reason) ON number = batch "
        f"LEFT JOIN ({returned}) ON u = _seq"
    )
    return f"{told} UNION ALL {untold}"


def _empty_outcomes() -> str:
    types = {pa.int64(): "BIGINT", pa.int32(): "INTEGER", pa.string(): "VARCHAR"}
    columns = ", ".join(f"NULL::{types[field.type]} AS {field.name}" for field in OUTCOME_SCHEMA)
    return f"SELECT {columns} WHERE false"


def _last_attempts(files: Sequence[Path]) -> str:
    """A query for the last line of each row, where attempts overlap."""
    names = ", ".join(OUTCOME_SCHEMA.names)
    return (
        f"SELECT {names} FROM (SELECT *, file_index FROM {parquet(*files)}) WHERE outcome <> '{UNPROCESSED}' "
        "QUALIFY row_number() OVER (PARTITION BY _seq ORDER BY file_index DESC) = 1"
    )


def _errors(plan: Plan, outcomes_file: Path) -> str:
    """A query for all row errors: sfsync's own, then what Salesforce refused.

    `sf__Error` is CODE:message:fields -- and stays whole in the message; only the code and the fields are read out of
    it (Bulk API 2.0 guide, "Get Job Failed Record Results").
    """
    fields = r"nullif(regexp_extract(error, ':([A-Za-z0-9_., ]*?) *--\s*$', 1), '')"
    refused = (
        "SELECT _row, 'salesforce' AS source, split_part(error, ':', 1) AS code, "
        f'{fields} AS field, NULL::VARCHAR AS "column", NULL::VARCHAR AS value, error AS message, '
        f"action AS operation, record_id, key FROM {parquet(outcomes_file)} WHERE outcome = '{FAILED}'"
    )
    return f"SELECT * FROM {parquet(plan.errors_file)} UNION ALL {refused}"


def groups_of(workspace: Workspace, errors_file: Path) -> tuple[ErrorGroup, ...]:
    """The largest groups of row errors in a file of them: of a plan, or of the end of a job."""
    with workspace.connect() as connection:
        return _groups(connection, errors_file)


def _groups(connection: duckdb.DuckDBPyConnection, errors_file: Path) -> tuple[ErrorGroup, ...]:
    lines = connection.execute(
        "SELECT source, coalesce(code, ''), coalesce(field, ''), count(*), min(_row), "
        "coalesce(arg_min(message, coalesce(_row, 0)), '') "
        f"FROM {parquet(errors_file)} GROUP BY ALL ORDER BY 4 DESC, 1, 2, 3 LIMIT {_MOST_GROUPS}"
    ).fetchall()
    return tuple(ErrorGroup(*line) for line in lines)


def _count(
    connection: duckdb.DuckDBPyConnection, plan: Plan, outcomes_file: Path
) -> tuple[dict[str, int], dict[str, int]]:
    lines = connection.execute(
        f"SELECT _row IS NULL, outcome, count(*) FROM {parquet(outcomes_file)} GROUP BY ALL"
    ).fetchall()
    of_source = {outcome: count for was_dropped, outcome, count in lines if not was_dropped}
    of_dropped = {outcome: count for was_dropped, outcome, count in lines if was_dropped}
    planned = plan.counts
    names = ("read", "malformed", "filtered", "rejected", "parked", "unchanged", "ignored")
    source = {name: planned[name] for name in names}
    # That a record was gone already is what its row wanted.
    of_source[DELETED] = of_source.get(DELETED, 0) + of_source.pop(GONE, 0)
    source |= {
        name: of_source.pop(name, 0) for name in (INSERTED, UPDATED, DELETED, RESTORED, FAILED, NOT_SENT, UNKNOWN)
    }
    dropped = {"dropped": planned["dropped"], "ignored": planned["dropped_ignored"], "withheld": planned["withheld"]}
    dropped |= {"expired": of_dropped.pop(UPDATED, 0)}
    dropped |= {name: of_dropped.pop(name, 0) for name in (DELETED, GONE, FAILED, NOT_SENT, UNKNOWN)}
    # Whatever is left has an outcome that its kind of row cannot have; it stays in sight, and spoils the sum.
    return source | {f"odd_{name}": count for name, count in of_source.items()}, dropped | {
        f"odd_{name}": count for name, count in of_dropped.items()
    }


def _imbalance(source: dict[str, int], dropped: dict[str, int]) -> tuple[str, ...]:
    found = []
    for whole, counts, what in (
        ("read", source, "rows were read"),
        ("dropped", dropped, "known records left the source"),
    ):
        parts = {name: count for name, count in counts.items() if name != whole}
        odd = [name for name in parts if name.startswith("odd_")]
        if sum(parts.values()) != counts[whole] or odd:
            listed = ", ".join(f"{name} {count:,}" for name, count in parts.items() if count)
            found.append(f"{counts[whole]:,} {what}, but their outcomes are {sum(parts.values()):,}: {listed}.")
    return tuple(found)
