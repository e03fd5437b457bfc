"""The records of the org: one DuckDB table per object, in memory or in a file, and the ids Salesforce would give.

Readers take a cursor each; writes are serialised by one lock and commit as one transaction.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from sandbox.rows.rules import literal, name
from sandbox.schema import Field, ObjectType, Schema

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHECK_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
# Characters 4 to 6 of every id made here: the pod and a reserved character.
POD = "5s0"
MEMORY_LIMIT = "450MB"
# How much a database file may lag behind its log. In memory there is no log, and a checkpoint only costs: at the
# default of 16 MB, a third of the time of a bulk load goes into them.
CHECKPOINT_AFTER = {True: "256MB", False: "1GB"}

_MACROS = f"""
CREATE OR REPLACE MACRO base62(n) AS {literal(BASE62)}[(n % 62) + 1];
CREATE OR REPLACE MACRO is_upper(letter) AS (letter >= 'A' AND letter <= 'Z')::INT;
CREATE OR REPLACE MACRO check_letter(id, p) AS {literal(CHECK_LETTERS)}[1 + is_upper(id[p]) + 2 * is_upper(id[p + 1])
    + 4 * is_upper(id[p + 2]) + 8 * is_upper(id[p + 3]) + 16 * is_upper(id[p + 4])];
CREATE OR REPLACE MACRO sf_id18(id15) AS id15
    || check_letter(id15, 1) || check_letter(id15, 6) || check_letter(id15, 11);
