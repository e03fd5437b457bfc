"""Honest expressions give what they say; attacks are refused, or stopped within their limits."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence

import duckdb
import pytest

from syncs.engine import sealed
from syncs.engine.expressions import ExpressionError, Scope, as_text, check, compile_expression
from syncs.engine.patterns import pattern_steps
from syncs.engine.sealed import TakesTooLong, sealed_connection, stopped_after
from syncs.spec import ColumnSpec

CELLS = {
    "Name": "Anna",
    "Last Name": "O'Hara",
    "price": "12.50",
    "qty": "4",
    "born": "05.01.2024",
    "seen": "2024-07-01 12:00:00",
    "ok": "yes",
    "blank": None,
    "at": "x",
    "NAME2": "first",
    "name2": "second",
}
TYPES = (
    ColumnSpec("price", "number"),
    ColumnSpec("qty", "number"),
    ColumnSpec("born", "date", "%d.%m.%Y"),
    ColumnSpec("seen", "datetime"),
    ColumnSpec("ok", "boolean"),
)
SCOPE = Scope(
    tuple(CELLS),
    TYPES,
    {"region": "EMEA'; DROP", "Size": "3", "empty": ""},
    "Europe/Berlin",
    datetime.datetime(2024, 5, 1, 22, 30, tzinfo=datetime.UTC),
    "orders_2024-05.csv",
)


def value(text: str, scope: Scope = SCOPE) -> str | None:
    """What an expression gives for the row of CELLS."""
    expression = compile_expression(text, scope)
    places = [(f"c_{place}", cell) for place, cell in enumerate(CELLS.values())]
    names = ", ".join(["7::BIGINT AS _row", *(f"${name}::VARCHAR AS {name}" for name, _ in places)])
    uuids = "".join(f", uuid()::VARCHAR AS {name}" for name in expression.uuids)
    with sealed_connection(scope.time_zone) as connection:
        query = f"SELECT {as_text(expression)} FROM (SELECT {names}{uuids})"
        [(found,)] = connection.execute(query, dict(places)).fetchall()
    return found


def mistake(text: str, scope: Scope = SCOPE) -> ExpressionError:
    with pytest.raises(ExpressionError) as raised:
        compile_expression(text, scope)
    return raised.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("upper(Name)", "ANNA"),
        ("name || ' ' || \"Last Name\"", "Anna O'Hara"),
        ("Name || blank", None),
        ("concat(Name, blank, '!')", "Anna!"),
        ("concat_ws(', ', Name, blank, \"at\")", "Anna, x"),
        ('"NAME2" || "name2"', "firstsecond"),
        ("coalesce(blank, nullif(Name, 'Anna'), 'none')", "none"),
        ("split_part(\"Last Name\", '''', 2)", "Hara"),
        ("string_split('a,b,c', ',')[-1]", "c"),
        ("array_to_string([Name, blank, 'z'], ';')", "Anna;z"),
        ("regexp_replace(\"Last Name\", '[^A-Za-z]', '', 'g')", "OHara"),
        ("regexp_extract(seen::VARCHAR, '^([0-9]{4})', 1)", "2024"),
        ("lpad(Name, 6, '.')", "..Anna"),
        ("if(ok, 'y', 'n')", "y"),
        ("CASE Name WHEN 'Anna' THEN 1 ELSE 2 END", "1"),
        ("Name LIKE 'A%' AND Name NOT IN ('x', 'y')", "true"),
        ("substring(Name from 2 for 2)", "nn"),
        ("'ä' || E'\\n' || Name -- @nobody", "ä\nAnna"),
        ("@region", "EMEA'; DROP"),
        ("@size::INTEGER + 1", "4"),
        ("coalesce(@empty, 'was blank')", "was blank"),
        ("'@region'", "@region"),
    ],
)
def test_texts(text: str, expected: str | None) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("price * qty", "50"),
        ("price", "12.5"),
        ("price || ' EUR'", "12.50 EUR"),
        ("CAST(price AS VARCHAR)", "12.50"),
        ("price * qty * (1 - 0.19) * price * price", "6328.125"),
        ("0.1 + 0.2", "0.3"),
        ("price / 3", "4.1666666667"),
        ("round(price / 3, 2)", "4.17"),
        ("round(price, 2)", "12.50"),
        ("floor(-price / 5)", "-3"),
        ("mod(qty, 3) + abs(-1)", "2"),
        ("TRY_CAST(Name AS INTEGER)", None),
        ("TRY(CAST(Name AS DATE))", None),
        ("greatest(price, qty, 100)", "100"),
    ],
)
def test_numbers_are_exact(text: str, expected: str | None) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("born", "2024-01-05"),
        ("born + 1", "2024-01-06"),
        ("born + INTERVAL 1 MONTH", "2024-02-05"),
        ("date_trunc('month', born)", "2024-01-01"),
        ("strftime(born, '%Y/%m')", "2024/01"),
        ("year(born)", "2024"),
        ("extract(month from born)", "1"),
        ("date_diff('day', born, DATE '2024-01-10')", "5"),
        ("born > '2024-01-04'", "true"),
        # Without an offset, in the time zone of the sync; written in UTC.
        ("seen", "2024-07-01 10:00:00.000000Z"),
        ("CAST(seen AS DATE)", "2024-07-01"),
        ("strptime('1.2.2024 10:00', '%d.%m.%Y %H:%M')", "2024-02-01 10:00:00"),
        # Half past midnight in Berlin.
        ("job_started_at()", "2024-05-01 22:30:00.000000Z"),
        ("CAST(job_started_at() AS DATE)", "2024-05-02"),
    ],
)
def test_dates_and_times(text: str, expected: str) -> None:
    assert value(text) == expected


def test_special_functions() -> None:
    assert value("row_number() * 10") == "70"
    assert value("file_name('[0-9]+-[0-9]+')") == "2024-05"
    assert value(r"file_name('_(\d+)')") == "2024"
    assert value("file_name('(?:x)nothing')") is None
    assert value("file_name()") == "orders_2024-05.csv"
    first = value("uuid() || ' ' || uuid()")
    assert first is not None and len(set(first.split())) == 2 and len(first) == 73


@pytest.mark.parametrize(
    ("text", "words", "position"),
    [
        ("upper(Nmae)", "The source has no column 'Nmae'. Did you mean Name?", 7),
        ("'ä' || Lastname", 'Did you mean "Last Name"?', 8),
        ("NamE2", "no column 'NamE2'", 1),
        ("@regoin", "The sync has no parameter 'regoin'. Did you mean @region?", 1),
        ("at || 'x'", "'at' is a word of SQL. The column of that name is written \"at\".", 1),
        ("Name + 1", "+ does not take a text and a number", 6),
        ("Name || upper(price)", "upper() does not take a number", 9),
        ("Name > 3", "Cannot compare a text and a number", 1),
        ("born > 'soon'", "invalid date", 8),
        ("price IN (1, '2', 'x')", "'x' is not a number.", 19),
        ("CASE WHEN ok THEN price ELSE Name END", "Cannot mix a text and a number", 1),
        ("upper(Name", "This bracket is not closed.", 6),
        ("Name)", "No bracket is open", 5),
        ("CASE WHEN ok THEN 1", "ends too early", 19),
        ("upper(Name,,)", "',' does not fit here.", 12),
        ("'abc", "a text begins that has no end", 1),
        ("tirm(Name)", "Did you mean trim()?", 1),
        ("strptime(Name, '%Q')", "format specifier", 1),
        ("regexp_replace(Name, '(', '')", "regular expression cannot be used: missing )", 1),
        ("regexp_replace(Name, 'a', '\\1')", "has no groups", 1),
        ("CAST('x' AS INTEGER)", "'x' is not a number.", 1),
        ("[Name, 'x']", "This gives a list", 1),
        ("  ", "The expression is empty.", 1),
    ],
)
def test_a_mistake_is_shown_where_it_is(text: str, words: str, position: int) -> None:
    error = mistake(text)
    assert words in error.reason
    assert (error.position, error.text) == (position, text) or words.startswith("Cannot mix")
    assert check(text, SCOPE) is not None


def test_a_mistake_has_a_mark_below_it() -> None:
    error = mistake("upper(Name)\n  || lower(Nmae)\n  || 'x'")
    assert error.display() == "  || lower(Nmae)\n           ^^^^"
    error = mistake("Name || " + "'x' || " * 40 + "Nmae")
    line, mark = error.display().splitlines()
    assert line.startswith("...") and line[mark.index("^") :] == "Nmae" and len(mark.strip()) == 4


def test_a_filter_must_be_true_or_false() -> None:
    assert check("price > 5 AND Name <> 'x'", SCOPE, condition=True) is None
    error = check("price", SCOPE, condition=True)
    assert error is not None and "A filter has to be true or false for each row, and this is a number" in error.reason


FORBIDDEN = {
    "files": [
        "read_text('/etc/passwd')",
        "(SELECT content FROM read_text('/etc/passwd'))",
        "Name FROM '/etc/passwd'",
        "Name FROM read_csv('/etc/passwd')",
        "read_blob(Name)",
        "glob('*')",
        "'x' IN (FROM read_text('/etc/passwd'))",
        "parse_path(Name)",
    ],
    "network": ["(FROM 'https://example.org/x.csv')", "http_get('https://example.org')", "read_parquet('s3://a/b')"],
    "settings": [
        "getenv('HOME')",
        "current_setting('memory_limit')",
        "getvariable('x')",
        "version()",
        "current_database()",
        "current_user",
        "pg_typeof(Name)",
        "set_config('a', 'b')",
        "in_search_path('a', 'b')",
        "current_query()",
        "txid_current()",
    ],
    "subqueries": [
        "(SELECT 1)",
        "EXISTS (SELECT 1)",
        "Name IN (SELECT 'x')",
        "Name = ANY (['x'])",
        "Name = ALL (SELECT 1)",
        "ARRAY(SELECT 1)",
        "1 UNION SELECT 2",
        "Name WHERE true",
        "Name LIMIT 1",
        "Name ORDER BY 1",
        "DISTINCT Name",
        "1 INTO x",
    ],
    "statements": [
        "1; DROP TABLE x",
        "Name) FROM (SELECT 1",
        "Name, Name",
        "Name AS x",
        "Name) --",
        "*",
        "COLUMNS(*)",
        "rows.*",
        "#1",
        "DEFAULT",
    ],
    "functions of many rows": [
        "sum(price)",
        "count(*)",
        "string_agg(Name, ',')",
        "row_number() OVER ()",
        "lag(Name) OVER (ORDER BY Name)",
        "count(*) FILTER (WHERE ok)",
        "unnest([1, 2])",
        "generate_subscripts([1], 1)",
    ],
    "states and clocks": [
        "nextval('s')",
        "price // 5",
        "random()",
        "setseed(1)",
        "now()",
        "age(born)",
        "today()",
        "current_timestamp",
        "sleep_ms(100000)",
        "pg_sleep(100)",
        "write_log('x')",
        "error('x')",
        "gen_random_uuid()",
    ],
    "code": [
        "list_transform([1], lambda x: x)",
        "list_filter([1], x -> x > 1)",
        "list_reduce([1], lambda x, y: x + y)",
        "json_serialize_sql('SELECT 1')",
        "json_execute_serialized_sql('{}')",
        "query('SELECT 1')",
        "list_aggregate([1], 'sum')",
        "invoke(1)",
        "cast_to_type(Name, 1)",
    ],
    "names and types": [
        "main.upper(Name)",
        "system.main.upper(Name)",
        "Name.upper()",
        "upper(s := Name)",
        "a.b.c",
        "$1",
        "?",
        "$region",
        "$$text$$",
        "Name::BLOB",
        "Name::JSON",
        "Name::BIT",
        "Name::VARCHAR[]",
        "Name::STRUCT(a INTEGER)",
        "Name::ENUM('a')",
        "Name::UNION(a INTEGER)",
        "{'a': 1}.a",
        "MAP {'a': 1}",
        "x'00'",
        "(Name, price)",
        "Name COLLATE NOCASE",
    ],
}


@pytest.mark.parametrize("text", [text for texts in FORBIDDEN.values() for text in texts])
def test_what_is_not_on_the_list_is_refused(text: str) -> None:
    started = time.monotonic()
    assert mistake(text).reason
    assert time.monotonic() - started < 5


MEMORY = [
    "repeat('x', 4000000000)",
    "lpad(Name, 1000000000, 'x')",
    "rpad(Name, CAST(price AS INTEGER), 'x')",
    "format('{:1000000000d}', 1)",
    "printf('%1000000000s', Name)",
    "range(1000000000)",
    "generate_series(1, 1000000000)",
    "list_resize([1], 1000000000)",
    "array_resize([1], 1000000000)",
    "bar(1, 0, 1, 1000000000)",
    "to_base(1, 2, 1000000000)",
    "strftime(born, '" + "%A" * 100 + "')",
    "replace(Name, 'a', \"Last Name\")",
    "replace(" * 5 + "Name" + (", 'a', '" + "a" * 1500 + "')") * 5,
    "replace(" * 5 + "'a'" + (", 'a', '" + "a" * 1500 + "')") * 5,
    "regexp_replace(" * 12 + "Name" + r", '(.*)', '\1\1\1\1', 'g')" * 12,
    "regexp_replace(Name, '', \"Last Name\", 'g')",
    "array_to_string(string_split(Name, ''), \"Last Name\")",
    "nullif(" * 40 + "Name" + ", 'x')" * 40,
]


@pytest.mark.parametrize("text", MEMORY, ids=lambda text: text[:40])
def test_what_could_make_a_text_without_bound_is_refused(text: str) -> None:
    started = time.monotonic()
    assert mistake(text).reason
    assert time.monotonic() - started < 5


NESTED = {
    "brackets": "(" * 4900 + "1" + ")" * 4900,
    "open brackets": "(" * 9000,
    "lists": "[" * 4900 + "1" + "]" * 4900,
    "NOT": "NOT " * 2400 + "ok",
    "signs": "- " * 4900 + "1",
    "only signs": "- " * 4990,
    "sum": "1" + "+1" * 4900,
    "CASE WHEN": "CASE WHEN " * 400 + "ok" + " THEN 1 END" * 400,
    "CASE in a CASE": "CASE (" * 40 + "Name" + ") WHEN 1 THEN 1 WHEN 2 THEN 2 WHEN 3 THEN 3 END" * 40,
    "CASE CASE": "CASE " * 1900,
    "calls": "upper(" * 1300 + "Name" + ")" * 1300,
    "casts": "Name" + "::TEXT" * 1600,
    "elements": "Name" + "[1]" * 3000,
    "subqueries": "(SELECT " * 40 + "1" + ")" * 40,
    "length": "'" + "x" * 20_000 + "'",
    "terms": "Name" + " || Name" * 1100,
    "IN": "Name IN (" + ", ".join(["'x'"] * 1980) + ") " + "AND ok " * 20,
}


@pytest.mark.parametrize("text", NESTED.values(), ids=NESTED)
def test_deep_and_long_texts_neither_crash_nor_hang_the_parser(text: str) -> None:
    started = time.monotonic()
    check(text, SCOPE)
    assert time.monotonic() - started < 8


@pytest.mark.parametrize("name", [name for name in NESTED if name not in ("IN", "subqueries")])
def test_deep_and_long_texts_are_refused(name: str) -> None:
    assert mistake(NESTED[name]).reason


@pytest.mark.parametrize(
    "pattern", ["(x+x+)+y", "(a|a)*b", "(a?){30}a{30}", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*)*(.*)*x"]
)
def test_patterns_that_are_catastrophes_elsewhere_take_linear_time(pattern: str) -> None:
    expression = compile_expression(f"regexp_matches(Name, '{pattern}')", SCOPE)
    with sealed_connection() as connection, stopped_after(connection, 5):
        connection.execute(f"SELECT {expression.sql} FROM (SELECT $1::VARCHAR AS c_0)", ["a" * 100_000]).fetchall()


@pytest.mark.parametrize(
    "pattern", ["[a-z]{0,900}" * 60, r"(\p{L}{1,200}x){5}", "a" * 1001, ".{1,999}.{1,999}.{1,999}"]
)
def test_patterns_whose_program_is_too_large_are_refused(pattern: str) -> None:
    assert "regular expression" in mistake(f"regexp_matches(Name, '{pattern}')").reason


def test_the_steps_of_a_pattern_are_counted_with_its_repetitions() -> None:
    assert pattern_steps("a{3}") == 3
    assert pattern_steps(r"\d{4}-\d{2}-\d{2}") < 50
    assert pattern_steps("((a{10}){10}){10}") > 1000
    assert pattern_steps("[a-z]{0,900}" * 60) > 50_000


def test_a_pattern_has_to_be_known_before_there_are_rows() -> None:
    for text in ('regexp_matches(Name, "Last Name")', 'Name ~ "at"', 'Name LIKE "at"', "strftime(born, Name)"):
        assert "the same for all rows" in mistake(text).reason
    assert value("regexp_matches(Name, @size)") == "false"


def test_the_connection_is_sealed() -> None:
    statements: Sequence[str] = (
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/sfsync-sealed.csv'",
        "ATTACH '/tmp/sfsync-sealed.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 8",
        "SET enable_external_access = true",
        "SET memory_limit = '10GB'",
        "RESET lock_configuration",
        "SELECT getenv('HOME')",
        "SELECT * FROM values_of_python",
    )
    values_of_python = [1]
    assert values_of_python
    with sealed_connection("Europe/Berlin") as connection:
        for statement in statements:
            with pytest.raises(duckdb.Error):
                connection.execute(statement).fetchall()
        assert connection.execute("SELECT current_setting('TimeZone')").fetchall() == [("Europe/Berlin",)]


def test_the_clock_stops_what_runs_too_long() -> None:
    started = time.monotonic()
    with sealed_connection() as connection:
        with pytest.raises(TakesTooLong), stopped_after(connection, 0.3):
            connection.execute("SELECT count(*) FROM range(100000000000) AS a(i) WHERE hash(i) = 1").fetchall()
        assert connection.execute("SELECT 1").fetchall() == [(1,)]
    assert time.monotonic() - started < 20


def test_a_check_has_a_clock_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncs.engine.expressions.LONGEST_CHECK", 0.0)
    terms = " AND ".join(f"Name <> 'x{place}'" for place in range(400))
    assert "too large to be checked in time" in mistake(terms).reason
    assert sealed.LONGEST_CHECK > 1


def test_text_of_a_parameter_is_never_part_of_the_query() -> None:
    for evil in ("' || read_text('/etc/passwd') || '", "x'; DROP TABLE y; --", "\\", '"', "@Name", "$1"):
        assert value("@p", Scope(tuple(CELLS), parameters={"p": evil})) == evil


def test_a_column_may_be_called_anything() -> None:
    names = ('a"b', "select", "c'd", "x; DROP", "", "ü", "1st", "a.b")
    for name in names:
        quoted = '"' + name.replace('"', '""') + '"'
        if name:
            assert compile_expression(quoted, Scope(names)).columns == (names.index(name),)
