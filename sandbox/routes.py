"""The table of all addresses. Static parts of a path match in any case; `{name}` takes one part."""

from __future__ import annotations

from sandbox.bulk.routes import ROUTES as BULK
from sandbox.events.routes import ROUTES as EVENTS
from sandbox.login.routes import ROUTES as LOGIN
from sandbox.rest.routes import ROUTES as REST
from sandbox.route import Route
from sandbox.rows.routes import ROUTES as ROWS
from sandbox.web.routes import ROUTES as WEB

ROUTES = [*LOGIN, *EVENTS, *REST, *BULK, *ROWS, *WEB]

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
    others = ["HEAD"] if "GET" in allowed else []
    listed = ",".join(sorted({*allowed, *others}))
    return Route(method, near[0].template, None, near[0].needs_session, allowed=listed), near[1]


def _match(parts: list[str], segments: list[str]) -> dict[str, str] | None:
    arguments = {}
    for part, segment in zip(parts, segments, strict=True):
        if part.startswith("{"):
            arguments[part[1:-1]] = segment
        elif part.lower() != segment.lower():
            return None
    return arguments
