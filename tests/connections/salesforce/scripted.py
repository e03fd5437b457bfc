"""A server that logs anybody in and then answers with exactly the bytes it was told to: for answers that break."""

from __future__ import annotations

import json
import socket
import threading
from types import TracebackType

ORG_ID = "00D5s0000000001EAA"
USER_ID = "005000000000001AAA"


def answer(status: str, body: bytes | str = b"", *headers: str, length: int | None = None) -> bytes:
    """A whole HTTP answer. status: "200 OK". length: what Content-Length claims, if not the truth."""
    content = body.encode() if isinstance(body, str) else body
    claimed = len(content) if length is None else length
    head = [f"HTTP/1.1 {status}", f"Content-Length: {claimed}", "Connection: close", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


class ScriptedServer:
    """Answers requests other than logins one after another with `script`, then with 500.

    An entry of None closes the connection without an answer. `seen` holds the heads of all requests, logins too.
    `login` replaces the answer to logins when it is set.
    """

    def __init__(self, *script: bytes | None) -> None:
        self.script = list(script)
        self.seen: list[str] = []
        self.bodies: list[bytes] = []
        self.logins = 0
        self.login: bytes | None = None
        self._stopping = False
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing alone does not wake a thread that waits in accept.
        self._stopping = True
        socket.create_connection(self._socket.getsockname()).close()
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if self._stopping:
                    return
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                line = stream.readline()
                if not line:
                    return
                head += line
            text = head.decode("latin-1")
            length = next(
                (int(line.split(":")[1]) for line in text.split("\r\n") if line.startswith("Content-Length")), 0
            )
            self.seen.append(text)
            self.bodies.append(stream.read(length))
            if "/services/oauth2/token" in text:
                self.logins += 1
                reply: bytes | None = self.login or self._token()
            else:
                reply = self.script.pop(0) if self.script else answer("500 Server Error")
            if reply is not None:
                connection.sendall(reply)

    def _token(self) -> bytes:
        token = {
            "access_token": f"00D5s0000000001!token{self.logins}",
            "instance_url": self.url,
            "id": f"https://login.salesforce.com/id/{ORG_ID}/{USER_ID}",
            "token_type": "Bearer",
        }
        return answer("200 OK", json.dumps(token), "Content-Type: application/json")
