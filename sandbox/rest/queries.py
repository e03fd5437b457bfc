"""Queries by REST: query, queryAll, the later pages of both, columns, plans and the tooling API's query.

Sources: REST API guide, "Query", "QueryAll", "Query Performance Feedback"; the tooling API guide, "query".
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Any

import duckdb

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.rest.columns import columns_json
from sandbox.rows.rules import name
from sandbox.schema import Schema
from sandbox.soql.compiler import compile_query
from sandbox.soql.grammar import parse_query
from sandbox.soql.query import Query
from sandbox.soql.results import Records
from sandbox.soql.tree import FunctionCall, Item
from sandbox.store import id18
from sandbox.wire import SalesforceError

DEFAULT_PAGE = 2000
MIN_PAGE = 200
MAX_CURSORS = 10
CURSOR_SECONDS = 2 * 24 * 3600
# Objects of the tooling API that the org has none of.
TOOLING_OBJECTS = (
    "ApexClass",
    "ApexCodeCoverage",
    "ApexCodeCoverageAggregate",
    "ApexComponent",
    "ApexLog",
    "ApexPage",
    "ApexTestQueueItem",
    "ApexTestResult",
    "ApexTrigger",
    "AuraDefinitionBundle",
    "InstalledSubscriberPackage",
    "LightningComponentBundle",
    "MetadataContainer",
    "Package2",
    "Package2Version",
    "Package2VersionCreateRequest",
    "SandboxInfo",
    "SandboxProcess",
    "SourceMember",
    "StaticResource",
    "SubscriberPackage",
    "SubscriberPackageVersion",
    "TraceFlag",
)


@dataclass(frozen=True)
class Cursor:
    """A long result that waits for its later pages, in a table of its own."""

    table: str
    query: Query
    total: int
    size: int
    user_id: str
    opened: float


def query(org: Org, call: Call) -> Answer:
    """GET query?q=, query?q=&columns=true, query?explain=."""
    return _query(org, call, deleted_too=False)


def query_all(org: Org, call: Call) -> Answer:
    """GET queryAll?q=: records in the recycle bin too."""
    return _query(org, call, deleted_too=True)


def _query(org: Org, call: Call, *, deleted_too: bool) -> Answer:
    if (explained := call.query.get("explain")) is not None:
        return Answer(200, _plan(org, compile_for(org, call, explained, deleted_too=deleted_too), explained))
    text = call.query.get("q")
    if text is None:
        raise SalesforceError(400, "MALFORMED_QUERY", "A query string has to be specified")
    compiled = compile_for(org, call, text, deleted_too=deleted_too)
    if call.query.get("columns", "").lower() == "true":
        return Answer(200, columns_json(compiled))
    with org.store.reading() as cursor:
        if compiled.kind == "count":
            return Answer(200, {"totalSize": _count(cursor, compiled), "done": True, "records": []})
        return _first_page(org, call, cursor, compiled)


def compile_for(org: Org, call: Call, text: str, *, deleted_too: bool = False) -> Query:
    """Compile SOQL as the caller sees the org."""
    schema = org.permissions.schema_of(call.user)
    return compile_query(schema, text, org.clock.now(), deleted_too=deleted_too, user_id=call.user.id)


def _count(cursor: duckdb.DuckDBPyConnection, compiled: Query) -> int:
    found = cursor.execute(compiled.count_sql()).fetchone()
    return int(found[0]) if found else 0


def _page_size(call: Call) -> int:
    options = call.headers.get("sforce-query-options", "")
    for part in options.split(","):
        key, _, value = part.partition("=")
        if key.strip().lower() == "batchsize" and value.strip().isdecimal():
            return min(max(int(value), MIN_PAGE), DEFAULT_PAGE)
    return DEFAULT_PAGE


def _first_page(org: Org, call: Call, cursor: duckdb.DuckDBPyConnection, compiled: Query) -> Answer:
    size = DEFAULT_PAGE if compiled.kind == "aggregate" else _page_size(call)
    rows = cursor.execute(compiled.sql()).fetchmany(size + 1)
    if len(rows) <= size:
        records = Records(org.schema, call.data_url, cursor).made_of(compiled, rows)
        return Answer(200, {"totalSize": len(rows), "done": True, "records": records})
    if compiled.kind == "aggregate":
        message = "Aggregate query does not support queryMore(), use LIMIT to restrict the results to a single batch"
        raise SalesforceError(400, "EXCEEDED_ID_LIMIT", message)
    locator = _open_cursor(org, call, compiled, size)
    return Answer(200, _page_json(org, call, locator, 0))


def _open_cursor(org: Org, call: Call, compiled: Query, size: int) -> str:
    """Keep the result of a long query for its later pages."""
    locator = id18("01g" + secrets.token_hex(6))
    table = f"_cursor_{locator}"
    with org.store.writing() as cursor:
        cursor.execute(f"CREATE TABLE {name(table)} AS {compiled.sql()}")
        found = cursor.execute(f"SELECT count(*) FROM {name(table)}").fetchone()
        for old in list(org.cursors)[: max(0, len(org.cursors) + 1 - MAX_CURSORS)]:
            cursor.execute(f"DROP TABLE IF EXISTS {name('_cursor_' + old)}")
            org.cursors.pop(old, None)
    total = int(found[0]) if found else 0
    org.cursors[locator] = Cursor(table, compiled, total, size, call.user.id, org.clock.time())
    return locator


def _page_json(org: Org, call: Call, locator: str, start: int) -> dict[str, Any]:
    """One page of a kept result; raises INVALID_QUERY_LOCATOR when there is no such result any more."""
    held: Cursor | None = org.cursors.get(locator)
    if held is not None and (held.user_id != call.user.id or org.clock.time() - held.opened > CURSOR_SECONDS):
        held = None
    if held is None or start >= held.total:
        raise _no_locator()
    end = start + held.size
    page = f"SELECT * FROM {name(held.table)} WHERE rowid >= {start} AND rowid < {end} ORDER BY rowid"
    done = end >= held.total
    answer: dict[str, Any] = {"totalSize": held.total, "done": done}
    if not done:
        answer["nextRecordsUrl"] = f"{call.data_url}/query/{locator}-{end}"
    with org.store.reading() as cursor:
        try:
            rows = cursor.execute(page).fetchall()
        except duckdb.CatalogException:
            # Newer results have pushed it out in the meantime.
            raise _no_locator() from None
        answer["records"] = Records(org.schema, call.data_url, cursor).made_of(held.query, rows)
    return answer


def _no_locator() -> SalesforceError:
    return SalesforceError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")


def query_more(org: Org, call: Call) -> Answer:
    """GET query/locator-offset: a later page. A locator lives two days and is its user's alone."""
    locator, _, offset = call.arguments["locator"].rpartition("-")
    if not re.fullmatch("[0-9]{1,12}", offset):
        raise _no_locator()
    return Answer(200, _page_json(org, call, locator, int(offset)))


