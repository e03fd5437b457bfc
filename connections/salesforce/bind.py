"""Puts the values of @parameters into a SOQL condition: as literals of the field they are compared with, never pasted.

SOQL has literals of several kinds, texts in quotes and all else without (SOQL reference, "Comparison Operators", "Date
Formats and Date Literals"), so the type of the field decides which one a value becomes.
"""

from __future__ import annotations

import bisect
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from connections.salesforce.describe import ObjectDescribe
from connections.salesforce.errors import FilterRefused
from connections.salesforce.query import soql_text
from connections.salesforce.tokens import Token, tokens

_NUMBERS = frozenset({"int", "long", "double", "currency", "percent"})
_COMPARES = frozenset({"=", "!=", "<>", "<", ">", "<=", ">="})
_IN_LIST = frozenset({"IN", "INCLUDES", "EXCLUDES"})
# What functions of a field give; those that are not here give numbers (SOQL reference, "Date Functions", "DISTANCE").
_FUNCTIONS = {"TOLABEL": "string", "DAY_ONLY": "date"}
_OF_PERIOD = "WEEK|MONTH|QUARTER|YEAR|FISCAL_QUARTER|FISCAL_YEAR"
_DATE_LITERAL = re.compile(
    rf"YESTERDAY|TODAY|TOMORROW|(?:LAST|THIS|NEXT)_(?:{_OF_PERIOD})|(?:LAST|NEXT)_90_DAYS"
    rf"|(?:LAST|NEXT)_N_(?:DAY|{_OF_PERIOD})S:\d{{1,5}}|N_(?:DAY|{_OF_PERIOD})S_AGO:\d{{1,5}}",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_TIME = re.compile(r"\d\d:\d\d:\d\d(?:\.\d{1,3})?Z?")

_NOT_COMPARED = (
    "a parameter stands for a value, behind a field and an operator: Amount > @least, Name LIKE @pattern, "
    "Status IN (@first, @second), or CreatedDate = LAST_N_DAYS:@days"
)


@dataclasses.dataclass(frozen=True)
class Bound:
    """A condition with its values.

    starts: pairs of a place in `text` and the place in what was written it came from, of what stands as it was written
    and of a value in turn.
    """

    text: str
    starts: tuple[tuple[int, int], ...] = ((0, 0),)

    def written(self, position: int) -> int:
        """Where a character of `text` stands in what was written; both from 1. In a value: where its name begins."""
        index = bisect.bisect_right([sent for sent, _ in self.starts], position - 1) - 1
        sent, own = self.starts[index]
        is_value = index % 2 == 1
        return own + 1 if is_value else own + position - sent


def bind(
    condition: str,
    parameters: Mapping[str, str],
    object: str,
    describe: Callable[[str], ObjectDescribe],
    time_zone: str = "UTC",
) -> Bound:
    """The condition with the values of its parameters.

    parameters: values by name; a blank one becomes null. object: API name, of which the condition is. describe: tells
    an object by its API name; asked only for those whose fields a parameter is compared with. time_zone: of values
    without an offset that are compared with date-times. Raises FilterRefused for a parameter that there is not, that
    stands where no value can, or whose value is none for its field, and for a time zone that there is not; and what
    `describe` raises.
    """
    pieces: list[str] = []
    starts = [(0, 0)]
    length = done = 0
    found = list(tokens(condition))
    # Of a semi-join, the object whose fields are compared is the one behind its FROM.
    objects = [object]
    for index, token in enumerate(found):
        if token.text == "(" and token.kind == "sign":
            objects.append(_selected_from(found[index + 1 :]) or objects[-1])
        elif token.text == ")" and token.kind == "sign" and len(objects) > 1:
            objects.pop()
        if token.kind != "parameter":
            continue
        if token.text not in parameters:
            names = ", ".join(f"@{name}" for name in sorted(parameters))
            raise _refused(token, f"the sync has no such parameter{f'; it has {names}' if names else ''}")
        before = found[:index]
        value = parameters[token.text].strip()
        if before and before[-1].text == ":":
            literal = _whole(token, value)
        else:
            called, type = _compared_with(token, before, objects[-1], describe)
            literal = _literal(token, value, called, type, time_zone)
        pieces += [condition[done : token.start], literal]
        length += token.start - done
        starts.append((length, token.start))
        length += len(literal)
        starts.append((length, token.end))
        done = token.end
    return Bound("".join([*pieces, condition[done:]]), tuple(starts))


def _selected_from(inside: Sequence[Token]) -> str | None:
    """The object that a sub-query reads, if there is one in these parentheses."""
    if not inside or inside[0].text.upper() != "SELECT":
        return None
    names = (after.text for each, after in pairwise(inside) if each.text.upper() == "FROM" and after.kind == "name")
    return next(names, None)


def _refused(token: Token, reason: str) -> FilterRefused:
    position = token.start + 1
    return FilterRefused(f"The target filter, at character {position}: @{token.text}: {reason}.", position=position)


def _compared_with(
    token: Token, before: Sequence[Token], object: str, describe: Callable[[str], ObjectDescribe]
) -> tuple[str, str]:
    """What the parameter is compared with, in words, and the type of that."""
    rest = list(before)
    if rest and rest[-1].text in ("(", ","):
        while rest and rest[-1].text != "(":
            rest.pop()
        rest = rest[:-1]
        ends = bool(rest) and rest[-1].kind == "name" and rest.pop().text.upper() in _IN_LIST
        if rest and rest[-1].text.upper() == "NOT":
            rest.pop()
    else:
        ends = bool(rest) and (rest[-1].text in _COMPARES or rest[-1].text.upper() == "LIKE")
        rest = rest[:-1]
    if not ends or not rest:
        raise _refused(token, _NOT_COMPARED)
    if rest[-1].text == ")":
        name = _function(rest)
        if name is None:
            raise _refused(token, _NOT_COMPARED)
        return f"{name}(...)", _FUNCTIONS.get(name.upper(), "double")
    if rest[-1].kind != "name":
        raise _refused(token, _NOT_COMPARED)
    path = rest[-1].text
    return path, _type_of(token, path, object, describe)


def _function(before: Sequence[Token]) -> str | None:
    """The name of the function whose closing parenthesis comes last."""
    depth = 0
    for index in range(len(before) - 1, 0, -1):
        depth += (before[index].text == ")") - (before[index].text == "(")
        if not depth:
            return before[index - 1].text if before[index - 1].kind == "name" else None
    return None


def _type_of(token: Token, path: str, object: str, describe: Callable[[str], ObjectDescribe]) -> str:
    *parents, name = path.split(".")
    if parents and parents[0].lower() == object.lower():
        parents = parents[1:]
    for relationship in parents:
        known = describe(object).fields.values()
        lookup = next((each for each in known if (each.relationship_name or "").lower() == relationship.lower()), None)
        if lookup is None:
            raise _refused(token, f"it is compared with {path}, but {object} has no relationship '{relationship}'")
        if len(lookup.reference_to) != 1:
            return "string"  # of parents of several objects, the texts they have in common can be asked for
        object = lookup.reference_to[0]
    field = describe(object).field(name)
    if field is None:
        raise _refused(token, f"it is compared with {path}, but {object} has no field '{name}'")
    return field.type


def _whole(token: Token, value: str) -> str:
    if not (value.isascii() and value.isdecimal()):
        raise _refused(token, f"its value '{value}' is no whole number of 0 or more, as a date literal needs")
    return value


def _literal(token: Token, value: str, called: str, type: str, time_zone: str) -> str:
    if not value:
        return "null"
    literal: str | None
    if type in _NUMBERS:
        literal, needs = _number(value), "a number"
    elif type == "boolean":
        literal, needs = value.lower() if value.lower() in ("true", "false") else None, "true or false"
    elif type == "date":
        literal, needs = _day(value), "a day such as 2024-01-31, or a date literal such as YESTERDAY"
    elif type == "datetime":
        if time_zone not in available_timezones():
            raise _refused(token, f"there is no time zone '{time_zone}' for it")
        literal = _moment(value, time_zone)
        needs = "a date-time such as 2024-01-31T08:00:00Z, a day, or a date literal such as YESTERDAY"
    elif type == "time":
        literal, needs = value if _TIME.fullmatch(value) else None, "a time such as 08:30:00Z"
    else:
        literal, needs = soql_text(value), ""
    if literal is None:
        raise _refused(token, f"its value '{value}' is compared with {called}, which needs {needs}")
    return literal


def _number(value: str) -> str | None:
    number = Decimal(value) if _NUMBER.fullmatch(value) else None
    return format(number, "f") if number is not None and abs(number.adjusted()) < 40 else None


def _day(value: str) -> str | None:
    if _DATE_LITERAL.fullmatch(value):
        return value.upper()
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        return None


def _moment(value: str, time_zone: str) -> str | None:
    if _DATE_LITERAL.fullmatch(value):
        return value.upper()
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(time_zone))
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        return None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment.year >= 1000 else None
