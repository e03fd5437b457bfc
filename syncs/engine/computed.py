"""The lines of a mapping whose text is worked out, and the source's filter, as one query over staged cells."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Sequence

import duckdb

from syncs.engine import conditions
from syncs.engine.expression_functions import FUNCTIONS, Argument, Size
from syncs.engine.expression_types import MOST_ROW_BYTES
from syncs.engine.expressions import (
    Expression,
    Guard,
    Matching,
    Scope,
    as_text,
    compile_expression,
    typed_column,
)
from syncs.engine.families import is_computed
from syncs.engine.patterns import pattern_steps
from syncs.engine.sql import literal
from syncs.spec import MappingSpec, SyncSpec

# Of a row that an expression fails for, this much of each cell is shown.
_SHOWN_CELL, _SHOWN_CELLS = 60, 5
_NO_NUMBERS = "('inf', '-inf', 'nan')"


@dataclasses.dataclass(frozen=True)
class ComputedLine:
    """A line of the mapping as SQL over the cells of a row.

    index: its place in the mapping. text: its text, before replacements; an error where there is none.
    is_float: the text may be one of those that are no numbers, such as inf. padded: it takes the untrimmed cell.
    """

    index: int
    mapping: MappingSpec
    text: str
    is_float: bool
    columns: tuple[int, ...]
    uuids: tuple[str, ...]
    padded: bool
    size: Size
    weight: Size
    matching: tuple[Matching, ...]

    @property
    def guards(self) -> tuple[Guard, ...]:
        """What of a row is too much for the line."""
        return _guards(self.weight, self.matching)


@dataclasses.dataclass(frozen=True)
class Filter:
    """The source's filter as SQL over the cells of a row.

    passes: true for rows that pass; as a struct's `v` when `tried`, NULL where it cannot be told. fails: true where it
    cannot be told.
    """

    passes: str
    fails: str
    tried: bool
    columns: tuple[int, ...]
    expression: Expression | None = None

    @property
    def guards(self) -> tuple[Guard, ...]:
        """What of a row is too much for the filter."""
        return _guards(self.expression.weight, self.expression.matching) if self.expression else ()


@dataclasses.dataclass(frozen=True)
class Work:
    """Everything that is worked out for each row of a source.

    kept: places of the columns that are handed on as they are.
    """

    scope: Scope
    lines: tuple[ComputedLine, ...]
    filter: Filter | None
    kept: tuple[int, ...]

    @property
    def columns(self) -> tuple[int, ...]:
        """Places of all columns that are read."""
        used = {*self.kept, *(place for line in self.lines for place in line.columns)}
        return tuple(sorted(used | set(self.filter.columns if self.filter else ())))

    @property
    def padded(self) -> tuple[int, ...]:
        """Places of the columns of which the untrimmed cells are read, too."""
        return tuple(sorted({place for line in self.lines if line.padded for place in line.columns}))

    @property
    def guards(self) -> tuple[Guard, ...]:
        """What of a row is too much for any part of this."""
        of_lines = [guard for line in self.lines for guard in line.guards]
        return (*of_lines, *(self.filter.guards if self.filter else ()))

    @property
    def matching(self) -> tuple[Matching, ...]:
        """All regular expressions at work."""
        of_filter = self.filter.expression.matching if self.filter and self.filter.expression else ()
        return (*of_filter, *(matching for line in self.lines for matching in line.matching))

    @property
    def weight(self) -> Size:
        """Bytes that are made for a row while it is worked on, of everything together."""
        weights = [line.weight for line in self.lines]
        if self.filter and self.filter.expression:
            weights.append(self.filter.expression.weight)
        return sum(weights, Size(64, dict.fromkeys(self.columns, 2)))

    @property
    def result(self) -> Size:
        """Bytes that come of a row."""
        return sum((line.size for line in self.lines), Size(64, dict.fromkeys(self.kept, 1)))

    def query(self, rows: str, *, guarded: bool) -> str:
        """A query for `_row`, the kept `c_<i>`, and `x_<i>`, `xe_<i>` and `xw_<i>` of each line.

        x_<i> is the text before it is trimmed, xe_<i> whether there is none because of an error, and xw_<i> then tells
        what stood in the columns. With a filter, `_filter_error` and `_filter_values` tell the same of it, and rows
        that do not pass are left out.
        rows: a FROM item with `_row`, `c_<i>` and, for `padded` columns, `u_<i>`. guarded: rows that are too much are
        errors, instead of being worked out.
        """
        cells = [f"nullif(c_{place}, '') AS c_{place}" for place in self.columns]
        cells += [f"u_{place}" for place in self.padded]
        uuids = dict.fromkeys(uuid for part in self._expressions() for uuid in part.uuids)
        cells += [f"CAST(uuid() AS VARCHAR) AS {name}" for name in uuids]
        source = f"SELECT {', '.join(['_row', *cells])} FROM {rows}"
        selected = ["_row", *(f"c_{place}" for place in self.kept)]
        if self.filter:
            source = self._filtered(self.filter, source, guarded)
            values = _values(self.scope, self.filter.columns)
            selected += ["f_error AS _filter_error", f"CASE WHEN f_error THEN {values} END AS _filter_values"]
        tried = [f"{_tried(line.text, line.guards, guarded)} AS t_{line.index}" for line in self.lines]
        failed = [f"({_failed(line)}) AS b_{line.index}" for line in self.lines]
        source = f"SELECT {', '.join(['*', *tried])} FROM ({source})"
        source = f"SELECT {', '.join(['*', *failed])} FROM ({source})"
        for line in self.lines:
            index = line.index
            text = f"CASE WHEN NOT b_{index} THEN t_{index}.v END" if line.is_float else f"t_{index}.v"
            selected += [
                f"{_replaced(text, line.mapping)} AS x_{index}",
                f"b_{index} AS xe_{index}",
                f"CASE WHEN b_{index} THEN {_values(self.scope, line.columns)} END AS xw_{index}",
            ]
        return f"SELECT {', '.join(selected)} FROM ({source})"

    def _expressions(self) -> Iterator[ComputedLine | Expression]:
        yield from self.lines
        if self.filter and self.filter.expression:
            yield self.filter.expression

    def _filtered(self, filter: Filter, source: str, guarded: bool) -> str:
        passes = _tried(filter.passes, filter.guards, guarded) if filter.tried else filter.passes
        source = f"SELECT *, {passes} AS f_passes, {filter.fails} AS f_fails FROM ({source})"
        passed, error = ("f_passes.v", "f_passes IS NULL") if filter.tried else ("f_passes", "f_fails")
        return f"SELECT * FROM (SELECT *, ({error}) AS f_error FROM ({source})) WHERE f_error OR {passed}"


def _guards(weight: Size, matching: Sequence[Matching]) -> tuple[Guard, ...]:
    found = (Guard(weight, MOST_ROW_BYTES), *(each.guard for each in matching))
    return tuple(guard for guard in found if guard.size.factors)


def work_of(
    connection: duckdb.DuckDBPyConnection,
    spec: SyncSpec,
    columns: Sequence[str],
    *,
    filter_here: bool,
    job_started_at: datetime.datetime,
    file_name: str,
) -> Work | None:
    """What is to be worked out for a sync; None when there is nothing. Raises `ExpressionError`.

    connection: a sealed one. columns: names of the source's columns. filter_here: the selection's filter is an
    expression, and not something that the source has already applied.
    """
    scope = Scope(columns, spec.columns, spec.parameters, spec.time_zone, job_started_at, file_name)
    lines = tuple(
        _computed_line(connection, scope, index, mapping)
        for index, mapping in enumerate(spec.mappings)
        if is_computed(spec, mapping)
    )
    filter = _filter(connection, scope, spec, filter_here)
    if not lines and filter is None:
        return None
    computed = {line.index for line in lines}
    names = [line.source_column for place, line in enumerate(spec.mappings) if place not in computed]
    names += [spec.action_column or None, *conditions.sources_of(spec.changed_rule)]
    kept = {columns.index(name) for name in names if name is not None}
    return Work(scope, lines, filter, tuple(sorted(kept)))


def _computed_line(
    connection: duckdb.DuckDBPyConnection, scope: Scope, index: int, mapping: MappingSpec
) -> ComputedLine:
    if mapping.expression is not None:
        expression = compile_expression(mapping.expression, scope, name=str(index), connection=connection)
        text, columns, uuids = as_text(expression), expression.columns, expression.uuids
        size, weight, matching = expression.size, expression.weight, expression.matching
        is_float = expression.type in ("DOUBLE", "FLOAT")
        return _with_replacements(
            ComputedLine(index, mapping, text, is_float, columns, uuids, False, size, weight, matching)
        )
    if mapping.source_column is None:
        constant = mapping.constant or ""
        size = Size(len(constant.encode()) + 16)
        return _with_replacements(ComputedLine(index, mapping, literal(constant), False, (), (), False, size, size, ()))
    place = list(scope.columns).index(mapping.source_column)
    column = scope.spec(place)
    # A date is read without the blanks around it in any case.
    padded = not mapping.trim and not column.format
    text = _column_text(scope, place, f"u_{place}" if padded else f"c_{place}")
    size = Size(64, {place: 1})
    return _with_replacements(ComputedLine(index, mapping, text, False, (place,), (), padded, size, size.times(2), ()))


def _column_text(scope: Scope, place: int, cell: str) -> str:
    """SQL: the text of a cell, dates in a form that a field reads."""
    column = scope.spec(place)
    if not column.format or column.type not in ("date", "datetime"):
        return cell
    if column.type == "datetime" and "%z" not in column.format.lower():
        # Its offset is that of the sync's time zone, as for every date-time without one.
        return f"CAST(strptime({cell}, {literal(column.format)}) AS VARCHAR)"
    typed = typed_column(column, cell)
    kind = "DATE" if column.type == "date" else "TIMESTAMP WITH TIME ZONE"
    return as_text(Expression(typed, kind, (place,), (), Size(), Size(), ()))


def _with_replacements(line: ComputedLine) -> ComputedLine:
    size, weight, matching = line.size, line.weight, list(line.matching)
    for replacement in line.mapping.replacements:
        matching.append(Matching(size, pattern_steps(replacement.pattern), True))
        written = Argument("", Size(len(replacement.replacement.encode())), replacement.replacement)
        size = FUNCTIONS["regexp_replace"].size([Argument("", size, None), written, written])
        weight += size
    return dataclasses.replace(line, size=size, weight=weight, matching=tuple(matching))


def _replaced(text: str, mapping: MappingSpec) -> str:
    for each in mapping.replacements:
        text = f"regexp_replace({text}, {literal(each.pattern)}, {literal(each.replacement)}, 'g')"
    return text


def _tried(sql: str, guards: Sequence[Guard], guarded: bool) -> str:
    tried = f"TRY({{'v': {sql}}})"
    if not guarded or not guards:
        return tried
    return f"CASE WHEN {' OR '.join(map(_too_much, guards))} THEN NULL ELSE {tried} END"


def _too_much(guard: Guard) -> str:
    terms = [f"{factor} * coalesce(strlen(c_{place}), 0)" for place, factor in guard.size.factors.items()]
    return f"{guard.size.fixed} + {' + '.join(terms)} > {guard.limit}"


def _failed(line: ComputedLine) -> str:
    failed = f"t_{line.index} IS NULL"
    return f"{failed} OR coalesce(t_{line.index}.v IN {_NO_NUMBERS}, false)" if line.is_float else failed


def _values(scope: Scope, columns: Sequence[int]) -> str:
    """SQL: what stands in these columns, for people."""
    parts = [
        f"{literal(scope.columns[place] + ' = ')} || coalesce('''' || left(c_{place}, {_SHOWN_CELL}) || '''', 'blank')"
        for place in columns[:_SHOWN_CELLS]
    ]
    more = f" || ', and {len(columns) - _SHOWN_CELLS} more'" if len(columns) > _SHOWN_CELLS else ""
    return (" || ', ' || ".join(parts) or "''") + more


def _filter(connection: duckdb.DuckDBPyConnection, scope: Scope, spec: SyncSpec, filter_here: bool) -> Filter | None:
    selection = spec.selection
    if filter_here and selection.filter.strip():
        found = compile_expression(selection.filter, scope, condition=True, name="f", connection=connection)
        return Filter(found.sql, "false", True, found.columns, found)
    if selection.rules is None:
        return None
    places = {name: scope.columns.index(name) for name in conditions.sources_of(selection.rules)}
    sides = conditions.Sides(
        source=lambda name: f"c_{places[name]}",
        columns=spec.columns,
        target=None,
        describe=None,
        parameters=scope.parameters,
        time_zone=scope.time_zone,
    )
    passes, fails = conditions.to_sql(selection.rules, sides), conditions.broken_sql(selection.rules, sides)
    return Filter(passes, fails, False, tuple(sorted(places.values())))
