"""Rules with and/or groups, as JSON, over columns of the source and fields of the target.

A rule is a group or a comparison:

    {"all": [rule, ...]}    each of them holds
    {"any": [rule, ...]}    at least one of them holds
    {"field": left, "operator": sign, "value": right}

left, right: {"source": "column"}, {"target": "Field__c"}, or a plain value; a text by itself is, on the left, the name
of a column of the source, and on the right a text, or a parameter when it begins with @ (@@ is an @). For `in`, the
right side is a list of plain values.

Texts compare as in Salesforce: without regard to case, and a blank is a value like any other, so that `!=` holds where
one side alone is blank (SOQL reference, "Comparison Operators"). A comparison of numbers, dates and so on with
something that is none does not hold, whatever its operator; neither does `<` or `>` with a blank.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from syncs.engine import values
from syncs.engine.expression_types import unknown
from syncs.engine.sql import literal
from syncs.spec import ColumnType

OPERATORS = ("=", "!=", ">", "<", "contains", "is null", "is not null", "in")
_UNARY = ("is null", "is not null")
_GROUPS = {"all": "and", "any": "or"}
_DEEPEST, _MOST_RULES, _MOST_VALUES, _LONGEST_VALUE = 10, 200, 1000, 10_000
_PLAIN_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_FORMS: dict[str, re.Pattern[str]] = {
    "number": _PLAIN_NUMBER,
    "date": re.compile(r"\d{4}-\d{2}-\d{2}"),
    "datetime": re.compile(r"\d{4}-\d{2}-\d{2}[t ]\d{2}:\d{2}.*"),
    "boolean": re.compile("|".join((*values.TRUE_WORDS, *values.FALSE_WORDS))),
}
_DECIMAL = "DECIMAL(38,12)"


@dataclasses.dataclass(frozen=True)
class Operand:
    """One side of a comparison where it is evaluated.

    sql: of its text, NULL or empty when blank; a column name, or a literal. type: what the text holds.
    """

    sql: str
    type: ColumnType = "text"


Place = Callable[[str], Operand | None]


@dataclasses.dataclass(frozen=True)
class _Comparison:
    left: Any
    operator: str
    right: Any


def check(
    rule: Any,
    columns: Collection[str],
    fields: Collection[str] | None = None,
    parameters: Mapping[str, str] | Collection[str] = (),
) -> list[str]:
    """What is wrong with a rule, a sentence each; an empty list when nothing is.

    columns: names of the source's columns. fields: API names of the target's fields, or None when a rule may not name
    them. Where they map names to types, plain values beside them are checked too. parameters: names of the sync's
    parameters.
    """
    problems: list[str] = []
    comparisons = list(_checked(rule, 1, problems))
    if len(comparisons) > _MOST_RULES:
        problems.append(f"It has more than {_MOST_RULES} comparisons.")
    for comparison in comparisons:
        problems += _comparison_problems(comparison, columns, fields, parameters)
    return problems


def to_sql(
    rule: dict[str, Any],
    source: Place,
    target: Place | None = None,
    *,
    parameters: Mapping[str, str] | None = None,
    time_zone: str = "UTC",
) -> str:
    """SQL that is true where the rule holds and false elsewhere, never NULL.

    rule: one in which `check` finds nothing wrong. source, target: the column of a query for the name of a column of
    the source, or of a field of the target. parameters: values by name. time_zone: in which date-times without an
    offset are read. Raises KeyError for a name that is not known.
    """
    return _Writer(source, target, parameters or {}, time_zone).rule(rule)


def broken_sql(
    rule: dict[str, Any],
    source: Place,
    target: Place | None = None,
    *,
    parameters: Mapping[str, str] | None = None,
    time_zone: str = "UTC",
) -> str:
    """SQL that is true where nobody can tell whether the rule holds, since a value is not what its type says.

    Such as a number that is none; where the rule holds, or does not, whatever that number were, it is false. Never
    NULL. The arguments are those of `to_sql`.
    """
    options: Any = (source, target, parameters or {}, time_zone)
    surely, perhaps = _Writer(*options).rule(rule), _Writer(*options, perhaps=True).rule(rule)
    return "false" if surely == perhaps else f"({perhaps} AND NOT {surely})"


def targets_of(rule: dict[str, Any] | None) -> tuple[str, ...]:
    """API names of the target's fields that a rule compares, in their order, each once."""
    return _named(rule, "target")


def sources_of(rule: dict[str, Any] | None) -> tuple[str, ...]:
    """Names of the source's columns that a rule compares, in their order, each once."""
    return _named(rule, "source")


def in_words(rule: dict[str, Any]) -> str:
    """The rule as people read it: `Status = 'x' and (Amount > 5 or City is null)`."""
    return _words(rule, top=True)


# --- reading ---


