"""Request bodies that come compressed (`Content-Encoding: gzip`), unpacked as they arrive."""

from __future__ import annotations

import zlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.wire import SalesforceError

# At most so much of a body is unpacked at a time: a small one may unpack to any size.
PIECE = 1 << 20
_GZIP = 31


class UnzipBodies:
    """ASGI middleware: what is behind it sees plain bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_zipped(scope):
            receive = _Unzipped(receive).receive
        await self.app(scope, receive, send)


def _is_zipped(scope: Scope) -> bool:
    return any(name == b"content-encoding" and value.strip().lower() == b"gzip" for name, value in scope["headers"])


class _Unzipped:
    """The messages of one request with unpacked bodies."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._unzip = zlib.decompressobj(_GZIP)
        self._more = True

    async def receive(self) -> Message:
        """The next message. Raises SalesforceError (400) for what is not gzip, or breaks off."""
        packed = self._unzip.unconsumed_tail
        if not packed and self._more:
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            packed, self._more = message.get("body", b""), message.get("more_body", False)
        try:
            body = self._unzip.decompress(packed, PIECE)
        except zlib.error as error:
            raise _bad(str(error)) from None
        # All may be read, and some still be held back by the limit.
        if not body and not self._more and not self._unzip.eof:
            raise _bad("it ends too early")
        more = self._more or not self._unzip.eof
        return {"type": "http.request", "body": body, "more_body": more}


def _bad(reason: str) -> SalesforceError:
    return SalesforceError(400, "INVALID_CONTENT", f"The HTTP entity body is not valid gzip: {reason}")
