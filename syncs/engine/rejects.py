"""The row errors of a plan: one line for each cell or key that keeps a row from being sent."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from connections.sources.base import MalformedRow
from syncs.engine import rules
from syncs.engine.conditions import in_words
from syncs.engine.decide import DUPLICATES, EXISTING, SHARED, Decision, operation_of
from syncs.engine.families import Line
from syncs.engine.files import TableWriter, row_ranges, stream
from syncs.engine.nul import visible_table
from syncs.engine.sql import literal, parquet
from syncs.engine.stage import Staged
from syncs.engine.transform import FILTER_BIT, MASK_BITS, bit_of
from syncs.spec import SelectionSpec

# Row errors, of whatever source: `source` is "rule" for sfsync's own, "salesforce" for what was refused there.
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
    """Write the row errors of a plan whose rows stand in `rows_file`; return how many there are."""
    operation = operation_of(decision.spec)
    with TableWriter(to, ERROR_SCHEMA) as writer:
        if staged.malformed:
            writer.add(visible_table(_malformed(staged.malformed, operation)))
        for first, last in row_ranges(connection, f"(SELECT _row FROM {parquet(rows_file)} WHERE action = 'rejected')"):
            for batch in stream(connection, _rejected(decision, staged, rows_file, first, last)):
                writer.add(visible_table(pa.Table.from_batches([batch]).cast(ERROR_SCHEMA)))
        if decision.existing:
            for batch in stream(connection, _ambiguous_dropped(rows_file)):
                writer.add(visible_table(pa.Table.from_batches([batch]).cast(ERROR_SCHEMA)))
        writer.finish()
    return writer.rows


def _malformed(rows: tuple[MalformedRow, ...], operation: str) -> pa.Table:
    errors = [
        {
            "_row": row.row,
            "source": "rule",
            "code": rules.MALFORMED,
            "value": row.text[:_SHOWN],
            "message": f"Record {row.row} is no row: {row.reason}. Correct it in the source.",
            "operation": operation,
        }
        for row in rows
    ]
    return pa.Table.from_pylist(errors, schema=ERROR_SCHEMA)


def _rejected(decision: Decision, staged: Staged, rows_file: Path, first: int, last: int) -> str:
    """A query for the errors of the rejected rows from `first` to `last`, several of one row beneath each other."""
    transform = decision.transform
    masks = ", ".join(f"bad_{m}" for m in range(transform.masks))
    rejected = (
        f"(SELECT _row AS r_row, nkey, key, record_id, {masks} FROM {parquet(rows_file)} "
        f"WHERE action = 'rejected' AND _row BETWEEN {first} AND {last})"
    )
    source = f"{parquet(staged.path)} SEMI JOIN {rejected} ON _row = r_row WHERE _row BETWEEN {first} AND {last}"
    texts = transform.texts(f"(SELECT * FROM {source})")
    joined = f"({texts}) JOIN {rejected} ON _row = r_row"
    errors = [_cell_error(line, transform.time_zone) for line in transform.lines]
    if transform.has_filter:
        errors.append(_filter_error(decision.spec.selection))
    if transform.keys:
        errors = [*_key_errors(decision, transform.keys[0]), *errors]
    if decision.duplicates:
        joined += f" LEFT JOIN (SELECT nkey AS d_nkey, n AS d_n, first_rows FROM {DUPLICATES}) ON d_nkey = nkey"
    if decision.existing:
        joined += f" LEFT JOIN (SELECT nkey AS x_nkey, n AS x_n, ids FROM {EXISTING}) ON x_nkey = nkey"
    if decision.shared:
        shared = f"SELECT nkey AS m_nkey, id AS m_id, n AS m_n, first_rows AS m_rows FROM {SHARED}"
        joined += f" LEFT JOIN ({shared}) ON m_nkey = nkey"
    listed = f"list_filter([{', '.join(errors)}], lambda e: e IS NOT NULL)"
    return (
        f"SELECT _row, 'rule' AS source, e.code, e.field, e.\"column\", e.value, e.message, "
        f"'{operation_of(decision.spec)}' AS operation, record_id, key "
        f"FROM (SELECT _row, key, record_id, unnest({listed}) AS e FROM {joined}) ORDER BY _row"
    )


def _cell_error(line: Line, time_zone: str) -> str:
    """SQL: the error of one cell as a struct, NULL when the cell is good."""
    *first, last = rules.rules_of(line, time_zone)
    codes = " ".join(f"WHEN {rule.condition} THEN {literal(rule.code)}" for rule in first)
    messages = " ".join(f"WHEN {rule.condition} THEN {rule.message}" for rule in first)
    error = _struct(
        line,
        f"CASE {codes} ELSE {literal(last.code)} END",
        f"CASE {messages} ELSE {last.message} END",
    )
    return f"CASE WHEN bad_{line.index // MASK_BITS} & {bit_of(line)} <> 0 THEN {error} END"


def _filter_error(selection: SelectionSpec) -> str:
    """SQL: the error of a row of which nobody can tell whether it passes the filter."""
    shown = selection.filter or (in_words(selection.rules) if selection.rules else "")
    shown = shown if len(shown) <= 200 else shown[:200] + "..."
    return (
        f"CASE WHEN bad_0 & {FILTER_BIT} <> 0 THEN {{'code': {literal(rules.EXPRESSION)}, 'field': NULL::VARCHAR, "
        f"'column': NULL::VARCHAR, 'value': left(_filter_values, {_SHOWN}), 'message': {rules.filter_message(shown)}}} "
        "END"
    )


def _struct(line: Line, code: str, message: str) -> str:
    value = f"coalesce(t_{line.index}, xw_{line.index})" if line.computed else f"t_{line.index}"
    return (
        f"{{'code': {code}, 'field': {literal(line.field.name)}, 'column': {literal(line.mapping.source_column)}, "
        f"'value': left({value}, {_SHOWN}), 'message': {message}}}"
    )


def _key_errors(decision: Decision, key: Line) -> list[str]:
    """SQL: the errors of a row's key as structs: blank, standing twice, of several records, of another row's record."""
    text = f"t_{key.index}"
    name = f"{key.field.label} ({key.field.name})"
    blank = literal(f"The sync key {name} is blank, so no record can be found for this row. Fill it in.")
    errors = [f"CASE WHEN {text} IS NULL THEN {_struct(key, literal(rules.BLANK_KEY), blank)} END"]
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