def _checked(rule: Any, depth: int, problems: list[str]) -> Iterator[_Comparison]:
    """The comparisons of a rule; what is wrong with its form goes to `problems`."""
    if depth > _DEEPEST:
        problems.append(f"Its groups are nested more than {_DEEPEST} levels deep.")
        return
    if not isinstance(rule, dict):
        problems.append(f"{_shown(rule)} is no rule. A rule is a group (all, any) or a comparison.")
        return
    group = next((name for name in _GROUPS if name in rule), None)
    if group is None:
        if set(rule) - {"field", "operator", "value"} or not {"field", "operator"} <= set(rule):
            problems.append(f"{_shown(rule)} is no comparison. It has a field, an operator and a value.")
        else:
            yield _Comparison(rule["field"], rule["operator"], rule.get("value"))
        return
    members = rule[group]
    if len(rule) > 1 or not isinstance(members, list):
        problems.append(f"The group '{group}' has to be a list of rules, and nothing else stands beside it.")
        return
    if not members:
        problems.append(f"The group '{group}' is empty. Add a comparison, or remove the group.")
    for member in members[: _MOST_RULES + 1]:
        yield from _checked(member, depth + 1, problems)


def _comparison_problems(
    comparison: _Comparison,
    columns: Collection[str],
    fields: Collection[str] | None,
    parameters: Mapping[str, str] | Collection[str],
) -> Iterator[str]:
    if comparison.operator not in OPERATORS:
        yield f"There is no operator '{comparison.operator}'. Use one of {', '.join(OPERATORS)}."
        return
    if comparison.operator in _UNARY:
        if comparison.right not in (None, ""):
            yield f"'{comparison.operator}' takes no value."
        sides = [_left(comparison.left)]
    elif comparison.operator == "in":
        if not isinstance(comparison.right, list) or not 0 < len(comparison.right) <= _MOST_VALUES:
            yield f"After 'in' comes a list of 1 to {_MOST_VALUES:,} values."
            return
        sides = [_left(comparison.left), *comparison.right]
        if any(isinstance(side, dict) for side in comparison.right):
            yield "After 'in' come plain values, no columns and no fields."
            return
    else:
        sides = [_left(comparison.left), comparison.right]
    if not any(isinstance(side, dict) for side in sides):
        yield "A comparison needs a column of the source or a field of the target on one side."
    for side in sides:
        yield from _side_problems(side, columns, fields, parameters)
    if comparison.operator != "contains":
        yield from _type_problems(sides, {"source": columns, "target": fields or ()})


def _side_problems(
    side: Any,
    columns: Collection[str],
    fields: Collection[str] | None,
    parameters: Mapping[str, str] | Collection[str],
) -> Iterator[str]:
    if isinstance(side, dict):
        kind, name = next(iter(side.items()), ("", ""))
        if len(side) != 1 or kind not in ("source", "target") or not isinstance(name, str):
            yield f"{_shown(side)} is no side of a comparison. Use a column, a field or a value."
        elif kind == "source" and name not in columns:
            yield unknown("column", name, list(columns), "The source has no")
        elif kind == "target" and fields is None:
            yield f"A field of the target, here {name}, cannot be compared in this rule."
        elif kind == "target" and name.lower() not in {field.lower() for field in fields or ()}:
            yield unknown("field", name, list(fields or ()), "The object has no")
    elif isinstance(side, str):
        name = _parameter_name(side)
        if name is not None and name not in parameters:
            yield unknown("parameter", name, list(parameters), "The sync has no") + " A text that begins with @: @@."
        if len(side) > _LONGEST_VALUE:
            yield f"A value is longer than {_LONGEST_VALUE:,} characters."
    elif side is not None and not isinstance(side, (int, float)):
        yield f"{_shown(side)} is no value. Use a text, a number, true or false."


