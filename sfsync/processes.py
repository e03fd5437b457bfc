"""Child processes that end with their parent, whatever ends it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sfsync.broker import end_with_parent


@contextmanager
def children() -> Iterator[ExitStack]:
    """A stack of child processes; all of them are ended with the context."""
    with ExitStack() as stack:
        yield stack


def start(stack: ExitStack, arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a Python process that ends with this one. Its output goes to `log`."""
    with open(log, "ab") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=end_with_parent,
        )
    stack.callback(_stop, process)
    return process


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


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
