"""Queries by REST: query, queryAll, and the later pages of both (REST API guide, "Query")."""

from __future__ import annotations

import secrets
from typing import Any

import duckdb

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.rest.records import record_json
from sandbox.rows.rules import name
from sandbox.soql.compiler import Query, compile_query
from sandbox.store import id18
from sandbox.wire import SalesforceError

DEFAULT_PAGE = 2000
MIN_PAGE = 200
MAX_CURSORS = 10


def query(org: Org, call: Call) -> Answer:
    """GET query?q=."""
    return _query(org, call, deleted_too=False)


def query_all(org: Org, call: Call) -> Answer:
    """GET queryAll?q=: records in the recycle bin too."""
    return _query(org, call, deleted_too=True)


def _query(org: Org, call: Call, *, deleted_too: bool) -> Answer:
    text = call.query.get("q")
    if text is None:
        raise SalesforceError(400, "MALFORMED_QUERY", "A query string has to be specified")
    compiled = compile_query(org.permissions.schema_of(call.user), text, org.clock.now(), deleted_too=deleted_too)
    with org.store.reading() as cursor:
        if compiled.counts_all:
            return Answer(200, {"totalSize": _count(cursor, compiled), "done": True, "records": []})
        if compiled.count_column:
            column = name(compiled.count_column.name)
            found = cursor.execute(compiled.sql(f"count({column})")).fetchone()
            record = {"attributes": {"type": "AggregateResult"}, compiled.count_label: found[0] if found else 0}
            return Answer(200, {"totalSize": 1, "done": True, "records": [record]})
        return _first_page(org, call, cursor, compiled)


def _count(cursor: duckdb.DuckDBPyConnection, compiled: Query) -> int:
    found = cursor.execute(f"SELECT count(*) FROM ({compiled.sql('Id')})").fetchone()
    return int(found[0]) if found else 0


def _page_size(call: Call) -> int:
    options = call.headers.get("sforce-query-options", "")
    for part in options.split(","):
        key, _, value = part.partition("=")
        if key.strip().lower() == "batchsize" and value.strip().isdigit():
            return min(max(int(value), MIN_PAGE), DEFAULT_PAGE)
    return DEFAULT_PAGE


def _first_page(org: Org, call: Call, cursor: duckdb.DuckDBPyConnection, compiled: Query) -> Answer:
    columns = ", ".join(["Id", *(name(each.name) for each in compiled.fields)])
    size = _page_size(call)
    rows = cursor.execute(compiled.sql(columns)).fetchmany(size + 1)
    records = [record_json(call, compiled.object, compiled.fields, row[1:], row[0]) for row in rows[:size]]
    if len(rows) <= size:
        return Answer(200, {"totalSize": len(rows), "done": True, "records": records})
    locator = _open_cursor(org, compiled, columns, size)
    held = org.cursors[locator]
    return Answer(200, _page_json(call, locator, held, 0))


def _open_cursor(org: Org, compiled: Query, columns: str, size: int) -> str:
    """Keep the result of a long query for its later pages."""
    locator = id18("01g" + secrets.token_hex(6))
    table = f"_cursor_{locator}"
    with org.store.writing() as cursor:
        cursor.execute(f"CREATE TABLE {name(table)} AS {compiled.sql(columns)}")
        found = cursor.execute(f"SELECT count(*) FROM {name(table)}").fetchone()
        for old in list(org.cursors)[: max(0, len(org.cursors) + 1 - MAX_CURSORS)]:
            cursor.execute(f"DROP TABLE IF EXISTS {name('_cursor_' + old)}")
            org.cursors.pop(old, None)
    total = int(found[0]) if found else 0
    org.cursors[locator] = {"table": table, "query": compiled, "total": total, "size": size, "org": org}
    return locator


def _page_json(call: Call, locator: str, held: dict[str, Any], start: int) -> dict[str, Any]:
    compiled: Query = held["query"]
    org: Org = held["org"]
    end = start + held["size"]
    rows = org.store.rows(
        f"SELECT * FROM {name(held['table'])} WHERE rowid >= {start} AND rowid < {end} ORDER BY rowid"
    )
    done = end >= held["total"]
    answer: dict[str, Any] = {"totalSize": held["total"], "done": done}
    if not done:
        answer["nextRecordsUrl"] = f"{call.data_url}/query/{locator}-{end}"
    answer["records"] = [record_json(call, compiled.object, compiled.fields, row[1:], row[0]) for row in rows]
    return answer


def query_more(org: Org, call: Call) -> Answer:
    """GET query/locator-offset: a later page."""
    locator, _, offset = call.arguments["locator"].rpartition("-")
    held = org.cursors.get(locator)
    if held is None or not offset.isdigit() or int(offset) >= held["total"]:
        raise SalesforceError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    return Answer(200, _page_json(call, locator, held, int(offset)))
