"""In an update, no record is written by two rows."""

from __future__ import annotations

from syncs.engine import rules

from .factories import Loads, actions, errors, make_spec, table

ROWS = [("1", "Anna", "Rome"), ("2", "Bert", "Oslo"), ("3", "Cleo", "Bern")]
ONE, TWO = "a00000000000771AAA", "a00000000000772AAA"


def test_two_rows_that_lead_to_one_record_are_both_refused(loads: Loads) -> None:
    loads.spec = make_spec(mode="update")
    plan = loads.plan(loads.stage(ROWS), [("1", ONE), ("2", ONE[:15]), ("3", TWO)])
    assert actions(plan) == {1: "rejected", 2: "rejected", 3: "update"}
    assert errors(plan.errors_file) == [(1, rules.AMBIGUOUS_KEY, "Ext__c"), (2, rules.AMBIGUOUS_KEY, "Ext__c")]
    messages = [row["message"] for row in table(plan.errors_file)]
    assert messages[0].startswith(f"The sync key '1' leads to the record {ONE}, ") and "rows 1, 2." in messages[0]
    assert plan.batches[0].rows == 1


def test_a_known_key_and_a_new_key_of_one_record_are_both_refused(loads: Loads) -> None:
    loads.run(ROWS)
    loads.spec = make_spec(mode="update")
    loads.org.records["new"] = loads.org.records.pop("1")
    # Row 1 alone would be unchanged.
    plan = loads.plan(loads.stage([*ROWS, ("NEW", "Anne", "Rome")]))
    assert loads.asked == ["NEW"]
    assert actions(plan) == {1: "rejected", 2: "unchanged", 3: "unchanged", 4: "rejected"}
    assert plan.batches == ()


def test_a_key_that_left_the_source_shares_with_nobody(loads: Loads) -> None:
    loads.run(ROWS)
    loads.spec = make_spec(mode="update")
    loads.org.records["new"] = loads.org.records.pop("1")
    plan = loads.plan(loads.stage([*ROWS[1:], ("NEW", "Anne", "Rome")]))
    assert actions(plan) == {1: "unchanged", 2: "unchanged", 3: "update", "1": "ignored"}


def test_rows_with_the_same_key_are_duplicates_and_nothing_else(loads: Loads) -> None:
    loads.spec = make_spec(mode="update")
    plan = loads.plan(loads.stage([ROWS[0], ROWS[0], ROWS[1]]), [("1", ONE), ("2", TWO)])
    assert [code for _, code, _ in errors(plan.errors_file)] == [rules.DUPLICATE_KEY] * 2
    assert actions(plan)[3] == "update"


def test_rows_without_a_record_share_none(loads: Loads) -> None:
    loads.spec = make_spec(mode="update")
    plan = loads.plan(loads.stage(ROWS), [("1", ONE), ("1", TWO), ("2", ONE)])
    assert actions(plan) == {1: "rejected", 2: "update", 3: "ignored"}
