"""Rows that are sent again, and payloads as calls of JSON records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from connections.salesforce.collections import Result
from connections.salesforce.errors import split_row_error, trouble_of
from connections.salesforce.ids import id18
from syncs.engine import lanes, payloads, records
from syncs.engine.outcome import read_outcomes, unknown_outcomes
from syncs.engine.payloads import refused, refused_payloads, remaining_payloads, trouble_sql
from syncs.engine.plan import Plan
from syncs.spec import MappingSpec

from .factories import KEY, Loads, field, make_describe, make_spec, read_csv, table

LOCK = "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record:--"


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    return Loads(tmp_path)


def pieces_of(loads: Loads, plan: Plan, payload: Path | None = None, **options: Any) -> list[records.Piece]:
    (batch,) = plan.batches
    return list(records.pieces(loads.workspace, plan, 1, payload or batch.file, **options))


def test_a_payload_becomes_records_with_typed_values(tmp_path: Path) -> None:
    number = field("Amount__c", "currency", precision=18, scale=10)
    describe = make_describe(KEY, number, field("Open__c", "boolean"), field("Note__c", "textarea", length=999))
    mappings = (
        MappingSpec("Ext__c", "id"),
        MappingSpec("Amount__c", "amount", when_blank="clear"),
        MappingSpec("Open__c", "open"),
        MappingSpec("Note__c", "note", when_blank="clear"),
    )
    loads = Loads(tmp_path, make_spec(*mappings), describe)
    loads.columns = ("id", "amount", "open", "note")
    plan = loads.plan(
        loads.stage(
            [
                ("1", "12345678.1000000001", "yes", 'a "b"\n\\ é \u2028 😀'),
                ("2", None, None, None),
                ("3", "-0.50", "0", "7"),
            ]
        )
    )
    (piece,) = pieces_of(loads, plan)
    assert b'"Amount__c":12345678.1000000001,' in piece.records[0]
    first, second, third = [json.loads(each) for each in piece.records]
    assert first == {
        "attributes": {"type": "Place__c"},
        "Ext__c": "1",
        "Amount__c": 12345678.1000000001,
        "Open__c": True,
        "Note__c": 'a "b"\n\\ é \u2028 😀',
    }
    assert second == {"attributes": {"type": "Place__c"}, "Ext__c": "2", "Amount__c": None, "Note__c": None}
    assert (third["Amount__c"], third["Open__c"], third["Note__c"]) == (-0.5, False, "7")
    assert piece.seqs == (1, 2, 3)


def test_parents_are_nested_with_their_object_where_it_may_be_several() -> None:
    assert records._around("Name") == ('"Name":', "")
    assert records._around("Account.Ext__c") == ('"Account":{"Ext__c":', "}")
    assert records._around("User:Owner.Username") == ('"Owner":{"attributes":{"type":"User"},"Username":', "}")


def test_pieces_are_cut_by_rows_and_by_bytes_and_go_on_at_any_offset(loads: Loads) -> None:
    plan = loads.plan(loads.stage([(str(n), f"Name {n}" + "x" * (n % 7), "Rome") for n in range(1, 1001)]))
    whole = pieces_of(loads, plan)
    assert [(each.offset, len(each.seqs)) for each in whole] == [
        (0, 200),
        (200, 200),
        (400, 200),
        (600, 200),
        (800, 200),
    ]
    small = pieces_of(loads, plan, most_bytes=5_000)
    assert all(sum(map(len, each.records)) <= 5_000 for each in small)
    assert sum((each.seqs for each in small), ()) == tuple(range(1, 1001))
    for one in (small[3], small[-1]):
        again = pieces_of(loads, plan, offset=one.offset, most_bytes=5_000)[0]
        assert (again.seqs, again.records) == (one.seqs, one.records)
    alone = pieces_of(loads, plan, most_bytes=10)
    assert len(alone) == 1000


def test_answers_in_the_form_of_results_find_their_rows(loads: Loads) -> None:
    plan = loads.plan(loads.stage([(str(n), "Same", "Rome") for n in range(1, 6)]))
    (batch,) = plan.batches
    (piece,) = pieces_of(loads, plan)
    folder, _ = loads.attempt()
    files = []
    for name, part in (("a", slice(0, 2)), ("b", slice(2, 4))):
        results = [Result(f"a0{seq}", seq % 2 == 1, LOCK if seq == 4 else "") for seq in piece.seqs[part]]
        files.append((folder / f"{name}-good.csv", folder / f"{name}-bad.csv"))
        records.write_answers(list(zip(piece.seqs[part], results, strict=True)), *files[-1])
    good, bad = records.joined_answers([file for file, _ in files], [file for _, file in files], folder)
    records.write_unsent([], folder / "unsent.csv")
    found = read_outcomes(
        loads.workspace, plan, 1, batch.file, good, bad, folder / "unsent.csv", folder / "outcomes.parquet"
    )
    assert {row["_seq"]: row["outcome"] for row in table(found.file)} == {
        1: "inserted",
        2: "updated",
        3: "inserted",
        4: "failed",
    }
    assert (found.remaining, found.unprocessed) == (1, 0)
    unknown = unknown_outcomes(
        loads.workspace, plan, 1, batch.file, [found.file], "nobody knows", folder / "unknown.parquet"
    )
    assert unknown.counts == {"unknown": 1}
    assert [(row["_seq"], row["error"]) for row in table(unknown.file)] == [(5, "nobody knows")]


def test_keys_find_rows_however_salesforce_spells_them(loads: Loads) -> None:
    plan = loads.plan(loads.stage([("Ab", "Anna", "Rome"), ("b", "Bert", "Oslo"), ("c", "Cleo", "Bern")]))
    (piece,) = pieces_of(loads, plan)
    assert records.keys_of(plan, piece) == [("Ab",), ("b",), ("c",)]
    assert records.found_by_key(loads.workspace, plan, piece, [("B ",), ("AB",), ("z",)]) == {1: 1, 2: 0}


def test_refused_rows_are_copied_ordered_by_parent_and_cut(tmp_path: Path) -> None:
    describe = make_describe(KEY, field("Parent__c", "reference", reference_to=("Account",)), field("Name"))
    spec = make_spec(MappingSpec("Ext__c", "id"), MappingSpec("Parent__c", "city"), MappingSpec("Name", "name"))
    loads = Loads(tmp_path, spec, describe)
    parents = [id18(f"00100000000000{n % 3}") for n in range(9)]
    plan = loads.plan(loads.stage([(str(n), f"Name {n}", parents[n]) for n in range(9)]))
    refusals = {"Name 1": "DUPLICATE_VALUE:x:--", "Name 3": "SERVER_UNAVAILABLE:x:--"}
    loads.org.refuse = lambda row: refusals.get(row["Name"], LOCK)
    (answer,) = loads.send(plan)
    assert refused(loads.workspace, [answer.file]) == {"lock": 7, "busy": 1}
    folder, _ = loads.attempt()
    parts = refused_payloads(
        loads.workspace, plan, 1, [answer.file], folder, troubles=["lock"], max_rows=4, max_bytes=10**6, by_parent=True
    )
    assert [part.rows for part in parts] == [4, 3]
    sent = [row for part in parts for row in read_csv(part.path)]
    assert [row["Parent__c"] for row in sent] == sorted(row["Parent__c"] for row in sent)
    assert {row["Name"] for row in sent} == {f"Name {n}" for n in range(9)} - set(refusals)
    listed = [row["_seq"] for part in parts for row in table(payloads.rows_beside(part.path))]
    assert [f"Name {seq - 1}" for seq in listed] == [row["Name"] for row in sent]


def test_equal_rows_without_a_key_that_were_refused_get_the_results_of_their_second_attempt(tmp_path: Path) -> None:
    loads = Loads(tmp_path, make_spec(key_fields=(), mode="insert", compare="nothing"))
    plan = loads.plan(loads.stage([("1", "Same", "Rome")] * 6))
    (batch,) = plan.batches
    turns = iter([None, LOCK, "DUPLICATES_DETECTED:x:--", LOCK, None, LOCK])
    loads.org.refuse = lambda row: next(turns)
    (first,) = loads.send(plan)
    folder, _ = loads.attempt()
    (part,) = refused_payloads(
        loads.workspace, plan, 1, [first.file], folder, troubles=["lock"], max_rows=10, max_bytes=10**6
    )
    assert part.rows == 3
    loads.org.refuse = lambda row: None
    good, bad = loads.org.answer("insert", part.path, folder)
    second = read_outcomes(loads.workspace, plan, 1, part.path, good, bad, None, folder / "second.parquet")
    before = {row["_seq"] for row in table(first.file) if row["error"] == LOCK}
    assert {row["_seq"] for row in table(second.file)} == before
    assert (second.counts["inserted"], second.remaining) == (3, 0)
    assert remaining_payloads(loads.workspace, plan, 1, part.path, [second.file], folder) == []
    staged = loads.stage([("1", "Same", "Rome")] * 6)
    final = loads.end(staged, plan, [first.file, second.file])
    assert final.balanced and (final.source["inserted"], final.source["failed"]) == (5, 1)


def test_sql_and_client_judge_row_errors_alike(loads: Loads) -> None:
    errors = [LOCK, "CONFLICT:x:--", "LIMIT_EXCEEDED:hourly limit:--", "LIMIT_EXCEEDED:Apex CPU time limit:--", "x", ""]
    errors += ["CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY:T: UNABLE_TO_LOCK_ROW, y:--", "QUERY_TIMEOUT:x:--", "A:b:C --"]
    with loads.workspace.connect() as connection:
        for error in errors:
            [(found,)] = connection.execute(f"SELECT {trouble_sql('e')} FROM (SELECT ? AS e)", [error]).fetchall()
            code, message, _ = split_row_error(error)
            assert found == trouble_of(code, message), error


@pytest.mark.parametrize(
    ("changes", "operation", "rows", "lane"),
    [
        ({}, "upsert", 2_000, "collections"),
        ({}, "upsert", 2_001, "bulk"),
        ({}, "update", 1, "collections"),
        ({}, "insert", 1, "bulk"),
        ({}, "delete", 2_000, "collections"),
        ({"hard_delete": True}, "delete", 1, "bulk"),
        ({"duplicate_rules": "allow_save"}, "insert", 1_000_000, "collections"),
        ({"duplicate_rules": "allow_save"}, "delete", 1_000_000, "bulk"),
        ({"object": "News__e"}, "insert", 1, "events"),
    ],
)
def test_each_batch_has_the_lane_that_its_rows_need(changes: Any, operation: Any, rows: int, lane: str) -> None:
    assert lanes.lane_of(make_spec(**changes), operation, rows) == lane
