"""SOQL to SQL: from the text of a query to the statement that reads its rows (SOQL and SOSL Reference).

The whole language is understood but for what a new org in one currency and without geolocations has no use for:
`convertCurrency`, DISTANCE, data categories. What is outside is refused as Salesforce refuses it.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Sequence

from lark import Token

from sandbox.rows.rules import literal
from sandbox.schema import Field, ObjectType, Schema
from sandbox.soql import functions
from sandbox.soql.conditions import TOO_COMPLICATED, Conditions, place
from sandbox.soql.grammar import parse_query
from sandbox.soql.groups import compile_groups
from sandbox.soql.ordering import ordering
from sandbox.soql.query import ByType, Children, Column, Leaf, Node, Parent, Query
from sandbox.soql.scope import ADVICE, Context, Expression, Join, Reference, Scope
from sandbox.soql.tree import FunctionCall, Item, Operand, Select, TypeOf
from sandbox.wire import SalesforceError

MAX_OFFSET = 2000
MAX_LIMIT = 2**31 - 1
MAX_CHILD_QUERIES = 20
MAX_CHILD_LEVELS = 5
MAX_FIELDS_LIMIT = 200
MODES = frozenset({"SECURITY_ENFORCED", "USER_MODE", "SYSTEM_MODE"})
SCOPES = frozenset({"EVERYTHING", "MINE"})


def compile_query(
    schema: Schema,
    text: str,
    now: datetime.datetime,
    *,
    deleted_too: bool = False,
    user_id: str | None = None,
    may_read: Callable[[str, str], bool] | None = None,
) -> Query:
    """Compile SOQL.

    `now` is the org's time in UTC, for TODAY and its like; `user_id` is whose records USING SCOPE mine selects;
    a field of which `may_read(object, field)` is false is answered as one that is not there. Raises SalesforceError
    (400): MALFORMED_QUERY, INVALID_TYPE for an unknown object, INVALID_FIELD for an unknown field or a value of the
    wrong type, QUERY_TOO_COMPLICATED.
    """
    context = Context(schema, text, now.date(), deleted_too, user_id, may_read)
    return compile_select(context, parse_query(text))


def compile_select(context: Context, select: Select) -> Query:
    """Compile a query that is parsed already; raises as `compile_query` does."""
    try:
        return _Compiler(context, select, context.object(select.sources[0].name)).compile()
    except RecursionError:
        raise SalesforceError(400, "QUERY_TOO_COMPLICATED", TOO_COMPLICATED) from None


class _Compiler:
    """One SELECT: the query itself, or one below it (`level`)."""

    def __init__(self, context: Context, select: Select, target: ObjectType, level: int = 0) -> None:
        if select.all_rows and not context.deleted_too:
            context = dataclasses.replace(context, deleted_too=True)
        self.context = context
        self.select = select
        self.level = level
        self.scope = Scope(context, target)
        self.scope.name_sources(select.sources)
        self.columns: list[Column] = []
        self.nodes: dict[str, Node] = {}
        self.expressions: list[str] = ['t."Id"']

    def compile(self) -> Query:
        select = self.select
        self._check_mode()
        filters = self._filters()
        if select.group or any(isinstance(each, Item) and functions.is_aggregate(each.value) for each in select.items):
            return self._grouped(filters)
        self._select_all()
        order = self._order()
        return Query(
            self.scope.target,
            "records",
            self.columns,
            self.nodes,
            self.expressions,
            self.scope.from_sql(),
            filters,
            order,
            limit=self._limit(),
            offset=self._offset(),
        )

    def _check_mode(self) -> None:
        mode = self.select.mode
        if mode is not None and mode.upper() not in MODES:
            raise SalesforceError(400, "MALFORMED_QUERY", f"unexpected token: '{mode}'")

    def _filters(self) -> str:
        conditions = [self.scope.live(), self._scope_filter()]
        if self.select.where is not None:
            where = Conditions(self.context, self.scope, self._plain)
            conditions.append(where.sql(self.select.where))
        return " AND ".join(each for each in conditions if each != "true") or "true"

    def _plain(self, operand: Operand) -> Expression:
        return functions.plain(self.scope, operand)

    def _scope_filter(self) -> str:
        """USING SCOPE: everything, or the records of who asks."""
        given = self.select.scope
        if given is None or given.upper() == "EVERYTHING":
            return "true"
        if given.upper() not in SCOPES or not self.scope.target.has_owner or self.context.user_id is None:
            message = f"The scope '{given}' is not supported for the object {self.scope.target.name}"
            raise self.context.error(given, "INVALID_QUERY_SCOPE", message)
        return f"t.OwnerId = {literal(self.context.user_id)}"

    def _grouped(self, filters: str) -> Query:
        if self.level:
            message = "Aggregate expressions are not allowed in a nested query"
            raise self.context.error(self.select.sources[0].name, "MALFORMED_QUERY", message)
        return compile_groups(self.scope, self.select, filters, self._limit(), self._offset())

    # The field list

    def _select_all(self) -> None:
        children = [each for each in self.select.items if isinstance(each, Select)]
        if len(children) > MAX_CHILD_QUERIES:
            message = f"A query may have at most {MAX_CHILD_QUERIES} child relationship sub-queries"
            raise self.context.error(children[MAX_CHILD_QUERIES].sources[0].name, "MALFORMED_QUERY", message)
        for each in self.select.items:
            if isinstance(each, Select):
                self._select_children(each)
            elif isinstance(each, TypeOf):
                self._select_by_type(each)
            elif isinstance(each.value, FunctionCall) and functions.function_name(each.value) == "FIELDS":
                self._select_fields(each.value)
            else:
                self._select_one(each)

    def _select_one(self, item: Item) -> None:
        if item.alias is not None and isinstance(item.value, Token):
            message = "only aggregate expressions use field aliasing"
            raise self.context.error(item.alias, "MALFORMED_QUERY", message)
        if isinstance(item.value, FunctionCall) and functions.function_name(item.value) in functions.DATE_FUNCTIONS:
            message = f"Field must be grouped or aggregated: {item.value}"
            raise self.context.error(item.value.name, "MALFORMED_QUERY", message)
        one = self._plain(item.value)
        assert isinstance(one, Reference) and one.field is not None
        if item.alias is not None:
            self._add(self.nodes, place(item.value), str(item.alias), Column(str(item.alias), one))
        else:
            self._add_path(place(item.value), one)

    def _add_path(self, token: Token, one: Reference) -> None:
        self._add_below(self.nodes, token, one)

    def _add_below(self, nodes: dict[str, Node], token: Token, one: Reference) -> None:
        assert one.field is not None
        nodes = self._nodes_of(nodes, token, one.parents)
        self._add(nodes, token, one.field.name, Column(one.label, one))

    def _nodes_of(self, nodes: dict[str, Node], token: Token, parents: Sequence[Join]) -> dict[str, Node]:
        """Where the values of a parent stand: in the nested record of the last of `parents`."""
        for join in parents:
            nodes = self._parent(nodes, token, join.path[-1], join).nodes
        return nodes

    def _parent(self, nodes: dict[str, Node], token: Token, key: str, join: Join) -> Parent:
        found = nodes.setdefault(key, Parent(join.target.name, self._index(f'{join.alias}."Id"')))
        if not isinstance(found, Parent):
            raise self.context.error(token, "INVALID_FIELD", f"duplicate field selected: {key}")
        return found

    def _add(self, nodes: dict[str, Node], token: Token, key: str, column: Column) -> None:
        if key in nodes:
            raise self.context.error(token, "INVALID_FIELD", f"duplicate field selected: {column.label}")
        self.columns.append(column)
        nodes[key] = Leaf(self._index(column.expression.sql), column)

    def _index(self, sql: str) -> int:
        if sql not in self.expressions:
            self.expressions.append(sql)
        return self.expressions.index(sql)

    def _select_fields(self, call: FunctionCall) -> None:
        """FIELDS(ALL), FIELDS(STANDARD) or FIELDS(CUSTOM)."""
        group = str(call.arguments[0]).upper() if len(call.arguments) == 1 else ""
        if group not in ("ALL", "STANDARD", "CUSTOM"):
            raise self.context.error(call.name, "MALFORMED_QUERY", f"unexpected token: '{call}'")
        limit = self._limit()
        if group != "STANDARD" and (limit is None or limit > MAX_FIELDS_LIMIT):
            message = f"The SOQL FIELDS function must have a LIMIT of at most {MAX_FIELDS_LIMIT}"
            raise self.context.error(call.name, "MALFORMED_QUERY", message)
        for one in self.context.visible_fields(self.scope.target):
            if group == "ALL" or one.flag("custom") == (group == "CUSTOM"):
                self._add_path(call.name, self.scope.reference_on(None, one))

    def _select_by_type(self, node: TypeOf) -> None:
        """TYPEOF What WHEN Account THEN … ELSE … END."""
        *path, relationship = str(node.path).split(".")
        parents = self.scope.parents(node.path, path)
        above = parents[-1] if parents else None
        lookup = self.scope.lookup(node.path, above.target if above else self.scope.target, relationship)
        key = str(lookup.document["relationshipName"])
        nodes = self._nodes_of(self.nodes, node.path, parents)
        if len(lookup.reference_to) < 2:
            raise self.context.error(node.path, "INVALID_FIELD", f"'{node.path}' is no polymorphic relationship")
        if key in nodes:
            raise self.context.error(node.path, "INVALID_FIELD", f"duplicate field selected: {key}")
        made = ByType(self._index(self.scope.reference_on(above, lookup).sql), {}, None)
        for branch in node.branches:
            target = self.context.object(branch.object)
            if target.name not in lookup.reference_to or target.key_prefix in made.branches:
                message = f"{target.name} is not an object that '{node.path}' can still be"
                raise self.context.error(branch.object, "INVALID_FIELD", message)
            join = self.scope.join_type(branch.object, above, lookup, target)
            made.branches[target.key_prefix] = self._branch(join, branch.fields)
        if node.otherwise:
            end = self.scope.parents(node.path, [*path, relationship])[-1]
            made.otherwise = self._branch(end, node.otherwise)
        nodes[key] = made

    def _branch(self, join: Join, fields: list[Token]) -> Parent:
        made = Parent(join.target.name, self._index(f'{join.alias}."Id"'))
        for token in fields:
            self._add_below(made.nodes, token, self.scope.reference_from(join, token))
        return made

    def _select_children(self, select: Select) -> None:
        """(SELECT … FROM Contacts): the records that point here, by the name of their relationship."""
        token = select.sources[0].name
        if self.level + 1 >= MAX_CHILD_LEVELS:
            message = f"SOQL statements cannot query more than {MAX_CHILD_LEVELS} levels of child relationships."
            raise self.context.error(token, "MALFORMED_QUERY", message)
        child, lookup = self._child(token)
        assert lookup.child_relationship is not None
        if lookup.child_relationship in self.nodes:
            message = f"duplicate field selected: {lookup.child_relationship}"
            raise self.context.error(token, "INVALID_FIELD", message)
        query = _Compiler(self.context, select, child, self.level + 1).compile()
        self.nodes[lookup.child_relationship] = Children(lookup, query)

    def _child(self, token: Token) -> tuple[ObjectType, Field]:
        wanted = token.lower().removeprefix(f"{self.scope.target.name}.".lower())
        wanted = wanted.partition(".")[2] if self.scope.aliases.get(wanted.partition(".")[0]) == [] else wanted
        for child in self.context.schema.objects.values():
            for one in child.fields.values():
                named = one.child_relationship is not None and one.child_relationship.lower() == wanted
                if named and self.scope.target.name in one.reference_to and self.context.shows(child, one):
                    return child, one
        advice = ADVICE.format(what="relationship", where="custom relationship", suffix="__r")
        message = f"Didn't understand relationship '{token}' in FROM part of query call. {advice}"
        raise self.context.error(token, "INVALID_TYPE", message)

    # Order and page

    def _order(self) -> str:
        parts = []
        for each in self.select.order:
            one = self._plain(each.value)
            parts.append(
                ordering(self.context, place(each.value), one, descending=each.descending, nulls_last=each.nulls_last)
            )
        if not parts:
            return " ORDER BY t.Id" if self.scope.joins else ""
        return f" ORDER BY {', '.join(parts)}, t.Id"

    def _limit(self) -> int | None:
        return _number(self.select.limit)

    def _offset(self) -> int | None:
        number = _number(self.select.offset)
        if number is not None and number > MAX_OFFSET:
            raise SalesforceError(400, "NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {MAX_OFFSET}")
        return number


def _number(token: Token | None) -> int | None:
    if token is None:
        return None
    if not (token.isascii() and token.isdecimal()):
        raise SalesforceError(400, "MALFORMED_QUERY", f"unexpected token: '{token}'")
    return min(int(token), MAX_LIMIT) if len(token) < 20 else MAX_LIMIT
