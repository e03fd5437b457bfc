"""A PostgreSQL server that lets nobody in: it asks for a password and refuses whatever it gets."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104
_ASK_FOR_PASSWORD = b"R" + struct.pack("!ii", 8, 3)


@contextmanager
def refusing_postgres() -> Iterator[int]:
    """The port of such a server on 127.0.0.1, which runs within this context."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server,), daemon=True).start()
        yield server.getsockname()[1]


def _serve(server: socket.socket) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:  # the test is over
            return
        with client:
            _refuse(client)


def _refuse(client: socket.socket) -> None:
    """The start of the frontend/backend protocol 3.0, up to the refusal (PostgreSQL manual, "Message Flow")."""
    size, code = struct.unpack("!ii", client.recv(8, socket.MSG_WAITALL))
    while code in (_SSL_REQUEST, _GSS_REQUEST):
        client.sendall(b"N")
        size, code = struct.unpack("!ii", client.recv(8, socket.MSG_WAITALL))
    settings = client.recv(size - 8, socket.MSG_WAITALL).split(b"\0")
    user = settings[settings.index(b"user") + 1]
    client.sendall(_ASK_FOR_PASSWORD)
    client.recv(1000)
    fields = [b"SFATAL", b"VFATAL", b"C28P01", b'Mpassword authentication failed for user "' + user + b'"']
    body = b"".join(field + b"\0" for field in fields) + b"\0"
    client.sendall(b"E" + struct.pack("!i", len(body) + 4) + body)