CREATE OR REPLACE MACRO sf_id15(prefix, n) AS prefix || {literal(POD)}
    || base62(n // {62**8}) || base62(n // {62**7}) || base62(n // {62**6}) || base62(n // {62**5})
    || base62(n // {62**4}) || base62(n // {62**3}) || base62(n // {62**2}) || base62(n // 62) || base62(n);
"""


def id18(id15: str) -> str:
    """The 18-character form of a 15-character record id (object reference, "ID field type")."""
    groups = (id15[start : start + 5] for start in (0, 5, 10))
    return id15 + "".join(CHECK_LETTERS[sum(1 << k for k, c in enumerate(g) if "A" <= c <= "Z")] for g in groups)


def make_id(prefix: str, number: int) -> str:
    """The 18-character id of record `number` of the object with key prefix `prefix`."""
    digits = ""
    for _ in range(9):
        number, rest = divmod(number, 62)
        digits = BASE62[rest] + digits
    return id18(prefix + POD + digits)


class Store:
    """All records, jobs and tokens of one org.

    `folder` holds the database file, uploads and results; with `durable` false the database itself stays in memory.
    """

    def __init__(self, schema: Schema, folder: Path, *, durable: bool) -> None:
        self.schema = schema
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        target = str(folder / "org.duckdb") if durable else ":memory:"
        settings: dict[str, Any] = {"threads": 2, "memory_limit": MEMORY_LIMIT}
        settings["temp_directory"] = str(folder / "spill")
        settings["checkpoint_threshold"] = CHECKPOINT_AFTER[durable]
        settings["autoinstall_known_extensions"] = False
        settings["autoload_known_extensions"] = False
        self._database = duckdb.connect(target, config=settings)
        self._database.execute("SET GLOBAL TimeZone = 'UTC'")
        self._lock = threading.RLock()
        self._writing_thread: int | None = None
        self._after_commit: list[Callable[[], None]] = []
        self._writer = self._database.cursor()
        self._writer.execute(_MACROS)
        self._create_tables()

    def close(self) -> None:
        """Close the database; what is committed stays."""
        with self._lock:
            self._writer.close()
            self._database.close()

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor of its own for one reader; inside `writing`, the writer's, which sees what was just written."""
        if self._writing_thread == threading.get_ident():
            yield self._writer
            return
        cursor = self._database.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The one writing cursor, inside a transaction that commits at the end and rolls back on any exception.

        A `writing` inside another one of the same thread joins it: the outer one decides. DuckDB has no savepoints, so
        an exception that left the inner one must leave the outer one too.
        """
        with self._lock:
            if self._writing_thread is not None:
                yield self._writer
                return
            self._after_commit = []
            self._writer.execute("BEGIN")
            self._writing_thread = threading.get_ident()
            try:
                yield self._writer
            except BaseException:
                self._writing_thread = None
                self._writer.execute("ROLLBACK")
                raise
            self._writing_thread = None
            self._writer.execute("COMMIT")
            acts, self._after_commit = self._after_commit, []
            for act in acts:
                act()

    def after_commit(self, act: Callable[[], None]) -> None:
        """Do something once the transaction this thread is in has committed; never when it rolls back."""
        self._after_commit.append(act)

    def rows(self, sql: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows of a small query."""
        with self.reading() as cursor:
            return cursor.execute(sql, parameters or []).fetchall()

    def reserve(self, cursor: duckdb.DuckDBPyConnection, counter: str, count: int = 1) -> int:
        """The first of `count` fresh numbers of `counter`; part of the transaction of `cursor`."""
        found = cursor.execute(
            "UPDATE _counters SET value = value + ? WHERE name = ? RETURNING value", [count, counter]
        ).fetchone()
        if found:
            return int(found[0]) - count
        cursor.execute("INSERT INTO _counters VALUES (?, ?)", [counter, 1 + count])
        return 1

    def get_document(self, kind: str, key: str) -> dict[str, Any] | None:
        """A stored JSON document (a job, a token), or None."""
        found = self.rows("SELECT body FROM _documents WHERE kind = ? AND key = ?", [kind, key])
        return dict(json.loads(found[0][0])) if found else None

    def documents(self, kind: str) -> list[dict[str, Any]]:
        """All JSON documents of a kind in the order in which they were first put."""
        return [
            json.loads(row[0]) for row in self.rows("SELECT body FROM _documents WHERE kind = ? ORDER BY rowid", [kind])
        ]

    def put_document(self, cursor: duckdb.DuckDBPyConnection, kind: str, key: str, body: dict[str, Any]) -> None:
        """Save a JSON document in the transaction of `cursor`."""
        text = json.dumps(body)
        changed = cursor.execute(
            "UPDATE _documents SET body = ? WHERE kind = ? AND key = ?", [text, kind, key]
        ).fetchone()
        if not changed or changed[0] == 0:
            cursor.execute("INSERT INTO _documents VALUES (?, ?, ?)", [kind, key, text])

    def delete_document(self, cursor: duckdb.DuckDBPyConnection, kind: str, key: str) -> None:
        cursor.execute("DELETE FROM _documents WHERE kind = ? AND key = ?", [kind, key])

    def counts(self) -> dict[str, tuple[int, int]]:
        """Per object: records, and records in the recycle bin."""
        parts = [
            f"SELECT {literal(each.name)}, count(*) FILTER (NOT IsDeleted), count(*) FILTER (IsDeleted)"
            f" FROM {name(each.name)}"
            for each in self.schema
        ]
        return {row[0]: (row[1], row[2]) for row in self.rows(" UNION ALL ".join(parts))}

    def empty(self) -> None:
        """Forget every record and job. Tokens and their key stay, and so do the counters: no id is given twice."""
        with self.writing() as cursor:
            for each in self.schema:
                cursor.execute(f"DELETE FROM {name(each.name)}")
                if each.records or each.name == "User":
                    cursor.execute("DELETE FROM _counters WHERE name = ?", [each.name])
            cursor.execute("DELETE FROM _documents WHERE kind NOT IN ('token', 'refresh', 'key')")
            cursor.execute("DELETE FROM _undo")
            _drop_tables(cursor, "_stage_")
            _drop_tables(cursor, "_cursor_")

    def _create_tables(self) -> None:
        with self.writing() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS _counters (name VARCHAR, value BIGINT)")
            cursor.execute("CREATE TABLE IF NOT EXISTS _documents (kind VARCHAR, key VARCHAR, body VARCHAR)")
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS _undo (parent VARCHAR, object VARCHAR, field VARCHAR, id VARCHAR)"
            )
            _drop_tables(cursor, "_cursor_")
            known: dict[str, set[str]] = {}
            for table, column in cursor.execute("SELECT table_name, column_name FROM duckdb_columns()").fetchall():
                known.setdefault(table, set()).add(column)
            for each in self.schema:
                _create_table(cursor, each, known.get(each.name))
            for each in self.schema:
                _create_view(cursor, each)


def _drop_tables(cursor: duckdb.DuckDBPyConnection, prefix: str) -> None:
    found = cursor.execute(
        "SELECT table_name FROM duckdb_tables() WHERE starts_with(table_name, ?)", [prefix]
    ).fetchall()
    for (table,) in found:
        cursor.execute(f"DROP TABLE {name(table)}")


def _create_table(cursor: duckdb.DuckDBPyConnection, each: ObjectType, known: set[str] | None) -> None:
    """Create the table of an object, or add the columns a changed schema file brought."""
    if known is None:
        columns = ", ".join(f"{name(one.name)} {one.sql_type}" for one in each.stored_fields)
        cursor.execute(f"CREATE TABLE {name(each.name)} ({columns})")
    else:
        for one in each.stored_fields:
            if one.name not in known:
                cursor.execute(f"ALTER TABLE {name(each.name)} ADD COLUMN {name(one.name)} {one.sql_type}")


def _create_view(cursor: duckdb.DuckDBPyConnection, each: ObjectType) -> None:
    """Create the view of an object with its formulas; these may read the tables of parents."""
    formulas = "".join(f", {_formula(one)} AS {name(one.name)}" for one in each.fields.values() if one.formula)
    cursor.execute(f"CREATE OR REPLACE VIEW {name('v_' + each.name)} AS SELECT *{formulas} FROM {name(each.name)}")


def _formula(field: Field) -> str:
    return f"({field.formula})"
