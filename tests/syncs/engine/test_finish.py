"""The end of a job: one outcome per row, error groups, sums, and the refused rows as a CSV."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

from connections.sources.base import MalformedRow
from syncs.engine import rules
from syncs.engine.outcome import read_outcomes
from syncs.engine.refused import refused_rows_csv
from syncs.spec import MappingSpec

from .factories import Loads, make_spec, table

ROWS = [("1", "Anna", "Rome"), ("2", "Bert", "Oslo"), ("3", "Cleo", None), ("4", "Dora", "Bern")]


def outcomes(path: Path) -> dict[int, str]:
    return {row["_row"]: row["outcome"] for row in table(path)}


def test_rows_without_a_result_are_unknown_or_not_sent_as_their_batch_says(loads: Loads) -> None:
    loads.spec = make_spec(batch_rows=1)
    staged = loads.stage(ROWS)
    plan = loads.plan(staged)
    sent = loads.send(plan)
    final = loads.end(staged, plan, [sent[0].file], {2: "not_sent: the daily limit was reached", 3: "unknown"})
    assert outcomes(final.outcomes_file) == {1: "inserted", 2: "not_sent", 3: "unknown", 4: "unknown"}
    assert [row["error"] for row in table(final.outcomes_file)] == [None, "the daily limit was reached", None, None]
    assert (final.source["inserted"], final.source["not_sent"], final.source["unknown"]) == (1, 1, 2)
    assert final.balanced


def test_the_last_attempt_counts(loads: Loads) -> None:
    staged = loads.stage(ROWS)
    plan = loads.plan(staged)
    loads.org.refuse = lambda row: "UNABLE_TO_LOCK_ROW:locked:--"
    (first,) = loads.send(plan)
    loads.org.refuse = lambda row: None
    (second,) = loads.send(plan)
    final = loads.end(staged, plan, [first.file, second.file])
    assert set(outcomes(final.outcomes_file).values()) == {"inserted"}
    assert final.errors == 0 and final.balanced


def test_rows_that_salesforce_returned_unprocessed_were_not_sent(loads: Loads) -> None:
    staged = loads.stage(ROWS)
    plan = loads.plan(staged)
    folder, _ = loads.attempt()
    (folder / "empty.csv").touch()
    (folder / "rest.csv").write_bytes(plan.batches[0].file.read_bytes())
    empty = folder / "empty.csv"
    read_outcomes(
        loads.workspace, plan, 1, plan.batches[0].file, empty, empty, folder / "rest.csv", folder / "o.parquet"
    )
    final = loads.end(staged, plan, [folder / "o.parquet"])
    assert final.source["not_sent"] == 4 and final.balanced


def test_sums_of_a_mixed_job_come_out(loads: Loads) -> None:
    loads.spec = make_spec(mode="mirror")
    loads.run([*ROWS, ("5", "Emil", "Ulm"), ("6", "Fay", "Gent")])
    loads.org.refuse = lambda row: (
        "DELETE_FAILED:Row is needed:--"
        if row.get("Id") == loads.org.records["6"]
        else ("STRING_TOO_LONG:Name: a: b:Name,City__c --" if row.get("Name") == "Bad" else None)
    )
    rows = [ROWS[0], ("2", "Bad", "Oslo"), ("3", "Cleo", "Kiel"), ("4", "x" * 300, "Bern"), ("7", "Gil", "Prag")]
    _, final = loads.run(rows)
    assert {name: count for name, count in final.source.items() if count} == {
        "read": 5,
        "rejected": 1,
        "unchanged": 1,
        "inserted": 1,
        "updated": 1,
        "failed": 1,
    }
    assert {name: count for name, count in final.dropped.items() if count} == {"dropped": 2, "deleted": 1, "failed": 1}
    groups = {(group.source, group.code, group.field): (group.count, group.sample_row) for group in final.groups}
    assert groups == {
        ("salesforce", "DELETE_FAILED", ""): (1, None),
        ("salesforce", "STRING_TOO_LONG", "Name,City__c"): (1, 2),
        ("rule", rules.TOO_LONG, "Name"): (1, 4),
    }
    refused = {row["code"]: row for row in table(final.errors_file)}
    assert refused["STRING_TOO_LONG"]["message"] == "STRING_TOO_LONG:Name: a: b:Name,City__c --"
    assert refused["DELETE_FAILED"]["record_id"] == loads.org.records["6"]


def test_sums_that_do_not_come_out_are_told(loads: Loads) -> None:
    staged = loads.stage(ROWS)
    plan = loads.plan(staged)
    wrong = dataclasses.replace(plan, counts={**plan.counts, "unchanged": 1})
    final = loads.end(staged, wrong, [answer.file for answer in loads.send(plan)])
    assert not final.balanced
    assert final.imbalance == ("4 rows were read, but their outcomes are 5: unchanged 1, inserted 4.",)


def test_a_million_alike_errors_would_be_one_group_and_many_kinds_are_bounded(loads: Loads) -> None:
    loads.org.refuse = lambda row: f"CODE_{int(row['Ext__c']) % 250}:message {row['Ext__c']}:Name --"
    _, final = loads.run((str(number), "n", "c") for number in range(1000))
    assert final.errors == 1000 and len(final.groups) == 200
    assert {group.count for group in final.groups} == {4}


def test_refused_rows_come_in_the_columns_of_the_source_as_they_were(loads: Loads) -> None:
    loads.columns = ("Id No", "name", 'City, "Town"')
    loads.spec = make_spec(
        MappingSpec("Ext__c", "Id No"), MappingSpec("Name", "name"), MappingSpec("City__c", 'City, "Town"')
    )
    loads.org.refuse = lambda row: 'A:b "c":Name --' if row["Name"] == "Bad" else None
    rows = [("1", "Anna", "Rome"), ("2 ", " Bad\u00a0", 'O,\n"slo"'), ("x", "n" * 300, "c" * 256), ("4", "Dora", None)]
    staged = loads.stage(rows, malformed=[MalformedRow(2, "half a row", "1 cell instead of 3")])
    plan = loads.plan(staged)
    final = loads.end(staged, plan, [answer.file for answer in loads.send(plan)])
    folder, _ = loads.attempt()
    assert refused_rows_csv(loads.workspace, staged, final.errors_file, folder / "refused.csv") == 3
    with (folder / "refused.csv").open(newline="", encoding="utf-8") as file:
        header, *lines = list(csv.reader(file))
    assert header == [
        "Id No", "name", "City, \"Town\"", "_error_code", "_error_message", "_error_fields", "_operation", "_row",
    ]  # fmt: skip
    assert lines[0][:4] == ["", "", "", "Malformed Row"] and lines[0][-1] == "2"
    assert lines[1] == ["2 ", " Bad\u00a0", 'O,\n"slo"', "A", 'A:b "c":Name --', "Name", "upsert", "3"]
    assert lines[2][:3] == list(rows[2]) and lines[2][3] == rules.TOO_LONG
    assert lines[2][5] == "City__c; Name"
    assert lines[2][4].count("Shorten it.") == 2


def test_an_empty_job_ends_well(loads: Loads) -> None:
    _, final = loads.run([])
    assert final.balanced and final.source["read"] == 0
    assert table(final.outcomes_file) == [] == table(final.errors_file)
