"""Connections of a workspace are locked down, bounded, and can be stopped from outside."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path

import duckdb
import pytest

from syncs.engine.errors import DiskFull, Interrupted, OutOfMemory, TransientEngineError, engine_errors
from syncs.engine.files import stream, write_query
from syncs.engine.workspace import Workspace


def test_settings_cannot_be_changed_and_extensions_not_loaded(tmp_path: Path) -> None:
    with Workspace(tmp_path, memory_mb=100).connect() as connection:
        for statement in ("SET threads = 8", "INSTALL httpfs", "SET autoinstall_known_extensions = true"):
            with pytest.raises(duckdb.Error):
                connection.execute(statement)


def test_an_interrupt_from_another_thread_stops_a_running_query(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    threading.Timer(0.3, workspace.interrupt).start()
    started = time.monotonic()
    with pytest.raises(Interrupted), workspace.connect() as connection:
        connection.execute("SELECT count(*) FROM range(100000000000) AS a(i) WHERE hash(i) = 1").fetchall()
    assert time.monotonic() - started < 20


def test_an_interrupt_stops_a_result_that_is_being_read(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    threading.Timer(0.3, workspace.interrupt).start()
    with pytest.raises(Interrupted), workspace.connect() as connection:
        for _ in stream(connection, "SELECT hash(i) AS h FROM range(100000000000) AS a(i)"):
            pass


def test_an_interrupted_workspace_starts_nothing_any_more(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.interrupt()
    with pytest.raises(Interrupted), workspace.connect():
        pass


def test_too_little_memory_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory, match="memory limit"), Workspace(tmp_path, memory_mb=20).connect() as connection:
        connection.execute("SELECT list(i || 'text that takes up room') FROM range(5000000) AS r(i)").fetchall()


def test_a_full_disk_is_a_transient_error_wherever_it_shows(tmp_path: Path) -> None:
    with pytest.raises(DiskFull), Workspace(tmp_path).connect() as connection:
        write_query(connection, "SELECT i FROM range(100000) AS r(i)", Path("/dev/full"))
    for error in (
        OSError(errno.ENOSPC, "No space left on device"),
        duckdb.IOException("Could not write file: No space left on device"),
        duckdb.OutOfMemoryException("failed to offload data block, max_temp_directory_size reached"),
    ):
        with pytest.raises(TransientEngineError), engine_errors():
            raise error


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(FileNotFoundError), engine_errors():
        raise FileNotFoundError("gone")
    with pytest.raises(duckdb.BinderException), engine_errors():
        raise duckdb.BinderException("no such column")


def test_spilled_data_is_gone_when_the_connection_is(tmp_path: Path) -> None:
    scratch = tmp_path / "with 'quotes' and [brackets]"
    with Workspace(scratch, memory_mb=30, threads=1).connect() as connection:
        connection.execute("CREATE TEMP TABLE t AS SELECT i, hash(i) AS h FROM range(5000000) AS r(i)").fetchall()
        assert any(scratch.iterdir())
    assert list(scratch.iterdir()) == []