def _plan(org: Org, compiled: Query, text: str) -> dict[str, Any]:
    """What `explain` answers: one plan, as nothing here is indexed but ids."""
    with org.store.reading() as cursor:
        found = cursor.execute(f"SELECT count(*) FROM {name(compiled.object.name)} WHERE NOT IsDeleted").fetchone()
        total = int(found[0]) if found else 0
        matching = _count(cursor, compiled)
    plan = {
        "cardinality": matching,
        "fields": [],
        "leadingOperationType": "TableScan",
        "notes": [],
        "relativeCost": round(matching / total, 3) if total else 0,
        "sobjectCardinality": total,
        "sobjectType": compiled.object.name,
    }
    return {"plans": [plan], "sourceQuery": text}


def tooling_query(org: Org, call: Call) -> Answer:
    """GET tooling/query?q=: objects of the tooling API, which are all empty here, and those both APIs have."""
    text = call.query.get("q")
    if text is None:
        raise SalesforceError(400, "MALFORMED_QUERY", "A query string has to be specified")
    select = parse_query(text)
    given = select.sources[0].name.lower()
    named = next((each for each in TOOLING_OBJECTS if each.lower() == given), None)
    if named is None:
        _check_in_tooling(org.permissions.schema_of(call.user), given)
        answer = _query(org, call, deleted_too=False)
        return Answer(200, _tooling_json(str(select.sources[0].name), **answer.body))
    calls = [each.value for each in select.items if isinstance(each, Item) and isinstance(each.value, FunctionCall)]
    if any(each.arguments and each.name.upper() != "TOLABEL" for each in calls):
        message = f"Aggregate queries are not supported on the object {named}"
        raise SalesforceError(400, "MALFORMED_QUERY", message)
    return Answer(200, _tooling_json(named, totalSize=0, done=True, records=[]))


def _check_in_tooling(schema: Schema, given: str) -> None:
    """The tooling API knows the org's own objects, such as User and RecordType, but no business records."""
    if given not in ("user", "organization", "recordtype", "profile") or given not in schema.objects:
        message = f"sObject type '{given}' is not supported."
        raise SalesforceError(400, "INVALID_TYPE", message)


def _tooling_json(entity: str, *, totalSize: int, **answer: Any) -> dict[str, Any]:  # noqa: N803
    return {
        "size": len(answer["records"]),
        "totalSize": totalSize,
        "done": answer["done"],
        "queryLocator": None,
        "entityTypeName": entity if answer["records"] else None,
        "records": answer["records"],
    }
