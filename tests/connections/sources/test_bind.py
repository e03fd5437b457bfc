"""Which @ is a parameter of an SQL text, and which is something else."""

from __future__ import annotations

import pytest

from connections.sources.base import MisconfiguredSourceError
from connections.sources.postgres import bind

VALUES = {"day": "2024-01-31", "x": "it's", "größe": "L"}


def literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def bound(text: str) -> str:
    return " ".join(bind.query(text, VALUES, literal).text.split())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("SELECT @x", "SELECT 'it''s'"),
        ("a > @day AND b = @x", "a > '2024-01-31' AND b = 'it''s'"),
        ("a=@x AND b>=@day OR c<>@day", "a= 'it''s' AND b>= '2024-01-31' OR c<> '2024-01-31'"),
        ("(@day)::date, f(@x,@x)", "( '2024-01-31' )::date, f( 'it''s' , 'it''s' )"),
        ("größe = @größe", "größe = 'L'"),
    ],
)
def test_a_parameter_becomes_a_literal(text: str, wanted: str) -> None:
    assert bound(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "SELECT '@x', 'it''s @x', '\\'",
        "SELECT E'\\' @x', e'a''\\\\'",
        "SELECT E'a'\n  -- more\n 'b\\' @x'",
        'SELECT "@x", "a""@x"',
        "SELECT $$ @x $$, $tag$ @x $$ @x $tag$, a$b$c",
        "SELECT 1 -- @x\n, 2",
        "SELECT 1 /* @x /* @x */ @x */ + 2",
        "tags @> '{a}' AND tags <@ other AND tags <@other",
        "doc @@ q AND doc @@q AND path @? '$.a' AND point @-@ x AND a ^@b",
        "@ -5, 'a' @ b, 100 % 7",
        "€E'a\\', @",
        "U&'d\\0061t @x', N'@x', B'1'",
    ],
)
def test_what_is_no_parameter_stays_as_it_is(text: str) -> None:
    assert bound(text) == " ".join(text.split())


def test_a_value_is_never_part_of_the_text() -> None:
    hostile = {"x": "'; DROP TABLE a; -- @x $$ /* \\"}
    made = bind.query("SELECT @x, 'y', @x", hostile, literal).text
    assert made.count(literal(hostile["x"])) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT @dya", "uses @dya, which is no parameter of the sync; those are @day, @größe, @x"),
        ("SELECT 'a", r"a quote is not closed \(line 1, character 8 of the query\)"),
        ("SELECT 1,\n E'a\\'", r"a quote is not closed \(line 2, character 2 of the query\)"),
        ("SELECT $a$ x $$", r"a \$a\$ is not closed"),
        ("SELECT 1 /* a /* b */", r"a /\* is not closed"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(MisconfiguredSourceError, match=message):
        bind.query(text, VALUES, literal)


@pytest.mark.parametrize(
    "condition",
    [
        "1=1) UNION SELECT * FROM secrets --",
        "1=1) UNION SELECT * FROM secrets WHERE (1=1",
        "true; DROP TABLE a",
        "(true",
        "'a' = 'a",
        "true /* (",
        "true) OR (true",
    ],
)
def test_a_filter_is_one_condition(condition: str) -> None:
    with pytest.raises(MisconfiguredSourceError, match="no single condition|is not closed"):
        bind.filtered("SELECT 1", "a", condition, {}, literal)


def test_parentheses_in_texts_and_comments_do_not_count() -> None:
    made = bind.filtered("SELECT 1", '"a"', "b = ')' AND c <> '(;' -- )", {}, literal)
    assert made.text == "SELECT * FROM (SELECT 1) AS \"a\" WHERE (b = ')' AND c <> '(;' -- )\n)"


def test_places_are_those_of_the_text_that_was_written() -> None:
    made = bind.filtered("SELECT 1", "a", "b = @day\n  AND nope = @x AND", VALUES, literal)
    assert made.place(made.text.index("nope")) == " (line 2, character 7 of the filter)"
    assert made.place(made.text.index("'it''s'")) == " (line 2, character 14 of the filter)"
    assert made.place(made.text.index("AND", made.text.index("it"))) == " (line 2, character 17 of the filter)"
    assert made.place(len(made.text) - 1) == " (at the end of the filter)"
    assert made.place(3) == ""
