"""Conditions that are built from rules, with and/or groups, instead of being written in a language.

    {"all": [
        {"left": {"source": "Stage"}, "operator": "=", "right": {"value": "won"}},
        {"any": [
            {"left": {"target": "Amount"}, "operator": "is null"},
            {"left": {"target": "Amount"}, "operator": "<", "right": {"source": "Amount"}}
        ]}
    ]}

A side is a column of the source, a field of the record in Salesforce, a text, or a parameter. Two sides are compared
by the type that one of them has: as numbers, dates, date-times or checkboxes; texts without regard to case, as SOQL
compares them. Where neither side has a type, `<` and `>` compare two numbers as such. Two blanks are the same; a blank
never meets `<`, `>` or `contains`. A comparison with something that is no value of the type does not hold, whatever its
operator.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from connections.salesforce.describe import ObjectDescribe
from syncs.engine import values
from syncs.engine.columns import canonical, column_of, dated
from syncs.engine.families import family_of
from syncs.engine.sql import literal
from syncs.spec import ColumnSpec, ColumnType

Rule = dict[str, Any]

OPERATORS = ("=", "!=", "contains", "is null", "is not null", ">", "<", "in")
MOST_RULES, DEEPEST = 200, 5

_VALUES = {
    "number": re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"),
    "date": re.compile(r"\d{4}-\d{2}-\d{2}"),
    "datetime": re.compile(r"\d{4}-\d{2}-\d{2}[t ]\d{2}:\d{2}.*"),
    "boolean": re.compile("|".join((*values.TRUE_WORDS, *values.FALSE_WORDS))),
}
_TYPES: dict[str, ColumnType] = {"number": "number", "date": "date", "datetime": "datetime", "boolean": "boolean"}


@dataclasses.dataclass(frozen=True)
class Sides:
    """Where the values of a rule come from.

    source: SQL for the cell of a column, by its name. columns: what is declared of the source's columns. target: SQL
    for what a field of the record holds, or None where a rule may not look at it. describe: of the object, for the
    types of its fields. parameters: values by name. time_zone: of date-times without an offset.
    """

    source: Callable[[str], str]
    columns: Sequence[ColumnSpec]
    target: Callable[[str], str] | None
    describe: ObjectDescribe | None
    parameters: Mapping[str, str]
    time_zone: str

    def text_of(self, side: dict[str, Any]) -> str:
        """SQL: the side as text."""
        ((kind, value),) = side.items()
        match kind:
            case "source":
                return dated(column_of(self.columns, value), self.source(value))
            case "target":
                assert self.target is not None
                return self.target(value)
            case "parameter":
                return literal(self.parameters[value])
            case _:
                return literal(str(value))

    def type_of(self, side: dict[str, Any]) -> ColumnType:
        """The type that a side has by itself; texts and parameters have none, and are "text"."""
        ((kind, value),) = side.items()
        if kind == "source":
            return column_of(self.columns, value).type
        field = self.describe.field(value) if kind == "target" and self.describe is not None else None
        family = family_of(field.type) if field is not None else None
        return _TYPES.get(family or "", "text")


def to_sql(rule: Rule, sides: Sides, *, perhaps: bool = False) -> str:
    """SQL: the condition; never NULL. Raises KeyError for a parameter without a value.

    perhaps: a comparison holds where a value is not what its type says, instead of not holding there.
    """
    for word, joined in (("all", " AND "), ("any", " OR ")):
        if word in rule:
            return f"({joined.join(to_sql(member, sides, perhaps=perhaps) for member in rule[word])})"
    return _compared(rule, sides, perhaps)


def broken_sql(rule: Rule, sides: Sides) -> str:
    """SQL: nobody can tell whether the rule holds, since a value is not what its type says, such as a number that is
    none; never NULL."""
    surely, maybe = to_sql(rule, sides), to_sql(rule, sides, perhaps=True)
    return "false" if surely == maybe else f"({maybe} AND NOT {surely})"


def _compared(rule: Rule, sides: Sides, perhaps: bool) -> str:
    operator, left = rule["operator"], rule["left"]
    if operator in ("is null", "is not null"):
        blank = f"coalesce({sides.text_of(left)}, '') = ''"
        return f"({blank})" if operator == "is null" else f"(NOT {blank})"
    right = rule["right"]
    if operator == "in":
        return f"({' OR '.join(_told(sides, left, '=', {'value': each}, perhaps) for each in right['value'])})"
    if operator == "contains":
        return f"coalesce(contains(lower({sides.text_of(left)}), lower({sides.text_of(right)})), false)"
    return _told(sides, left, operator, right, perhaps)


def _told(sides: Sides, left: dict[str, Any], operator: str, right: dict[str, Any], perhaps: bool) -> str:
    types = (sides.type_of(left), sides.type_of(right))
    kind: ColumnType = next((each for each in types if each != "text"), "text")
    texts = [sides.text_of(side) for side in (left, right)]
    spelled = [canonical(kind, text, sides.time_zone) for text in texts]
    if operator in ("=", "!="):
        one, other = (f"lower({each})" if kind == "text" else each for each in spelled)
        holds = f"({one} IS {'NOT ' if operator == '=' else ''}DISTINCT FROM {other})"
    else:
        holds = f"coalesce({_ordered(sides, kind, texts, spelled, operator)}, false)"
    if kind == "text":
        return holds
    broken = " OR ".join(
        f"(coalesce({text}, '') <> '' AND {each} IS NULL)" for text, each in zip(texts, spelled, strict=True)
    )
    return f"(CASE WHEN {broken} THEN {str(perhaps).lower()} ELSE {holds} END)"


def _ordered(sides: Sides, kind: ColumnType, texts: list[str], spelled: list[str], operator: str) -> str:
    numbers = [f"TRY_CAST({canonical('number', text, sides.time_zone)} AS DECIMAL(38, 18))" for text in texts]
    as_numbers = f"{numbers[0]} {operator} {numbers[1]}"
    if kind == "number":
        return as_numbers
    if kind == "text":
        as_texts = f"lower({spelled[0]}) {operator} lower({spelled[1]})"
        return f"CASE WHEN {numbers[0]} IS NOT NULL AND {numbers[1]} IS NOT NULL THEN {as_numbers} ELSE {as_texts} END"
    # Dates and date-times, in their one spelling, come in the order of their texts.
    return f"{spelled[0]} {operator} {spelled[1]}"


def _sides(rule: Rule) -> Iterator[tuple[str, Any]]:
    """Kind and value of each side of each rule."""
    for member in rule.get("all", []) + rule.get("any", []):
        yield from _sides(member)
    for side in (rule.get("left"), rule.get("right")):
        if side is not None:
            yield from side.items()


def _named(rule: Rule | None, kind: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for each, value in _sides(rule or {}) if each == kind))


def targets_of(rule: Rule | None) -> tuple[str, ...]:
    """The fields of the record that a rule looks at, as it names them."""
    return _named(rule, "target")


def sources_of(rule: Rule | None) -> tuple[str, ...]:
    """The columns of the source that a rule looks at."""
    return _named(rule, "source")


def parameters_of(rule: Rule | None) -> tuple[str, ...]:
    """The parameters that a rule looks at."""
    return _named(rule, "parameter")


def mistakes(
    rule: Rule,
    columns: Collection[str],
    describe: ObjectDescribe | None,
    parameters: Collection[str],
    types: Sequence[ColumnSpec] = (),
) -> list[tuple[str, str]]:
    """What a rule names that is not there, and values that are not what stands beside them: (it, a sentence) each.

    columns: of the source. describe: of the object, or None where the rule may not look at it. parameters: by name.
    types: what is declared of the columns.
    """
    found = [
        (name, "a rule looks at this column, but the source has none of that name.")
        for name in sources_of(rule)
        if name not in columns
    ]
    for name in targets_of(rule):
        if describe is None:
            found.append((name, "a rule for what is read from the source cannot look at fields in Salesforce."))
        elif describe.field(name) is None:
            found.append((name, f"a rule looks at this field, but the object {describe.name} has none of that name."))
    found += [
        (f"@{name}", "a rule uses this parameter, but the sync has none of that name.")
        for name in parameters_of(rule)
        if name not in parameters
    ]
    sides = Sides(str, types, str, describe, {}, "UTC")
    return found + [
        (value, f"a rule compares it with {name}, which is a {kind}.")
        for value, name, kind in _beside(rule, sides)
        if not _VALUES[kind].fullmatch(value.strip().lower())
    ]


def _beside(rule: Rule, sides: Sides) -> Iterator[tuple[str, str, ColumnType]]:
    """Each value of a rule that stands beside something with a type: the value, what it is, and its type."""
    for member in rule.get("all", []) + rule.get("any", []):
        yield from _beside(member, sides)
    if rule.get("operator") in (None, "contains") or "right" not in rule:
        return
    for side, other in ((rule["left"], rule["right"]), (rule["right"], rule["left"])):
        kind = sides.type_of(other)
        if "value" in side and kind != "text":
            given = side["value"] if isinstance(side["value"], list) else [side["value"]]
            yield from ((str(value), str(next(iter(other.values()))), kind) for value in given if str(value).strip())


def in_words(rule: Rule | None) -> str:
    """The rule as a person writes it, such as `Stage = 'won' and (Amount is null or Amount < @least)`."""
    if not rule:
        return ""
    for word, joined in (("all", " and "), ("any", " or ")):
        if word in rule:
            parts = [f"({in_words(each)})" if "operator" not in each else in_words(each) for each in rule[word]]
            return joined.join(parts)
    right = f" {_shown(rule['right'])}" if "right" in rule else ""
    return f"{_shown(rule['left'])} {rule['operator']}{right}"


def _shown(side: dict[str, Any]) -> str:
    ((kind, value),) = side.items()
    match kind:
        case "value" if isinstance(value, list):
            return f"({', '.join(repr(each) for each in value)})"
        case "value":
            return repr(value)
        case "parameter":
            return f"@{value}"
        case "target":
            return f"Salesforce's {value}"
        case _:
            return str(value)
