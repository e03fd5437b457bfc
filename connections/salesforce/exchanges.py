"""Requests and answers, kept for somebody who wants to see them exactly; nothing secret is among them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import requests
from urllib3 import HTTPResponse

from connections.redact import redacted

_LONGEST = 100_000  # bytes of a body
_SECRET_HEADERS = frozenset({"authorization", "cookie", "set-cookie", "proxy-authorization", "x-sfdc-session"})


@dataclasses.dataclass(frozen=True)
class Exchange:
    """One request and its answer. Bodies are cut where they are longer than 100 kB.

    number: from 1, within one `recording()`. at: when it went out, ISO 8601. path: with its query. status: None while
    there is no answer. error: why there is none.
    """

    number: int
    at: str
    method: str
    path: str
    request_headers: dict[str, str]
    request_body: str
    status: int | None = None
    answer_headers: dict[str, str] = dataclasses.field(default_factory=dict)
    answer_body: str = ""
    error: str = ""


class Recorder:
    """Numbers exchanges and hands each over twice: before it goes out, and with its answer."""

    def __init__(self, keep: Callable[[Exchange], None]) -> None:
        self._keep, self._made = keep, 0

    def asked(self, method: str, path: str, headers: Mapping[str, str], data: Any, token: str) -> Exchange:
        """A request is about to go out. token: what nobody may see."""
        self._made += 1
        body = redacted(_beginning(data), [token])
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        exchange = Exchange(self._made, at, method, redacted(path, [token]), _shown(headers, token), body)
        self._keep(exchange)
        return exchange

    def answered(self, exchange: Exchange, answer: requests.Response, token: str) -> None:
        """The answer has come. What is told of the request is now what went over the wire."""
        path = redacted(answer.request.path_url or exchange.path, [token])
        body = redacted(_beginning(_body_of(answer)), [token])
        sent, got = _shown(answer.request.headers, token), _shown(answer.headers, token)
        told = {"status": answer.status_code, "answer_headers": got, "answer_body": body}
        self._keep(dataclasses.replace(exchange, path=path, request_headers=sent, **told))

    def failed(self, exchange: Exchange, error: Exception, token: str) -> None:
        """There is no answer."""
        self._keep(dataclasses.replace(exchange, error=redacted(str(error), [token])))


_recorder: ContextVar[Recorder | None] = ContextVar("salesforce_exchanges", default=None)


@contextlib.contextmanager
def recording(keep: Callable[[Exchange], None]) -> Iterator[None]:
    """Within this context, what this thread sends and is answered is handed to `keep`, whichever session sends it.

    keep: must not raise. Logins are left out: they are made of secrets.
    """
    reset = _recorder.set(Recorder(keep))
    try:
        yield
    finally:
        _recorder.reset(reset)


def recorder() -> Recorder | None:
    """The recorder of this context."""
    return _recorder.get()


def _shown(headers: Mapping[str, Any], token: str) -> dict[str, str]:
    return {
        name: redacted(value.decode(errors="replace") if isinstance(value, bytes) else str(value), [token])
        for name, value in headers.items()
        if name.lower() not in _SECRET_HEADERS
    }


def _body_of(answer: requests.Response) -> bytes:
    """The body of an answer; a stream can still be read by whoever asked for it. Raises what reading it raises."""
    if answer._content_consumed:  # type: ignore[attr-defined]
        return answer.content or b""
    # As it came over the wire; then it is put back.
    whole = answer.raw.read(decode_content=False)
    answer.raw = HTTPResponse(
        io.BytesIO(whole), headers=answer.raw.headers, status=answer.raw.status, preload_content=False
    )
    if answer.headers.get("Content-Encoding", "").lower() != "gzip":
        return bytes(whole)
    with contextlib.suppress(zlib.error):
        return zlib.decompressobj(wbits=31).decompress(whole, _LONGEST + 1)
    return b""


def _beginning(data: Any) -> str:
    """The beginning of a body, as text."""
    if data is None:
        return ""
    if hasattr(data, "read"):
        start = data.tell()
        read = data.read(_LONGEST + 1)
        data.seek(start)
        data = read
    raw = data.encode() if isinstance(data, str) else bytes(data)
    text = raw[:_LONGEST].decode(errors="replace")
    return f"{text} [cut here; it is longer]" if len(raw) > _LONGEST else text
