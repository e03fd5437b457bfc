"""Values of conditions: the quoted strings, numbers, dates and ids of a statement as SQL of the right type."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal

from lark import Token

from sandbox.rows.rules import literal
from sandbox.soql.dates import Period, UnknownDateLiteral, period
from sandbox.soql.scope import Context, Expression
from sandbox.store import id18

MAX_STRING = 4000
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)


def string(context: Context, token: Token, *, pattern: bool = False) -> str:
    r"""The text of a quoted string with its escapes resolved; of a LIKE `pattern`, `\%` and `\_` stay escaped.

    Raises MALFORMED_QUERY for an escape there is not, and for a text of more than 4000 characters.
    """

    def resolve(match: re.Match[str]) -> str:
        escaped = match[1]
        if pattern and escaped in ("%", "_", "\\"):
            return "\\" + escaped
        if len(escaped) == 5:
            return chr(int(escaped[1:], 16))
        if escaped not in _ESCAPES:
            shown = f"Illegal character sequence '\\{escaped}' in string literal."
            raise context.error(token, "MALFORMED_QUERY", f"Invalid string literal {token}. {shown}")
        return _ESCAPES[escaped]

    text = _ESCAPE.sub(resolve, str(token)[1:-1])
    if len(text) > MAX_STRING:
        message = f"Value too long: a string in a condition may have at most {MAX_STRING} characters"
        raise context.error(token, "MALFORMED_QUERY", message)
    if "\0" in text or re.search("[\ud800-\udfff]", text):
        raise context.error(token, "MALFORMED_QUERY", f"Invalid string literal {token}.")
    return text


def period_of(context: Context, token: Token) -> Period:
    """The days of a date literal; raises MALFORMED_QUERY for a word that is none."""
    try:
        return period(str(token), context.today)
    except UnknownDateLiteral:
        raise context.error(token, "MALFORMED_QUERY", f"unexpected token: '{token}'") from None


def is_period(left: Expression, token: Token) -> bool:
    """Whether a value is a date literal that stands where one may."""
    return token.type in ("NAME", "RANGE") and left.type in ("date", "datetime")


def value(context: Context, place: Token, left: Expression, token: Token) -> str:
    """SQL: a value other than null, once it is of the type of what it is compared with.

    Raises INVALID_FIELD for another type, INVALID_QUERY_FILTER_OPERATOR for what is no id.
    """
    if token.type == "STRING" and left.is_id:
        return _id(context, place, string(context, token))
    if token.type == "STRING" and left.is_text:
        return literal(string(context, token))
    if token.type == "NUMBER" and left.is_number and (left.type not in ("int", "long") or _is_whole(token)):
        return _number(left, str(token))
    if token.type == "NUMBER" and left.type == "average":
        return _double(str(token))
    if token.type == "BOOLEAN" and left.type == "boolean":
        return token.lower()
    if token.type == "DATE" and left.type == "date":
        return f"DATE '{_date(context, place, str(token)).isoformat()}'"
    if token.type == "DATETIME" and left.type == "datetime":
        return f"TIMESTAMP '{_moment(context, place, str(token))}'"
    if token.type == "NAME":
        period_of(context, token)
    raise _mismatch(context, place, left, token)


def _mismatch(context: Context, place: Token, left: Expression, token: Token) -> Exception:
    is_string = left.is_text or left.is_id
    kind = "string" if is_string else left.type
    kind = "double" if left.is_number or left.type == "average" else kind
    kind = {"int": "int", "long": "long"}.get(left.type, kind)
    kind = "dateTime" if kind == "datetime" else kind
    text = f"value of filter criterion for field '{left.label.rpartition('.')[2]}' must be of type {kind}"
    if is_string:
        text += " and should be enclosed in quotes"
    elif token.type == "STRING":
        text += " and should not be enclosed in quotes"
    return context.error(place, "INVALID_FIELD", text)


def _is_whole(token: Token) -> bool:
    return re.fullmatch(r"[+-]?\d+", token) is not None


def _number(left: Expression, text: str) -> str:
    """A decimal of the field's own scale; where that would lose digits, a double, as which both sides compare."""
    try:
        exact = Decimal(text.rstrip("0") if "." in text and "e" not in text.lower() else text)
    except ArithmeticError:
        return _double(text)
    _, digits, exponent = exact.as_tuple()
    assert isinstance(exponent, int)
    if -exponent <= left.scale and len(digits) + exponent + left.scale <= 38:
        return f"CAST({literal(format(exact, 'f'))} AS DECIMAL(38,{left.scale}))"
    return _double(text)


def _double(text: str) -> str:
    limit = 1.7e308
    return f"CAST({literal(repr(min(max(float(text), -limit), limit)))} AS DOUBLE)"


def _id(context: Context, place: Token, text: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z]{15}([0-9A-Za-z]{3})?", text):
        raise context.error(place, "INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {text}")
    return literal(id18(text[:15]))


def _date(context: Context, place: Token, text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise context.error(place, "MALFORMED_QUERY", f"Invalid date: {text}") from None


def _moment(context: Context, place: Token, text: str) -> str:
    try:
        moment = datetime.datetime.fromisoformat(text.upper()).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise context.error(place, "MALFORMED_QUERY", f"Invalid dateTime: {text}") from None
    return moment.replace(tzinfo=None).isoformat(sep=" ")
