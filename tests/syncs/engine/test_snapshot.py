"""The snapshot changes with what Salesforce confirmed, row by row, and with nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from connections.salesforce.describe import Field
from syncs.engine import snapshot
from syncs.spec import MappingSpec

from .factories import KEY, ORG, Loads, field, make_describe, make_header, make_spec, table

ROWS = [("1", "Anna", "Rome"), ("2", "Bert", "Oslo"), ("3", "Cleo", None)]


def known(loads: Loads) -> dict[str, dict[str, Any]]:
    assert loads.snapshot is not None
    return {row["nkey"]: row for row in table(loads.snapshot)}


def test_confirmed_rows_are_present_with_their_ids_and_hashes(loads: Loads) -> None:
    loads.run([("aB", "Anna", "Rome"), ("3", "Cleo", None)])
    rows = known(loads)
    assert (rows["ab"]["key"], rows["ab"]["id"]) == ("aB", loads.org.records["ab"])
    assert rows["ab"]["state"] == "present"
    assert rows["ab"]["h_1"] is not None
    assert rows["ab"]["row_hash"] % 2 == 1 and rows["3"]["row_hash"] % 2 == 0
    assert rows["3"]["h_1"] is None and rows["3"]["h_0"] is not None


def test_failed_rows_stay_as_they_were(loads: Loads) -> None:
    loads.run(ROWS)
    before = known(loads)
    loads.org.refuse = lambda row: "A:b:--" if row["Ext__c"] in "19" else None
    changed = [("1", "Anne", "Rome"), ("2", "Berta", "Oslo"), ROWS[2], ("9", "Zoe", "Wien")]
    loads.run(changed)
    after = known(loads)
    assert after.keys() == {"1", "2", "3"}
    assert after["1"] == before["1"]
    assert after["2"]["h_0"] != before["2"]["h_0"] and after["3"] == before["3"]
    loads.org.refuse = lambda row: None
    plan, _ = loads.run(changed)
    assert plan.counts["upsert"] == 2
    assert known(loads).keys() == {"1", "2", "3", "9"}


def test_rows_of_unknown_fate_may_be_there(loads: Loads) -> None:
    loads.run(ROWS[:2])
    before = known(loads)
    staged = loads.stage([("1", "Anne", "Rome"), ROWS[1], ROWS[2]])
    plan = loads.plan(staged)
    loads.end(staged, plan, [], {1: "unknown: lost"})
    after = known(loads)
    assert after["1"] == {**before["1"], "state": "maybe", "row_hash": None, "h_0": None, "h_1": None}
    assert (after["3"]["state"], after["3"]["id"], after["3"]["h_0"]) == ("maybe", None, None)
    assert after["2"] == before["2"]
    plan, _ = loads.run([("1", "Anna", "Rome"), ROWS[1], ROWS[2]])
    assert plan.counts["upsert"] == 2
    assert {row["state"] for row in known(loads).values()} == {"present"}


def test_rows_that_were_not_sent_change_nothing(loads: Loads) -> None:
    loads.run(ROWS[:2])
    before = known(loads)
    staged = loads.stage([("1", "Anne", "Rome"), ROWS[1], ROWS[2]])
    loads.end(staged, loads.plan(staged), [], {1: "not_sent"})
    assert known(loads) == before


def test_deleted_records_are_forgotten(loads: Loads) -> None:
    loads.spec = make_spec(mode="mirror")
    loads.run(ROWS)
    loads.run(ROWS[:1])
    assert known(loads).keys() == {"1"}


def test_a_record_that_was_made_anew_holds_nothing_in_fields_left_alone(loads: Loads) -> None:
    loads.run([("1", "Anna", "Rome")])
    loads.org.records.clear()
    loads.run([("1", "Anne", None)])
    assert known(loads)["1"]["h_1"] is None
    plan, _ = loads.run([("1", "Anne", "Rome")])
    assert plan.counts["upsert"] == 1


def test_fields_left_alone_by_an_update_keep_what_is_known(loads: Loads) -> None:
    loads.run(ROWS)
    city = known(loads)["1"]["h_1"]
    loads.run([("1", "Anne", None), *ROWS[1:]])
    assert known(loads)["1"]["h_1"] == city and known(loads)["1"]["row_hash"] % 2 == 0


def test_the_header_stands_in_the_file_too(loads: Loads) -> None:
    plan, _ = loads.run(ROWS)
    assert loads.snapshot is not None
    assert snapshot.read_header(loads.snapshot) == make_header(plan)


def test_a_snapshot_of_something_else_is_refused(loads: Loads, tmp_path: Path) -> None:
    plan, _ = loads.run(ROWS)
    assert loads.snapshot is not None
    assert snapshot.check_header(loads.snapshot, make_header(plan)) == []
    assert snapshot.check_header(loads.snapshot, make_header(plan, fields=("City__c", "New__c"))) == []
    assert snapshot.check_header(loads.snapshot, make_header(plan, object="place__C", key_fields=("EXT__c",))) == []
    for change, word in (
        ({"salesforce_org_id": "00D000000000002EAA"}, "00D000000000002EAA"),
        ({"object": "Account"}, "Account"),
        ({"key_fields": ("Other__c",)}, "Other__c"),
        ({"encoder_version": 99}, "hashes"),
        ({"hash_version": "0" * 32}, "hashes"),
    ):
        (reason,) = snapshot.check_header(loads.snapshot, make_header(plan, **change))
        assert word in reason
    pq.write_table(pa.table({"nkey": ["1"]}), tmp_path / "other.parquet")
    assert snapshot.check_header(tmp_path / "other.parquet", make_header(plan)) == ["other.parquet is not a snapshot."]


def test_a_snapshot_whose_keys_were_compared_in_another_way_is_refused(loads: Loads) -> None:
    loads.run([("ABC", "Anna", "Rome")])
    assert loads.snapshot is not None
    assert check(loads, KEY) == []
    (reason,) = check(loads, dataclasses.replace(KEY, case_sensitive=True))
    assert "compared as text, any case" in reason and "compared as text, case-sensitive" in reason
    (reason,) = check(loads, field("Ext__c", "double", precision=18, external_id=True, unique=True))
    assert "compared as number" in reason
    assert check(loads, field("Ext__c", "email", length=80, external_id=True, unique=True)) == []


def check(loads: Loads, key: Field) -> list[str]:
    assert loads.snapshot is not None
    describe = make_describe(key, field("Name"), field("City__c"))
    return snapshot.check_header(loads.snapshot, snapshot.SnapshotHeader.of(ORG, loads.spec, describe))


def test_a_header_is_made_of_what_salesforce_calls_the_mapped_fields(loads: Loads) -> None:
    plan, _ = loads.run(ROWS)
    lines = (MappingSpec("CITY__C", "city"), MappingSpec("ext__c", "id"), MappingSpec("name", "name"))
    spec = make_spec(*lines, key_fields=("ext__C",))
    header = snapshot.SnapshotHeader.of(ORG, spec, loads.describe)
    assert header == make_header(plan, fields=("City__c", "Name"))
    assert snapshot.SnapshotHeader.from_json(header.to_json()) == header


def test_a_snapshot_that_does_not_tell_how_keys_were_compared_is_used(loads: Loads) -> None:
    plan, _ = loads.run(ROWS)
    assert loads.snapshot is not None
    assert snapshot.check_header(loads.snapshot, make_header(plan, key_rule="")) == []


def test_the_hash_version_follows_the_hash_function() -> None:
    with duckdb.connect() as connection:
        [(found,)] = connection.execute("SELECT hash(?)", [snapshot._PROBE]).fetchall()
    assert snapshot.hash_version().startswith(f"{found:016x}") and len(snapshot.hash_version()) == 32


def test_a_snapshot_of_other_fields_still_tells_what_it_knows(loads: Loads) -> None:
    loads.run(ROWS)
    loads.spec = make_spec(MappingSpec("Ext__c", "id"), MappingSpec("City__c", "city"))
    loads.run(ROWS)
    assert list(known(loads)["1"]) == ["nkey", "key", "id", "state", "row_hash", "h_0"]
    loads.spec = make_spec()
    plan, _ = loads.run(ROWS)
    # The name was forgotten when it was no longer mapped.
    assert plan.counts["upsert"] == 3
