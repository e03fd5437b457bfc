"""Which handler answers which path. Static parts match in any case; `{name}` takes one part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sandbox import auth, bulk, bulk_query, control, describe, limits, page, rest

DATA = "/services/data/{version}"


@dataclass(frozen=True)
class Route:
    """One method and path. `streams`: the handler reads the body itself; `in_loop`: it runs in the event loop."""

    method: str
    template: str
    handler: Any
    needs_session: bool = True
    streams: bool = False
    in_loop: bool = False
    allowed: str = ""


def _open(method: str, template: str, handler: Any, *, in_loop: bool = False) -> Route:
    return Route(method, template, handler, needs_session=False, in_loop=in_loop)


ROUTES = [
    _open("GET", "/", page.home),
    _open("POST", "/services/oauth2/token", auth.token),
    _open("POST", "/services/oauth2/revoke", auth.revoke),
    _open("GET", "/services/oauth2/userinfo", auth.userinfo),
    _open("POST", "/services/oauth2/userinfo", auth.userinfo),
    _open("GET", "/id/{org}/{user}", auth.identity),
    _open("GET", "/services/data", describe.versions),
    Route("GET", DATA, describe.resources),
    Route("GET", f"{DATA}/limits", limits.limits),
    Route("GET", f"{DATA}/limits/recordCount", limits.record_count),
    Route("GET", f"{DATA}/query", rest.query),
    Route("GET", f"{DATA}/queryAll", rest.query_all),
    Route("GET", f"{DATA}/query/{{locator}}", rest.query_more),
    Route("GET", f"{DATA}/queryAll/{{locator}}", rest.query_more),
    Route("GET", f"{DATA}/sobjects", describe.global_describe),
    Route("GET", f"{DATA}/sobjects/{{object}}", describe.basic),
    Route("POST", f"{DATA}/sobjects/{{object}}", rest.create),
    Route("GET", f"{DATA}/sobjects/{{object}}/describe", describe.describe),
    Route("GET", f"{DATA}/sobjects/{{object}}/{{id}}", rest.retrieve),
    Route("PATCH", f"{DATA}/sobjects/{{object}}/{{id}}", rest.update),
    Route("DELETE", f"{DATA}/sobjects/{{object}}/{{id}}", rest.delete),
    Route("POST", f"{DATA}/sobjects/{{object}}/Id", rest.create_by_id),
    Route("GET", f"{DATA}/sobjects/{{object}}/{{field}}/{{value}}", rest.retrieve_by_key),
    Route("PATCH", f"{DATA}/sobjects/{{object}}/{{field}}/{{value}}", rest.upsert),
    Route("DELETE", f"{DATA}/sobjects/{{object}}/{{field}}/{{value}}", rest.delete_by_key),
    Route("POST", f"{DATA}/jobs/ingest", bulk.create),
    Route("GET", f"{DATA}/jobs/ingest", bulk.list_jobs),
    Route("GET", f"{DATA}/jobs/ingest/{{id}}", bulk.info),
    Route("PATCH", f"{DATA}/jobs/ingest/{{id}}", bulk.change_state),
    Route("DELETE", f"{DATA}/jobs/ingest/{{id}}", bulk.delete),
    Route("PUT", f"{DATA}/jobs/ingest/{{id}}/batches", bulk.upload, streams=True),
    Route("GET", f"{DATA}/jobs/ingest/{{id}}/successfulResults", bulk.successful_results),
    Route("GET", f"{DATA}/jobs/ingest/{{id}}/failedResults", bulk.failed_results),
    Route("GET", f"{DATA}/jobs/ingest/{{id}}/unprocessedRecords", bulk.unprocessed_records),
    Route("POST", f"{DATA}/jobs/query", bulk_query.create),
    Route("GET", f"{DATA}/jobs/query", bulk_query.list_jobs),
    Route("GET", f"{DATA}/jobs/query/{{id}}", bulk_query.info),
    Route("PATCH", f"{DATA}/jobs/query/{{id}}", bulk_query.change_state),
    Route("DELETE", f"{DATA}/jobs/query/{{id}}", bulk_query.delete),
    Route("GET", f"{DATA}/jobs/query/{{id}}/results", bulk_query.results),
    Route("GET", f"{DATA}/jobs/query/{{id}}/resultPages", bulk_query.result_pages),
    _open("GET", "/_sandbox/faults", control.list_faults, in_loop=True),
    _open("POST", "/_sandbox/faults", control.add_fault, in_loop=True),
    _open("DELETE", "/_sandbox/faults", control.clear_faults, in_loop=True),
    _open("DELETE", "/_sandbox/faults/{id}", control.remove_fault, in_loop=True),
    _open("POST", "/_sandbox/release", control.release, in_loop=True),
    _open("GET", "/_sandbox/requests", control.requests, in_loop=True),
    _open("GET", "/_sandbox/state", control.state),
    _open("POST", "/_sandbox/reset", control.reset),
]

_BY_LENGTH: dict[int, list[tuple[list[str], Route]]] = {}
for _route in ROUTES:
    _parts = [part for part in _route.template.split("/") if part]
    _BY_LENGTH.setdefault(len(_parts), []).append((_parts, _route))


def find_route(method: str, segments: list[str]) -> tuple[Route | None, dict[str, str]]:
    """The route of a call and its arguments.

    A route without a handler when only the method is wrong; None when no template fits.
    """
    wanted = "GET" if method == "HEAD" else method
    allowed: list[str] = []
    near: tuple[Route, dict[str, str]] | None = None
    for parts, route in _BY_LENGTH.get(len(segments), []):
        arguments = _match(parts, segments)
        if arguments is None:
            continue
        if route.method == wanted:
            return route, arguments
        allowed.append(route.method)
        near = near or (route, arguments)
    if near is None:
        version = {"version": segments[2]} if segments[:2] == ["services", "data"] and len(segments) > 2 else {}
        return None, version
    text = f"Allowed are {', '.join(dict.fromkeys(allowed))}"
    return Route(method, near[0].template, None, near[0].needs_session, allowed=text), near[1]


def _match(parts: list[str], segments: list[str]) -> dict[str, str] | None:
    arguments = {}
    for part, segment in zip(parts, segments, strict=True):
        if part.startswith("{"):
            arguments[part[1:-1]] = segment
        elif part.lower() != segment.lower():
            return None
    return arguments
