"""What takes a job back, as a plan: the same files, batches and counts as any other's."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from connections.salesforce.describe import ObjectDescribe
from syncs.engine import undo
from syncs.engine.files import TableWriter, stream, write_query
from syncs.engine.nul import visible_table
from syncs.engine.plan import Guard, Operation, Plan, PlannedBatch, PlannedColumn
from syncs.engine.planned_files import PlannedFiles
from syncs.engine.rejects import ERROR_SCHEMA, VIOLATION
from syncs.engine.sql import literal, parquet
from syncs.engine.stage import Staged
from syncs.engine.undo import Now, UndoField, Undone
from syncs.engine.values import CLEARED
from syncs.engine.workspace import Workspace
from syncs.spec import SyncSpec

# The job's own order turned round: first comes back what the others may point to.
_WAVES: tuple[Operation, ...] = ("undelete", "update", "delete")
_ROWS = pa.schema(
    [
        ("_row", pa.int64()),
        ("_seq", pa.int64()),
        ("action", pa.string()),
        ("nkey", pa.string()),
        ("key", pa.string()),
        ("record_id", pa.string()),
        ("batch", pa.int32()),
        ("row_hash", pa.uint64()),
    ]
)
# What is shown of a record for a row of the source.
COLUMNS = ("Record Id", "Key", "The job")
_SHOWN = 255


@dataclasses.dataclass(frozen=True)
class UndoPlan:
    """A plan that takes a job back. staged: its records, as what it reads. before: what they hold now, a before-image
    of its own: Parquet with `_seq`, `record_id` and `b_<i>` for the i-th of before_fields."""

    plan: Plan
    staged: Staged
    before: Path
    before_fields: tuple[str, ...]
    before_rows: int


def plan(
    workspace: Workspace,
    spec: SyncSpec,
    describe: ObjectDescribe,
    undone: Undone,
    fields: Sequence[UndoField],
    rows: Path,
    now: Now,
    folder: Path,
) -> UndoPlan:
    """Plan what takes a job back.

    rows: what the job did, of `undo.write_claims`. now: what the records hold. folder: where the files go.
    Raises the engine's errors.
    """
    decided = folder / "decided.parquet"
    with workspace.connect(ordered=True) as connection:
        total = write_query(connection, undo.decided(undone, fields, rows, now), decided)
        staged = _write_staged(connection, decided, total, folder / "records.parquet")
        sent = _sent_fields(connection, fields, decided)
        batches, fingerprint, actions = _write_rows(workspace, connection, spec, fields, sent, decided, folder)
        errors_file = folder / "plan-row-errors.parquet"
        violations = _write_errors(workspace, connection, fields, decided, errors_file)
        before = folder / "before.parquet"
        held = "".join(f", n_{place} AS b_{place}" for place in range(len(fields)))
        query = f"SELECT _row AS _seq, record_id{held} FROM {parquet(decided)} WHERE action IN {_WAVES}"
        before_rows = write_query(connection, query, before)
    counts = _counts(total, actions)
    signature = json.dumps([describe.name, counts, fingerprint]).encode()
    made = Plan(
        rows_file=folder / "plan-rows.parquet",
        errors_file=errors_file,
        object=describe.name,
        key_fields=undone.plan.key_fields,
        time_zone=undone.plan.time_zone,
        columns=_columns(fields, undone.plan),
        fields=(),
        batches=batches,
        counts=counts,
        trimmed={},
        adjusted={},
        violations=violations,
        known=0,
        unread_keys=0,
        guard=Guard(actions["delete"], 0, bool(batches), _reason(actions, violations)),
        withheld_reason="",
        fingerprint=hashlib.sha256(signature).hexdigest(),
    )
    return UndoPlan(made, staged, before, tuple(field.name for field in fields), before_rows)


def _columns(fields: Sequence[UndoField], undone: Plan) -> tuple[PlannedColumn, ...]:
    columns = {f.name: PlannedColumn(f.name, f.name, f.family, False) for f in fields}
    return tuple({**columns, **{key.field: key for key in undone.keys}}.values())


def _write_staged(connection: duckdb.DuckDBPyConnection, decided: Path, total: int, to: Path) -> Staged:
    query = f"SELECT _row, record_id AS c_0, key AS c_1, replace(did, '_', ' ') AS c_2 FROM {parquet(decided)}"
    write_query(connection, query, to)
    return Staged(to, None, COLUMNS, total, (), {})


def _sent_fields(
    connection: duckdb.DuckDBPyConnection, fields: Sequence[UndoField], decided: Path
) -> list[tuple[int, UndoField]]:
    """The fields that go back in any record: a column of others would be refused where it cannot be written."""
    if not fields:
        return []
    counts = ", ".join(f"count(t_{place})" for place in range(len(fields)))
    [line] = connection.execute(f"SELECT {counts} FROM {parquet(decided)} WHERE action = 'update'").fetchall()
    return [(place, field) for place, field in enumerate(fields) if line[place]]


def _write_rows(
    workspace: Workspace,
    connection: duckdb.DuckDBPyConnection,
    spec: SyncSpec,
    fields: Sequence[UndoField],
    sent: Sequence[tuple[int, UndoField]],
    decided: Path,
    folder: Path,
) -> tuple[tuple[PlannedBatch, ...], str, Counter[str]]:
    """Write the lines of the plan and the payloads; return the batches, the fingerprint, and rows by action."""
    payloads, actions, fingerprint = PlannedFiles(spec, folder, "plan"), Counter[str](), 0
    texts = "".join(f", t_{place}" for place in range(len(fields)))
    marks = "".join(f", coalesce(t_{place}, '')" for place in range(len(fields)))
    query = (
        f"SELECT _row, action, nkey, key, record_id{texts}, hash(action, record_id{marks}) >> 8 AS fingerprint "
        f"FROM {parquet(decided)} ORDER BY _row"
    )
    with TableWriter(folder / "plan-rows.parquet", _ROWS) as writer:
        for part in stream(connection, query):
            workspace.check()
            table = pa.Table.from_batches([part])
            actions.update({e["values"].as_py(): e["counts"].as_py() for e in pc.value_counts(table.column("action"))})
            fingerprint += pc.sum(table.column("fingerprint")).as_py() or 0
            batch: pa.Array = pa.nulls(table.num_rows, pa.int32())
            for wave, operation in enumerate(_WAVES):
                chosen = pc.equal(table.column("action"), operation).combine_chunks()
                if pc.any(chosen).as_py():
                    numbers = payloads.write(operation, _payload(operation, table.filter(chosen), sent), wave)
                    batch = pc.replace_with_mask(batch, chosen, numbers.combine_chunks())
            table = table.append_column("batch", batch).append_column("_seq", table.column("_row"))
            table = table.append_column("row_hash", pa.nulls(table.num_rows, pa.uint64()))
            writer.add(table.select(_ROWS.names).cast(_ROWS))
        writer.finish()
    return payloads.close(), f"{fingerprint % (1 << 64):016x}", actions


def _payload(operation: Operation, table: pa.Table, sent: Sequence[tuple[int, UndoField]]) -> pa.Table:
    ids = table.column("record_id")
    if operation != "update":
        return pa.Table.from_arrays([ids], names=["Id"])
    columns = [table.column(f"t_{place}") for place, _ in sent]
    return pa.Table.from_arrays([ids, *columns], names=["Id", *(field.name for _, field in sent)])


def _counts(total: int, actions: Counter[str]) -> dict[str, int]:
    none: tuple[str, ...] = ("malformed", "filtered", "parked", "ignored", "insert", "upsert")
    none += ("dropped", "delete", "expire", "dropped_ignored", "withheld")
    return {
        **dict.fromkeys(none, 0),
        "read": total,
        "rejected": actions["rejected"],
        "unchanged": actions["unchanged"],
        "update": actions["update"],
        "source_delete": actions["delete"],
        "undelete": actions["undelete"],
    }


def _reason(actions: Counter[str], violations: int) -> str:
    """What the plan would do, for whoever has to approve it; "" when it does nothing."""
    words = {"undelete": "restore {} from the recycle bin", "update": "change {} back", "delete": "delete {}"}
    parts = [text.format(_records(actions[name])) for name, text in words.items() if actions[name]]
    if not parts:
        return ""
    kept = f" {_records(actions['rejected'])} cannot be taken back." if actions["rejected"] else ""
    some = f" {_records(violations)} only in part: somebody has changed the rest since." if violations else ""
    listed = ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]
    return f"This undo would {listed}.{kept}{some}"


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"


# --- what is not taken back, and why ---


def _write_errors(
    workspace: Workspace,
    connection: duckdb.DuckDBPyConnection,
    fields: Sequence[UndoField],
    decided: Path,
    to: Path,
) -> int:
    """Write an error for each record, and each field, that stays as it is; return how many records go back in part."""
    told = f"SELECT * FROM {parquet(decided)} WHERE action IN ('update', 'rejected')"
    errors = [_record_error(), *(_field_error(field, place) for place, field in enumerate(fields))]
    listed = f"list_filter([{', '.join(errors)}], lambda e: e IS NOT NULL)"
    source = f"CASE WHEN action = 'rejected' THEN 'rule' ELSE '{VIOLATION}' END"
    operation = "CASE did WHEN 'deleted' THEN 'undelete' WHEN 'updated' THEN 'update' ELSE 'delete' END"
    query = (
        f'SELECT _row, {source} AS source, e.code, e.field, NULL::VARCHAR AS "column", e.value, e.message, '
        f"{operation} AS operation, record_id, key FROM (SELECT *, unnest({listed}) AS e FROM ({told})) ORDER BY _row"
    )
    with TableWriter(to, ERROR_SCHEMA) as writer:
        for part in stream(connection, query):
            workspace.check()
            writer.add(visible_table(pa.Table.from_batches([part]).cast(ERROR_SCHEMA)))
        writer.finish()
    through = f"SELECT count(DISTINCT _row) FROM {parquet(to)} WHERE source = '{VIOLATION}'"
    [(violations,)] = connection.execute(through).fetchall()
    return int(violations)


_MESSAGES = {
    undo.UNKNOWN: "Nobody can tell which record, if any, the job made of this row. Look for it in Salesforce.",
    undo.NO_BEFORE: "What the record held before the job was not kept, so it stays as it is.",
    undo.GONE: "The record is not in Salesforce any more, and not in its recycle bin, so it cannot be taken back.",
    undo.NOT_UNDELETABLE: "Salesforce restores no records of this object from the recycle bin.",
    undo.DELETED_SINCE: "Somebody has deleted the record since, so it stays in the recycle bin.",
}


def _record_error() -> str:
    """SQL: the error of a record as a whole, as a struct, or NULL."""
    messages = " ".join(f"WHEN {literal(code)} THEN {literal(text)}" for code, text in _MESSAGES.items())
    return (
        "CASE WHEN why IS NOT NULL THEN {'code': why, 'field': NULL::VARCHAR, 'value': NULL::VARCHAR, "
        f"'message': CASE why {messages} END}} END"
    )


def _field_error(field: UndoField, place: int) -> str:
    """SQL: the error of a field that stays, as a struct, or NULL."""
    name, now, wrote = field.name, f"n_{place}", _quoted(f"w_{place}")
    changed = (
        f"CASE WHEN did = 'updated' THEN {literal(f'{name} holds ')} || {_quoted(now)} || ' now. The job wrote ' || "
        f"{wrote} || ' over ' || {_quoted(f'b_{place}')} || ', and somebody has changed it since, so it stays.' "
        f"ELSE {literal(f'{name} holds ')} || {_quoted(now)} || ' now, where it held ' || {wrote} || "
        "' after the job: somebody has changed the record since, so it is kept.' END"
    )
    unsure = literal(f"It cannot be told whether {name} is as the job left it, or what it held before, so it stays.")
    return (
        f"CASE WHEN why IS NULL AND f_{place} IN ('changed', 'unsure') THEN "
        f"{{'code': CASE f_{place} WHEN 'changed' THEN {literal(undo.CHANGED)} ELSE {literal(undo.NO_BEFORE)} END, "
        f"'field': {literal(name)}, 'value': left({now}, {_SHOWN}), "
        f"'message': CASE f_{place} WHEN 'changed' THEN {changed} ELSE {unsure} END}} END"
    )


def _quoted(value: str) -> str:
    """SQL: a value as a message shows it."""
    nothing = f"{value} IS NULL OR {value} = {literal(CLEARED)}"
    return f"(CASE WHEN {nothing} THEN 'nothing' ELSE '''' || left({value}, {_SHOWN}) || '''' END)"
