"""Web, worker and beat in one terminal: started, watched, started again when they die, ended together."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from sfsync import processes

# A process that dies is started again after 1, 2, 4, ... seconds; one that lived a minute starts afresh.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
GOOD_LIFE = 60.0


@dataclasses.dataclass
class Child:
    """One process that is kept alive. `arguments` follow the Python interpreter."""

    name: str
    arguments: list[str]
    keep_open: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    pause: float = FIRST_PAUSE
    start_at: float = 0.0


class Supervisor:
    """Keeps processes alive until it is told to end, or is ended: they end with it, even by `kill -9`.

    data: folder for their logs. tell: takes a line for the person at the terminal.
    """

    def __init__(self, data: Path, tell: Callable[[str], None]) -> None:
        self._data = data
        self._tell = tell
        self._children: list[Child] = []
        self._ending = threading.Event()

    def log_of(self, name: str) -> Path:
        """Where a child's output goes."""
        return self._data / f"{name}.log"

    def start(self, name: str, arguments: list[str], keep_open: tuple[int, ...] = ()) -> Child:
        """Start a process and keep it alive from now on."""
        child = Child(name, arguments, keep_open)
        self._children.append(child)
        self._launch(child)
        return child

    def __enter__(self) -> Supervisor:
        self._before = {number: signal.signal(number, self._end) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        processes.stop(child.process for child in self._children if child.process is not None)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def watch(self) -> None:
        """Keep them alive until Ctrl-C or SIGTERM."""
        while not self._ending.wait(0.2):
            self.look()

    @property
    def is_ending(self) -> bool:
        """Whether somebody has asked for the end."""
        return self._ending.is_set()

    def look(self) -> None:
        """Start again what has died, after its pause."""
        now = time.monotonic()
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._bury(child, child.process.returncode, now)
            if child.process is None and now >= child.start_at:
                self._launch(child)

    def _bury(self, child: Child, code: int, now: float) -> None:
        pause = FIRST_PAUSE if now - child.started_at > GOOD_LIFE else child.pause
        child.process, child.start_at, child.pause = None, now + pause, min(pause * 2, LONGEST_PAUSE)
        how = f"by signal {-code}" if code < 0 else f"with {code}"
        self._tell(f"The {child.name} ended {how}; it is started again in {pause:g} s. See {self.log_of(child.name)}.")

    def _launch(self, child: Child) -> None:
        child.process = processes.start(child.arguments, self.log_of(child.name), child.keep_open)
        child.started_at = time.monotonic()

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._ending.set()


def listen(bind: str) -> socket.socket:
    """A socket that listens at `bind` (host:port; port 0 takes a free one). Raises RuntimeError when it is taken.

    It stays open while the web process is started again, so that the address stays and callers wait instead of failing.
    """
    host, _, port = bind.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise RuntimeError(f"'{bind}' is no address to listen at. Give host:port, for example 127.0.0.1:8000.")
    try:
        return socket.create_server((host.strip("[]") or "127.0.0.1", int(port)), backlog=128)
    except OSError as error:
        raise RuntimeError(
            f"Nothing can listen at {bind}: {error.strerror}. Give another address, for example --bind 127.0.0.1:8001."
        ) from None


def start_services(supervisor: Supervisor, listening: socket.socket) -> None:
    """Start web, worker (which brings the embedded broker) and beat."""
    parent = str(os.getpid())
    web = ["-m", "gunicorn", "sfsync.wsgi", "--bind", f"fd://{listening.fileno()}", "--no-control-socket"]
    web += ["--worker-class", "gthread", "--threads", "8", "--graceful-timeout", "5"]
    supervisor.start("web", web, (listening.fileno(),))
    supervisor.start("worker", ["manage.py", "worker", "--parent-pid", parent])
    supervisor.start("beat", ["manage.py", "beat", "--parent-pid", parent])
