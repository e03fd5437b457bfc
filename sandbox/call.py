"""One HTTP call as the handlers see it, and what they answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.json_text import NotJson, read_json
from sandbox.login.sessions import Session
from sandbox.login.users import User
from sandbox.wire import SalesforceError


@dataclass
class Call:
    """A request whose path was split before percent-decoding; `arguments` are the parts the route names."""

    method: str
    path: str
    segments: list[str]
    query: dict[str, str]
    headers: Mapping[str, str]
    base_url: str
    body: bytes = b""
    body_is_read: bool = False
    arguments: dict[str, str] = field(default_factory=dict)
    session: Session | None = None

    @property
    def token(self) -> str | None:
        """The session id of the Authorization header (`Bearer`, or `OAuth` as older clients send).

        Bulk API 1.0 has a header of its own for it.
        """
        if self.path.startswith("/services/async/"):
            return self.headers.get("x-sfdc-session")
        scheme, _, rest = self.headers.get("authorization", "").partition(" ")
        return rest.strip() if scheme.lower() in ("bearer", "oauth") else None

    @property
    def user(self) -> User:
        """Who is logged in. Only for handlers of routes that need a session."""
        assert self.session is not None
        return self.session.user

    @property
    def version(self) -> int:
        """The API version of the path: 59 for v59.0."""
        return int(self.arguments["version"][1:].split(".")[0])

    @property
    def data_url(self) -> str:
        """The path of the called API version: /services/data/v59.0."""
        return f"/services/data/{self.arguments['version']}"

    def json(self) -> Any:
        """The body as JSON; numbers with a point stay decimals, so no digit is lost."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind and kind not in ("application/json", "text/json") and not self.path.startswith("/_sandbox"):
            message = f"The content type {kind} is not supported here; send application/json"
            raise SalesforceError(415, "UNSUPPORTED_MEDIA_TYPE", message)
        if not self.body.strip():
            message = "The HTTP entity body is required, but this request has no entity body."
            raise SalesforceError(400, "JSON_PARSER_ERROR", message)
        try:
            return read_json(self.body)
        except NotJson as error:
            raise SalesforceError(400, "JSON_PARSER_ERROR", str(error)) from None

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object."""
        value = self.json()
        if not isinstance(value, dict):
            token = "START_ARRAY" if isinstance(value, list) else "VALUE_STRING" if isinstance(value, str) else "value"
            message = f"Can not deserialize SObject out of {token} token at [line:1, column:1]"
            raise SalesforceError(400, "JSON_PARSER_ERROR", message)
        return value


@dataclass
class Answer:
    """A response: JSON of `body`, or the bytes of `stream`; neither gives an empty body."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    stream: Iterator[bytes] | None = None
    content_type: str | None = None
