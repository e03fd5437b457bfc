"""Mistakes in what a person wrote into a sync: expressions, filters, rules, replacements, date formats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb

from connections.salesforce.describe import ObjectDescribe
from connections.salesforce.tokens import parameters_in
from syncs.engine import conditions
from syncs.engine.expression_types import told
from syncs.engine.expressions import Scope, check
from syncs.engine.patterns import check_pattern, check_replacement
from syncs.engine.problem import nearest
from syncs.engine.sealed import sealed_connection
from syncs.engine.sql import literal
from syncs.spec import ColumnSpec, ReplacementSpec, SyncSpec

# Place, value, reason and way out, as a problem has them.
Mistake = tuple[str, str, str, str]

_SHOWN = 200


def mistakes(spec: SyncSpec, describe: ObjectDescribe, columns: Sequence[str]) -> Iterator[Mistake]:
    """What is wrong with the texts of a sync that are evaluated, none of which is run on any row.

    describe: of the sync's object. columns: names of the source's columns.
    """
    with sealed_connection() as connection:
        # Formats first: an expression over a column whose format is wrong is wrong in the same way.
        formats = list(_format_mistakes(connection, spec.columns))
        yield from formats
        yield from _replacement_mistakes(connection, spec)
    if not formats:
        yield from _expression_mistakes(spec, columns)
    yield from _rule_mistakes(spec, describe, columns)
    yield from _target_filter_mistakes(spec)


def _expression_mistakes(spec: SyncSpec, columns: Sequence[str]) -> Iterator[Mistake]:
    written = [(mapping.expression, f"for {mapping.target} ", False) for mapping in spec.mappings]
    if spec.selection.path:
        # The filter of anything but a file is in the language of its source.
        written.append((spec.selection.filter or None, "as the source's filter ", True))
    if not any(text is not None for text, _, _ in written):
        return
    scope = Scope(columns, spec.columns, spec.parameters, spec.time_zone)
    try:
        with sealed_connection(spec.time_zone) as connection:
            for text, what, condition in written:
                error = None if text is None else check(text, scope, condition=condition, connection=connection)
                if text is not None and error is not None:
                    where = f"{what}it has a mistake at character {error.position}."
                    yield "Expression", _short(text), where, error.reason
    except duckdb.Error:
        # A time zone that there is not is told of elsewhere.
        return


def _format_mistakes(connection: duckdb.DuckDBPyConnection, columns: Sequence[ColumnSpec]) -> Iterator[Mistake]:
    for column in columns:
        if not column.format:
            continue
        if column.type not in ("date", "datetime"):
            reason = f"the column '{column.name}' is {column.type}, and only dates and date-times have a format."
            yield "Date format", column.format, reason, "Remove it, or change the type."
            continue
        try:
            connection.execute(f"SELECT strptime(NULL, {literal(column.format)})").fetchall()
        except duckdb.Error as error:
            yield (
                "Date format",
                column.format,
                f"of the column '{column.name}': {told(str(error))}",
                "Write the day as %d, the month as %m, the year as %Y, hours, minutes and seconds as %H, %M and %S.",
            )


def _replacement_mistakes(connection: duckdb.DuckDBPyConnection, spec: SyncSpec) -> Iterator[Mistake]:
    for mapping in spec.mappings:
        for replacement in mapping.replacements:
            reason = _why_not(connection, replacement)
            if reason:
                way_out = "Correct the regular expression, or what it is replaced with."
                yield "Replacement", _short(replacement.pattern), f"for {mapping.target}: {reason}.", way_out


def _why_not(connection: duckdb.DuckDBPyConnection, replacement: ReplacementSpec) -> str:
    if not replacement.pattern:
        return "it has nothing to look for"
    try:
        check_pattern(replacement.pattern)
        check_replacement(replacement.pattern, replacement.replacement)
        connection.execute("SELECT regexp_matches('', $1)", [replacement.pattern]).fetchall()
    except (ValueError, duckdb.Error) as error:
        return told(str(error)).rstrip(".")
    return ""


def _rule_mistakes(spec: SyncSpec, describe: ObjectDescribe, columns: Sequence[str]) -> Iterator[Mistake]:
    if spec.selection.rules is not None:
        if spec.selection.filter:
            yield "Filter", _short(spec.selection.filter), "there are rules beside it.", "Give one of the two."
        for value, reason in conditions.mistakes(spec.selection.rules, columns, None, spec.parameters, spec.columns):
            yield "Source rules", value, reason, nearest(value, columns) or "Correct the rule."
    if spec.changed_rule is not None:
        for value, reason in conditions.mistakes(spec.changed_rule, columns, describe, spec.parameters, spec.columns):
            known = list(describe.fields) if value in conditions.targets_of(spec.changed_rule) else columns
            yield "Rule of changed rows", value, reason, nearest(value, known) or "Correct the rule."


def _target_filter_mistakes(spec: SyncSpec) -> Iterator[Mistake]:
    for name in parameters_in(spec.target_filter):
        if name not in spec.parameters:
            reason = f"it uses @{name}, but the sync has no parameter of that name."
            yield (
                "Target filter",
                _short(spec.target_filter),
                reason,
                nearest(name, [*spec.parameters]) or "Declare it.",
            )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
