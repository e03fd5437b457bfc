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

    def shutdown(self) -> None:
        """Close at the end of the server; an idle client's side of TLS is not waited for."""
        super().shutdown()
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self.transport.get_write_buffer_size() == 0:
            self.transport.abort()


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
