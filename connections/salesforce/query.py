"""SOQL by REST: for few records. Many are read by a Bulk API query (see bulk.py)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote_plus

import requests

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
# Literals without quotes (SOQL reference, "Date Formats and Date Literals"); their form was checked before.
_BARE_TYPES = frozenset({"date", "datetime", "time", "boolean"})
_NUMBER_TYPES = frozenset({"int", "long", "double", "currency", "percent"})


def soql_text(value: str) -> str:
    """The value as a SOQL text literal, in quotes, with everything escaped that needs it."""
    # Loaded when it is needed: with zeep, which it loads, it takes ten megabytes of each process.
    from simple_salesforce.format import quote_soql_value

    return str(quote_soql_value(value))


def rows(session: SalesforceSession, soql: str, *, deleted_too: bool = False) -> Iterator[dict[str, Any]]:
    """The records of a query, one call per page of up to 2,000. deleted_too: also records in the recycle bin.

    Each is a dictionary of the selected fields, without Salesforce's "attributes"; a parent is a dictionary inside.
    Numbers with a decimal point are `decimal.Decimal`. Raises SalesforceError.
    """
    try:
        for record in session.rest.query_all_iter(soql, include_deleted=deleted_too):
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


def count(
    session: SalesforceSession, object: str, where: str, written: Callable[[int], int] = lambda position: position
) -> int:
    """How many records of the object meet a condition, by one call.

    object: API name. where: a SOQL condition without WHERE; "" counts all. written: tells which character of what a
    person wrote became one of `where`, both from 1. Raises FilterRefused when Salesforce does not take the condition,
    with the place in what was written as `position`, else SalesforceError.
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
        raise _filter_error(error, condition, len(start), written) from None
    except (requests.exceptions.JSONDecodeError, KeyError, TypeError):
        raise TransientError(
            "Salesforce's answer to a query was not a query result. A proxy may have answered."
        ) from None


def _filter_error(error: PermanentError, condition: str, start: int, written: Callable[[int], int]) -> FilterRefused:
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
    told = written(position) if 1 <= position <= len(condition) else None
    place = f" at character {told}" if told else ""
    return FilterRefused(
        f"Salesforce does not take the filter{place}: {text}",
        code=error.code,
        http_status=error.http_status,
        position=told,
    )


def records_by_key(
    session: SalesforceSession,
    object: str,
    paths: Sequence[str],
    key_fields: Sequence[Field],
    keys: Sequence[Sequence[str]],
    where: str = "",
    *,
    deleted_too: bool = False,
) -> Iterator[tuple[str, ...]]:
    """Find the records that hold these keys, 200 keys or fewer per call.

    object: API name. paths: of the fields to read, such as `Id` or `Account.Name`, each once. key_fields: the fields of
    the key. keys: one text per key field; those of number fields are plain decimals. where: a further SOQL condition.
    deleted_too: also records in the recycle bin.
    Yields a text per path, "" for null; a key without a record yields nothing, one with several records yields each.
    Raises SalesforceError.
    """
    for name in (object, *(field.name for field in key_fields)):
        if not _API_NAME.fullmatch(name):
            raise MisconfiguredError(f"'{name}' is not an API name in Salesforce. Correct the sync's object or key.")
    start = f"SELECT {','.join(paths)} FROM {object} WHERE {f'({where}) AND ' if where else ''}"
    unique = list(dict.fromkeys(map(tuple, keys)))
    for condition in _conditions(key_fields, unique, MAX_QUERY_BYTES - len(quote_plus(start))):
        for record in rows(session, f"{start}{condition}", deleted_too=deleted_too):
            yield tuple(_text(_at(record, path)) for path in paths)


@dataclasses.dataclass(frozen=True)
class MadeRecord:
    """A record and how it came to be. key: each field of the key, as Salesforce holds it, "" for null."""

    id: str
    created_at: datetime
    created_by: str
    key: tuple[str, ...]


def made_records(
    session: SalesforceSession, object: str, key_fields: Sequence[Field], keys: Sequence[Sequence[str]]
) -> Iterator[MadeRecord]:
    """As `records_by_key`, with when and by whom each record was made."""
    paths = ["Id", "CreatedDate", "CreatedById", *(field.name for field in key_fields)]
    for record_id, created, created_by, *key in records_by_key(session, object, paths, key_fields, keys):
        # "2024-05-01T10:11:12.000+0000"
        created_at = datetime.fromisoformat(created.replace("+0000", "+00:00"))
        yield MadeRecord(record_id, created_at, created_by, tuple(key))


def _conditions(key_fields: Sequence[Field], keys: Sequence[tuple[str, ...]], max_bytes: int) -> Iterator[str]:
    """SOQL conditions for the keys, each of at most `max_bytes` bytes in a URL."""
    if len(key_fields) == 1:
        name = key_fields[0].name
        for literals in _lists([_literal(key_fields[0], key) for (key,) in keys], max_bytes - len(name) - 12):
            yield f"{name} IN ({','.join(literals)})"
        return
    several = [
        "(" + " AND ".join(f"{f.name}={_literal(f, part)}" for f, part in zip(key_fields, key, strict=True)) + ")"
        for key in keys
    ]
    for pieces in _lists(several, max_bytes - 12 - 2 * MAX_KEYS):
        yield f"({' OR '.join(pieces)})"


def _at(record: dict[str, Any], path: str) -> Any:
    """What a record holds at a path; None where a parent on the way is missing."""
    value: Any = record
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = next((held for known, held in value.items() if known.lower() == name.lower()), None)
    return value


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
    if field.type in _BARE_TYPES:
        return key
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
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, (int, Decimal)):
        return str(value)
    text = format(Decimal(value), "f")
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text
