"""Rules: what they say, when they hold, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from syncs.engine.conditions import Operand, broken_sql, check, in_words, sources_of, targets_of, to_sql
from syncs.spec import ColumnType

COLUMNS: dict[str, ColumnType] = {
    "Status": "text",
    "Amount": "number",
    "Due": "date",
    "Seen": "datetime",
    "Active": "boolean",
}
FIELDS: dict[str, ColumnType] = {"Status__c": "text", "Amount__c": "number", "Due__c": "date"}
ROW = {"Status": "Open", "Amount": "10", "Due": "2024-05-01", "Seen": "2024-05-01 12:00:00", "Active": "yes"}
RECORD = {"Status__c": "open", "Amount__c": "10.0", "Due__c": "2024-05-02"}


def rule(field: Any, operator: str, value: Any = None) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


def target(name: str) -> dict[str, str]:
    return {"target": name}


def verdict(asked: dict[str, Any], zone: str = "UTC", **changes: str | None) -> bool | str:
    """Whether a rule holds for a row and its record; "unknown" when nobody can tell."""
    cells = {**ROW, **RECORD, **changes}
    assert check(asked, COLUMNS, FIELDS, {"now": "Open"}) == []

    def source(name: str) -> Operand | None:
        return Operand(f"s_{name}", COLUMNS[name]) if name in COLUMNS else None

    def field(name: str) -> Operand | None:
        return Operand(f"s_{name}", FIELDS[name]) if name in FIELDS else None

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        names = ", ".join(f"${name}::VARCHAR AS s_{name}" for name in cells)
        sql = to_sql(asked, source, field, parameters={"now": "Open"}, time_zone=zone)
        broken = broken_sql(asked, source, field, parameters={"now": "Open"}, time_zone=zone)
        [(holds, unknown)] = connection.execute(f"SELECT {sql}, {broken} FROM (SELECT {names})", cells).fetchall()
    assert holds in (True, False) and unknown in (True, False) and not (holds and unknown)
    return "unknown" if unknown else holds


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (rule("Status", "=", "OPEN"), True),
        (rule("Status", "!=", "open"), False),
        (rule("Status", "=", "Open "), True),
        (rule("Status", "contains", "PE"), True),
        (rule("Status", "contains", ""), False),
        (rule("Status", "in", ["x", "open"]), True),
        (rule("Status", "in", ["x"]), False),
        (rule("Status", "is null"), False),
        (rule("Status", "is not null"), True),
        (rule("Status", "=", "@now"), True),
        (rule("Status", "=", "@@now"), False),
        (rule("Amount", "=", "10.00"), True),
        (rule("Amount", ">", 9), True),
        (rule("Amount", "<", "9"), False),
        (rule("Amount", "in", [1, 10]), True),
        (rule("Due", ">", "2024-04-30"), True),
        (rule("Seen", "=", "2024-05-01T12:00:00Z"), True),
        (rule("Active", "=", True), True),
        (rule("Active", "=", "no"), False),
        (rule("Status", "=", target("Status__c")), True),
        (rule({"source": "Amount"}, "=", target("Amount__c")), True),
        (rule(target("Due__c"), ">", {"source": "Due"}), True),
        (rule(target("Amount__c"), "<", 5), False),
    ],
)
def test_comparisons(asked: dict[str, Any], expected: bool) -> None:
    assert verdict(asked) is expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (rule("Status", "=", "x"), False),
        (rule("Status", "!=", "x"), True),
        (rule("Status", "=", ""), True),
        (rule("Status", "!=", ""), False),
        (rule("Status", "is null"), True),
        (rule("Status", "contains", "x"), False),
        (rule("Status", "in", ["x"]), False),
        (rule("Amount", ">", 5), False),
        (rule("Amount", "<", 5), False),
        (rule("Amount", "!=", 5), True),
        (rule("Amount", "=", 5), False),
        (rule("Amount", "is null"), True),
        (rule("Due", "=", target("Due__c")), True),
        (rule("Due", "<", target("Due__c")), False),
    ],
)
@pytest.mark.parametrize("blank", [None, ""])
def test_blanks_compare_as_in_salesforce(asked: dict[str, Any], expected: bool, blank: str | None) -> None:
    assert verdict(asked, Status=blank, Amount=blank, Due=blank, Due__c=blank) is expected


def test_numbers_compare_as_numbers_and_texts_as_texts() -> None:
    assert verdict(rule("Status", ">", "9"), Status="10") is True
    assert verdict(rule("Status", ">", "9x"), Status="10") is False
    assert verdict(rule("Status", "=", "10"), Status="10.0") is False
    assert verdict(rule("Status", "=", 10), Status="10.0") is True
    assert verdict(rule("Amount", "=", "1e1")) is True


def test_a_date_and_time_without_an_offset_is_in_the_time_zone_of_the_sync() -> None:
    assert verdict(rule("Seen", "=", "2024-05-01T10:00:00Z"), zone="Europe/Berlin") is True


@pytest.mark.parametrize("operator", ["=", "!=", ">", "<"])
def test_a_value_that_is_not_what_its_type_says_makes_a_comparison_unknown(operator: str) -> None:
    assert verdict(rule("Amount", operator, 5), Amount="ten") == "unknown"
    assert verdict(rule("Due", operator, "2024-01-01"), Due="soon") == "unknown"
    assert verdict(rule("Amount", operator, target("Amount__c")), Amount__c="ten") == "unknown"


def test_groups() -> None:
    yes, no, unknown = rule("Status", "=", "open"), rule("Status", "=", "x"), rule("Amount", ">", 5)
    assert verdict({"all": [yes, {"any": [no, yes]}]}) is True
    assert verdict({"all": [yes, {"any": [no, no]}]}) is False
    assert verdict({"any": [{"all": [yes, no]}, no]}) is False
    # What cannot be told does not matter where the rest decides.
    assert verdict({"any": [yes, unknown]}, Amount="ten") is True
    assert verdict({"all": [no, unknown]}, Amount="ten") is False
    assert verdict({"all": [yes, unknown]}, Amount="ten") == "unknown"
    assert verdict({"any": [no, unknown]}, Amount="ten") == "unknown"


def test_what_a_rule_names() -> None:
    asked = {
        "all": [rule("Status", "=", target("Status__c")), {"any": [rule(target("Due__c"), "<", {"source": "Due"})]}]
    }
    assert targets_of(asked) == ("Status__c", "Due__c")
    assert sources_of(asked) == ("Status", "Due")
    assert targets_of(None) == sources_of(None) == ()


def test_a_rule_in_words() -> None:
    asked = {
        "all": [
            rule("Status", "=", "it's"),
            {"any": [rule("Amount", ">", 5), rule("Due", "is null"), rule("Status", "in", ["a", 1, "@now"])]},
            rule(target("Amount__c"), "!=", {"source": "Amount"}),
            rule("Active", "=", True),
        ]
    }
    assert in_words(asked) == (
        "Status = 'it''s' and (Amount > 5 or Due is null or Status in ('a', 1, @now)) "
        "and Salesforce's Amount__c != Amount and Active = true"
    )


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (5, "5 is no rule"),
        ({}, "is no comparison"),
        ({"all": []}, "The group 'all' is empty."),
        ({"all": "x"}, "has to be a list of rules"),
        ({"all": [], "any": []}, "nothing else stands beside it"),
        ({"field": "Status", "operator": "="}, ""),
        ({"field": "Status", "operator": "=", "value": "x", "more": 1}, "is no comparison"),
        (rule("Status", "like", "x"), "There is no operator 'like'."),
        (rule("Statsu", "=", "x"), "The source has no column 'Statsu'. Did you mean Status?"),
        (rule(target("Amout__c"), "=", 1), "The object has no field 'Amout__c'. Did you mean Amount__c?"),
        (rule("Status", "=", "@noow"), "The sync has no parameter 'noow'. Did you mean @now?"),
        (rule("Status", "is null", "x"), "'is null' takes no value."),
        (rule("Status", "in", "x"), "After 'in' comes a list"),
        (rule("Status", "in", []), "After 'in' comes a list"),
        (rule("Status", "in", [{"source": "Due"}]), "plain values"),
        (rule("Status", "=", ["x"]), "is no value"),
        (rule("Status", "=", {"sorce": "x"}), "is no side of a comparison"),
        (rule("Amount", ">", "ten"), "'ten' is no number, as Amount is."),
        (rule("Due", "=", "1.2.2024"), "'1.2.2024' is no date, as Due is."),
        (rule("Active", "=", "maybe"), "'maybe' is no boolean, as Active is."),
        (rule(5, "=", 5), "needs a column of the source or a field"),
        (rule("Status", "=", "x" * 10_001), "longer than 10,000"),
    ],
)
def test_mistakes_are_told(asked: Any, words: str) -> None:
    problems = check(asked, COLUMNS, FIELDS, {"now": ""})
    assert any(words in problem for problem in problems) if words else problems == []


def test_a_source_filter_names_no_fields_of_the_target() -> None:
    [problem] = check(rule("Status", "=", target("Status__c")), COLUMNS)
    assert "Status__c, cannot be compared in this rule" in problem


def test_size_and_depth_have_limits() -> None:
    deep: Any = rule("Status", "=", "x")
    for _ in range(2000):
        deep = {"all": [deep]}
    assert "nested more than 10 levels" in check(deep, COLUMNS)[0]
    assert "more than 200 comparisons" in " ".join(check({"any": [rule("Status", "=", "x")] * 201}, COLUMNS))


def test_values_never_become_part_of_the_query() -> None:
    for evil in ("' OR true OR '", "x') OR (true", "\\", "a;b", "'; DROP TABLE x; --"):
        assert verdict(rule("Status", "=", evil)) is False
        assert verdict(rule("Status", "in", [evil])) is False
        assert verdict(rule("Status", "=", evil), Status=evil) is True
