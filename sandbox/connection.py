"""The TCP connections behind the requests, so that a fault can cut one without an answer."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

NOTICE_TURNS = 20
_TRANSPORTS: dict[tuple[Any, Any], asyncio.Transport] = {}


class TrackedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which also remembers the transport by its two ends."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _TRANSPORTS[(self.client, self.server)] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        _TRANSPORTS.pop((self.client, self.server), None)
        super().connection_lost(exc)


async def cut_connection(scope: Scope) -> None:
    """Drop the connection of a request at once; the client sees a reset or an early end."""
    client, server = scope.get("client"), scope.get("server")
    ends = (tuple(client) if client else None, tuple(server) if server else None)
    transport = _TRANSPORTS.get(ends)
    if transport is None:
        return
    transport.abort()
    # The protocol must know that the connection is gone before it finds that nothing was answered.
    for _ in range(NOTICE_TURNS):
        if ends not in _TRANSPORTS:
            return
        await asyncio.sleep(0)
