"""One line of the table of addresses: which handler answers which method and path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DATA = "/services/data/{version}"


@dataclass(frozen=True)
class Route:
    """One method and path. `streams`: the handler reads the body itself; `in_loop`: it runs in the event loop.

    `allowed`: the methods a path takes, where it does not take this one.
    """

    method: str
    template: str
    handler: Any
    needs_session: bool = True
    streams: bool = False
    in_loop: bool = False
    allowed: str = ""


def open_route(method: str, template: str, handler: Any, *, in_loop: bool = False) -> Route:
    """A route that anybody may call, without a session."""
    return Route(method, template, handler, needs_session=False, in_loop=in_loop)
