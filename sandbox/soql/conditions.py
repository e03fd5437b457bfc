"""WHERE and HAVING: conditions as SQL (SOQL and SOSL Reference, "Condition Expression Syntax").

A comparison with an empty field is false, not unknown, so that its negation holds; text compares without regard to case
unless the field is case-sensitive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lark import Token

from sandbox.rows.rules import literal
from sandbox.soql import functions, values
from sandbox.soql.dates import Period
from sandbox.soql.scope import Context, Expression, Reference, Scope
from sandbox.soql.tree import AllOf, Among, AnyOf, Compare, Condition, FunctionCall, Negated, Operand, Select
from sandbox.wire import SalesforceError

MAX_DEPTH = 100
MAX_SEMI_JOINS = 2
TOO_COMPLICATED = "Query is either selecting too many fields or the filter conditions are too complicated."


@dataclass
class Conditions:
    """Compiles the conditions of one SELECT. `resolve` gives the left side of a comparison its SQL."""

    context: Context
    scope: Scope
    resolve: Callable[[Operand], Expression]
    may_join: bool = True
    joins: int = field(default=0)

    def sql(self, node: Condition) -> str:
        """SQL: a whole WHERE or HAVING; here, and joined by AND only, sub-selects may stand."""
        parts = node.parts if isinstance(node, AllOf) else [node]
        return " AND ".join(self._semi_join(each) or self._part(each, 0, node) for each in parts)

    def _part(self, node: Condition, depth: int, above: Condition) -> str:
        if depth > MAX_DEPTH:
            raise SalesforceError(400, "QUERY_TOO_COMPLICATED", TOO_COMPLICATED)
        if isinstance(node, AllOf | AnyOf):
            word = " AND " if isinstance(node, AllOf) else " OR "
            return "(" + word.join(self._part(each, depth + 1, node) for each in node.parts) + ")"
        if isinstance(node, Negated):
            return f"NOT coalesce({self._part(node.part, depth + 1, node)}, false)"
        if isinstance(node, Compare):
            return self._compare(node)
        if isinstance(node.members, Select):
            raise self._misplaced(node, above)
        return self._among(node, node.members)

    def _misplaced(self, node: Among, above: Condition) -> SalesforceError:
        message = "Semi join sub-selects are only allowed at the top level WHERE expressions"
        message += " and not in nested WHERE expressions."
        if isinstance(above, AnyOf):
            message = "Semi join sub-selects are not allowed with the 'OR' operator"
        return self.context.error(place(node.left), "MALFORMED_QUERY", message)

    def _left(self, operand: Operand) -> Expression:
        left = self.resolve(operand)
        filterable = left.field is None or left.field.flag("filterable")
        if not filterable or left.type in ("address", "location"):
            message = f"field '{left.label.rpartition('.')[2]}' can not be filtered in a query call"
            raise self.context.error(place(operand), "INVALID_FIELD", message)
        return left

    # Comparisons

    def _compare(self, node: Compare) -> str:
        left, where, token = self._left(node.left), place(node.left), node.value
        if node.operator == "LIKE":
            return self._like(left, where, token)
        if self._is_null(left, token):
            if node.operator not in ("=", "!="):
                raise self.context.error(where, "INVALID_QUERY_FILTER_OPERATOR", "invalid operator on null")
            return f"{left.sql} IS {'NOT ' if node.operator == '!=' else ''}NULL"
        if values.is_period(left, token):
            return _in_period(left, node.operator, values.period_of(self.context, token))
        given = values.value(self.context, where, left, token)
        if left.type == "boolean" and node.operator not in ("=", "!="):
            raise self.context.error(where, "INVALID_QUERY_FILTER_OPERATOR", "invalid operator on boolean field")
        if left.type == "multipicklist" and node.operator in ("=", "!="):
            same = f"list_sort({_choices(left.key)}) = list_sort({_choices(_folded(left, given))})"
            return f"NOT coalesce({same}, false)" if node.operator == "!=" else same
        operator = "IS DISTINCT FROM" if node.operator == "!=" else node.operator
        return f"{left.key} {operator} {_folded(left, given)}"

    def _is_null(self, left: Expression, token: Token) -> bool:
        """Whether a value is null; to a text or an id the empty string is too."""
        if token.type == "NULL":
            return True
        return token.type == "STRING" and len(token) == 2 and (left.is_text or left.is_id)

    def _like(self, left: Expression, where: Token, token: Token) -> str:
        if not left.is_text:
            message = f"invalid operator on {left.type} field"
            raise self.context.error(where, "INVALID_QUERY_FILTER_OPERATOR", message)
        pattern = literal(values.string(self.context, token, pattern=True))
        return f"{left.sql} {'ILIKE' if left.folds_case else 'LIKE'} {pattern} ESCAPE '\\'"

    # Lists

    def _among(self, node: Among, members: list[Token]) -> str:
        left, where = self._left(node.left), place(node.left)
        if node.word in ("INCLUDES", "EXCLUDES"):
            inside = self._includes(left, where, members)
        else:
            inside = self._one_of(left, where, members)
        return f"NOT coalesce({inside}, false)" if node.word in ("NOT IN", "EXCLUDES") else f"({inside})"

    def _one_of(self, left: Expression, where: Token, members: list[Token]) -> str:
        tests: list[str] = []
        listed: list[str] = []
        for each in members:
            if self._is_null(left, each):
                tests.append(f"{left.sql} IS NULL")
            elif values.is_period(left, each):
                tests.append(_in_period(left, "=", values.period_of(self.context, each)))
            else:
                listed.append(_folded(left, values.value(self.context, where, left, each)))
        if listed:
            tests.insert(0, f"{left.key} IN ({', '.join(listed)})")
        return " OR ".join(tests)

    def _includes(self, left: Expression, where: Token, members: list[Token]) -> str:
        if left.type != "multipicklist":
            message = f"INCLUDES and EXCLUDES operators require a multi-select picklist, not a {left.type} field"
            raise self.context.error(where, "INVALID_QUERY_FILTER_OPERATOR", message)
        tests = []
        for each in members:
            if self._is_null(left, each):
                tests.append(f"{left.sql} IS NULL")
            else:
                wanted = _choices(_folded(left, values.value(self.context, where, left, each)))
                tests.append(f"list_has_all({_choices(left.key)}, {wanted})")
        return " OR ".join(tests)

    # Sub-selects

    def _semi_join(self, node: Condition) -> str | None:
        """SQL: a semi-join or anti-join; None when the condition is neither."""
        if not isinstance(node, Among) or not isinstance(node.members, Select):
            return None
        where = place(node.left)
        if not self.may_join or self.joins >= MAX_SEMI_JOINS:
            message = f"Maximum {MAX_SEMI_JOINS} semi join sub-selects are allowed in a query, and none in another"
            raise self.context.error(where, "MALFORMED_QUERY", message)
        self.joins += 1
        left = self._left(node.left)
        if not left.is_id or not isinstance(left, Reference):
            message = "The left operand field in the where expression for outer query should be an id field,"
            message += f" cannot use: '{left.label}'"
            raise self.context.error(where, "MALFORMED_QUERY", message)
        inner = self._sub_select(node.members, left)
        inside = f"{left.sql} IN ({inner})"
        return f"NOT coalesce({inside}, false)" if node.word == "NOT IN" else inside

    def _sub_select(self, select: Select, left: Reference) -> str:
        first = select.sources[0].name
        target = self.context.object(first)
        if target.name == self.scope.target.name:
            message = "The inner and outer selects should not be on the same object type"
            raise self.context.error(first, "MALFORMED_QUERY", message)
        scope = Scope(self.context, target)
        scope.name_sources(select.sources)
        chosen = self._chosen(select, scope, first)
        _check_plain(self.context, select, first)
        if not _targets(left) & _targets(chosen):
            message = f"The selected field '{chosen.label}' in the subquery and the left operand field in the where"
            message += f" expression in the outer query '{left.label}' should point to the same object type"
            raise self.context.error(first, "MALFORMED_QUERY", message)
        conditions = [scope.live(), f"{chosen.sql} IS NOT NULL"]
        if select.where is not None:
            inner = Conditions(self.context, scope, lambda one: functions.plain(scope, one), may_join=False)
            conditions.append(inner.sql(select.where))
        return f"SELECT {chosen.sql} FROM {scope.from_sql()} WHERE {' AND '.join(conditions)}"

    def _chosen(self, select: Select, scope: Scope, first: Token) -> Reference:
        """The one id the sub-select selects."""
        item = select.items[0]
        operand = getattr(item, "value", None)
        if len(select.items) != 1 or not isinstance(operand, Token):
            message = "semi join sub-selects can only query one field, which must be an id field"
            raise self.context.error(first, "MALFORMED_QUERY", message)
        chosen = scope.reference(operand)
        if not chosen.is_id:
            message = "The selected field in the inner select of a semi join should be an id or reference field,"
            raise self.context.error(operand, "MALFORMED_QUERY", f"{message} cannot use: '{chosen.label}'")
        return chosen


def place(operand: Operand) -> Token:
    """Where an operand stands in the statement."""
    return operand.name if isinstance(operand, FunctionCall) else operand


def _check_plain(context: Context, select: Select, first: Token) -> None:
    clauses = {"ORDER BY": select.order, "LIMIT": select.limit, "OFFSET": select.offset, "GROUP BY": select.group}
    for word, given in clauses.items():
        if given:
            message = f"{word} is not allowed in a semi join sub-select"
            raise context.error(first, "MALFORMED_QUERY", message)


def _targets(one: Reference) -> set[str]:
    """The objects whose ids a field holds."""
    assert one.field is not None
    return {one.owner.name} if one.type == "id" else set(one.field.reference_to)


def _folded(left: Expression, given: str) -> str:
    return f"lower({given})" if left.folds_case else given


def _choices(sql: str) -> str:
    """SQL: the values of a multi-select picklist as a list."""
    return f"string_split({sql}, ';')"


def _in_period(left: Expression, operator: str, days: Period) -> str:
    """SQL: a date or datetime against a run of whole days."""
    kind = "DATE" if left.type == "date" else "TIMESTAMP"
    start, after = (f"{kind} '{each.isoformat()}'" for each in days)
    inside = f"({left.sql} >= {start} AND {left.sql} < {after})"
    return {
        "=": inside,
        "!=": f"NOT coalesce({inside}, false)",
        "<": f"{left.sql} < {start}",
        "<=": f"{left.sql} < {after}",
        ">": f"{left.sql} >= {after}",
        ">=": f"{left.sql} >= {start}",
    }[operator]
