"""How answers look on the wire: JSON with exact numbers, error arrays, and the values of records."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

JSON_TYPE = "application/json;charset=UTF-8"


class SalesforceError(Exception):
    """An answer that refuses a request: an HTTP status and Salesforce's error code and message.

    The body is a JSON array of one object, as the REST API guide has it; `body` replaces it where Salesforce answers
    with something else (OAuth errors, the 300 of an ambiguous upsert).
    """

    def __init__(
        self, status: int, code: str, message: str, *, fields: list[str] | None = None, body: Any = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.headers: dict[str, str] = {}
        error: dict[str, Any] = {"message": message, "errorCode": code}
        if fields is not None:
            error["fields"] = fields
        self.body: Any = [error] if body is None else body


def not_found(message: str = "The requested resource does not exist") -> SalesforceError:
    return SalesforceError(404, "NOT_FOUND", message)


def not_allowed(method: str, allowed: str) -> SalesforceError:
    """The refusal of a method; `allowed` are those the resource takes, with commas between."""
    error = SalesforceError(405, "METHOD_NOT_ALLOWED", f"HTTP Method '{method}' not allowed. Allowed are {allowed}")
    error.headers = {"Allow": allowed.replace(",", ", ")}
    return error


def plain_number(value: Decimal) -> str:
    """A decimal without exponent and without trailing zeros: 145.391998291, 5, -0.5."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def json_number(value: Decimal) -> str:
    """A double as Salesforce prints it in JSON: at least one digit after the point, no digit lost."""
    text = plain_number(value)
    return text if "." in text else text + ".0"


def dumps(value: Any) -> str:
    """JSON text. Decimals keep every digit, which `json.dumps` would lose by way of float."""
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, Decimal):
        return json_number(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{encode_basestring(str(key))}:{dumps(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(dumps(each) for each in value) + "]"
    if isinstance(value, datetime.datetime):
        return f'"{timestamp(value)}"'
    if isinstance(value, datetime.date):
        return f'"{value.isoformat()}"'
    return repr(value)


def dumps_pretty(value: Any, indent: str = "") -> str:
    """JSON text with a line per value, as the header X-PrettyPrint asks for it."""
    deeper = indent + "  "
    if isinstance(value, Mapping) and value:
        lines = [f"{deeper}{encode_basestring(str(key))} : {dumps_pretty(each, deeper)}" for key, each in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list | tuple) and value:
        return "[ " + ", ".join(dumps_pretty(each, indent) for each in value) + " ]"
    return dumps(value)


def timestamp(value: datetime.datetime) -> str:
    """A datetime as the REST API prints it: 2022-03-17T16:21:26.000+0000."""
    return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}+0000"


def json_text(value: Any) -> str | None:
    """A JSON value as staged text: what a CSV cell of the same value would hold; None for null."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return plain_number(value)
    return str(value)
