"""Rules: what they mean, value by value."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from syncs.engine import conditions
from syncs.engine.conditions import Sides
from syncs.engine.sql import literal
from syncs.spec import ColumnSpec

from .factories import field, make_describe

COLUMNS = (
    ColumnSpec("count", "number"),
    ColumnSpec("day", "date", "%d.%m.%Y"),
    ColumnSpec("seen", "datetime"),
    ColumnSpec("active", "boolean"),
)
DESCRIBE = make_describe(field("Name"), field("Amount__c", "double", precision=18, scale=2), field("On__c", "date"))


def holds(rule: dict[str, Any], source: dict[str, str | None], target: dict[str, str | None] | None = None) -> bool:
    sides = Sides(
        source=lambda name: f"{literal(source[name])}::VARCHAR",
        columns=COLUMNS,
        target=lambda name: f"{literal((target or {})[name])}::VARCHAR",
        describe=DESCRIBE,
        parameters={"least": "5"},
        time_zone="Europe/Berlin",
    )
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        [(answer,)] = connection.execute(f"SELECT {conditions.to_sql(rule, sides)}").fetchall()
    assert answer is not None
    return bool(answer)


def rule(left: dict[str, Any], operator: str, right: Any = None) -> dict[str, Any]:
    return {"left": left, "operator": operator} | ({} if right is None else {"right": right})


@pytest.mark.parametrize(
    ("cell", "operator", "value", "met"),
    [
        ("Won", "=", "won", True),
        ("Won", "!=", "won", False),
        ("Won", "!=", "lost", True),
        (None, "!=", "won", True),
        (None, "=", "", True),
        ("closed WON", "contains", "won", True),
        (None, "contains", "won", False),
        ("b", ">", "A", True),
        ("10", ">", "9", True),
        ("10", "<", "9", False),
        ("ten", ">", "9", True),
        (None, "<", "9", False),
        ("o'neil", "=", "O'Neil", True),
    ],
)
def test_texts_are_compared_without_regard_to_case_and_numbers_as_numbers(
    cell: str | None, operator: str, value: str, met: bool
) -> None:
    assert holds(rule({"source": "text"}, operator, {"value": value}), {"text": cell}) is met


@pytest.mark.parametrize(
    ("column", "cell", "operator", "value", "met"),
    [
        ("count", "7.0", "=", "7", True),
        ("count", "10", ">", "9.5", True),
        ("count", "many", ">", "1", False),
        ("count", "many", "!=", "1", False),
        ("count", "", "!=", "1", True),
        ("day", "02.03.2026", ">", "2026-03-01", True),
        ("day", "02.03.2026", "=", "2026-03-02", True),
        ("day", "2026-03-02", "=", "2026-03-02", True),
        ("seen", "2026-07-01 12:00", "=", "2026-07-01T10:00:00Z", True),
        ("active", "Yes", "=", "true", True),
        ("active", "0", "=", "false", True),
    ],
)
def test_columns_with_a_type_are_compared_by_it(column: str, cell: str, operator: str, value: str, met: bool) -> None:
    assert holds(rule({"source": column}, operator, {"value": value}), {column: cell}) is met


def test_a_side_may_be_a_field_in_salesforce_a_parameter_or_nothing() -> None:
    amount = {"target": "Amount__c"}
    assert holds(rule(amount, "<", {"source": "text"}), {"text": "12"}, {"Amount__c": "9.50"})
    assert not holds(rule(amount, ">", {"parameter": "least"}), {}, {"Amount__c": "5"})
    assert holds(rule(amount, "is null"), {}, {"Amount__c": None})
    assert holds(rule({"source": "text"}, "is null"), {"text": ""})
    assert holds(rule({"source": "text"}, "is not null"), {"text": "x"})
    assert holds(rule({"source": "text"}, "in", {"value": ["A", "b"]}), {"text": "B"})
    assert not holds(rule({"source": "text"}, "in", {"value": ["A", "b"]}), {"text": None})


def test_groups_are_joined_by_and_and_by_or() -> None:
    yes, no = rule({"source": "text"}, "=", {"value": "x"}), rule({"source": "text"}, "=", {"value": "y"})
    for told, met in (
        ({"all": [yes, yes]}, True),
        ({"all": [yes, no]}, False),
        ({"any": [no, yes]}, True),
        ({"any": [no, {"all": [yes, no]}]}, False),
        ({"all": [yes, {"any": [no, yes]}]}, True),
    ):
        assert holds(told, {"text": "x"}) is met


def test_what_a_rule_names_is_known_and_shown_in_words() -> None:
    told = {
        "all": [
            rule({"source": "Stage"}, "=", {"value": "won"}),
            {"any": [rule({"target": "Amount__c"}, "is null"), rule({"target": "Gone__c"}, "<", {"parameter": "p"})]},
        ]
    }
    assert conditions.sources_of(told) == ("Stage",)
    assert conditions.targets_of(told) == ("Amount__c", "Gone__c")
    assert conditions.parameters_of(told) == ("p",)
    assert (
        conditions.in_words(told) == "Stage = 'won' and (Salesforce's Amount__c is null or Salesforce's Gone__c < @p)"
    )
    assert [name for name, _ in conditions.mistakes(told, ["Stage"], DESCRIBE, ["p"])] == ["Gone__c"]
    assert [name for name, _ in conditions.mistakes(told, [], None, [])] == ["Stage", "Amount__c", "Gone__c", "@p"]
