"""Settings of a sync that are JSON: what they have to look like, told in words when they do not.

Columns and parameters that a rule or a filter names are looked at when the sync is checked against its connections.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import duckdb

from syncs.choices import ColumnType

OPERATORS = ("=", "!=", "contains", "is null", "is not null", ">", "<", "in")
WITHOUT_RIGHT = ("is null", "is not null")
API_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
PARAMETER_NAME = re.compile(r"[A-Za-z_]\w{0,59}", re.ASCII)
DATED = (ColumnType.DATE, ColumnType.DATETIME)

_MOST_COLUMNS = 2000
_MOST_REPLACEMENTS = 50
_MOST_RULES = 200
_DEEPEST = 5
_LONGEST = 1000
_RIGHT_SIDES = ("value", "source", "target", "parameter")


class BadShape(ValueError):
    """A setting does not look as it has to. The message says where and how it has to look."""


def check_rule(rule: Any, *, targets: bool) -> None:
    """A condition built from rules, as `syncs/engine/conditions.py` reads it. Raises BadShape.

    targets: whether it may look at what Salesforce holds, too; a condition on what is read from the source may not.
    """
    if _check_group(rule, ("source", "target") if targets else ("source",), 1) > _MOST_RULES:
        raise BadShape(f"There are more than {_MOST_RULES} rules. Use fewer, or a filter.")


def _check_group(group: Any, sides: Collection[str], depth: int) -> int:
    if not isinstance(group, dict) or len(group) != 1 or next(iter(group)) not in ("all", "any"):
        raise BadShape('A group of rules is {"all": [...]} or {"any": [...]}, with rules and groups in the list.')
    if depth > _DEEPEST:
        raise BadShape(f"Groups stand in each other more than {_DEEPEST} deep. Make it simpler.")
    ((_, members),) = group.items()
    if not isinstance(members, list) or not members:
        raise BadShape("A group of rules is empty. Add a rule to it, or remove the group.")
    count = 0
    for member in members:
        if isinstance(member, dict) and ("all" in member or "any" in member):
            count += _check_group(member, sides, depth + 1)
        else:
            _check_one(member, sides)
            count += 1
    return count


def _check_one(rule: Any, sides: Collection[str]) -> None:
    operator = rule.get("operator") if isinstance(rule, dict) else None
    if not isinstance(operator, str) or operator not in OPERATORS:
        raise BadShape(f"A rule has a left side, an operator and a right side; the operator is one of: {_words()}.")
    wanted = {"left", "operator"} | (set() if operator in WITHOUT_RIGHT else {"right"})
    if set(rule) != wanted:
        raise BadShape(f"A rule with the operator '{operator}' has exactly: {', '.join(sorted(wanted))}.")
    _check_side(rule["left"], sides, operator)
    if "right" in wanted:
        _check_side(rule["right"], [*(each for each in _RIGHT_SIDES if each != "target" or each in sides)], operator)


def _check_side(side: Any, kinds: Collection[str], operator: str) -> None:
    shown = " or ".join(f'{{"{kind}": ...}}' for kind in kinds)
    if not isinstance(side, dict) or len(side) != 1 or next(iter(side)) not in kinds:
        raise BadShape(f"A side of a rule is {shown}.")
    ((kind, value),) = side.items()
    if kind == "value" and operator == "in":
        if not isinstance(value, list) or not value or not all(_is_text(each) for each in value):
            raise BadShape("The operator 'in' takes a list of texts, such as ['a', 'b'].")
    elif not _is_text(value):
        raise BadShape("A side of a rule holds a text.")
    elif kind != "value" and not value.strip():
        raise BadShape("A rule names no column, field or parameter. Choose one, or remove the rule.")


def check_columns(columns: Any) -> None:
    """Types of the source's columns: a list of {name, type, format}. Raises BadShape."""
    if not isinstance(columns, list) or len(columns) > _MOST_COLUMNS:
        raise BadShape(f"Give a list of at most {_MOST_COLUMNS} columns.")
    seen: set[str] = set()
    for column in columns:
        if not isinstance(column, dict) or not {"name", "type"} <= set(column) <= {"name", "type", "format"}:
            raise BadShape('A column is {"name": ..., "type": ..., "format": ...}.')
        name, kind, format = column["name"], column["type"], column.get("format", "")
        if not _is_text(name) or not name or not _is_text(format):
            raise BadShape("A column has a name and, where it holds dates, the format in which they are written.")
        if kind not in ColumnType.values:
            raise BadShape(f"The type of the column '{name}' is none of: {', '.join(ColumnType.values)}.")
        if format and kind not in DATED:
            raise BadShape(f"The column '{name}' has a format, but only dates and date-times have one.")
        if format and "%" not in format:
            raise BadShape(f"The format of the column '{name}' has no letter with a %: write it like %d.%m.%Y.")
        if name in seen:
            raise BadShape(f"The column '{name}' stands there twice.")
        seen.add(name)


def check_replacements(replacements: Any) -> None:
    """What is replaced in a value: a list of {pattern, replacement}. Raises BadShape, for bad patterns too."""
    if not isinstance(replacements, list) or len(replacements) > _MOST_REPLACEMENTS:
        raise BadShape(f"Give a list of at most {_MOST_REPLACEMENTS} replacements.")
    for each in replacements:
        texts = isinstance(each, dict) and set(each) == {"pattern", "replacement"} and all(map(_is_text, each.values()))
        if not texts or not each["pattern"]:
            raise BadShape('A replacement is {"pattern": ..., "replacement": ...}; the pattern is not empty.')
    if replacements:
        _check_patterns([each["pattern"] for each in replacements])


def _check_patterns(patterns: list[str]) -> None:
    with duckdb.connect(":memory:") as connection:
        for pattern in patterns:
            try:
                connection.execute("SELECT regexp_matches('', ?)", [pattern]).fetchall()
            except duckdb.Error as error:
                reason = str(error).splitlines()[0].partition(": ")[2]
                raise BadShape(f"The pattern '{pattern}' is no regular expression: {reason}.") from None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST and "\x00" not in value


def _words() -> str:
    return ", ".join(OPERATORS)
