"""Runs the whole suite: `python -m tests`. First on SQLite, then what differs on PostgreSQL, where a server is there.

With SFSYNC_TEST_SERVICES=required, a missing server is a failure. Arguments go to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg

from tests.environment import TEST_POSTGRES

# One more than the cores: many tests wait for other processes.
PARALLEL = ["-n", "3", "--dist", "worksteal"]
# What becomes of rows, which is the same on any database.
OF_ROWS = ["assignment", "behaviours", "blanks", "collections", "lookups", "semantics", "trouble"]
ON_POSTGRES = [
    "tests/grown",
    "tests/jobs",
    "tests/orgs",
    "tests/connections/test_secrets.py",
    "-m",
    "not slow or grown",
    *(f"--ignore=tests/jobs/test_{each}.py" for each in OF_ROWS),
]


def main(arguments: list[str]) -> int:
    if arguments:
        return _pytest(arguments)
    code = _pytest(PARALLEL)
    if code:
        return code
    missing = _missing_postgres()
    if missing and os.environ.get("SFSYNC_TEST_SERVICES") == "required":
        print(f"PostgreSQL is required here, but: {missing}")
        return 1
    if missing:
        print(f"Not run again on PostgreSQL, because there is no server for tests: {missing}")
        return 0
    return _pytest([*PARALLEL, *ON_POSTGRES], SFSYNC_TESTS_ON="postgres")


def _pytest(arguments: list[str], **environment: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], env={**os.environ, **environment}).returncode


def _missing_postgres() -> str:
    try:
        psycopg.connect(os.environ.get("SFSYNC_TEST_POSTGRES", TEST_POSTGRES), connect_timeout=5).close()
    except psycopg.OperationalError as error:
        return str(error).strip().splitlines()[0]
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
