"""An HTTP proxy for clients with hosts wired in: CONNECT to a Salesforce host ends on the sandbox's own listeners.

It leads nowhere else: any other host, port or method is refused with 403, so that it is no open relay.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable

log = logging.getLogger("sandbox.proxy")

HTTPS_DOMAINS = (".salesforce.com", ".force.com")
PUBSUB_DOMAIN = ".pubsub.salesforce.com"
PUBSUB_PORTS = (443, 7443)
MAX_HEAD = 16_384
HEAD_SECONDS = 10
CHUNK = 1 << 16
REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
UNREACHED = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Proxy:
    """The proxy listener. `address` is where the sandbox listens; the ports are asked for with each connection."""

    def __init__(self, address: str, https_port: int, pubsub_port: Callable[[], int | None]) -> None:
        self._address = address
        self._https_port = https_port
        self._pubsub_port = pubsub_port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self, listener: socket.socket) -> None:
        """Serve on a bound socket."""
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=MAX_HEAD)

    def stop(self) -> None:
        """Take no more connections and cut those that are open."""
        if self._server:
            self._server.close()
        for each in list(self._open):
            each.transport.abort()

    def port_for(self, target: str) -> int | None:
        """The local port behind `host:port` of a CONNECT; None for what is none of ours."""
        host, _, port = target.lower().rpartition(":")
        host = host.rstrip(".")
        if not port.isdecimal() or not port.isascii():
            return None
        if host.endswith(PUBSUB_DOMAIN) and int(port) in PUBSUB_PORTS:
            return self._pubsub_port()
        return self._https_port if host.endswith(HTTPS_DOMAINS) and int(port) == 443 else None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError) as error:
            log.debug("connection ended: %s", error)
        finally:
            self._open.discard(writer)
            writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split()
        port = self.port_for(words[1]) if len(words) == 3 and words[0].upper() == "CONNECT" else None
        if port is None:
            writer.write(REFUSED)
            await writer.drain()
            return
        try:
            inner_reader, inner_writer = await asyncio.open_connection(self._address, port)
        except OSError:
            writer.write(UNREACHED)
            await writer.drain()
            return
        self._open.add(inner_writer)
        writer.write(ESTABLISHED)
        try:
            await asyncio.gather(_pipe(reader, inner_writer), _pipe(inner_reader, writer))
        finally:
            self._open.discard(inner_writer)
            inner_writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on all bytes, then the end of them. A connection that broke on one side breaks on the other."""
    try:
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        writer.transport.abort()
        return
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof()
