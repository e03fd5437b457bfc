"""Generated queries, whose answers are held against SQLite on the same rows: another engine, other case folding."""

from __future__ import annotations

import fnmatch
import random
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sandbox.soql.conftest import Asked

TEXTS = ["a", "A", "ab", "Äb", "äB", "b%", "b_", "it's", '"q"', "back\\slash", "line\nbreak", "日本", "z"]
NUMBERS = ["-2.5", "-1", "0", "0.125", "1", "1.5", "3", "1000000"]
WHOLES = ["-3", "0", "1", "2", "50"]
DAYS = ["1999-12-31", "2000-01-01", "2000-02-29", "2024-05-15", "2024-06-01"]
MOMENTS = ["1999-12-31T23:59:59Z", "2000-01-01T00:00:00Z", "2024-05-15T10:30:00Z", "2024-05-15T10:30:01Z"]
PATTERNS = ["a%", "%B", "_b", "%", "", "b\\%", "b\\_", "%\\%%", "%i%", "日_", "%s_ash", "%\\\\%", "%'%", "%\n%"]
VALUES: dict[str, list[Any]] = {
    "Text__c": TEXTS,
    "Code__c": ["x", "X", "y", "xy"],
    "Number__c": NUMBERS,
    "Whole__c": WHOLES,
    "Flag__c": ["true", "false"],
    "Day__c": DAYS,
    "Moment__c": MOMENTS,
}
FOLDED = ("Text__c", "Name")
GROUPED = ("Text__c", "Code__c", "Whole__c", "Flag__c", "Day__c")
ROWS = 60


@dataclass(frozen=True)
class Both:
    """The same said in SOQL and in SQL."""

    soql: str
    sql: str


@pytest.fixture(scope="module")
def twins(asked: Asked) -> Iterator[tuple[Asked, sqlite3.Connection]]:
    """The sandbox and SQLite with the same rows: `s`, with each row's parent beside it."""
    chance = random.Random(7)
    rows = []
    for number in range(ROWS):
        row = {key: chance.choice([*values, None]) for key, values in VALUES.items()}
        row["Flag__c"] = row["Flag__c"] or "false"
        rows.append({"Name": f"n{number:02}", **row})
    database = sqlite3.connect(":memory:")
    database.create_function("fold", 1, lambda text: None if text is None else text.lower(), deterministic=True)
    database.create_function("matches", 3, _matches, deterministic=True)
    columns = ("Name", *VALUES)
    database.execute(f"CREATE TABLE own (Id, Above, {', '.join(columns)})")
    ids: list[str] = []
    for start in range(0, ROWS, ROWS // 2):
        half = [
            {"attributes": {"type": "Sample__c"}, **row, "Above__c": chance.choice([*ids, None])}
            for row in rows[start : start + ROWS // 2]
        ]
        made = asked.call("POST", "/composite/sobjects", json={"allOrNone": True, "records": half})
        assert made.status_code == 200, made.text
        ids += [each["id"] for each in made.json()]
        for record, each in zip(half, made.json(), strict=True):
            values = [_stored(column, record[column]) for column in columns]
            marks = ", ".join("?" for _ in columns)
            database.execute(f"INSERT INTO own VALUES (?, ?, {marks})", [each["id"], record["Above__c"], *values])
    beside = ", ".join(f"p.{each} AS above_{each}" for each in columns)
    database.execute(f"CREATE VIEW s AS SELECT o.*, {beside} FROM own o LEFT JOIN own p ON p.Id = o.Above")
    yield asked, database
    database.close()


def _stored(column: str, text: str | None) -> Any:
    if text is None:
        return None
    if column in ("Number__c", "Whole__c"):
        return float(text)
    return int(text == "true") if column == "Flag__c" else text


def _matches(text: str | None, pattern: str, folds: int) -> bool:
    """LIKE by another way: the pattern as a shell's, which SQLite and DuckDB know nothing of."""
    if text is None:
        return False
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": "*", "_": "?"}
    shell = "".join(wild.get(each) or f"[{each[-1]}]" for each in parts)
    if folds:
        text, shell = text.lower(), shell.lower()
    return fnmatch.fnmatchcase(text, shell)


def _soql_value(column: str, value: str) -> str:
    if column in ("Text__c", "Code__c", "Name"):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace('"', '\\"').replace("\n", "\\n")
        return f"'{escaped}'"
    return value


def _sql_value(column: str, value: str) -> str:
    if column in ("Number__c", "Whole__c"):
        return value
    if column == "Flag__c":
        return "1" if value == "true" else "0"
    quoted = "'" + value.replace("'", "''") + "'"
    return f"fold({quoted})" if column in FOLDED else quoted


def _sql_column(column: str, above: bool) -> str:
    name = f"above_{column}" if above else column
    return f"fold({name})" if column in FOLDED else name


@st.composite
def comparisons(draw: st.DrawFn) -> Both:
    column = draw(st.sampled_from(list(VALUES)))
    above = draw(st.integers(0, 4)) == 0
    soql, sql = ("Above__r." if above else "") + column, _sql_column(column, above)
    kind = draw(st.sampled_from(["compare", "compare", "null", "in", "like"]))
    if kind == "null":
        operator = draw(st.sampled_from(["=", "!="]))
        return Both(f"{soql} {operator} null", f"{sql} IS {'NOT ' if operator == '!=' else ''}NULL")
    if kind == "like" and column in ("Text__c", "Code__c"):
        pattern = draw(st.sampled_from(PATTERNS))
        shown = pattern.replace("'", "\\'").replace("\n", "\\n")
        quoted = pattern.replace("'", "''")
        name = f"above_{column}" if above else column
        return Both(f"{soql} LIKE '{shown}'", f"matches({name}, '{quoted}', {int(column in FOLDED)})")
    if kind == "in":
        listed = draw(st.lists(st.sampled_from(VALUES[column]), min_size=1, max_size=3))
        word = draw(st.sampled_from(["IN", "NOT IN"]))
        inside = f"coalesce({sql} IN ({', '.join(_sql_value(column, each) for each in listed)}), 0)"
        given_list = ", ".join(_soql_value(column, each) for each in listed)
        return Both(f"{soql} {word} ({given_list})", f"NOT {inside}" if word == "NOT IN" else inside)
    operators = ["=", "!="] if column == "Flag__c" else ["=", "!=", "<", "<=", ">", ">="]
    operator = draw(st.sampled_from(operators))
    value = draw(st.sampled_from(VALUES[column]))
    test = f"coalesce({sql} {'=' if operator == '!=' else operator} {_sql_value(column, value)}, 0)"
    return Both(f"{soql} {operator} {_soql_value(column, value)}", f"NOT {test}" if operator == "!=" else test)


def _joined(parts: list[Both], word: str) -> Both:
    soql = f" {word} ".join(part.soql for part in parts)
    return Both(f"({soql})", "(" + f" {word} ".join(f"({part.sql})" for part in parts) + ")")


conditions: st.SearchStrategy[Both] = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.builds(_joined, st.lists(inner, min_size=2, max_size=3), st.sampled_from(["AND", "OR"])),
        st.builds(lambda one: Both(f"(NOT {one.soql})", f"(NOT ({one.sql}))"), inner),
    ),
    max_leaves=6,
)


