"""Calls inside a call: the subrequests of composite, batch and graph run through the same addresses as real calls."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote

from sandbox import wire
from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.versions import check_version
from sandbox.wire import SalesforceError


def call_inside(outer: Call, method: str, url: str, body: Any, headers: dict[str, str]) -> Call:
    """The call of a subrequest, in the session of the call it stands in.

    url: path and query, raw. body: anything JSON has; None for no body. headers: replace those of the outer call.
    """
    path, _, query_string = url.partition("?")
    segments = [unquote(part) for part in path.split("/") if part]
    query = dict(parse_qsl(query_string, keep_blank_values=True))
    shared = {key: outer.headers[key] for key in SHARED_HEADERS if key in outer.headers}
    given = {**shared, **{key.lower(): value for key, value in headers.items()}}
    return Call(
        method,
        "/" + "/".join(segments),
        segments,
        query,
        given,
        outer.base_url,
        body=b"" if body is None else wire.dumps(body).encode(),
        body_is_read=True,
        session=outer.session,
    )


# What a caller asks for a whole composite call counts for each part of it.
SHARED_HEADERS = ("sforce-auto-assign", "sforce-duplicate-rule-header", "sforce-call-options")


def answer_inside(org: Org, call: Call) -> Answer:
    """The answer to a subrequest; a refusal is an answer too. Uploads and streamed results do not go here."""
    from sandbox.routes import find_route  # the table of addresses names our callers

    try:
        route, call.arguments = find_route(call.method, call.segments)
        if route is None or not route.needs_session:
            raise wire.not_found()
        check_version(call)
        if route.handler is None:
            raise wire.not_allowed(call.method, route.allowed)
        if route.streams or route.in_loop:
            raise SalesforceError(400, "INVALID_OPERATION", f"{call.path} is not supported as a subrequest")
        answer: Answer = route.handler(org, call)
    except SalesforceError as error:
        return Answer(error.status, error.body, error.headers)
    if answer.stream is not None:
        return refused("INVALID_OPERATION", f"{call.path} is not supported as a subrequest")
    return answer


def refused(code: str, message: str, status: int = 400) -> Answer:
    """A refusal as an answer."""
    return Answer(status, [{"errorCode": code, "message": message}])
