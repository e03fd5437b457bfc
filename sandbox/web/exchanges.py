"""The calls that clients made, with headers and the beginnings of both bodies, for the pages of the request log."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Message, Receive, Scope, Send

BODY_CAP = 64 * 1024
# All bodies kept together; the oldest calls are forgotten first.
TOTAL_CAP = 24 * 1024 * 1024
MOST = 2000
SECRET_HEADERS = frozenset({"authorization", "cookie", "set-cookie", "x-sfdc-session", "proxy-authorization"})
MASK = "••••••"


@dataclass
class Body:
    """The first bytes of a body, and how many there were in all."""

    kept: bytearray = field(default_factory=bytearray)
    size: int = 0

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if (room := BODY_CAP - len(self.kept)) > 0:
            self.kept += chunk[:room]


@dataclass
class Exchange:
    """One call. `entry` is its line of the request log."""

    number: int
    entry: dict[str, Any]
    query: str
    request_headers: list[tuple[str, str]]
    response_headers: list[tuple[str, str]] = field(default_factory=list)
    request: Body = field(default_factory=Body)
    response: Body = field(default_factory=Body)

    @property
    def weight(self) -> int:
        return len(self.request.kept) + len(self.response.kept)


class Exchanges:
    """The latest calls by number, within bounds of count and memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._kept: OrderedDict[int, Exchange] = OrderedDict()
        self._weight = 0

    def record(self, scope: Scope, entry: dict[str, Any], receive: Receive, send: Send) -> tuple[Receive, Send]:
        """Keep a call that begins; the channels to use for it, which note what passes through them."""
        query = scope["query_string"].decode("latin-1")
        exchange = Exchange(next(self._numbers), entry, query, _shown(scope["headers"]))
        entry["number"] = exchange.number
        with self._lock:
            self._kept[exchange.number] = exchange
            if len(self._kept) > MOST:
                self._weight -= self._kept.popitem(last=False)[1].weight

        async def receive_noting() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                self._note(exchange, exchange.request, message.get("body", b""))
            return message

        async def send_noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.response_headers = _shown(message.get("headers", []))
            elif message["type"] == "http.response.body":
                self._note(exchange, exchange.response, message.get("body", b""))
            await send(message)

        return receive_noting, send_noting

    def _note(self, exchange: Exchange, body: Body, chunk: bytes) -> None:
        with self._lock:
            before = len(body.kept)
            body.add(chunk)
            if exchange.number not in self._kept:
                return
            self._weight += len(body.kept) - before
            while self._weight > TOTAL_CAP and len(self._kept) > 1:
                self._weight -= self._kept.popitem(last=False)[1].weight

    def find(self, number: int) -> Exchange | None:
        """A call by its number; None once it is forgotten."""
        return self._kept.get(number)

    def clear(self) -> None:
        """Forget all calls; numbers go on."""
        with self._lock:
            self._kept.clear()
            self._weight = 0


def _shown(headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Headers as text; of what lets somebody in, only the scheme (`Bearer`) is kept."""
    shown = []
    for raw_name, raw_value in headers:
        header, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if header.lower() in SECRET_HEADERS:
            scheme, _, rest = value.partition(" ")
            value = f"{scheme} {MASK}" if rest and header.lower().endswith("authorization") else MASK
        shown.append((header, value))
    return shown
