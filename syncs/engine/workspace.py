"""Where the engine works: a scratch folder, a memory limit, and locked-down DuckDB connections."""

from __future__ import annotations

import contextlib
import shutil
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import duckdb

from syncs.engine.errors import Interrupted, engine_errors
from syncs.engine.sealed import Settings, seal, sealed_settings


class Workspace:
    """The means of one attempt at a job's engine steps.

    scratch: a local folder for what does not fit into memory; made when it is missing.
    memory_mb: how much memory DuckDB may use; the process needs some 150 MB beside it.
    threads: how many threads DuckDB may use.

    An interrupted workspace stays interrupted, so that a step that was just about to start stops too. Make a new
    one for the work that is still to be done after a cancel.
    """

    def __init__(self, scratch: Path, *, memory_mb: int = 320, threads: int = 2) -> None:
        self.scratch = Path(scratch)
        self.memory_mb = memory_mb
        self.threads = threads
        self._lock = threading.Lock()
        self._open: set[duckdb.DuckDBPyConnection] = set()
        self._interrupted = False

    @contextlib.contextmanager
    def connect(
        self, *, ordered: bool = False, sealed: bool = False, time_zone: str = "UTC"
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """An in-memory DuckDB connection with no way to load extensions or change its settings.

        ordered: rows leave a query in the order of the file they came from, where the query itself has no order.
        sealed: it reaches no file either; for what users write, see `syncs/engine/sealed.py`. time_zone: in which a
        sealed one reads date-times without an offset; any other does so in UTC.
        Raises `Interrupted` when the workspace was interrupted, before or meanwhile, and `DiskFull` or
        `OutOfMemory` for the errors that mean so.
        """
        self.check()
        spill = self.scratch / f"spill-{uuid.uuid4().hex}"
        with engine_errors():
            self.scratch.mkdir(parents=True, exist_ok=True)
            settings = sealed_settings(self.memory_mb, self.threads) if sealed else self._settings(spill, ordered)
            connection = duckdb.connect(":memory:", config=settings)
            try:
                if sealed:
                    seal(connection, time_zone)
                else:
                    connection.execute("SET TimeZone = 'UTC'")
                    connection.execute("SET lock_configuration = true")
                with self._lock:
                    self._open.add(connection)
                self.check()
                yield connection
                self.check()
            finally:
                with self._lock:
                    self._open.discard(connection)
                connection.close()
                shutil.rmtree(spill, ignore_errors=True)

    def interrupt(self) -> None:
        """Stop running queries, from any thread; they raise `Interrupted`, and so does every later step."""
        with self._lock:
            self._interrupted = True
            for connection in self._open:
                connection.interrupt()

    def check(self) -> None:
        """Raise `Interrupted` when `interrupt` was called. For loops that spend their time outside of DuckDB."""
        if self._interrupted:
            raise Interrupted("The work on this job's rows was stopped on request.")

    def _settings(self, spill: Path, ordered: bool) -> Settings:
        return {
            "memory_limit": f"{self.memory_mb}MB",
            "threads": self.threads,
            "temp_directory": str(spill),
            "preserve_insertion_order": ordered,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
            # The right side of each join is the one to hold in memory: the queries are written that way, and an
            # estimate that turns a join around would hold the wide rows of the source.
            "disabled_optimizers": "join_order,build_side_probe_side",
        }
