"""SOQL by REST: for few records. Many are read by a Bulk API query (see bulk.py)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote_plus

import requests
from simple_salesforce.format import quote_soql_value

from connections.salesforce.describe import Field
from connections.salesforce.errors import FilterRefused, MisconfiguredError, PermanentError, TransientError
from connections.salesforce.session import SalesforceSession

# Salesforce allows 16,384 bytes for address and headers together (REST API guide, "Status Codes": 414, 431).
MAX_QUERY_BYTES = 12_000
MAX_KEYS = 200

_API_NAME = re.compile(r"[A-Za-z]\w*")
# Salesforce names a place in one of two ways, and sometimes only the word.
_PLACE = re.compile(r"(?:ERROR at Row:|\bline )(\d+):(?:Column:)?(\d+)\s*(.*)", re.DOTALL)
_CHARACTER = re.compile(r"at character '(.)'")
_TOKEN = re.compile(r"unexpected token: '([^']+)'")
_NUMBER_TYPES = frozenset({"int", "long", "double", "currency", "percent"})


def soql_text(value: str) -> str:
    """The value as a SOQL text literal, in quotes, with everything escaped that needs it."""
    return str(quote_soql_value(value))


def rows(session: SalesforceSession, soql: str) -> Iterator[dict[str, Any]]:
    """The records of a query, one call per page of up to 2,000.

    Each is a dictionary of the selected fields, without Salesforce's "attributes"; a parent is a dictionary inside.
    Numbers with a decimal point are `decimal.Decimal`. Raises SalesforceError.
    """
    try:
        for record in session.rest.query_all_iter(soql):
            yield _plain(record)
    except (requests.exceptions.JSONDecodeError, KeyError):
        raise TransientError(
            "Salesforce's answer to a query was not a query result. A proxy may have answered."
        ) from None


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _plain(value) if isinstance(value, dict) else value
        for name, value in record.items()
        if name != "attributes"
    }


def count(session: SalesforceSession, object: str, where: str) -> int:
    """How many records of the object meet a condition, by one call.

    object: API name. where: a SOQL condition without WHERE; "" counts all. Raises FilterRefused when Salesforce does
    not take the condition, with the place in it as `position`, else SalesforceError.
    """
    if not _API_NAME.fullmatch(object):
        raise MisconfiguredError(f"'{object}' is not an API name in Salesforce. Correct the sync's object.")
    start = f"SELECT COUNT() FROM {object}"
    condition = where.rstrip()
    if condition:
        start += " WHERE ("
    soql = f"{start}{condition})" if condition else start
    if len(quote_plus(soql)) > MAX_QUERY_BYTES:
        raise FilterRefused(f"The filter is longer than Salesforce takes in one call ({MAX_QUERY_BYTES:,} bytes).")
    try:
        return int(session.rest.query(soql)["totalSize"])
    except PermanentError as error:
        raise _filter_error(error, condition, len(start)) from None
    except (requests.exceptions.JSONDecodeError, KeyError, TypeError):
        raise TransientError(
            "Salesforce's answer to a query was not a query result. A proxy may have answered."
        ) from None


def _filter_error(error: PermanentError, condition: str, start: int) -> FilterRefused:
    """What Salesforce says about a query, told of the condition in it, which begins at the character `start`."""
    found = _PLACE.search(error.what_happened)
    if found:
        row, column, text = int(found[1]), int(found[2]), found[3].strip()
        before = sum(len(line) + 1 for line in condition.split("\n")[: row - 1])
        position = column - start if row == 1 else before + column
        # Where a single character is named, columns may count from 0.
        named = _CHARACTER.search(text)
        if named and condition[position : position + 1] == named[1] != condition[position - 1 : position]:
            position += 1
    else:
        text, token = error.what_happened, _TOKEN.search(error.what_happened)
        once = token is not None and condition.count(token[1]) == 1
        position = condition.index(token[1]) + 1 if token is not None and once else 0
    inside = 1 <= position <= len(condition)
    place = f" at character {position}" if inside else ""
    return FilterRefused(
        f"Salesforce does not take the filter{place}: {text}",
        code=error.code,
        http_status=error.http_status,
        position=position if inside else None,
    )


def records_by_key(
    session: SalesforceSession, object: str, fields: Sequence[Field], keys: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    """Find the records whose first key field holds one of these, 200 keys or fewer per call.

    object: API name. fields: the fields of the key. keys: values of the first one, as text; those of a number field are
    plain decimals. Yields (record Id, each field as Salesforce holds it, "" for null); a key without a record yields
    nothing, one with several records yields each. Raises SalesforceError.
    """
    for name in (object, *(field.name for field in fields)):
        if not _API_NAME.fullmatch(name):
            raise MisconfiguredError(f"'{name}' is not an API name in Salesforce. Correct the sync's object or key.")
    # Selecting a field twice is an error in SOQL.
    columns = ",".join(["Id", *(field.name for field in fields if field.name.lower() != "id")])
    start = f"SELECT {columns} FROM {object} WHERE {fields[0].name} IN "
    unique = list(dict.fromkeys(keys))
    for literals in _lists([_literal(fields[0], key) for key in unique], MAX_QUERY_BYTES - len(quote_plus(start))):
        for record in rows(session, f"{start}({','.join(literals)})"):
            found = {name.lower(): value for name, value in record.items()}
            yield (str(found["id"]), *(_text(found[field.name.lower()]) for field in fields))


def _lists(literals: Sequence[str], max_bytes: int) -> Iterator[list[str]]:
    """Cut the list so that each piece has at most 200 literals and `max_bytes` bytes in a URL."""
    piece: list[str] = []
    size = 0
    for literal in literals:
        cost = len(quote_plus(literal)) + 3
        if piece and (len(piece) == MAX_KEYS or size + cost > max_bytes):
            yield piece
            piece, size = [], 0
        piece.append(literal)
        size += cost
    if piece:
        yield piece


def _literal(field: Field, key: str) -> str:
    if field.type not in _NUMBER_TYPES:
        return soql_text(key)
    try:
        number = Decimal(key)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise MisconfiguredError(f"'{key}' is not a number, but the key field {field.name} holds numbers.")
    return format(number, "f")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return str(value)
    text = format(Decimal(value), "f")
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text
