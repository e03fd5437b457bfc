"""Functions of SOQL: of dates, of display, and aggregates (SOQL and SOSL Reference, "Date Functions" and others)."""

from __future__ import annotations

import dataclasses

from lark import Token

from sandbox.rows.rules import literal
from sandbox.soql.scope import Context, Expression, Reference, Scope
from sandbox.soql.tree import FunctionCall, Operand

# Name -> the SQL of a date or datetime {}; fiscal periods are those of the calendar.
DATE_FUNCTIONS = {
    "CALENDAR_MONTH": "month({})",
    "CALENDAR_QUARTER": "quarter({})",
    "CALENDAR_YEAR": "year({})",
    "DAY_IN_MONTH": "day({})",
    "DAY_IN_WEEK": "dayofweek({}) + 1",
    "DAY_IN_YEAR": "dayofyear({})",
    "DAY_ONLY": "CAST({} AS DATE)",
    "FISCAL_MONTH": "month({})",
    "FISCAL_QUARTER": "quarter({})",
    "FISCAL_YEAR": "year({})",
    "HOUR_IN_DAY": "hour({})",
    "WEEK_IN_MONTH": "(day({}) - 1) // 7 + 1",
    "WEEK_IN_YEAR": "(dayofyear({}) - 1) // 7 + 1",
}
ONLY_OF_DATETIMES = frozenset({"DAY_ONLY", "HOUR_IN_DAY"})
AGGREGATES = frozenset({"COUNT", "COUNT_DISTINCT", "MIN", "MAX", "SUM", "AVG"})


def function_name(call: FunctionCall) -> str:
    return call.name.upper()


def is_aggregate(operand: Operand) -> bool:
    return isinstance(operand, FunctionCall) and function_name(operand) in AGGREGATES


def plain(scope: Scope, operand: Operand) -> Expression:
    """What a field or a function gives for one record.

    Raises INVALID_FIELD, or MALFORMED_QUERY for aggregates and for functions there are not.
    """
    if isinstance(operand, Token):
        return scope.reference(operand)
    function = function_name(operand)
    if function in DATE_FUNCTIONS:
        return _of_date(scope, operand)
    if function == "TOLABEL":
        return _label(scope, operand)
    if function == "FORMAT":
        return _format(scope, operand)
    raise _unknown(scope.context, operand)


def _unknown(context: Context, call: FunctionCall) -> Exception:
    function = function_name(call)
    message = f"unexpected token: '{call.name}'"
    if function in AGGREGATES:
        message = f"Aggregate expressions are not allowed here: {call}"
    if function == "CONVERTCURRENCY":
        message = "convertCurrency() can only be used in an organization with multiple currencies"
    if function in ("DISTANCE", "GEOLOCATION"):
        message = f"{function} needs a geolocation field, and the organization has none"
    return context.error(call.name, "MALFORMED_QUERY", message)


def field_argument(scope: Scope, call: FunctionCall) -> Reference:
    """The one field a function is called with."""
    if len(call.arguments) != 1 or not isinstance(call.arguments[0], Token) or call.arguments[0].type != "NAME":
        message = f"{call.name} takes one field: {call}"
        raise scope.context.error(call.name, "MALFORMED_QUERY", message)
    return scope.reference(call.arguments[0])


def _of_date(scope: Scope, call: FunctionCall) -> Expression:
    function = function_name(call)
    inner = call.arguments[0] if len(call.arguments) == 1 else None
    if isinstance(inner, FunctionCall) and function_name(inner) == "CONVERTTIMEZONE":
        # The users of the org live in UTC.
        one = field_argument(scope, inner)
        fitting: tuple[str, ...] = ("datetime",)
    else:
        one = field_argument(scope, call)
        fitting = ("datetime",) if function in ONLY_OF_DATETIMES else ("date", "datetime")
    if one.type not in fitting:
        message = f"{call.name} cannot be used on the field '{one.label}' of type {one.type}"
        raise scope.context.error(call.name, "INVALID_FIELD", message)
    result = "date" if function == "DAY_ONLY" else "int"
    return Expression(DATE_FUNCTIONS[function].format(one.sql), result, f"{call.name}({one.label})")


def _label(scope: Scope, call: FunctionCall) -> Expression:
    """toLabel(): what people see of a picklist value."""
    one = field_argument(scope, call)
    if not one.is_text:
        message = f"toLabel cannot be used on the field '{one.label}' of type {one.type}"
        raise scope.context.error(call.name, "INVALID_FIELD", message)
    assert one.field is not None
    entries = one.field.document["picklistValues"]
    sql = one.sql
    if labels := [(each["value"], each["label"]) for each in entries if each["value"] != each["label"]]:
        cases = " ".join(f"WHEN {literal(value)} THEN {literal(label)}" for value, label in labels)
        sql = f"CASE {one.sql} {cases} ELSE {one.sql} END"
    return dataclasses.replace(one, sql=sql, type="string")


def _format(scope: Scope, call: FunctionCall) -> Expression:
    """FORMAT(): numbers and dates as the locale en_US writes them."""
    one = field_argument(scope, call)
    sql = one.sql
    if one.is_number:
        sign = "$" if one.type == "currency" else ""
        sql = f"format('{sign}{{:,.{one.scale}f}}', CAST({one.sql} AS DOUBLE))"
    elif one.type == "date":
        sql = f"strftime({one.sql}, '%-m/%-d/%Y')"
    elif one.type == "datetime":
        sql = f"strftime({one.sql}, '%-m/%-d/%Y, %-I:%M %p')"
    elif one.type in ("address", "location"):
        raise scope.context.error(call.name, "INVALID_FIELD", f"FORMAT cannot be used on the field '{one.label}'")
    return dataclasses.replace(one, sql=sql, type="string" if one.type != "boolean" else "boolean")


def aggregate(scope: Scope, call: FunctionCall) -> Expression:
    """COUNT(f), COUNT_DISTINCT, MIN, MAX, SUM or AVG of a group; raises INVALID_FIELD for a field it cannot take."""
    function = function_name(call)
    one = field_argument(scope, call)
    assert one.field is not None
    fits = one.field.flag("aggregatable") or (function == "COUNT" and one.type == "boolean")
    if function in ("SUM", "AVG"):
        fits = fits and one.is_number
    if not fits or (function in ("MIN", "MAX") and one.type == "id"):
        message = f"field {one.label} does not support aggregate operator {function}"
        raise scope.context.error(call.name, "MALFORMED_QUERY", message)
    label = f"{function}({one.label})"
    if function == "COUNT":
        return Expression(f"count({one.sql})", "int", label)
    if function == "COUNT_DISTINCT":
        return Expression(f"count(DISTINCT {one.key})", "int", label)
    if function == "AVG":
        return Expression(f"avg({one.sql})", "average", label)
    if function in ("MIN", "MAX") and one.folds_case:
        sql = f"arg_{function.lower()}({one.sql}, {one.key})"
        return Expression(sql, one.type, label, 0, True)
    return Expression(f"{function.lower()}({one.sql})", one.type, label, one.scale)
