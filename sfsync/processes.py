"""Child processes that end with their parent, whatever ends it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings

from sfsync.tied import tied


def start(arguments: list[str], log: Path, keep_open: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Start a Python process that ends with this one. Its output goes to `log`; it gets the files `keep_open`."""
    with open(log, "ab") as output:
        return subprocess.Popen(
            tied([sys.executable, *arguments]),
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=keep_open,
            process_group=0,
        )


def wait_for_file(path: Path, process: subprocess.Popen[bytes], seconds: float) -> Any:
    """The JSON in `path`, once the process has written it. Raises RuntimeError when it ends first, or is too slow."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        if process.poll() is not None:
            raise RuntimeError(f"a process ended with {process.returncode} before it was ready")
        if time.monotonic() > deadline:
            raise RuntimeError(f"a process was not ready after {seconds:g} s")
        time.sleep(0.05)
    return json.loads(path.read_text(encoding="utf-8"))


def stop(processes: Iterable[subprocess.Popen[bytes]], seconds: float = 10) -> None:
    """End processes, all at once: in good order, and by force those that take longer than `seconds`."""
    waiting = [process for process in processes if process.poll() is None]
    for process in waiting:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + seconds
    for process in waiting:
        try:
            process.wait(timeout=max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def only_one(lock: Path, what: str, patience: float = 0) -> Iterator[None]:
    """Hold a lock that ends with this process. Raises RuntimeError when another holds it for `patience` seconds."""
    deadline = time.monotonic() + patience
    with open(lock, "w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise RuntimeError(f"{what} runs on {lock.parent} already.") from None
                time.sleep(0.2)
        yield


def end_when_orphaned(parent_pid: int | None, each_second: Callable[[], None] = lambda: None) -> None:
    """Watch from a thread of its own: when `parent_pid` is no longer the parent, this process gets SIGTERM."""

    def watch() -> None:
        while parent_pid is None or os.getppid() == parent_pid:
            each_second()
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
