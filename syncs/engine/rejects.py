"""The row errors of a plan: one line for each cell or key that keeps a row from being sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from connections.sources.base import MalformedRow
from syncs.engine import rules
from syncs.engine.conditions import in_words
from syncs.engine.decide import ACTIONS, DUPLICATES, EXISTING, SHARED, Decision
from syncs.engine.families import Line
from syncs.engine.files import TableWriter, row_ranges, stream
from syncs.engine.nul import visible_table
from syncs.engine.sql import literal, parquet
from syncs.engine.stage import Staged
from syncs.engine.transform import FILTER_BIT, MASK_BITS, bit_of, shown_key
from syncs.spec import SelectionSpec

# Row errors, of whatever source: `source` is "rule" for a row that sfsync rejected, VIOLATION for one that broke a rule
# of a line that is not validated and went through all the same, "salesforce" for what was refused there.
VIOLATION = "violation"
ERROR_SCHEMA = pa.schema(
    [
        ("_row", pa.int64()),
        ("source", pa.string()),
        ("code", pa.string()),
        ("field", pa.string()),
        ("column", pa.string()),
        ("value", pa.string()),
        ("message", pa.string()),
        ("operation", pa.string()),
        ("record_id", pa.string()),
        ("key", pa.string()),
    ]
)

_SHOWN = 255


def write_errors(
    connection: duckdb.DuckDBPyConnection, decision: Decision, staged: Staged, rows_file: Path, to: Path
) -> int:
    """Write the row errors of a plan whose rows stand in `rows_file`; return how many rows went through with one."""
    told = " OR ".join(["action = 'rejected'", *(f"soft_{m} <> 0" for m in decision.transform.soft_masks)])
    with TableWriter(to, ERROR_SCHEMA) as writer:
        if staged.malformed:
            writer.add(visible_table(_malformed(staged.malformed)))
        for first, last in row_ranges(connection, f"(SELECT _row FROM {parquet(rows_file)} WHERE {told})"):
            wanted = f"({told}) AND _row BETWEEN {first} AND {last}"
            for batch in stream(connection, _rule_errors(decision, staged, rows_file, wanted, first, last)):
                writer.add(visible_table(pa.Table.from_batches([batch]).cast(ERROR_SCHEMA)))
        if decision.existing:
            for batch in stream(connection, _ambiguous_dropped(rows_file)):
                writer.add(visible_table(pa.Table.from_batches([batch]).cast(ERROR_SCHEMA)))
        writer.finish()
    if not decision.transform.soft_masks:
        return 0
    through = f"SELECT count(*) FROM {parquet(rows_file)} WHERE ({told}) AND action <> 'rejected'"
    [(violations,)] = connection.execute(through).fetchall()
    return int(violations)


def _malformed(rows: tuple[MalformedRow, ...]) -> pa.Table:
    errors = [
        {
            "_row": row.row,
            "source": "rule",
            "code": rules.MALFORMED,
            "value": row.text[:_SHOWN],
            "message": f"Record {row.row} is no row: {row.reason}. Correct it in the source.",
        }
        for row in rows
    ]
    return pa.Table.from_pylist(errors, schema=ERROR_SCHEMA)


def _rule_errors(decision: Decision, staged: Staged, rows_file: Path, wanted: str, first: int, last: int) -> str:
    """A query for the errors of the rows from `first` to `last`, several of one row beneath each other.

    wanted: a condition on the plan's lines, those of the rows that have errors.
    """
    transform = decision.transform
    masks = [f"bad_{m}" for m in range(transform.masks)] + [f"soft_{m}" for m in transform.soft_masks]
    rows = (
        f"(SELECT _row AS r_row, action, nkey, key, record_id, {', '.join(masks)} FROM {parquet(rows_file)} "
        f"WHERE {wanted})"
    )
    source = f"{parquet(staged.path)} SEMI JOIN {rows} ON _row = r_row WHERE _row BETWEEN {first} AND {last}"
    texts = transform.texts(f"(SELECT * FROM {source})")
    joined = f"({texts}) JOIN {rows} ON _row = r_row"
    errors = [_cell_error(line, transform.time_zone) for line in transform.lines]
    errors += [_violation(line, transform.time_zone) for line in transform.lines if line.is_soft]
    if transform.has_filter:
        errors.append(_filter_error(decision.spec.selection))
    if transform.keys:
        errors = [*_key_errors(decision), *errors]
    if decision.spec.action_column:
        errors = [_action_error(decision), *errors]
    if decision.duplicates:
        joined += f" LEFT JOIN (SELECT nkey AS d_nkey, n AS d_n, first_rows FROM {DUPLICATES}) ON d_nkey = nkey"
    if decision.existing:
        joined += f" LEFT JOIN (SELECT nkey AS x_nkey, n AS x_n, ids FROM {EXISTING}) ON x_nkey = nkey"
    if decision.shared:
        shared = f"SELECT nkey AS m_nkey, id AS m_id, n AS m_n, first_rows AS m_rows FROM {SHARED}"
        joined += f" LEFT JOIN ({shared}) ON m_nkey = nkey"
    listed = f"list_filter([{', '.join(errors)}], lambda e: e IS NOT NULL)"
    return (
        f'SELECT _row, e.source, e.code, e.field, e."column", e.value, e.message, '
        f"{_operation(decision)} AS operation, record_id, key "
        f"FROM (SELECT _row, key, record_id, unnest({listed}) AS e FROM {joined}) ORDER BY _row"
    )


def _cell_error(line: Line, time_zone: str) -> str:
    """SQL: the error of one cell that keeps its row from being sent, as a struct; NULL when there is none."""
    error = _first_broken(line, rules.rules_of(line, time_zone))
    return f"CASE WHEN bad_{line.index // MASK_BITS} & {bit_of(line)} <> 0 THEN {error} END"


def _violation(line: Line, time_zone: str) -> str:
    """SQL: the error of one cell that breaks a rule without keeping its row from being sent, as a struct, or NULL."""
    told = [
        dataclasses.replace(rule, message=f"{rule.message} || ' The rest of the row went on without it.'")
        for rule in rules.rules_of(line, time_zone, soft=True)
    ]
    mask, bit = line.index // MASK_BITS, bit_of(line)
    # Where a new record cannot do without the value, the row was rejected for that.
    broken = f"soft_{mask} & {bit} <> 0 AND coalesce(bad_{mask}, 0) & {bit} = 0"
    return f"CASE WHEN {broken} THEN {_first_broken(line, told, VIOLATION)} END"


def _first_broken(line: Line, broken: Sequence[rules.Rule], source: str = "rule") -> str:
    *first, last = broken
    codes = " ".join(f"WHEN {rule.condition} THEN {literal(rule.code)}" for rule in first)
    messages = " ".join(f"WHEN {rule.condition} THEN {rule.message}" for rule in first)
    code, message = f"CASE {codes} ELSE {literal(last.code)} END", f"CASE {messages} ELSE {last.message} END"
    return _struct(line, code, message, source)


def _filter_error(selection: SelectionSpec) -> str:
    """SQL: the error of a row of which nobody can tell whether it passes the filter."""
    shown = selection.filter or (in_words(selection.rules) if selection.rules else "")
    shown = shown if len(shown) <= 200 else shown[:200] + "..."
    error = f"{{'source': 'rule', 'code': {literal(rules.EXPRESSION)}, 'field': NULL, 'column': NULL, "
    error += f"'value': left(_filter_values, {_SHOWN}), 'message': {rules.filter_message(shown)}}}"
    return f"CASE WHEN bad_0 & {FILTER_BIT} <> 0 THEN {error} END"


def _struct(line: Line, code: str, message: str, source: str = "rule") -> str:
    value = f"coalesce(t_{line.index}, xw_{line.index})" if line.prepared else f"t_{line.index}"
    return (
        f"{{'source': {literal(source)}, 'code': {code}, 'field': {literal(line.field.name)}, "
        f"'column': {literal(line.mapping.source_column)}, "
        f"'value': left({value}, {_SHOWN}), 'message': {message}}}"
    )


def _operation(decision: Decision) -> str:
    """SQL: what the row would have been sent as."""
    if decision.upserts:
        return "'upsert'"
    behaviour = decision.spec.behaviour
    of_match = {"delete": "delete", "ignore": "insert"}.get(behaviour.changed, "update")
    of_new = "insert" if behaviour.new == "insert" else of_match
    return f"CASE WHEN record_id IS NULL THEN '{of_new}' ELSE '{of_match}' END"


def _action_error(decision: Decision) -> str:
    """SQL: the error of a row whose own column does not say what becomes of it."""
    column = decision.spec.action_column
    wrong = f" in the column '{column}' is no action. Write one of {', '.join(ACTIONS)}."
    message = f"'''' || coalesce(left(action_raw, {_SHOWN}), '') || '''' || {literal(wrong)}"
    error = f"{{'source': 'rule', 'code': {literal(rules.ACTION)}, 'field': NULL, 'column': {literal(column)}, "
    return f"CASE WHEN action_text IS NULL THEN {error}'value': left(action_raw, {_SHOWN}), 'message': {message}}} END"


def _key_errors(decision: Decision) -> list[str]:
    """SQL: the errors of a row's key as structs: blank, standing twice, of several records, of another row's record."""
    keys = decision.transform.keys
    key = keys[0]
    shown = [f"coalesce(t_{line.index}, '')" for line in keys]
    text = f"t_{key.index}" if len(keys) == 1 else f"({shown_key(shown)})"
    name = ", ".join(f"{line.field.label} ({line.field.name})" for line in keys)
    errors = []
    for line in keys:
        of = f"{line.field.label} ({line.field.name})"
        blank = literal(f"The sync key {of} is blank, so no record can be found for this row. Fill it in.")
        errors.append(f"CASE WHEN t_{line.index} IS NULL THEN {_struct(line, literal(rules.BLANK_KEY), blank)} END")
    if decision.duplicates:
        more = "CASE WHEN d_n > 10 THEN ' and ' || (d_n - 10) || ' more' ELSE '' END"
        message = (
            f"{literal(f'The sync key {name} must be different in each row, but ')} || "
            f"'''' || left({text}, {_SHOWN}) || ''' stands in rows ' || array_to_string(first_rows, ', ') || {more} || "
            "'. None of them is sent. Correct the source, or choose another key.'"
        )
        errors.append(f"CASE WHEN d_nkey IS NOT NULL THEN {_struct(key, literal(rules.DUPLICATE_KEY), message)} END")
    if decision.existing:
        message = (
            f"{literal('The sync key ')} || '''' || left({text}, {_SHOWN}) || ''' matches ' || x_n || "
            f"{literal(f' records by {name}: ')} || array_to_string(ids, ', ') || "
            "CASE WHEN x_n > 10 THEN ' and ' || (x_n - 10) || ' more' ELSE '' END || "
            "'. Merge them in Salesforce, or choose a key that is unique.'"
        )
        errors.append(f"CASE WHEN x_n > 1 THEN {_struct(key, literal(rules.AMBIGUOUS_KEY), message)} END")
    if decision.shared:
        message = (
            f"{literal('The sync key ')} || '''' || left({text}, {_SHOWN}) || ''' leads to the record ' || m_id || "
            "', and so do the keys of other rows: it is the record of rows ' || array_to_string(m_rows, ', ') || "
            "CASE WHEN m_n > 10 THEN ' and ' || (m_n - 10) || ' more' ELSE '' END || "
            "'. None of them is sent. Leave one of them in the source. When the record has another key in Salesforce "
            "by now, start a full resync, which reads all record ids again.'"
        )
        errors.append(f"CASE WHEN m_nkey IS NOT NULL THEN {_struct(key, literal(rules.AMBIGUOUS_KEY), message)} END")
    return errors


def _ambiguous_dropped(rows_file: Path) -> str:
    """A query for the errors of known records that left the source, and whose key several records have by now."""
    message = (
        "'The key of this dropped record matches ' || n || ' records: ' || array_to_string(ids, ', ') || "
        "'. None of them is deleted. Delete the right one in Salesforce.'"
    )
    return (
        f"SELECT NULL::BIGINT AS _row, 'rule' AS source, {literal(rules.AMBIGUOUS_KEY)} AS code, "
        'NULL::VARCHAR AS field, NULL::VARCHAR AS "column", NULL::VARCHAR AS value, '
        f"{message} AS message, 'delete' AS operation, NULL::VARCHAR AS record_id, key "
        f"FROM (SELECT nkey, key, record_id FROM {parquet(rows_file)} WHERE action = 'withheld' AND record_id IS NULL) "
        f"JOIN (SELECT nkey AS x_nkey, n, ids FROM {EXISTING} WHERE n > 1) ON x_nkey = nkey"
    )
