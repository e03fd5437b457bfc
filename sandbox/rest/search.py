"""Searches by REST: SOSL, and the same by parameters (REST API guide, "Search", "Parameterized Search")."""

from __future__ import annotations

import re
from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.soql.grammar import parse_query, parse_search
from sandbox.soql.results import Records
from sandbox.soql.scope import Context
from sandbox.soql.search import MAX_RECORDS, ObjectSearch, compile_find, field_group, object_search, searched_objects
from sandbox.soql.terms import malformed

# From this version on the records stand in an object instead of a bare list.
WRAPPED_VERSION = 37
_NAMES = re.compile(r"\s*[A-Za-z_][\w.]*(\s*,\s*[A-Za-z_][\w.]*)*\s*")


def search(org: Org, call: Call) -> Answer:
    """GET search?q=FIND {…}."""
    text = call.query.get("q")
    if text is None:
        raise malformed("A search string has to be specified")
    searches, limit = compile_find(_context(org, call, text), parse_search(text))
    found = _run(org, call, searches, limit)
    return Answer(200, {"searchRecords": found} if call.version >= WRAPPED_VERSION else found)


def parameterized(org: Org, call: Call) -> Answer:
    """GET parameterizedSearch?q=Acme&sobject=Account&Account.fields=Id,Name&Account.limit=10."""
    given: dict[str, Any] = {
        key: call.query[key] for key in ("q", "in", "overallLimit", "defaultLimit") if key in call.query
    }
    fields = call.query.get("fields")
    given["sobjects"] = []
    for each in (call.query.get("sobject") or call.query.get("sobjects") or "").split(","):
        if each.strip():
            own = {key: call.query.get(f"{each.strip()}.{key}") for key in ("fields", "where", "orderBy", "limit")}
            own["fields"] = own["fields"] or fields
            given["sobjects"].append({"name": each.strip(), **{key: one for key, one in own.items() if one}})
    return _parameterized(org, call, given)


def parameterized_by_body(org: Org, call: Call) -> Answer:
    """POST parameterizedSearch with the same as JSON."""
    return _parameterized(org, call, call.json_object())


def _parameterized(org: Org, call: Call, given: dict[str, Any]) -> Answer:
    term = given.get("q")
    if not isinstance(term, str):
        raise malformed("A search string has to be specified")
    group = field_group(str(given["in"]) if given.get("in") else None)
    schema = org.permissions.schema_of(call.user)
    listed = given.get("sobjects") or [{"name": each.name} for each in searched_objects(schema)]
    if not isinstance(listed, list):
        raise malformed("sobjects must be a list")
    searches = []
    for each in listed:
        own = each if isinstance(each, dict) else {"name": each}
        text = _query_text({"limit": given.get("defaultLimit"), "fields": given.get("fields"), **own})
        searches.append(object_search(_context(org, call, text), parse_query(text), term, group))
    limit = _whole(given.get("overallLimit"), MAX_RECORDS)
    return Answer(200, {"searchRecords": _run(org, call, searches, limit)})


def _query_text(given: dict[str, Any]) -> str:
    """The query that shows what a search returns of one object."""
    fields = given.get("fields") or "Id"
    fields = ",".join(str(each) for each in fields) if isinstance(fields, list) else str(fields)
    target = str(given.get("name"))
    for each in (fields, target):
        if not _NAMES.fullmatch(each):
            raise malformed(f"unexpected token: '{each}'")
    text = f"SELECT {fields} FROM {target}"
    text += f" WHERE {given['where']}" if given.get("where") else ""
    text += f" ORDER BY {given['orderBy']}" if given.get("orderBy") else ""
    return f"{text} LIMIT {_whole(given.get('limit'), MAX_RECORDS)}"


def _whole(given: Any, default: int) -> int:
    if given is None:
        return default
    if isinstance(given, bool) or not re.fullmatch(r"[0-9]{1,9}", str(given)):
        raise malformed(f"unexpected token: '{given}'")
    return min(int(given), MAX_RECORDS)


def _context(org: Org, call: Call, text: str) -> Context:
    return Context(org.permissions.schema_of(call.user), text, org.clock.now().date(), user_id=call.user.id)


def _run(org: Org, call: Call, searches: list[ObjectSearch], limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with org.store.reading() as cursor:
        records = Records(org.schema, call.data_url, cursor)
        for each in searches:
            rows = cursor.execute(each.sql()).fetchmany(limit - len(found)) if len(found) < limit else []
            found += records.made_of(each.query, rows)
    return found