@st.composite
def orders(draw: st.DrawFn) -> Both:
    entries = draw(st.lists(st.sampled_from(list(VALUES)), max_size=3, unique=True))
    soql, sql = [], []
    for column in entries:
        direction = draw(st.sampled_from(["", " ASC", " DESC"]))
        nulls = draw(st.sampled_from(["", " NULLS FIRST", " NULLS LAST"]))
        soql.append(column + direction + nulls)
        sql.append(f"{_sql_column(column, False)}{direction}{nulls or ' NULLS FIRST'}")
    return Both(", ".join([*soql, "Name"]), ", ".join([*sql, "Name"]))


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(where=conditions, order=orders(), limit=st.integers(0, ROWS), offset=st.integers(0, 5))
def test_generated_queries_are_answered_as_another_engine_answers(
    twins: tuple[Asked, sqlite3.Connection], where: Both, order: Both, limit: int, offset: int
) -> None:
    asked, database = twins
    soql = f"SELECT Name FROM Sample__c WHERE {where.soql} ORDER BY {order.soql} LIMIT {limit} OFFSET {offset}"
    sql = f"SELECT Name FROM s WHERE {where.sql} ORDER BY {order.sql} LIMIT {limit} OFFSET {offset}"
    assert asked.ask(soql) == [row[0] for row in database.execute(sql)]


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    where=conditions,
    keys=st.lists(st.sampled_from(GROUPED), min_size=1, max_size=2, unique=True),
    least=st.integers(1, 3),
)
def test_generated_groups_are_as_another_engine_groups(
    twins: tuple[Asked, sqlite3.Connection], where: Both, keys: list[str], least: int
) -> None:
    asked, database = twins
    named, by = ", ".join(keys), ", ".join(_sql_column(each, False) for each in keys)
    soql = (
        f"SELECT {named}, COUNT(Id), COUNT(Text__c), COUNT_DISTINCT(Text__c), SUM(Number__c), MAX(Day__c),"
        f" MIN(Whole__c) FROM Sample__c WHERE {where.soql} GROUP BY {named} HAVING COUNT(Id) >= {least}"
    )
    shown = ", ".join(f"min({each})" for each in keys)
    sql = (
        f"SELECT {shown}, count(*), count(Text__c), count(DISTINCT fold(Text__c)), sum(Number__c), max(Day__c),"
        f" min(Whole__c) FROM s WHERE {where.sql} GROUP BY {by} HAVING count(*) >= {least}"
    )
    found = asked.ask(soql)
    assert isinstance(found, list), found
    assert _comparable(found) == _comparable(database.execute(sql).fetchall())


def _comparable(rows: list[Any]) -> list[str]:
    """Rows in an order of their own, with numbers that look alike when they are equal."""
    return sorted(
        repr([str(Decimal(str(float(each))).normalize()) if isinstance(each, int | float) else each for each in row])
        for row in rows
    )
