"""Keys: how they are compared, and which rows their key keeps from being sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from connections.sources.base import MalformedRow
from syncs.engine import rules
from syncs.spec import MappingSpec

from .factories import KEY, Loads, actions, errors, field, make_describe, make_spec, table


def test_keys_that_differ_in_case_or_blanks_only_are_the_same_key(loads: Loads) -> None:
    plan = loads.plan(loads.stage([("abc", "n", "c"), (" ABC\u00a0", "n", "c"), ("abd", "n", "c")]))
    assert actions(plan) == {1: "rejected", 2: "rejected", 3: "upsert"}
    assert errors(plan.errors_file) == [(1, rules.DUPLICATE_KEY, "Ext__c"), (2, rules.DUPLICATE_KEY, "Ext__c")]


def test_a_case_sensitive_key_tells_cases_apart(tmp_path: Path) -> None:
    key = field("Ext__c", length=40, external_id=True, unique=True, case_sensitive=True)
    loads = Loads(tmp_path, describe=make_describe(key, field("Name"), field("City__c")))
    plan = loads.plan(loads.stage([("abc", "n", "c"), ("ABC", "n", "c")]))
    assert [row["nkey"] for row in table(plan.rows_file)] == ["abc", "ABC"]
    assert plan.counts["upsert"] == 2


def test_number_keys_are_compared_as_numbers(tmp_path: Path) -> None:
    key = field("Ext__c", "double", precision=18, scale=0, external_id=True, unique=True)
    loads = Loads(tmp_path, describe=make_describe(key, field("Name"), field("City__c")))
    plan = loads.plan(
        loads.stage([("007", "n", "c"), ("7", "n", "c"), ("7.0", "n", "c"), ("8", "n", "c"), ("x", "n", "c")])
    )
    assert actions(plan) == {1: "rejected", 2: "rejected", 3: "rejected", 4: "upsert", 5: "rejected"}
    assert errors(plan.errors_file)[-1] == (5, rules.NUMBER, "Ext__c")
    assert plan.unread_keys == 1


def test_the_message_names_the_rows_of_a_duplicate_key(loads: Loads) -> None:
    rows = [("x", "n", "c")] * 13 + [("y", "n", "c"), ("y", "n", "c")]
    plan = loads.plan(loads.stage(rows))
    messages = [row["message"] for row in table(plan.errors_file)]
    assert "'x' stands in rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 3 more." in messages[0]
    assert "'y' stands in rows 14, 15." in messages[-1]
    assert plan.counts["rejected"] == 15


@pytest.mark.parametrize("blank", [None, "", " \t"])
def test_a_blank_key_is_refused(loads: Loads, blank: str | None) -> None:
    plan = loads.plan(loads.stage([(blank, "n", "c"), (blank, "n", "c"), ("1", "n", "c")]))
    assert errors(plan.errors_file) == [(1, rules.BLANK_KEY, "Ext__c"), (2, rules.BLANK_KEY, "Ext__c")]
    assert plan.unread_keys == 2


def test_a_key_that_does_not_fit_is_refused_and_counts_as_not_read(loads: Loads) -> None:
    plan = loads.plan(loads.stage([("x" * 41, "n", "c"), ("#N/A", "n", "c")], malformed=[MalformedRow(2, "?", "why")]))
    assert errors(plan.errors_file) == [
        (2, rules.MALFORMED, None),
        (1, rules.TOO_LONG, "Ext__c"),
        (3, rules.RESERVED, "Ext__c"),
    ]
    assert plan.unread_keys == 3


def test_a_row_tells_all_that_is_wrong_with_it(loads: Loads) -> None:
    plan = loads.plan(loads.stage([("1", "n" * 256, "c" * 300), ("1", "n", "c")]))
    assert errors(plan.errors_file) == [
        (1, rules.DUPLICATE_KEY, "Ext__c"),
        (1, rules.TOO_LONG, "Name"),
        (1, rules.TOO_LONG, "City__c"),
        (2, rules.DUPLICATE_KEY, "Ext__c"),
    ]
    row = table(plan.errors_file)[2]
    assert (row["column"], row["value"], row["operation"], row["source"], row["key"]) == (
        "city",
        "c" * 255,
        "upsert",
        "rule",
        "1",
    )
    assert row["message"] == "City (City__c) holds at most 255 characters, and this value has 300. Shorten it."


def test_two_hundred_fields_have_their_rules_each(tmp_path: Path) -> None:
    names = [f"F{number}__c" for number in range(200)]
    describe = make_describe(KEY, *(field(name, length=3) for name in names))
    spec = make_spec(MappingSpec("Ext__c", "id"), *(MappingSpec(name, name) for name in names))
    loads = Loads(tmp_path, spec, describe)
    loads.columns = ("id", *names)
    bad = {0, 58, 59, 60, 61, 119, 120, 199}
    rows = [("1", *("long" if place in bad else "ok" for place in range(200))), ("2", *["ok"] * 200)]
    plan = loads.plan(loads.stage(rows))
    assert errors(plan.errors_file) == [(1, rules.TOO_LONG, f"F{place}__c") for place in sorted(bad)]
    assert plan.counts["upsert"] == 1
