"""Where what users write is evaluated: DuckDB without files, network, settings or extensions, watched by a clock."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import duckdb

from syncs.engine.sql import literal

Settings = dict[str, str | bool | int | float | list[str]]

# Seconds that one portion of rows may take, and that all of them may.
LONGEST_PORTION = 30.0
LONGEST_RUN = 3600.0
# Seconds that a look at an expression may take, which sees one row.
LONGEST_CHECK = 5.0

# The other optimizers move expressions to where a TRY no longer holds them.
_OPTIMIZERS = ("expression_rewriter", "in_clause", "unused_columns", "column_lifetime", "regex_range")


class TakesTooLong(Exception):
    """The clock stopped a query."""


def sealed_settings(memory_mb: int, threads: int) -> Settings:
    """Settings of a connection that reaches nothing but the tables it is given."""
    return {
        "memory_limit": f"{memory_mb}MB",
        "threads": threads,
        "enable_external_access": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "python_enable_replacements": False,
        "preserve_insertion_order": True,
        "max_expression_depth": 500,
        # Streams of rows need no room on a disk; what would need it does not fit.
        "temp_directory": "",
        "max_temp_directory_size": "0KB",
    }


def seal(connection: duckdb.DuckDBPyConnection, time_zone: str) -> None:
    """Set the time zone, and close the door behind it. Raises `duckdb.Error` for a time zone there is not."""
    names = [name for (name,) in connection.execute("SELECT * FROM duckdb_optimizers()").fetchall()]
    disabled = ",".join(name for name in names if name not in _OPTIMIZERS)
    connection.execute("SET enable_progress_bar = false")
    connection.execute(f"SET disabled_optimizers = '{disabled}'")
    connection.execute(f"SET TimeZone = {literal(time_zone)}")
    connection.execute("SET lock_configuration = true")


@contextlib.contextmanager
def sealed_connection(time_zone: str = "UTC") -> Iterator[duckdb.DuckDBPyConnection]:
    """A sealed connection for a look at an expression; see `Workspace.connect` for the rows of a job."""
    with duckdb.connect(":memory:", config=sealed_settings(64, 1)) as connection:
        seal(connection, time_zone)
        yield connection


@contextlib.contextmanager
def stopped_after(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Interrupt what the connection runs when the block takes longer than this. Raises `TakesTooLong` then."""
    late = threading.Event()
    over = threading.Event()

    def watch() -> None:
        if over.wait(seconds):
            return
        late.set()
        # Between two statements there is nothing to interrupt, so it is said until the block ends.
        while not over.is_set():
            connection.interrupt()
            over.wait(0.2)

    thread = threading.Thread(target=watch, daemon=True, name="sfsync-expression-clock")
    thread.start()
    try:
        yield
    except duckdb.Error as error:
        if late.is_set():
            raise TakesTooLong from error
        raise
    finally:
        over.set()
        thread.join()
    if late.is_set():
        raise TakesTooLong