def _type_problems(sides: list[Any], known: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Plain values that are not what the column or field beside them holds."""
    for side in sides:
        kind, name = next(iter(side.items())) if isinstance(side, dict) and side else ("", "")
        names = known.get(kind)
        type_of = {each.lower(): each_type for each, each_type in names.items()} if isinstance(names, Mapping) else {}
        form = _FORMS.get(str(type_of.get(str(name).lower())))
        for value in sides if form else ():
            is_plain = isinstance(value, (str, int, float)) and not (isinstance(value, str) and value[:1] in ("", "@"))
            if form and is_plain and not form.fullmatch(str(value).strip().lower()):
                yield f"'{_shown(value)}' is no {type_of[str(name).lower()]}, as {name} is."


def _left(side: Any) -> Any:
    return {"source": side} if isinstance(side, str) else side


def _parameter_name(text: str) -> str | None:
    return text[1:] if text.startswith("@") and not text.startswith("@@") else None


def _comparisons(rule: dict[str, Any] | None) -> Iterator[_Comparison]:
    return _checked(rule, 1, []) if rule else iter(())


def _named(rule: dict[str, Any] | None, kind: str) -> tuple[str, ...]:
    sides = (side for each in _comparisons(rule) for side in (_left(each.left), each.right))
    return tuple(dict.fromkeys(side[kind] for side in sides if isinstance(side, dict) and kind in side))


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 100 else text[:100] + "..."


# --- words ---


def _words(rule: dict[str, Any], top: bool = False) -> str:
    group = next((name for name in _GROUPS if name in rule), None)
    if group is not None:
        members = [_words(member) for member in rule[group]]
        joined = f" {_GROUPS[group]} ".join(members)
        return joined if top or len(members) == 1 else f"({joined})"
    left = _side_words(_left(rule["field"]))
    if rule["operator"] in _UNARY:
        return f"{left} {rule['operator']}"
    right = rule.get("value")
    if isinstance(right, list):
        return f"{left} {rule['operator']} ({', '.join(map(_side_words, right))})"
    return f"{left} {rule['operator']} {_side_words(right)}"


def _side_words(side: Any) -> str:
    match side:
        case {"source": name}:
            return str(name)
        case {"target": name}:
            return f"Salesforce's {name}"
        case None:
            return "''"
        case bool():
            return str(side).lower()
        case str():
            return side if _parameter_name(side) else "'" + side.removeprefix("@").replace("'", "''") + "'"
        case _:
            return str(side)


# --- SQL ---


@dataclasses.dataclass(frozen=True)
class _Side:
    """One side of a comparison. fixed: it is a plain value."""

    sql: str
    type: ColumnType
    fixed: bool


class _Writer:
    """Rules as SQL. perhaps: a comparison with a value that is not what its type says holds."""

    def __init__(
        self,
        source: Place,
        target: Place | None,
        parameters: Mapping[str, str],
        time_zone: str,
        *,
        perhaps: bool = False,
    ) -> None:
        self._places = {"source": source, "target": target}
        self._parameters, self._time_zone, self._perhaps = parameters, time_zone, perhaps

    def rule(self, rule: dict[str, Any]) -> str:
        group = next((name for name in _GROUPS if name in rule), None)
        if group is None:
            return self._comparison(_Comparison(rule["field"], rule["operator"], rule.get("value")))
        return "(" + f" {_GROUPS[group].upper()} ".join(self.rule(member) for member in rule[group]) + ")"

    def _comparison(self, comparison: _Comparison) -> str:
        left = self._side(_left(comparison.left))
        if comparison.operator in _UNARY:
            sign = "IS NULL" if comparison.operator == "is null" else "IS NOT NULL"
            return f"(nullif({left.sql}, '') {sign})"
        if comparison.operator == "in":
            each = [self._compared(left, "=", self._side(value)) for value in comparison.right]
            return "(" + " OR ".join(each) + ")"
        return self._compared(left, comparison.operator, self._side(comparison.right))

    def _side(self, side: Any) -> _Side:
        match side:
            case {"source": name} | {"target": name}:
                place = self._places["source" if "source" in side else "target"]
                operand = place(name) if place else None
                if operand is None:
                    raise KeyError(name)
                return _Side(operand.sql, operand.type, False)
            case bool():
                return _Side(literal(str(side).lower()), "boolean", True)
            case int() | float():
                return _Side(literal(f"{side}"), "number", True)
            case str():
                name = _parameter_name(side)
                text = self._parameters[name] if name is not None else side.removeprefix("@")
                return _Side(literal(text.strip(values.WHITE_SPACE)), "text", True)
            case _:
                return _Side("''", "text", True)

    def _compared(self, left: _Side, operator: str, right: _Side) -> str:
        if operator == "contains":
            return f"coalesce(contains(lower({left.sql}), nullif(lower({right.sql}), '')), false)"
        kind = _kind(left, operator, right)
        sides = [self._typed(side, kind) for side in (left, right)]
        same = f"({sides[0]} IS {'' if operator == '!=' else 'NOT '}DISTINCT FROM {sides[1]})"
        holds = f"coalesce({sides[0]} {operator} {sides[1]}, false)" if operator in "<>" else same
        if kind == "text":
            return holds
        no_values = [self._is_broken(side, typed) for side, typed in zip((left, right), sides, strict=True)]
        broken = " OR ".join(no_values)
        return f"({holds} OR {broken})" if self._perhaps else f"({holds} AND NOT ({broken}))"

    def _is_broken(self, side: _Side, typed: str) -> str:
        return f"(nullif({side.sql}, '') IS NOT NULL AND {typed} IS NULL)"

    def _typed(self, side: _Side, kind: ColumnType) -> str:
        """SQL: the side's value in a form in which values of this type compare; NULL when blank or none."""
        # Of a blank, each of these is NULL; texts may be empty instead.
        match kind:
            case "text":
                return f"nullif(lower({side.sql}), '')"
            case "number":
                typed = f"try_cast(nullif({side.sql}, '') AS {_DECIMAL})"
            case "date" | "datetime" | "boolean":
                typed = f"({values.canonical(kind, side.sql, self._time_zone)})"
        return typed


def _kind(left: _Side, operator: str, right: _Side) -> ColumnType:
    """As what two sides compare: the type of a column or field that is not just text, else that of a value."""
    sides = sorted((left, right), key=lambda side: side.fixed)
    for side in sides:
        if side.type != "text":
            return side.type
    # Of two texts, 9 is not less than 10; a person who compares with a number means numbers.
    fixed = [side.sql for side in sides if side.fixed]
    if operator in "<>" and fixed and all(_PLAIN_NUMBER.fullmatch(sql.strip("'")) for sql in fixed):
        return "number"
    return "text"
