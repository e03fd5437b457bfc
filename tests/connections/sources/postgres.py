"""A PostgreSQL server for tests, and tables in it that go away again."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import conninfo, sql

from connections.sources.postgres.source import PostgresSource, Settings
from tests.environment import TEST_POSTGRES


def server() -> dict[str, Any]:
    """Connection parameters of the server, from SFSYNC_TEST_POSTGRES."""
    return conninfo.conninfo_to_dict(os.environ.get("SFSYNC_TEST_POSTGRES", TEST_POSTGRES))


@contextmanager
def schema() -> Iterator[tuple[psycopg.Connection[Any], str]]:
    """An open connection in autocommit, and the name of a new schema that is dropped at the end.

    Skips the test when no server is there, unless SFSYNC_TEST_SERVICES says that one is required.
    """
    try:
        connection = psycopg.connect(**{**server(), "connect_timeout": 3}, autocommit=True)
    except psycopg.OperationalError as error:
        if os.environ.get("SFSYNC_TEST_SERVICES") == "required":
            raise
        pytest.skip(f"no PostgreSQL server for tests (SFSYNC_TEST_POSTGRES): {error}")
    name = f"sfsync_test_{uuid.uuid4().hex[:12]}"
    with connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        try:
            yield connection, name
        finally:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


def source(**changes: Any) -> PostgresSource:
    """The server as a source; `changes` go over its settings."""
    found = server()
    settings = {
        "host": str(found.get("host", "127.0.0.1")),
        "port": int(found.get("port", 5432)),
        "database": str(found.get("dbname", "test")),
        "user": str(found.get("user", "postgres")),
        "password": str(found.get("password", "")),
        **changes,
    }
    return PostgresSource(Settings(**settings), address_policy=lambda host, port: None)
