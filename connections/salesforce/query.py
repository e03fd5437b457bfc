"""SOQL by REST: for few records. Many are read by a Bulk API query (see bulk.py)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote_plus

import requests
from simple_salesforce.format import quote_soql_value

from connections.salesforce.describe import Field
from connections.salesforce.errors import MisconfiguredError, PermanentError, QueryRefused, TransientError
from connections.salesforce.session import SalesforceSession

# Salesforce allows 16,384 bytes for address and headers together (REST API guide, "Status Codes": 414, 431).
MAX_QUERY_BYTES = 12_000
MAX_KEYS = 200

# How Salesforce says where a query is wrong, below a line with a caret (as its API answers; not documented).
_PLACE = re.compile(r"ERROR at Row:(\d+):Column:(\d+)\s*(.*)", re.DOTALL)
_TOKEN = re.compile(r"unexpected token: '(.+?)'")
_API_NAME = re.compile(r"[A-Za-z]\w*")
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


def count(session: SalesforceSession, object: str, where: str = "") -> int:
    """How many records of an object meet a condition; one call.

    object: API name. where: a SOQL condition without WHERE, or "" for all records.
    Raises QueryRefused when the condition is wrong, with the place in it, else SalesforceError.
    """
    if not _API_NAME.fullmatch(object):
        raise MisconfiguredError(f"'{object}' is not the API name of an object.")
    start = f"SELECT COUNT() FROM {object}"
    # In brackets, so that the condition is one, and nothing else can follow it.
    start, end = (f"{start} WHERE (", ")") if where.strip() else (start, "")
    try:
        answer = session.request("GET", "query", params={"q": f"{start}{where if end else ''}{end}"}).json()
        return int(answer["totalSize"])
    except PermanentError as error:
        raise _refused(error, start, where) from None
    except MisconfiguredError as error:
        if error.code != "INVALID_TYPE":
            raise
        raise _refused(error, start, where) from None
    except (ValueError, KeyError, TypeError):
        raise TransientError(
            "Salesforce's answer to a query was not a query result. A proxy may have answered."
        ) from None


def _refused(error: PermanentError | MisconfiguredError, start: str, where: str) -> QueryRefused:
    """The error with its place in the user's condition, as far as Salesforce tells it."""
    found = _PLACE.search(error.what_happened)
    if found is None:
        token = _TOKEN.search(error.what_happened)
        once = token is not None and where.count(token[1]) == 1
        place = where.index(token[1]) if token is not None and once else None
        return QueryRefused(error.what_happened, position=place, code=error.code, http_status=error.http_status)
    row, column, message = int(found[1]), int(found[2]), found[3].strip()
    lines = f"{start}{where}".split("\n")
    place = sum(len(line) + 1 for line in lines[: row - 1]) + column - 1 - len(start)
    return QueryRefused(
        f"Salesforce does not take this condition: {message}",
        # What is wrong at the end is found behind it.
        position=min(place, len(where)) if place >= 0 else None,
        code=error.code,
        http_status=error.http_status,
    )


def records_by_key(
    session: SalesforceSession, object: str, fields: Sequence[Field], keys: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    """Find the records whose first key field holds one of these, 200 keys or fewer per call.

    object: API name. fields: the fields of the key. keys: values of the first one, as text; those of a number field are
    plain decimals. Yields (record Id, each field as Salesforce holds it, "" for null); a key without a record yields
    nothing, one with several records yields each. Raises SalesforceError.
    """
    for record in _holding(session, object, fields, keys):
        yield (str(record["id"]), *_key_of(record, fields))


@dataclasses.dataclass(frozen=True)
class MadeRecord:
    """A record and how it came to be. key: each field of the key, as Salesforce holds it, "" for null."""

    id: str
    created_at: datetime
    created_by: str
    key: tuple[str, ...]


def made_records(
    session: SalesforceSession, object: str, fields: Sequence[Field], keys: Sequence[str]
) -> Iterator[MadeRecord]:
    """As `records_by_key`, with when and by whom each record was made."""
    for record in _holding(session, object, fields, keys, "CreatedDate", "CreatedById"):
        # "2024-05-01T10:11:12.000+0000"
        created_at = datetime.fromisoformat(str(record["createddate"]).replace("+0000", "+00:00"))
        yield MadeRecord(str(record["id"]), created_at, str(record["createdbyid"]), _key_of(record, fields))


def _holding(
    session: SalesforceSession, object: str, fields: Sequence[Field], keys: Sequence[str], *also: str
) -> Iterator[dict[str, Any]]:
    """The records whose first key field holds one of the keys; names of fields in lower case."""
    for name in (object, *(field.name for field in fields)):
        if not _API_NAME.fullmatch(name):
            raise MisconfiguredError(f"'{name}' is not an API name in Salesforce. Correct the sync's object or key.")
    # Selecting a field twice is an error in SOQL.
    names = dict.fromkeys(["id", *(field.name.lower() for field in fields), *(name.lower() for name in also)])
    start = f"SELECT {','.join(names)} FROM {object} WHERE {fields[0].name} IN "
    unique = list(dict.fromkeys(keys))
    for literals in _lists([_literal(fields[0], key) for key in unique], MAX_QUERY_BYTES - len(quote_plus(start))):
        for record in rows(session, f"{start}({','.join(literals)})"):
            yield {name.lower(): value for name, value in record.items()}


def _key_of(record: dict[str, Any], fields: Sequence[Field]) -> tuple[str, ...]:
    return tuple(_text(record[field.name.lower()]) for field in fields)


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
