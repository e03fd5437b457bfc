"""Tables and queries of a PostgreSQL database, streamed by COPY."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, ClassVar

import psycopg
from psycopg import errors, pq, sql

from connections.declare import SettingsError, setting
from connections.sources.arrow_csv import batches
from connections.sources.base import (
    MalformedRow,
    MisconfiguredSourceError,
    Reading,
    Selection,
    Source,
    Table,
    checked_columns,
)
from connections.sources.postgres import bind
from connections.sources.postgres.errors import login_error, query_error

KIND = "postgres"
LABEL = "PostgreSQL"

AddressPolicy = Callable[[str, int], None]

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_PIECE_BYTES = 2 * 1024 * 1024
_CONNECT_SECONDS = 10

_PART = re.compile(r'"(?:[^"]|"")+"|[^".]+')
_TABLE_NAME = re.compile(rf"(?:{_PART.pattern})(?:\.(?:{_PART.pattern}))?")

# Values as text must not depend on how the server or the role is set up.
_SESSION = """
SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'iso_8601';
SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; SET LOCAL standard_conforming_strings = on;
SET LOCAL statement_timeout = {}
"""

_TABLES = """
SELECT n.nspname, c.relname, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%'
  AND n.nspname NOT LIKE 'pg_temp_%'
  AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
GROUP BY 1, 2 ORDER BY 1, 2
"""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to reach one PostgreSQL database."""

    host: str = setting("Host", address=True)
    database: str = setting("Database")
    user: str = setting("User", help="Best one that may only read.")
    password: str = setting("Password", secret=True, default="")
    port: int = setting("Port", address=True, default=5432)
    sslmode: str = setting(
        "SSL mode",
        help="How the connection is encrypted, and whose certificate is trusted.",
        choices=[(mode, mode) for mode in _SSL_MODES],
        address=True,
        default="prefer",
    )
    time_limit: int = setting("Time limit", help="Seconds that one query may take.", default=600)

    def __post_init__(self) -> None:
        odd = any(character in self.host for character in ", '\\")
        # A host that begins like this is a socket of this server.
        if not self.host.strip() or odd or self.host.startswith(("/", "@")):
            raise SettingsError(f"The host '{self.host}' is not one host name or address.")
        if not 1 <= self.port <= 65535:
            raise SettingsError(f"The port {self.port} is not between 1 and 65535.")
        if self.sslmode not in _SSL_MODES:
            raise SettingsError(f"The SSL mode '{self.sslmode}' is unknown. Use one of {', '.join(_SSL_MODES)}.")
        if not 1 <= self.time_limit <= 86_400:
            raise SettingsError(f"The time limit of {self.time_limit} seconds is not between 1 and 86,400.")


