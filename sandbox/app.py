"""The web application: splits the path, applies faults, checks the session, calls a handler, writes the answer."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from sandbox import wire
from sandbox.call import Answer, Call
from sandbox.connection import cut_connection
from sandbox.faults import Rule
from sandbox.org import Org
from sandbox.rest.limits import limit_info
from sandbox.route import Route
from sandbox.routes import find_route
from sandbox.unzip import UnzipBodies
from sandbox.versions import check_version
from sandbox.web.origin import check_origin
from sandbox.wire import SalesforceError

log = logging.getLogger("sandbox.app")

MAX_BODY = 50 * 1024 * 1024
MAX_ADDRESS = 16_384
HTML_503 = "<html><head><title>Service Unavailable</title></head><body><h1>Down for maintenance</h1></body></html>"
SESSION_EXPIRED = "Session expired or invalid"


class ConnectionCut(Exception):
    """A fault rule cut the connection while the body was still being read."""


def make_app(org: Org) -> ASGIApp:
    """The ASGI application of an org, with gzip answers for clients that ask for them."""
    return GZipMiddleware(UnzipBodies(Sandbox(org)), minimum_size=500, compresslevel=1)


class Sandbox:
    """The bare application; see `make_app`."""

    def __init__(self, org: Org) -> None:
        self.org = org

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        started = time.monotonic()
        request = Request(scope, receive)
        call = read_call(request)
        route, call.arguments = find_route(call.method, call.segments)
        entry: dict[str, Any] = {
            "time": time.time(),
            "method": call.method,
            "path": call.path,
            "query": call.query.get("q"),
        }
        entry.update(status=None, ms=None, fault=None)
        rule = None
        is_own = call.path.lower().startswith("/_sandbox") or call.path in ("/", "/favicon.ico")
        if not is_own:
            receive, send = self.org.exchanges.record(scope, entry, receive, send)
            request = Request(scope, receive)
            self.org.log.append(entry)
            template = route.template if route else "(no such resource)"
            self.org.call_counts[f"{call.method} {template}"] += 1
        try:
            if not is_own:
                rule = await self._rule_for(request, call, route, entry)
            response = await self._answer(request, call, route, rule)
        except SalesforceError as error:
            response = _response(_refusal(error), call)
        except ConnectionCut:
            entry["status"] = "cut"
            await cut_connection(scope)
            return
        except ClientDisconnect:
            entry["status"] = "client left"
            return
        entry["status"] = response.status_code
        entry["ms"] = round((time.monotonic() - started) * 1000)
        if rule and rule.action == "lose_answer":
            entry["status"] = f"{response.status_code} lost"
            await cut_connection(scope)
            return
        if rule and rule.action == "hold_after":
            await self.org.faults.hold(rule)
        await response(scope, receive, send)

    async def _rule_for(self, request: Request, call: Call, route: Route | None, entry: dict[str, Any]) -> Rule | None:
        """The fault rule that acts on this call, if any."""
        looked_at = self.org.faults.read_bodies and not (route and route.streams)
        rule = self.org.faults.for_call(call.method, call.path, await request.body() if looked_at else None)
        if rule:
            entry["fault"] = f"{rule.id} ({rule.action})"
        return rule

    async def _answer(self, request: Request, call: Call, route: Route | None, rule: Rule | None) -> Response:
        if rule and rule.action == "cut":
            await _cut(request, rule)
        if rule and rule.action == "hold_before":
            # The body is read first: a call that has arrived takes effect even when its sender dies meanwhile.
            if route is None or not route.streams:
                await _read_body(call, request)
            await self.org.faults.hold(rule)
        if rule and rule.action in ("status", "maintenance"):
            return _faulty_status(rule)
        if rule and rule.action == "twice":
            # Once in hand, the body can be read again.
            await request.body()
            await self._answer(request, dataclasses.replace(call), route, None)
        if rule and rule.action == "expire_token" and call.token:
            await run_in_threadpool(self.org.sessions.end, call.token)
        try:
            answer = await self._handle(request, call, route)
        except SalesforceError as error:
            answer = _refusal(error)
        except ClientDisconnect:
            raise
        except Exception as error:
            log.exception("%s %s", call.method, call.path)
            message = f"An unexpected error occurred: {error}"
            answer = Answer(500, [{"message": message, "errorCode": "UNKNOWN_EXCEPTION"}])
        if call.path.startswith("/services/data/") and route and route.needs_session:
            answer.headers["Sforce-Limit-Info"] = limit_info(self.org, call)
        return _response(answer, call)

    async def _handle(self, request: Request, call: Call, route: Route | None) -> Answer:
        org = self.org
        _check_lengths(request)
        check_origin(call)
        if route is None or route.needs_session:
            check_version(call)
            _check_session(org, call)
        if route is None:
            await _drain(request)
            raise wire.not_found()
        if route.handler is None:
            raise wire.not_allowed(call.method, route.allowed)
        if route.needs_session:
            assert call.session is not None
            if not org.usage.take(call.session.client_id):
                raise SalesforceError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        if route.streams:
            stream_handler: Callable[[Org, Call, Request], Awaitable[Answer]] = route.handler
            return await stream_handler(org, call, request)
        await _read_body(call, request)
        if route.in_loop:
            return _answer_of(route.handler, org, call)
        return await run_in_threadpool(_answer_of, route.handler, org, call)


def _refusal(error: SalesforceError) -> Answer:
    answer = Answer(error.status, error.body, dict(error.headers))
    if error.status == 401:
        answer.headers["WWW-Authenticate"] = "Token"
    return answer


def _answer_of(handler: Any, org: Org, call: Call) -> Answer:
    answer: Answer = handler(org, call)
    return answer


def read_call(request: Request) -> Call:
    """The call of an HTTP request. The raw path is split before it is decoded, so `%2F` stays inside its part."""
    raw = request.scope.get("raw_path") or request.url.path.encode()
    segments = [unquote(part) for part in raw.split(b"?")[0].decode("latin-1").split("/") if part]
    query = dict(parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True))
    method = request.method
    if method == "POST" and "_HttpMethod" in query:
        method = query["_HttpMethod"].upper()
    host = request.headers.get("host", "127.0.0.1")
    path = "/" + "/".join(segments)
    return Call(method, path, segments, query, request.headers, f"{request.url.scheme}://{host}")


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return


def _check_session(org: Org, call: Call) -> None:
    call.session = org.sessions.find(call.token)
    if call.session is None:
        raise SalesforceError(401, "INVALID_SESSION_ID", SESSION_EXPIRED)
    if not org.permissions.has(call.user, "ApiEnabled"):
        raise SalesforceError(403, "API_DISABLED_FOR_ORG", "The REST API is not enabled for this Organization.")


def _check_lengths(request: Request) -> None:
    """414 for an address that is too long, 431 for headers that are (REST API guide, "Status Codes")."""
    address = len(request.scope.get("raw_path") or b"") + len(request.scope["query_string"])
    if address > MAX_ADDRESS:
        raise SalesforceError(414, "URI_TOO_LONG", f"The URI is {address} bytes long; at most {MAX_ADDRESS} are taken")
    headers = sum(len(name) + len(value) for name, value in request.scope["headers"])
    if headers > MAX_ADDRESS:
        raise SalesforceError(431, "REQUEST_HEADER_FIELDS_TOO_LARGE", f"The headers are {headers} bytes long")


async def _read_body(call: Call, request: Request) -> None:
    """Read the body into the call, once."""
    if call.body_is_read:
        return
    call.body_is_read = True
    parts = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= MAX_BODY:
            parts.append(chunk)
    if size > MAX_BODY:
        raise SalesforceError(
            413, "REQUEST_ENTITY_TOO_LARGE", f"The request body is {size} bytes; at most {MAX_BODY} are taken"
        )
    call.body = b"".join(parts)


async def _drain(request: Request) -> None:
    """Read what the client still sends, so that it gets the answer instead of a broken pipe."""
    async for _ in request.stream():
        pass


async def _cut(request: Request, rule: Rule) -> None:
    """Read as many body bytes as the rule says, then cut the connection before anything took effect."""
    remaining = rule.facts.get("after_bytes", 0)
    if remaining:
        async for chunk in request.stream():
            remaining -= len(chunk)
            if remaining <= 0:
                break
    raise ConnectionCut


def _faulty_status(rule: Rule) -> Response:
    facts = {"status": 503, "html": True, **rule.facts} if rule.action == "maintenance" else rule.facts
    headers = {}
    if facts.get("retry_after") is not None:
        headers["Retry-After"] = str(facts["retry_after"])
    if facts.get("html"):
        body = facts["html"] if isinstance(facts["html"], str) else HTML_503
        return Response(body, facts["status"], headers, media_type="text/html")
    code = facts.get("code", "SERVER_UNAVAILABLE" if facts["status"] == 503 else "UNKNOWN_EXCEPTION")
    body = wire.dumps([{"message": facts.get("message", "An unexpected error occurred."), "errorCode": code}])
    return Response(body, facts["status"], {**headers, "Content-Type": wire.JSON_TYPE})


def _response(answer: Answer, call: Call) -> Response:
    headers = dict(answer.headers)
    if answer.stream is not None:
        headers["Content-Type"] = answer.content_type or "application/octet-stream"
        return StreamingResponse(iterate_in_threadpool(answer.stream), answer.status, headers)
    if answer.body is None:
        return Response(None, answer.status, headers)
    if isinstance(answer.body, str):
        headers["Content-Type"] = answer.content_type or "text/html;charset=UTF-8"
        return Response(answer.body, answer.status, headers)
    headers["Content-Type"] = wire.JSON_TYPE
    pretty = call.headers.get("x-prettyprint", "").lower() in ("1", "true")
    text = wire.dumps_pretty(answer.body) if pretty else wire.dumps(answer.body)
    return Response("" if call.method == "HEAD" else text, answer.status, headers)
