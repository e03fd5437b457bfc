"""Aggregate queries: GROUP BY with its functions, ROLLUP and CUBE, HAVING (SOQL and SOSL Reference, "GROUP BY")."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from lark import Token

from sandbox.soql import functions
from sandbox.soql.conditions import Conditions, place
from sandbox.soql.ordering import ordering
from sandbox.soql.query import Column, Leaf, Node, Query
from sandbox.soql.scope import Expression, Scope
from sandbox.soql.tree import FunctionCall, Item, Operand, Select
from sandbox.wire import SalesforceError

MAX_ROLLUP_FIELDS = 3


@dataclass
class _Groups:
    """The groups of one query: what they are made by, and what may be said of them."""

    scope: Scope
    keys: list[Expression] = field(default_factory=list)
    kind: str = ""

    def add(self, operand: Operand) -> None:
        one = functions.plain(self.scope, operand)
        if one.field is not None and not one.field.flag("groupable"):
            message = f"field '{one.label.rpartition('.')[2]}' can not be grouped in a query call"
            raise self.scope.context.error(place(operand), "MALFORMED_QUERY", message)
        self.keys.append(one)

    @property
    def sql(self) -> str:
        if not self.keys:
            return ""
        listed = ", ".join(each.key for each in self.keys)
        return f" GROUP BY {self.kind}({listed})" if self.kind else f" GROUP BY {listed}"

    def of(self, operand: Operand) -> Expression:
        """What a field or function gives for a group. Raises MALFORMED_QUERY when it is neither."""
        if isinstance(operand, FunctionCall):
            function = functions.function_name(operand)
            if function in functions.AGGREGATES:
                return functions.aggregate(self.scope, operand)
            if function == "GROUPING":
                one = self._grouped(functions.field_argument(self.scope, operand), operand)
                return Expression(f"grouping({one.key})", "int", str(operand))
        return self._grouped(functions.plain(self.scope, operand), operand)

    def _grouped(self, one: Expression, operand: Operand) -> Expression:
        if all(each.sql != one.sql for each in self.keys):
            message = f"Field must be grouped or aggregated: {one.label}"
            raise self.scope.context.error(place(operand), "MALFORMED_QUERY", message)
        return one

    def compared(self, operand: Operand) -> Expression:
        """The same for HAVING and ORDER BY: a text stands in the form by which it was grouped."""
        one = self.of(operand)
        return dataclasses.replace(one, sql=one.key) if any(each.sql == one.sql for each in self.keys) else one

    def shown(self, one: Expression) -> str:
        """SQL: how a value is selected; texts that differ in case only are one group, shown as its least."""
        if not one.folds_case or all(each.sql != one.sql for each in self.keys):
            return one.sql
        least = f"min({one.sql})"
        return f"CASE WHEN grouping({one.key}) = 0 THEN {least} END" if self.kind else least


def compile_groups(scope: Scope, select: Select, filters: str, limit: int | None, offset: int | None) -> Query:
    """Compile a query with aggregate functions or GROUP BY. Raises MALFORMED_QUERY and INVALID_FIELD."""
    first = select.items[0]
    if isinstance(first, Item) and isinstance(first.value, FunctionCall) and not first.value.arguments:
        return _count(scope, select, first.value, filters, limit, offset)
    groups = _groups(scope, select)
    if not groups.keys:
        _check_overall(scope, select)
    nodes: dict[str, Node] = {}
    columns: list[Column] = []
    expressions: list[str] = []
    for each in select.items:
        if not isinstance(each, Item):
            message = "Nested queries and TYPEOF cannot stand in an aggregate query"
            raise scope.context.error(select.sources[0].name, "MALFORMED_QUERY", message)
        one = groups.of(each.value)
        key = _key(each, one, nodes)
        if key in nodes:
            raise scope.context.error(place(each.value), "MALFORMED_QUERY", f"duplicate alias: {key}")
        columns.append(Column(key, one, isinstance(each.value, FunctionCall)))
        nodes[key] = Leaf(len(expressions), columns[-1])
        expressions.append(groups.shown(one))
    having = ""
    if select.having is not None:
        conditions = Conditions(scope.context, scope, groups.compared, may_join=False)
        having = f" HAVING {conditions.sql(select.having)}"
    order = _order(scope, select, groups)
    return Query(
        scope.target,
        "aggregate",
        columns,
        nodes,
        expressions,
        scope.from_sql(),
        filters,
        order,
        groups.sql,
        having,
        limit,
        offset,
    )


def _count(
    scope: Scope, select: Select, call: FunctionCall, filters: str, limit: int | None, offset: int | None
) -> Query:
    """SELECT COUNT(): how many records there are, without a row."""
    if functions.function_name(call) != "COUNT":
        raise SalesforceError(400, "MALFORMED_QUERY", "unexpected token: ')'")
    if len(select.items) > 1 or select.group or select.order:
        message = "COUNT() must be the only element in the SELECT list, without GROUP BY and ORDER BY"
        raise scope.context.error(call.name, "MALFORMED_QUERY", message)
    return Query(scope.target, "count", [], {}, ['t."Id"'], scope.from_sql(), filters, limit=limit, offset=offset)


def _groups(scope: Scope, select: Select) -> _Groups:
    groups = _Groups(scope)
    listed = select.group
    only = listed[0] if len(listed) == 1 else None
    if isinstance(only, FunctionCall) and functions.function_name(only) in ("ROLLUP", "CUBE"):
        groups.kind = functions.function_name(only)
        listed = only.arguments
        if not 1 <= len(listed) <= MAX_ROLLUP_FIELDS:
            message = f"GROUP BY {groups.kind} takes one to {MAX_ROLLUP_FIELDS} fields"
            raise scope.context.error(only.name, "MALFORMED_QUERY", message)
    for each in listed:
        if isinstance(each, Token) and each.type != "NAME":
            raise SalesforceError(400, "MALFORMED_QUERY", f"unexpected token: '{each}'")
        groups.add(each)
    return groups


def _check_overall(scope: Scope, select: Select) -> None:
    """Without GROUP BY there is one row, so nothing to limit."""
    if select.limit is not None or select.offset is not None:
        message = "Non-grouped query that uses overall aggregate functions cannot also use LIMIT"
        raise scope.context.error(select.sources[0].name, "MALFORMED_QUERY", message)


def _key(item: Item, one: Expression, nodes: dict[str, Node]) -> str:
    """The name of a value in the row: its alias, the field's name, or expr0, expr1, … for functions."""
    if item.alias is not None:
        return str(item.alias)
    if one.field is not None and isinstance(item.value, Token):
        return one.field.name
    return f"expr{sum(1 for each in nodes if each.startswith('expr') and each[4:].isdecimal())}"


def _order(scope: Scope, select: Select, groups: _Groups) -> str:
    parts = []
    for each in select.order:
        token = place(each.value)
        try:
            one = groups.compared(each.value)
        except SalesforceError as error:
            if "must be grouped" not in error.body[0]["message"]:
                raise
            label = each.value if isinstance(each.value, Token) else str(each.value)
            message = f"Ordered field must be grouped or aggregated: {label}"
            raise scope.context.error(token, "MALFORMED_QUERY", message) from None
        parts.append(ordering(scope.context, token, one, descending=each.descending, nulls_last=each.nulls_last))
    # Groups come in the order of their keys where nothing else decides.
    parts += [f"{each.key} ASC NULLS FIRST" for each in groups.keys]
    return f" ORDER BY {', '.join(parts)}" if parts else ""