class PostgresSource(Source):
    """Reads one database in read-only transactions.

    address_policy: asked with (host, port) before each connection; raises to forbid.
    """

    filters_itself: ClassVar[bool] = True

    def __init__(self, settings: Settings, *, address_policy: AddressPolicy) -> None:
        self._settings = settings
        self._policy = address_policy
        self._secrets = (settings.password,)

    def check(self) -> list[str]:
        """Connect, and see which server it is and what may be read."""
        with closing(self._connect()) as connection:
            version = connection.info.parameter_status("server_version")
        count = len(self.tables())
        return [
            f"connected to PostgreSQL {version} as {self._settings.user}",
            f"{count} table{'' if count == 1 else 's'} and views may be read",
        ]

    def tables(self) -> list[Table]:
        """The tables and views that the user may read, named as `read` takes them."""
        with closing(self._connect()) as connection:
            try:
                found = connection.execute(_TABLES).fetchall()
            except psycopg.Error as error:
                raise query_error(error, "the list of tables", self._secrets) from None
        return [Table(f"{_quoted(schema)}.{_quoted(name)}", tuple(columns)) for schema, name, columns in found]

    def read(self, selection: Selection) -> Reading:
        """Read a table (`schema.table`, or a table in the search path), filtered, or the result of one SELECT."""
        what = f"the table {selection.table}" if selection.table else "the result of the query"
        name = what[0].upper() + what[1:]
        if not selection.table and not selection.query.strip():
            raise MisconfiguredSourceError("Neither a table nor a query is selected. Give one of them.")
        if selection.query and selection.filter:
            raise MisconfiguredSourceError("A query has its conditions in itself. Move the filter there.")
        connection = self._connect()
        try:
            statement = _statement(selection, connection)
            columns = checked_columns(self._columns(connection, statement, what), name)
        except BaseException:
            connection.close()
            raise
        malformed: list[MalformedRow] = []
        rows = batches(
            self._pieces(connection, statement, what),
            columns,
            malformed,
            name=name,
            # COPY writes a row of one null as a blank line.
            blank_lines_are_rows=True,
        )
        return Reading(columns, rows, malformed, name, on_close=connection.close)

    def _connect(self) -> psycopg.Connection[Any]:
        settings = self._settings
        self._policy(settings.host, settings.port)
        where = f"{settings.host}:{settings.port}, database '{settings.database}'"
        try:
            connection = psycopg.connect(
                host=settings.host,
                port=settings.port,
                dbname=settings.database,
                user=settings.user,
                # Blank is blank: what this server's own user has in its environment or files is nobody else's.
                password=settings.password,
                passfile=os.devnull,
                sslmode=settings.sslmode,
                client_encoding="UTF8",
                application_name="sfsync",
                connect_timeout=_CONNECT_SECONDS,
                # A server that is gone without a word must not hold a worker for ever.
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
            )
        except psycopg.Error as error:
            raise login_error(error, where, self._secrets) from None
        try:
            connection.read_only = True
            connection.execute(sql.SQL(_SESSION).format(sql.Literal(settings.time_limit * 1000)))
        except psycopg.Error as error:
            connection.close()
            raise query_error(error, "its settings", self._secrets) from None
        return connection

    def _columns(self, connection: psycopg.Connection[Any], statement: bind.Statement, what: str) -> tuple[str, ...]:
        """The columns of a statement, which is parsed but not run. Only a single one can be parsed so."""
        started = time.monotonic()
        result = connection.pgconn.prepare(b"", statement.text.encode())
        if result.status == pq.ExecStatus.COMMAND_OK:
            result = connection.pgconn.describe_prepared(b"")
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise self._explained(errors.error_from_result(result, "utf-8"), what, started, statement)
        return tuple((result.fname(number) or b"").decode() for number in range(result.nfields))

    def _pieces(self, connection: psycopg.Connection[Any], statement: bind.Statement, what: str) -> Iterator[bytearray]:
        """The rows as CSV, some megabytes at a time."""
        started = time.monotonic()
        before = "COPY ("
        # The line break ends a comment at the end of the query.
        copy_query = f"{before}{statement.text}\n) TO STDOUT (FORMAT csv)".encode()
        piece = bytearray()
        try:
            with connection.cursor() as cursor, cursor.copy(copy_query) as copy:
                for row in copy:
                    piece += row
                    if len(piece) >= _PIECE_BYTES:
                        yield piece
                        piece = bytearray()
        except psycopg.Error as error:
            raise self._explained(error, what, started, statement, len(before)) from None
        if piece:
            yield piece

    def _explained(
        self, error: psycopg.Error, what: str, started: float, statement: bind.Statement, before: int = 0
    ) -> Exception:
        limit = self._settings.time_limit
        timed_out = limit if time.monotonic() - started >= limit - 0.5 else None
        return query_error(error, what, self._secrets, statement=statement, before=before, timed_out_after=timed_out)


def _quoted(name: str) -> str:
    """A name as it may stand in "schema.table": in double quotes only where it has to be."""
    return f'"{name.replace(chr(34), chr(34) * 2)}"' if "." in name or '"' in name else name


def _name_parts(table: str) -> list[str]:
    """Take `schema.table` apart; a part may stand in double quotes. An empty list when it is no such name."""
    if not _TABLE_NAME.fullmatch(table.strip()):
        return []
    return [part[1:-1].replace('""', '"') if part.startswith('"') else part for part in _PART.findall(table.strip())]


def _statement(selection: Selection, connection: psycopg.Connection[Any]) -> bind.Statement:
    def literal(value: str) -> str:
        return sql.Literal(value).as_string(connection)

    if not selection.table:
        return bind.query(selection.query, selection.parameters, literal)
    parts = _name_parts(selection.table)
    if not parts:
        raise MisconfiguredSourceError(f"'{selection.table}' is not the name of a table. Write it as schema.table.")
    select = sql.SQL("SELECT * FROM {}").format(sql.Identifier(*parts)).as_string(connection)
    if not selection.filter.strip():
        return bind.Statement(select)
    alias = sql.Identifier(parts[-1]).as_string(connection)
    return bind.filtered(select, alias, selection.filter, selection.parameters, literal)
