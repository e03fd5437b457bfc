"""Records that are no longer where the snapshot knows them are looked for again by their key."""

from __future__ import annotations

import pytest

from .factories import Loads, actions, make_spec, read_csv, table

ROWS = [("1", "Anna", "Rome"), ("2", "Bert", "Oslo")]
CHANGED = [("1", "Anne", "Rome"), ("2", "Berta", "Oslo")]
LOST = ["ENTITY_IS_DELETED:entity is deleted:--", "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--"]
ANEW = "a00000000000777AAA"


def known(loads: Loads, key: str) -> tuple[str, str | None, int | None]:
    assert loads.snapshot is not None
    (row,) = [row for row in table(loads.snapshot) if row["nkey"] == key]
    return row["state"], row["id"], row["row_hash"]


@pytest.mark.parametrize("error", LOST)
def test_an_update_of_a_record_that_was_made_anew_finds_it_in_the_next_job(loads: Loads, error: str) -> None:
    loads.run(ROWS)
    loads.spec = make_spec(mode="update")
    old, loads.org.records["1"] = loads.org.records["1"], ANEW
    loads.org.refuse = lambda row: error if row["Id"] == old else None
    plan, final = loads.run(CHANGED)
    assert loads.asked == [] and (final.source["failed"], final.source["updated"]) == (1, 1)
    assert known(loads, "1") == ("maybe", None, None) and known(loads, "2")[0] == "present"
    # The row as it was would be unchanged, if the old record were still believed in.
    plan, final = loads.run([ROWS[0], CHANGED[1]])
    assert loads.asked == ["1"]
    assert read_csv(plan.batches[0].file) == [{"Id": ANEW, "Name": "Anna", "City__c": "Rome"}]
    assert known(loads, "1")[:2] == ("present", ANEW)


def test_an_update_that_failed_for_another_reason_keeps_its_record(loads: Loads) -> None:
    loads.run(ROWS)
    before = known(loads, "1")
    loads.spec = make_spec(mode="update")
    loads.org.refuse = lambda row: "UNABLE_TO_LOCK_ROW:ENTITY_IS_DELETED:--"
    loads.run(CHANGED)
    assert known(loads, "1") == before


def test_an_upsert_by_key_keeps_its_record_whatever_its_lookups_lack(loads: Loads) -> None:
    loads.run(ROWS)
    before = known(loads, "1")
    loads.org.refuse = lambda row: LOST[1]
    loads.run(CHANGED)
    assert known(loads, "1") == before


@pytest.mark.parametrize("again", [None, ANEW])
def test_a_delete_of_a_record_that_is_not_there_asks_for_the_key_in_the_next_job(
    loads: Loads, again: str | None
) -> None:
    loads.spec = make_spec(mode="mirror")
    loads.run(ROWS)
    del loads.org.records["1"]
    if again:
        loads.org.records["1"] = again
    loads.org.refuse = lambda row: LOST[1] if row.get("Id") not in (None, ANEW) else None
    _, final = loads.run(ROWS[1:])
    assert final.dropped["failed"] == 1 and known(loads, "1")[:2] == ("maybe", None)
    plan, final = loads.run(ROWS[1:])
    assert loads.asked == ["1"] and actions(plan)["1"] == "delete"
    assert final.dropped["deleted" if again else "already_gone"] == 1
    assert [row["nkey"] for row in table(loads.snapshot)] == ["2"]  # type: ignore[arg-type]
