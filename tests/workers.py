"""Real processes on the test database, which tests may kill, stop and continue."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from jobs.models import Job, Status

LEASE_SECONDS = 2.0


def worker_environment(**changes: str) -> dict[str, str]:
    """The environment of a process that works on the database of the running test."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{database['NAME']}"
    else:
        url = f"postgres://{database['USER']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    return {
        **os.environ,
        "SFSYNC_DATABASE_URL": url,
        "SFSYNC_BROKER_URL": settings.SFSYNC_BROKER_URL,
        "SFSYNC_DATA": str(settings.SFSYNC_DATA),
        "SFSYNC_FILES": str(settings.SFSYNC_FILES),
        "SFSYNC_STORAGE": str(settings.SFSYNC_STORAGE),
        "SFSYNC_SCRATCH": str(settings.SFSYNC_SCRATCH),
        "SFSYNC_LEASE_SECONDS": str(LEASE_SECONDS),
        "SFSYNC_TICK_SECONDS": "0.1",
        "SFSYNC_RETRY_SECONDS": "0.1",
        **changes,
    }


class Process:
    """A Python process on the test's database. Its output goes to `<name>.log`."""

    def __init__(self, name: str, *arguments: str, **environment: str) -> None:
        self._arguments = [sys.executable, *arguments]
        self._environment = worker_environment(**environment)
        self.log = Path(settings.SFSYNC_DATA) / f"{name}.log"
        self.start()

    def start(self) -> None:
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self._arguments, env=self._environment, stdout=log, stderr=log, cwd=settings.BASE_DIR
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Stop it, but not while it holds SQLite's one write lock: then nobody could take over, which is no defect."""
        with _write_lock():
            self._process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it as an administrator would; by force when that takes too long."""
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()


@contextlib.contextmanager
def _write_lock() -> Iterator[None]:
    """Nobody else writes to the test's database meanwhile, where it has one lock for all."""
    if connection.vendor != "sqlite":
        yield
        return
    with closing(sqlite3.connect(str(connection.settings_dict["NAME"]), timeout=30, isolation_level=None)) as held:
        held.execute("BEGIN IMMEDIATE")
        yield
        held.execute("ROLLBACK")


class Worker(Process):
    """One worker."""

    def __init__(self, *, concurrency: int = 3, **environment: str) -> None:
        super().__init__("worker", "manage.py", "worker", f"--concurrency={concurrency}", **environment)


class Beat(Process):
    """The beat."""

    def __init__(self, **environment: str) -> None:
        super().__init__("beat", "manage.py", "beat", **environment)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """What `condition` returns, once that is true. Fails the test when it takes too long."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)
    return result


def wait_for_end(job: Job, seconds: float = 120) -> Job:
    """The job, once it has ended or waits for approval."""

    def ended() -> Job | None:
        found = Job.all_objects.select_related("sync").get(pk=job.pk)
        return None if found.is_live and found.status != Status.WAITING_APPROVAL else found

    return wait_for(ended, f"the end of {job}", seconds)
