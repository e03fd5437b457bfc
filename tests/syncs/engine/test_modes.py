"""What each mode does with new, changed, unchanged and dropped rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connections.sources.base import MalformedRow
from syncs.engine import rules
from syncs.spec import MappingSpec

from .factories import KEY, Loads, actions, errors, field, make_describe, make_spec, read_csv, table

FIRST = [("1", "Anna", "Rome"), ("2", "Bert", "Oslo"), ("3", "Cleo", None)]


def test_upsert_sends_new_and_changed_rows_and_ignores_dropped_ones(loads: Loads) -> None:
    plan, final = loads.run(FIRST)
    assert plan.counts["upsert"] == 3 and final.source["inserted"] == 3
    plan, final = loads.run([("1", "Anna", "Rome"), ("2", "Bert", "Bonn"), ("4", "Dora", "Bern")])
    assert actions(plan) == {1: "unchanged", 2: "upsert", 3: "upsert", "3": "ignored"}
    assert (final.source["inserted"], final.source["updated"], final.source["unchanged"]) == (1, 1, 1)
    assert (final.dropped["dropped"], final.dropped["ignored"]) == (1, 1)


def test_a_job_with_nothing_to_do_sends_nothing(loads: Loads) -> None:
    loads.run(FIRST)
    plan, final = loads.run(reversed([(" 1 ", "Anna ", "Rome"), *FIRST[1:]]))
    assert plan.batches == () and plan.counts["unchanged"] == 3
    assert plan.trimmed == {"Ext__c": 1, "Name": 1}


def test_the_case_of_a_key_alone_is_no_change(loads: Loads) -> None:
    loads.run([("abc", "Anna", "Rome")])
    plan, _ = loads.run([("ABC", "Anna", "Rome")])
    assert plan.batches == ()


def test_a_change_of_case_in_another_field_is_one(loads: Loads) -> None:
    loads.run(FIRST)
    plan, _ = loads.run([("1", "ANNA", "Rome"), *FIRST[1:]])
    assert actions(plan) == {1: "upsert", 2: "unchanged", 3: "unchanged"}


def test_a_blank_that_is_left_alone_is_equal_and_keeps_what_is_known(loads: Loads) -> None:
    loads.run(FIRST)
    plan, _ = loads.run([("1", "Anna", ""), *FIRST[1:]])
    assert plan.batches == ()
    plan, _ = loads.run([("1", "Anna", "Rome"), *FIRST[1:]])
    assert plan.batches == ()
    loads.run([("1", "Anne", None), *FIRST[1:]])
    plan, _ = loads.run([("1", "Anne", "Rome"), *FIRST[1:]])
    assert plan.batches == ()
    plan, _ = loads.run([("1", "Anne", "Roma"), *FIRST[1:]])
    assert plan.counts["upsert"] == 1


def test_a_value_where_a_blank_was_is_a_change(loads: Loads) -> None:
    loads.run(FIRST)
    plan, _ = loads.run([*FIRST[:2], ("3", "Cleo", "Kiel")])
    assert actions(plan)[3] == "upsert"


def test_a_blank_that_clears_is_a_change_once(tmp_path: Path) -> None:
    mappings = (
        MappingSpec("Ext__c", "id"),
        MappingSpec("Name", "name"),
        MappingSpec("City__c", "city", when_blank="clear"),
    )
    loads = Loads(tmp_path, make_spec(*mappings))
    plan, _ = loads.run(FIRST)
    assert read_csv(plan.batches[0].file)[2]["City__c"] == "#N/A"
    plan, _ = loads.run([("1", "Anna", " "), *FIRST[1:]])
    assert read_csv(plan.batches[0].file) == [{"Ext__c": "1", "Name": "Anna", "City__c": "#N/A"}]
    plan, _ = loads.run([("1", "Anna", None), *FIRST[1:]])
    assert plan.batches == ()


def test_a_newly_mapped_field_is_not_known_yet(loads: Loads) -> None:
    loads.spec = make_spec(MappingSpec("Ext__c", "id"), MappingSpec("Name", "name"))
    loads.run(FIRST)
    loads.spec = make_spec()
    plan, _ = loads.run(FIRST)
    assert actions(plan) == {1: "upsert", 2: "upsert", 3: "unchanged"}
    loads.spec = make_spec(MappingSpec("City__c", "city"), MappingSpec("Name", "name"), MappingSpec("Ext__c", "id"))
    plan, _ = loads.run(FIRST)
    assert plan.batches == ()


def test_two_values_with_the_same_short_hash_are_still_told_apart(loads: Loads) -> None:
    _, _ = loads.run(FIRST)
    assert loads.snapshot is not None
    # What a collision would look like: the field's hash is that of the new value, the row's is not.
    changed = [("1", "Anja", "Rome"), *FIRST[1:]]
    new = loads.plan(loads.stage(changed))
    wanted = next(row["h_0"] for row in table(new.rows_file) if row["_row"] == 1)
    held = pq.read_table(loads.snapshot)
    rows = [{**row, "h_0": wanted if row["nkey"] == "1" else row["h_0"]} for row in held.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, schema=held.schema), loads.snapshot)
    assert actions(loads.plan(loads.stage(changed)))[1] == "upsert"


def test_mirror_deletes_dropped_records_by_id(loads: Loads) -> None:
    loads.spec = make_spec(mode="mirror")
    loads.run(FIRST)
    gone = loads.org.records["2"]
    plan, final = loads.run([FIRST[0], ("3", "n" * 300, None)])
    assert actions(plan) == {1: "unchanged", 2: "rejected", "2": "delete"}
    assert [batch.operation for batch in plan.batches] == ["delete"]
    assert read_csv(plan.batches[0].file) == [{"Id": gone}]
    assert final.dropped["deleted"] == 1 and final.source["rejected"] == 1
    assert loads.org.records.keys() == {"1", "3"}
    # The rejected one is still known, and still in the source.
    plan, _ = loads.run([FIRST[0]])
    assert actions(plan) == {1: "unchanged", "3": "delete"}


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([FIRST[0], (None, "n", "c")], "1 row could not be read"),
        ([FIRST[0], ("x" * 50, "n", "c")], "1 row could not be read"),
        ([], "came empty"),
    ],
)
def test_deletes_are_withheld_when_it_is_not_sure_what_left_the_source(
    loads: Loads, rows: list[tuple[str, str, str]], reason: str
) -> None:
    loads.spec = make_spec(mode="mirror")
    loads.run(FIRST)
    plan, final = loads.run(rows)
    assert reason in plan.withheld_reason
    assert plan.counts["delete"] == 0 and plan.guard.deletes == 0 and plan.batches == ()
    assert final.dropped["withheld"] == plan.counts["withheld"] == 3 - len(rows[:1])
    assert len(loads.org.records) == 3


def test_deletes_are_withheld_for_malformed_rows_and_for_a_short_source(loads: Loads) -> None:
    loads.spec = make_spec(mode="mirror")
    loads.run(FIRST)
    plan = loads.plan(loads.stage(FIRST[:1], malformed=[MalformedRow(2, "?", "why")]))
    assert (plan.counts["withheld"], plan.counts["delete"]) == (2, 0)
    plan = loads.plan(loads.stage(FIRST[:1]), short=True)
    assert (plan.counts["withheld"], plan.counts["delete"]) == (2, 0)
    assert "incomplete" in plan.withheld_reason


def test_without_deletes_to_withhold_there_is_no_reason_to_tell(loads: Loads) -> None:
    loads.spec = make_spec(mode="mirror")
    loads.run(FIRST)
    assert loads.plan(loads.stage([*FIRST, (None, "n", "c")])).withheld_reason == ""


def test_insert_ignores_rows_that_salesforce_has(loads: Loads) -> None:
    loads.spec = make_spec(mode="insert")
    loads.org.records = {"2": "a00000000000777AAA"}
    plan, final = loads.run(FIRST)
    assert sorted(loads.asked) == ["1", "2", "3"]
    assert actions(plan) == {1: "insert", 2: "ignored", 3: "insert"}
    assert (final.source["inserted"], final.source["ignored"]) == (2, 1)
    assert plan.batches[0].operation == "insert"


def test_insert_asks_only_for_keys_that_the_snapshot_does_not_know(loads: Loads) -> None:
    loads.spec = make_spec(mode="insert")
    loads.run(FIRST[:2])
    plan, _ = loads.run([("1", "Changed", "Rome"), *FIRST[1:]])
    assert loads.asked == ["3"]
    assert actions(plan) == {1: "ignored", 2: "ignored", 3: "insert"}


def test_insert_without_comparing_inserts_every_row_and_asks_nothing(loads: Loads) -> None:
    loads.spec = make_spec(mode="insert", compare="nothing")
    loads.org.records = {"2": "a00000000000777AAA"}
    plan, final = loads.run(FIRST)
    assert loads.asked == [] and plan.counts["insert"] == 3
    plan, final = loads.run(FIRST)
    assert plan.counts["insert"] == 3 and plan.counts["dropped"] == 0


def test_update_writes_changed_fields_by_id_and_ignores_rows_without_a_record(loads: Loads) -> None:
    loads.spec = make_spec(mode="update")
    loads.org.records = {"1": "a00000000000771AAA", "2": "a00000000000772AAA"}
    plan, final = loads.run(FIRST)
    assert sorted(loads.asked) == ["1", "2", "3"]
    assert actions(plan) == {1: "update", 2: "update", 3: "ignored"}
    assert read_csv(plan.batches[0].file) == [
        {"Id": "a00000000000771AAA", "Name": "Anna", "City__c": "Rome"},
        {"Id": "a00000000000772AAA", "Name": "Bert", "City__c": "Oslo"},
    ]
    assert (final.source["updated"], final.source["ignored"]) == (2, 1)
    plan, _ = loads.run([("1", "Anna", "Rome"), ("2", "Bert", "Bonn")])
    assert loads.asked == []
    assert actions(plan) == {1: "unchanged", 2: "update"}


def test_update_does_not_mind_what_only_new_records_need(tmp_path: Path) -> None:
    describe = make_describe(KEY, field("Name", nillable=False), field("City__c"))
    loads = Loads(tmp_path, make_spec(mode="update"), describe)
    loads.org.records = {"1": "a00000000000771AAA"}
    plan, _ = loads.run([("1", None, "Rome")])
    assert actions(plan) == {1: "update"}


def test_a_blank_that_a_new_record_must_not_have_is_refused_for_new_records_only(tmp_path: Path) -> None:
    describe = make_describe(KEY, field("Name", nillable=False), field("City__c"))
    loads = Loads(tmp_path, describe=describe)
    loads.run(FIRST)
    plan, _ = loads.run([("1", None, "Roma"), ("2", "", "Oslo"), ("9", " ", "Kiel")])
    assert actions(plan) == {1: "upsert", 2: "unchanged", 3: "rejected", "3": "ignored"}
    assert errors(plan.errors_file) == [(3, rules.REQUIRED, "Name")]


def test_comparing_with_nothing_sends_every_row(loads: Loads) -> None:
    loads.spec = make_spec(compare="nothing")
    loads.run(FIRST)
    plan, final = loads.run(FIRST[:2])
    assert (plan.counts["upsert"], plan.counts["dropped"], final.source["updated"]) == (2, 0, 2)


def test_an_update_without_comparing_takes_ids_from_the_snapshot(loads: Loads) -> None:
    loads.run(FIRST[:2])
    loads.spec = make_spec(mode="update", compare="nothing")
    loads.org.records["3"] = "a00000000000773AAA"
    plan, _ = loads.run(FIRST)
    assert loads.asked == ["3"]
    assert plan.counts["update"] == 3 and plan.counts["dropped"] == 0


def test_a_key_that_several_records_have_is_refused_with_their_ids(loads: Loads) -> None:
    loads.spec = make_spec(mode="update")
    found = [("1", "a00000000000771AAA"), ("1", "a00000000000772AAA"), ("2", "a00000000000773AAA")]
    plan = loads.plan(loads.stage(FIRST), found)
    assert actions(plan) == {1: "rejected", 2: "update", 3: "ignored"}
    (error,) = table(plan.errors_file)
    assert error["code"] == rules.AMBIGUOUS_KEY
    assert "matches 2 records by Ext (Ext__c): a00000000000771AAA, a00000000000772AAA." in error["message"]


def test_keys_that_salesforce_spells_differently_still_match(loads: Loads) -> None:
    loads.spec = make_spec(mode="update")
    plan = loads.plan(loads.stage([("abc ", "Anna", "Rome")]), [("ABC", "a00000000000771AAA")])
    assert actions(plan) == {1: "update"}


def test_a_row_of_unknown_fate_is_looked_up_where_the_key_is_not_unique(tmp_path: Path) -> None:
    key = field("Ext__c", length=40, external_id=True, unique=False)
    loads = Loads(tmp_path, describe=make_describe(key, field("Name"), field("City__c")))
    staged = loads.stage(FIRST)
    plan = loads.plan(staged)
    assert loads.asked == []
    loads.end(staged, plan, [], {1: "unknown: lost"})
    staged = loads.stage(FIRST)
    plan = loads.plan(staged, [("1", "a00000000000771AAA"), ("2", "a00000000000772AAA"), ("2", "a00000000000773AAA")])
    assert sorted(loads.asked) == ["1", "2", "3"]
    assert actions(plan) == {1: "upsert", 2: "rejected", 3: "upsert"}


def test_a_row_of_unknown_fate_is_sent_again_and_is_in_scope_for_deletes(loads: Loads) -> None:
    loads.spec = make_spec(mode="mirror")
    staged = loads.stage(FIRST)
    plan = loads.plan(staged)
    loads.end(staged, plan, [], {1: "unknown: lost"})
    loads.org.records = {"1": "a00000000000771AAA", "2": "a00000000000772AAA"}
    plan, final = loads.run(FIRST[:1])
    assert sorted(loads.asked) == ["2", "3"]
    assert actions(plan) == {1: "upsert", "2": "delete", "3": "delete"}
    assert [batch.rows for batch in plan.batches] == [1, 1]
    assert (final.dropped["deleted"], final.dropped["already_gone"]) == (1, 1)
    assert [row["key"] for row in table(loads.snapshot)] == ["1"]  # type: ignore[arg-type]


def test_a_dropped_record_of_unknown_id_is_not_guessed(loads: Loads) -> None:
    loads.spec = make_spec(mode="mirror")
    staged = loads.stage(FIRST)
    loads.end(staged, loads.plan(staged), [], {1: "unknown: lost"})
    found = [("2", "a00000000000772AAA"), ("2", "a00000000000773AAA")]
    plan = loads.plan(loads.stage(FIRST[:1]), found)
    assert actions(plan) == {1: "upsert", "2": "withheld", "3": "delete"}
    (error,) = table(plan.errors_file)
    assert (error["_row"], error["code"], error["key"]) == (None, rules.AMBIGUOUS_KEY, "2")


def test_an_insert_of_unknown_fate_is_looked_up_before_it_goes_again(loads: Loads) -> None:
    loads.spec = make_spec(mode="insert")
    staged = loads.stage(FIRST)
    loads.end(staged, loads.plan(staged), [], {1: "unknown: lost"})
    loads.org.records = {"1": "a00000000000771AAA"}
    plan, _ = loads.run(FIRST)
    assert sorted(loads.asked) == ["1", "2", "3"]
    assert actions(plan) == {1: "ignored", 2: "insert", 3: "insert"}


@pytest.mark.parametrize(
    ("known", "dropped", "limits", "exceeded"),
    [
        (20, 9, {}, False),
        (20, 10, {}, True),
        (100, 10, {}, False),
        (100, 11, {}, True),
        (2000, 100, {}, False),
        (2000, 101, {}, True),
        (20, 5, {"guard_rows": 4}, True),
        (20, 5, {"guard_rows": 5}, False),
        (100, 40, {"guard_percent": 50}, False),
    ],
)
def test_many_deletes_wait_for_a_person(
    loads: Loads, known: int, dropped: int, limits: dict[str, int], exceeded: bool
) -> None:
    loads.spec = make_spec(mode="mirror", **limits)
    rows = [(str(number), "n", "c") for number in range(known)]
    loads.run(rows)
    plan = loads.plan(loads.stage(rows[dropped:]))
    assert (plan.guard.deletes, plan.guard.known, plan.guard.exceeded) == (dropped, known, exceeded)
    assert bool(plan.guard.reason) == exceeded
    assert plan.batches[0].rows == dropped


def test_the_same_rows_in_another_order_and_another_encoding_are_the_same_plan(loads: Loads) -> None:
    first = loads.plan(loads.stage(FIRST))
    second = loads.plan(
        loads.stage([("3", "Cleo", ""), ("1 ", "Anna", "Rome"), ("2", "Bert", "Oslo\u00a0")], batch_rows=1)
    )
    other = loads.plan(loads.stage([*FIRST[:2], ("3", "Cleo", "x")]))
    assert first.fingerprint == second.fingerprint != other.fingerprint


def test_constants_are_sent_with_every_row(tmp_path: Path) -> None:
    mappings = (
        MappingSpec("Ext__c", "id"),
        MappingSpec("Name", constant=" O'Neil\u00a0"),
        MappingSpec("City__c", "city"),
    )
    loads = Loads(tmp_path, make_spec(*mappings))
    plan, _ = loads.run(FIRST)
    assert {row["Name"] for row in read_csv(plan.batches[0].file)} == {"O'Neil"}
    plan, _ = loads.run(FIRST)
    assert plan.batches == ()


def test_a_sync_of_the_key_alone_sends_new_rows_only(tmp_path: Path) -> None:
    loads = Loads(tmp_path, make_spec(MappingSpec("Ext__c", "id")))
    plan, _ = loads.run(FIRST)
    assert plan.counts["upsert"] == 3
    plan, _ = loads.run([*FIRST, ("4", "", "")])
    assert actions(plan) == {1: "unchanged", 2: "unchanged", 3: "unchanged", 4: "upsert"}


def test_progress_is_told(loads: Loads) -> None:
    told: list[int] = []
    loads.plan(loads.stage((str(number), "n", "c") for number in range(100_000)), progress=told.append)
    assert told == sorted(told) and told[-1] == 100_000


def test_a_field_that_is_no_longer_mapped_is_no_change(loads: Loads) -> None:
    loads.run(FIRST)
    loads.spec = make_spec(MappingSpec("Ext__c", "id"), MappingSpec("Name", "name"))
    plan, _ = loads.run([*FIRST, ("4", "Dora", "Bern")])
    assert actions(plan) == {1: "unchanged", 2: "unchanged", 3: "unchanged", 4: "upsert"}
    plan, _ = loads.run([*FIRST, ("4", "Dora", "Bern")])
    assert plan.batches == ()


def test_a_known_row_that_became_bad_is_refused_and_not_taken_for_unchanged(tmp_path: Path) -> None:
    describe = make_describe(KEY, field("Name"), field("City__c", "date"))
    loads = Loads(tmp_path, describe=describe)
    loads.run([("1", "Anna", None), ("2", "Bert", None), ("3", "Cleo", None)])
    # What cannot be sent looks like what is left alone, but is not.
    plan, _ = loads.run([("1", "Anna", "yesterday"), ("2", "Bert", None), ("2 ", "Bert", None), ("3", "Cleo", None)])
    assert actions(plan) == {1: "rejected", 2: "rejected", 3: "rejected", 4: "unchanged"}
    assert [code for _, code, _ in errors(plan.errors_file)] == [rules.DATE, rules.DUPLICATE_KEY, rules.DUPLICATE_KEY]


def test_rounded_cells_are_counted_in_unchanged_rows_too(tmp_path: Path) -> None:
    describe = make_describe(KEY, field("Name"), field("City__c", "double", precision=6, scale=1))
    lines = (
        MappingSpec("Ext__c", "id"),
        MappingSpec("Name", "name"),
        MappingSpec("City__c", "city", too_precise="round"),
    )
    loads = Loads(tmp_path, make_spec(*lines), describe)
    rows = [("1", "Anna", "1.25"), ("2", "Bert", "1.5"), ("3", "Cleo", "2.449")]
    loads.run(rows)
    plan, _ = loads.run([*rows[:2], ("3", "Cleo", "2.451")])
    assert actions(plan) == {1: "unchanged", 2: "unchanged", 3: "upsert"}
    assert plan.adjusted["rounded"] == {"City__c": 2}


def test_blanks_that_stay_blank_are_no_change_in_any_row(loads: Loads) -> None:
    rows = [(str(number), None if number % 2 else "n", None if number % 3 else "c") for number in range(50)]
    loads.run(rows)
    plan, _ = loads.run(rows)
    assert plan.counts["unchanged"] == 50 and plan.fingerprint == loads.plan(loads.stage(reversed(rows))).fingerprint
