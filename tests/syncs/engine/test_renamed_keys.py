"""Records whose key was renamed in Salesforce are not deleted for their old key."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .factories import Loads, actions, make_spec, read_csv, table

FIRST = [("1", "Anna", "Rome"), ("2", "Bert", "Oslo"), ("3", "Cleo", None)]


@pytest.fixture
def mirror(loads: Loads) -> Loads:
    """A mirror that loaded three records, the first of which got another key in Salesforce since."""
    loads.spec = make_spec(mode="mirror")
    loads.run(FIRST)
    loads.org.records["new"] = loads.org.records.pop("1")
    return loads


def keys(loads: Loads) -> list[str]:
    assert loads.snapshot is not None
    return sorted(row["nkey"] for row in table(loads.snapshot))


def test_a_record_renamed_in_salesforce_and_in_the_source_stays(mirror: Loads) -> None:
    plan, final = mirror.run([("NEW", "Anna", "Roma"), *FIRST[1:]])
    assert mirror.asked == ["1"]
    assert actions(plan) == {1: "upsert", 2: "unchanged", 3: "unchanged", "1": "delete"}
    assert [batch.operation for batch in plan.batches] == ["upsert"] and plan.guard.deletes == 0
    assert (final.source["updated"], final.dropped["already_gone"]) == (1, 1)
    assert mirror.org.records.keys() == {"new", "2", "3"} and keys(mirror) == ["2", "3", "new"]


def test_it_stays_although_its_new_row_is_refused(mirror: Loads) -> None:
    plan, _ = mirror.run([("NEW", "n" * 300, "Roma"), *FIRST[1:]])
    assert plan.counts["rejected"] == 1 and plan.batches == ()


def test_a_new_key_beside_a_dropped_one_still_deletes_what_is_there(loads: Loads) -> None:
    loads.spec = make_spec(mode="mirror")
    loads.run(FIRST)
    gone = loads.org.records["1"]
    plan, final = loads.run([("4", "Dora", "Bern"), *FIRST[1:]])
    assert loads.asked == ["1"] and final.dropped["deleted"] == 1
    assert read_csv(plan.batches[1].file) == [{"Id": gone}]
    assert keys(loads) == ["2", "3", "4"]


@pytest.mark.parametrize("rows", [FIRST[1:], [*FIRST, ("4", "Dora", "Bern")]])
def test_without_both_a_new_and_a_dropped_key_nothing_is_read(loads: Loads, rows: list[tuple[str, str, str]]) -> None:
    loads.spec = make_spec(mode="mirror")
    loads.run(FIRST)
    loads.plan(loads.stage(rows))
    assert loads.asked == []


def test_the_record_that_has_the_dropped_key_now_is_the_one_to_delete(mirror: Loads) -> None:
    mirror.org.records["1"] = "a00000000000777AAA"
    plan, _ = mirror.run([("NEW", "Anna", "Roma"), *FIRST[1:]])
    assert read_csv(plan.batches[1].file) == [{"Id": "a00000000000777AAA"}]
    assert mirror.org.records.keys() == {"new", "2", "3"}


def test_of_several_records_with_the_dropped_key_the_known_one_is_deleted(loads: Loads) -> None:
    loads.spec = make_spec(mode="mirror")
    loads.run(FIRST)
    known, rows = loads.org.records["1"], [("4", "Dora", "Bern"), *FIRST[1:]]
    plan = loads.plan(loads.stage(rows), [("1", "a00000000000777AAA"), ("1", known)])
    assert read_csv(plan.batches[1].file) == [{"Id": known}]
    plan = loads.plan(loads.stage(rows), [("1", "a00000000000777AAA"), ("1", "a00000000000778AAA")])
    assert actions(plan)["1"] == "withheld" and [row["key"] for row in table(plan.errors_file)] == ["1"]


def test_a_key_that_takes_over_a_record_takes_it_from_the_old_key(loads: Loads) -> None:
    loads.run(FIRST)
    loads.org.records["new"] = loads.org.records.pop("1")
    loads.run([("NEW", "Anna", "Roma"), *FIRST[1:]])
    assert keys(loads) == ["2", "3", "new"]


def test_a_record_known_under_two_keys_stays_while_one_of_them_is_in_the_source(loads: Loads) -> None:
    two_keys(loads)
    plan, final = loads.run([*FIRST[:1], FIRST[2]])
    assert plan.batches == () and final.dropped["already_gone"] == 1
    assert keys(loads) == ["1", "3"]


def test_a_record_known_under_two_dropped_keys_is_deleted_once(loads: Loads) -> None:
    shared = two_keys(loads)
    plan, final = loads.run(FIRST[2:])
    assert read_csv(plan.batches[0].file) == [{"Id": shared}] and plan.guard.deletes == 1
    assert (final.dropped["deleted"], final.dropped["already_gone"]) == (1, 1)
    assert keys(loads) == ["3"]


def two_keys(loads: Loads) -> str:
    """Make the snapshot know one record under the keys 1 and 2, as one that was written long ago may; return its id."""
    loads.spec = make_spec(mode="mirror")
    loads.run(FIRST)
    assert loads.snapshot is not None
    shared = loads.org.records["1"]
    held = pq.read_table(loads.snapshot)
    rows = [{**row, "id": shared[:15] if row["nkey"] == "2" else row["id"]} for row in held.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, schema=held.schema), loads.snapshot)
    return shared
