"""What the PostgreSQL source does beyond the contract."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import sql

from connections.declare import SettingsError
from connections.sources.base import (
    MisconfiguredSourceError,
    PermanentSourceError,
    Selection,
    SourceError,
    TransientSourceError,
)
from connections.sources.postgres.source import PostgresSource, Settings
from tests.connections.sources import postgres

Schema = tuple[psycopg.Connection[Any], str]


@pytest.fixture
def schema() -> Iterator[Schema]:
    with postgres.schema() as made:
        yield made


def rows_of(query: str, **changes: Any) -> list[tuple[object, ...]]:
    with postgres.source(**changes).read(Selection(query=query)) as reading:
        return [
            tuple(row[column] for column in reading.columns) for batch in reading.batches for row in batch.to_pylist()
        ]


def test_values_do_not_depend_on_the_settings_of_the_role(schema: Schema) -> None:
    connection, name = schema
    role = f"{name}_role"
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(sql.Identifier(role)))
    try:
        for setting, value in (
            ("TimeZone", "Asia/Tokyo"),
            ("DateStyle", "German, DMY"),
            ("IntervalStyle", "sql_standard"),
            ("bytea_output", "escape"),
            ("extra_float_digits", "0"),
            ("client_encoding", "LATIN1"),
        ):
            connection.execute(
                sql.SQL("ALTER ROLE {} SET {} = {}").format(
                    sql.Identifier(role), sql.Identifier(setting), sql.Literal(value)
                )
            )
        query = """SELECT timestamptz '2024-01-31 12:00+02', date '2024-01-31' AS d, interval '1 day 2 hours' AS i,
            '\\x00ff'::bytea AS b, 0.1::float8 + 0.2::float8 AS f, true AS t, 'Zoë €' AS z"""
        assert rows_of(query, user=role) == [
            ("2024-01-31 10:00:00+00", "2024-01-31", "P1DT2H", "\\x00ff", "0.30000000000000004", "t", "Zoë €")
        ]
    finally:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_a_row_of_one_null_is_a_row(schema: Schema) -> None:
    assert rows_of("SELECT nullif(i, 2) AS i FROM generate_series(1, 3) i") == [("1",), (None,), ("3",)]
    assert rows_of("SELECT null::text AS i") == [(None,)]


def test_a_query_may_end_in_a_semicolon_or_a_comment(schema: Schema) -> None:
    assert rows_of("SELECT 1 AS a ; \n") == [("1",)]
    assert rows_of("SELECT 1 AS a -- one") == [("1",)]
    assert rows_of("WITH x AS (VALUES (1), (2)) SELECT * FROM x") == [("1",), ("2",)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1; DROP TABLE {0}.victim",
        "SELECT 1) TO STDOUT; DROP TABLE {0}.victim; COPY (SELECT 1",
        "SELECT 1); COMMIT; DROP TABLE {0}.victim; --",
        "DELETE FROM {0}.victim RETURNING 1",
        "WITH gone AS (DELETE FROM {0}.victim RETURNING a) SELECT * FROM gone",
        "DROP TABLE {0}.victim",
        "COMMIT",
        "SELECT 1 AS a INTO {0}.made",
    ],
)
def test_only_one_statement_that_only_reads_is_run(schema: Schema, query: str) -> None:
    connection, name = schema
    connection.execute(sql.SQL("CREATE TABLE {} AS SELECT 1 AS a").format(sql.Identifier(name, "victim")))
    with pytest.raises(MisconfiguredSourceError):
        rows_of(query.format(name))
    found = connection.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", [name]
    ).fetchall()
    assert found == [("victim",)]
    count = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name, "victim"))).fetchone()
    assert count == (1,)


def test_a_mistake_in_a_query_is_told_with_its_place(schema: Schema) -> None:
    with pytest.raises(
        MisconfiguredSourceError, match=r'column "nope" does not exist \(line 2, character 3 of the query\)'
    ):
        rows_of("SELECT relname,\n  nope FROM pg_class")
    with pytest.raises(MisconfiguredSourceError, match=r'relation "gone" does not exist \(line 1'):
        rows_of("SELECT * FROM gone")
    with pytest.raises(MisconfiguredSourceError, match="two columns named 'a'"):
        rows_of("SELECT 1 AS a, 2 AS a")
    with pytest.raises(PermanentSourceError, match="division by zero"):
        rows_of("SELECT 1 / (3 - i) AS a FROM generate_series(1, 5) i")


def test_a_missing_table_and_names_that_are_none_are_told(schema: Schema) -> None:
    with pytest.raises(MisconfiguredSourceError, match=r"the table public\.Gone: relation .* does not exist"):
        postgres.source().read(Selection(table="public.Gone"))
    for table in ("a.b.c", "a.", ".b", '"a', "x;y.z.q"):
        with pytest.raises(MisconfiguredSourceError):
            postgres.source().read(Selection(table=table))
    with pytest.raises(MisconfiguredSourceError, match="Neither a table nor a query"):
        postgres.source().read(Selection())


def test_table_names_with_odd_characters_are_read_as_they_are_listed(schema: Schema) -> None:
    connection, name = schema
    for odd in ("Mixed Case", "we.ird", 'quo"te', "drop;--"):
        connection.execute(sql.SQL("CREATE TABLE {} AS SELECT 1 AS a").format(sql.Identifier(name, odd)))
    source = postgres.source()
    listed = [table for table in source.tables() if table.name.startswith(name)]
    assert len(listed) == 4
    for table in listed:
        with source.read(Selection(table=table.name)) as reading:
            assert sum(batch.num_rows for batch in reading.batches) == 1


def test_a_query_beyond_its_time_limit_is_stopped(schema: Schema) -> None:
    with pytest.raises(PermanentSourceError, match="longer than the time limit of 1 seconds"):
        rows_of("SELECT pg_sleep(20)", time_limit=1)


def _kill_when_running(connection: psycopg.Connection[Any], marker: str, function: str) -> None:
    for _ in range(200):
        found = connection.execute(
            sql.SQL(
                "SELECT {}(pid) FROM pg_stat_activity "
                "WHERE query LIKE {} AND pid <> pg_backend_pid() AND state = 'active'"
            ).format(sql.SQL(function), sql.Literal(f"COPY%{marker}%"))  # type: ignore[arg-type]
        ).fetchall()
        if found:
            return
        time.sleep(0.05)


@pytest.mark.parametrize("function", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_query_that_the_server_stops_may_be_tried_again(schema: Schema, function: str) -> None:
    connection, name = schema
    killer = threading.Thread(target=_kill_when_running, args=(connection, name, function))
    killer.start()
    try:
        with pytest.raises(TransientSourceError, match="cannot read the result of the query"):
            rows_of(f"SELECT '{name}' AS n, pg_sleep(20)")
    finally:
        killer.join()


def test_closing_early_stops_the_query_on_the_server(schema: Schema) -> None:
    connection, name = schema
    reading = postgres.source().read(Selection(query=f"SELECT '{name}' AS n, generate_series(1, 1000000000) AS i"))
    next(reading.batches)
    started = time.monotonic()
    reading.close()
    assert time.monotonic() - started < 5
    left = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND pid <> pg_backend_pid() AND state = 'active'",
        [f"%{name}%"],
    ).fetchone()
    assert left == (0,)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"database": "no_such_database"}, MisconfiguredSourceError, "no_such_database"),
        ({"user": "no_such_user"}, MisconfiguredSourceError, "refused the login"),
        ({"host": "127.0.0.1", "port": 1}, TransientSourceError, "127.0.0.1:1.* cannot be reached"),
        ({"host": "host.invalid"}, TransientSourceError, "host.invalid"),
        ({"database": "host=127.0.0.1 port=1"}, MisconfiguredSourceError, "refused the login"),
    ],
)
def test_a_failed_connection_is_told_without_the_password(
    schema: Schema, changes: dict[str, Any], kind: type[SourceError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        postgres.source(password="s3cr3t-planted", **changes).check()
    assert "s3cr3t-planted" not in f"{caught.value!r}{caught.value.__cause__!r}{caught.value.__context__!r}"


@contextmanager
def refusing_server(message: str) -> Iterator[int]:
    """A server that asks for a password and then ends with an error; yields its port."""

    def serve() -> None:
        for _ in range(2):
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                while (head := connection.recv(4096)) and len(head) == 8:
                    connection.sendall(b"N")  # no SSL, no GSS
                connection.sendall(b"R" + struct.pack("!ii", 8, 3))  # AuthenticationCleartextPassword
                connection.recv(4096)
                fields = b"SFATAL\0C28P01\0M" + message.encode() + b"\0\0"
                connection.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ('password authentication failed for user "u"', MisconfiguredSourceError),
        ("Passwort-Authentifizierung für Benutzer »u« fehlgeschlagen", MisconfiguredSourceError),
        ("sorry, too many clients already", TransientSourceError),
        ("the database system is starting up", TransientSourceError),
    ],
)
def test_a_refused_password_is_told_from_a_busy_server(message: str, kind: type[SourceError]) -> None:
    with refusing_server(message) as port:
        settings = Settings(host="127.0.0.1", port=port, database="d", user="u", password="s3cr3t-planted")
        with pytest.raises(kind) as caught:
            PostgresSource(settings, address_policy=lambda host, port: None).check()
    assert message in str(caught.value)
    assert "s3cr3t-planted" not in str(caught.value)


def test_the_address_policy_is_asked_before_connecting() -> None:
    class Forbidden(Exception):
        pass

    def policy(host: str, port: int) -> None:
        raise Forbidden(f"{host}:{port}")

    settings = Settings(host="10.0.0.1", database="d", user="u")
    source = PostgresSource(settings, address_policy=policy)
    for call in (source.check, source.tables, lambda: source.read(Selection(table="a"))):
        with pytest.raises(Forbidden, match=r"10\.0\.0\.1:5432"):
            call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"host": "good,evil"}, "host 'good,evil' is not one"),
        ({"host": ""}, "host"),
        ({"port": 0}, "port 0"),
        ({"sslmode": "maybe"}, "SSL mode 'maybe'"),
        ({"time_limit": 0}, "time limit of 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings(**{"host": "h", "database": "d", "user": "u", **change})


def test_the_password_is_not_in_the_repr_of_the_settings() -> None:
    assert "s3cr3t" not in repr(Settings(host="h", database="d", user="u", password="s3cr3t"))


@pytest.fixture
def people(schema: Schema) -> str:
    """The name of a table of three people."""
    connection, name = schema
    connection.execute(
        sql.SQL(
            "CREATE TABLE {} AS SELECT * FROM (VALUES (1, 'Ann', '100%', date '2024-01-31'), (2, 'O''Hara', 'b\\c', "
            "date '2024-02-01'), (3, 'Zoë', '@x', date '2024-03-01')) AS v(id, name, note, born)"
        ).format(sql.Identifier(name, "people"))
    )
    return f"{name}.people"


def names_of(table: str, condition: str, parameters: dict[str, str] | None = None) -> list[object]:
    with postgres.source().read(Selection(table=table, filter=condition, parameters=parameters or {})) as reading:
        return [row["name"] for batch in reading.batches for row in batch.to_pylist()]


@pytest.mark.parametrize(
    ("condition", "parameters", "wanted"),
    [
        ("id > 1", {}, ["O'Hara", "Zoë"]),
        ("people.id = 2 -- the second", {}, ["O'Hara"]),
        ("name = @who", {"who": "O'Hara"}, ["O'Hara"]),
        ("note = @note", {"note": "b\\c"}, ["O'Hara"]),
        ("note LIKE '%\\%' AND id % 2 = 1", {}, ["Ann"]),
        ("born >= @since AND id=@id", {"since": "2024-02-01", "id": "3"}, ["Zoë"]),
        ("ARRAY[id] <@ ARRAY[1, 3] AND note = '@x'", {}, ["Zoë"]),
        ("name = @who", {"who": "' OR 1=1 --"}, []),
        ("   ", {}, ["Ann", "O'Hara", "Zoë"]),
    ],
)
def test_a_filter_leaves_the_rows_that_meet_it(
    people: str, condition: str, parameters: dict[str, str], wanted: list[object]
) -> None:
    assert names_of(people, condition, parameters) == wanted


def test_a_query_takes_parameters(people: str) -> None:
    selection = Selection(
        query=f"SELECT name, @who AS who FROM {people} WHERE id > @id", parameters={"id": "2", "who": "me"}
    )
    with postgres.source().read(selection) as reading:
        assert [batch.to_pylist() for batch in reading.batches] == [[{"name": "Zoë", "who": "me", "_row": 1}]]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("id > 1\n AND nope = @id", r'column "nope" does not exist \(line 2, character 6 of the filter\)'),
        ("id = @id AND\n born", r"must be type boolean, not type date \(line 2, character 2 of"),
        ("born = @word", r'"O.Hara" \(line 1, character 8 of the filter\)'),
        ("id =", r"syntax error at or near \"\)\" \(at the end of the filter\)"),
        ("id = @ids", "uses @ids, which is no parameter of the sync; those are @id, @word"),
        ("true) UNION SELECT 1, 'x', 'x', now() -- ", r"too many \(line 1, character 5 of the filter\)"),
    ],
)
def test_a_mistake_in_a_filter_is_told_with_its_place_in_the_filter(people: str, condition: str, message: str) -> None:
    with pytest.raises((MisconfiguredSourceError, PermanentSourceError), match=message):
        names_of(people, condition, {"id": "1", "word": "O'Hara"})


def test_a_mistake_behind_a_parameter_is_told_with_its_place_in_the_query(people: str) -> None:
    selection = Selection(query=f"SELECT @long AS a,\n nope FROM {people}", parameters={"long": "x" * 100})
    with pytest.raises(MisconfiguredSourceError, match=r"\(line 2, character 2 of the query\)"):
        postgres.source().read(selection)


def test_a_query_takes_no_filter_of_its_own(people: str) -> None:
    with pytest.raises(MisconfiguredSourceError, match="Move the filter there"):
        postgres.source().read(Selection(query="SELECT 1 AS a", filter="a = 1"))


def test_backslashes_mean_the_same_whatever_the_role_says(people: str, schema: Schema) -> None:
    connection, name = schema
    role = f"{name}_old"
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(sql.Identifier(role)))
    try:
        connection.execute(sql.SQL("ALTER ROLE {} SET standard_conforming_strings = off").format(sql.Identifier(role)))
        selection = Selection(query="SELECT '\\' AS a, @x AS b, '\\' AS c", parameters={"x": "\\', 1 AS d --"})
        with postgres.source(user=role).read(selection) as reading:
            assert next(iter(reading.batches)).to_pylist() == [{"a": "\\", "b": "\\', 1 AS d --", "c": "\\", "_row": 1}]
    finally:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_columns_are_told_before_the_values_of_parameters_are_known(people: str) -> None:
    unknown: dict[str, str | None] = {"since": None}
    for selection in (
        Selection(query=f"SELECT name, @since AS s FROM {people} WHERE born >= @since", parameters=unknown),
        Selection(table=people, filter="born >= @since AND id % 2 = 0", parameters=unknown),
    ):
        with postgres.source().read(selection) as reading:
            assert "name" in reading.columns
