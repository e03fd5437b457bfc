"""Results of Salesforce jobs find the rows they speak of."""

from __future__ import annotations

import gzip
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from syncs.engine.outcome import AttemptOutcome, read_outcomes
from syncs.engine.payloads import remaining_payloads
from syncs.engine.plan import Plan
from syncs.engine.results import ResultsUnreadable
from syncs.spec import MappingSpec

from .factories import KEY, Loads, field, make_describe, make_spec, read_csv, table, write_csv

ROWS = [("1", "Anna", "Rome"), ("2", "Bert", 'a "b",\nc'), ("3", "Cleo", None), ("4", "Dora", "Bern")]


def read(loads: Loads, plan: Plan, payload: Path, good: Path, bad: Path, rest: Path | None = None) -> AttemptOutcome:
    folder, _ = loads.attempt()
    found = read_outcomes(loads.workspace, plan, 1, payload, good, bad, rest, folder / "outcomes.parquet")
    assert AttemptOutcome.from_json(found.to_json()) == found
    return found


def remaining_payload(
    loads: Loads, plan: Plan, payload: Path, files: list[Path], to: Path, *, only_unprocessed: bool = False
) -> int:
    """The rows without an outcome, as one CSV at `to`."""
    folder, _ = loads.attempt()
    parts = remaining_payloads(loads.workspace, plan, 1, payload, files, folder, only_unprocessed=only_unprocessed)
    for part in parts:
        part.path.with_suffix(".rows.parquet").rename(to.with_suffix(".rows.parquet"))
        part.path.rename(to)
    assert len(parts) <= 1
    return sum(part.rows for part in parts)


def by_row(found: AttemptOutcome) -> dict[int, tuple[str, str | None]]:
    return {row["_row"]: (row["outcome"], row["error"]) for row in table(found.file)}


def results(
    loads: Loads, good: list[dict[str, str]], bad: list[dict[str, str]], rest: list[dict[str, str]] | None = None
) -> tuple[Path, Path, Path | None]:
    """Write result files, with columns in an order of their own."""
    folder, _ = loads.attempt()
    columns = list((good + bad + (rest or []))[0])
    names = [name for name in reversed(columns) if not name.startswith("sf__")]
    return (
        write_csv(folder / "good.csv", [*names, "sf__Created", "sf__Id"], good),
        write_csv(folder / "bad.csv", ["sf__Error", *names, "sf__Id"], bad),
        None if rest is None else write_csv(folder / "rest.csv", names, rest),
    )


def success(row: dict[str, str], number: int, created: str = "true") -> dict[str, str]:
    return {"sf__Id": f"a00{number:012d}AAA", "sf__Created": created, **row}


def failure(row: dict[str, str], error: str) -> dict[str, str]:
    return {"sf__Id": "", "sf__Error": error, **row}


def test_results_are_joined_by_key_whatever_their_order(loads: Loads) -> None:
    plan = loads.plan(loads.stage(ROWS))
    (batch,) = plan.batches
    one, two, three, four = read_csv(batch.file)
    error = 'STRING_TOO_LONG:Name: data "value": too, large\n(max length=80):Name --'
    good, bad, _ = results(loads, [success(four, 4, "false"), success(one, 1)], [failure(two, error)])
    found = read(loads, plan, batch.file, good, bad)
    assert by_row(found) == {1: ("inserted", None), 2: ("failed", error), 4: ("updated", None)}
    assert found.counts == {"inserted": 1, "updated": 1, "deleted": 0, "restored": 0, "already_gone": 0, "failed": 1}
    assert (found.rows, found.remaining, found.unprocessed, found.unmatched) == (3, 1, 0, 0)
    row = table(found.file)[0]
    assert (row["nkey"], row["key"], row["action"], row["batch"]) == ("1", "1", "upsert", 1)
    assert row["record_id"] == "a00000000000001AAA"


def test_unprocessed_rows_are_told_from_lost_ones(loads: Loads) -> None:
    plan = loads.plan(loads.stage(ROWS))
    (batch,) = plan.batches
    one, two, three, four = read_csv(batch.file)
    found = read(loads, plan, batch.file, *results(loads, [success(one, 1)], [], [two, three]))
    assert (found.rows, found.remaining, found.unprocessed, found.unmatched) == (1, 3, 2, 0)
    folder, _ = loads.attempt()
    rest = folder / "rest.csv"
    assert remaining_payload(loads, plan, batch.file, [found.file], rest) == 3
    assert read_csv(rest) == [two, three, four]
    assert rest.read_bytes().splitlines()[0] == batch.file.read_bytes().splitlines()[0]
    rest = folder / "only.csv"
    only = remaining_payload(loads, plan, batch.file, [found.file], rest, only_unprocessed=True)
    assert (only, read_csv(rest)) == (2, [two, three])
    second = read(loads, plan, rest, *results(loads, [success(three, 3)], [failure(two, "X:y:--")]))
    assert (second.rows, second.remaining) == (2, 0)
    rest = folder / "last.csv"
    assert remaining_payload(loads, plan, batch.file, [found.file, second.file], rest) == 1
    assert read_csv(rest) == [four]


def test_nothing_remains_when_all_rows_have_an_outcome(loads: Loads) -> None:
    plan = loads.plan(loads.stage(ROWS))
    (answer,) = loads.send(plan)
    folder, _ = loads.attempt()
    assert remaining_payload(loads, plan, plan.batches[0].file, [answer.file], folder / "x.csv") == 0
    assert list(folder.iterdir()) == []


def test_without_any_outcome_everything_remains(loads: Loads) -> None:
    plan = loads.plan(loads.stage(ROWS))
    folder, _ = loads.attempt()
    payload = plan.batches[0].file
    assert remaining_payload(loads, plan, payload, [], folder / "x.csv") == 4
    assert (folder / "x.csv").read_bytes() == payload.read_bytes()
    assert remaining_payload(loads, plan, payload, [], folder / "y.csv", only_unprocessed=True) == 0


def test_results_may_be_gzipped_empty_or_without_rows(loads: Loads) -> None:
    plan = loads.plan(loads.stage(ROWS))
    (batch,) = plan.batches
    good, bad, _ = results(loads, [success(row, n) for n, row in enumerate(read_csv(batch.file))], [])
    zipped = good.with_name("good.csv.gz")
    with good.open("rb") as plain, gzip.open(zipped, "wb") as packed:
        shutil.copyfileobj(plain, packed)
    nothing = good.with_name("nothing.csv")
    nothing.touch()
    assert read(loads, plan, batch.file, zipped, bad).counts["inserted"] == 4
    assert read(loads, plan, batch.file, zipped, nothing, nothing).remaining == 0


def test_a_result_of_nobody_is_counted(loads: Loads) -> None:
    plan = loads.plan(loads.stage(ROWS))
    (batch,) = plan.batches
    one = read_csv(batch.file)[0]
    found = read(loads, plan, batch.file, *results(loads, [success(one, 1), success({**one, "Ext__c": "99"}, 2)], []))
    assert (found.rows, found.unmatched, found.remaining) == (1, 1, 3)


def test_a_result_file_without_the_key_is_refused(loads: Loads) -> None:
    plan = loads.plan(loads.stage(ROWS))
    good, bad, _ = results(loads, [{"sf__Id": "x", "sf__Created": "true", "Name": "Anna"}], [])
    with pytest.raises(ResultsUnreadable, match=r"good.csv has no column Ext__c"):
        read(loads, plan, plan.batches[0].file, good, bad)


def test_keys_are_found_however_salesforce_spells_them(tmp_path: Path) -> None:
    key = field("Ext__c", "double", precision=18, scale=0, external_id=True, unique=True)
    loads = Loads(tmp_path, describe=make_describe(key, field("Name"), field("City__c")))
    plan = loads.plan(loads.stage([("007", "Anna", "Rome"), ("20", "Bert", "Oslo")]))
    good, bad, _ = results(
        loads, [success({"EXT__C": "7.0", "Name": "Anna"}, 1), success({"EXT__C": "2E1", "Name": "Bert"}, 2)], []
    )
    assert by_row(read(loads, plan, plan.batches[0].file, good, bad)) == {1: ("inserted", None), 2: ("inserted", None)}


def test_updates_and_deletes_are_found_by_id(loads: Loads) -> None:
    loads.spec = make_spec(mode="mirror")
    loads.run(ROWS)
    loads.spec = make_spec(mode="mirror", batch_rows=10)
    plan = loads.plan(loads.stage(ROWS[:1]))
    (batch,) = plan.batches
    ids = {key: loads.org.records[key] for key in ("2", "3", "4")}
    gone = {"sf__Id": ids["3"], "sf__Error": "ENTITY_IS_DELETED:entity is deleted:--", "Id": ids["3"]}
    bad = {"sf__Id": ids["4"], "sf__Error": "DELETE_FAILED:no:--", "Id": ids["4"]}
    good = {"sf__Id": ids["2"], "sf__Created": "false", "Id": ids["2"][:15]}
    found = read(loads, plan, batch.file, *results(loads, [good], [gone, bad]))
    outcomes = {row["key"]: (row["_row"], row["outcome"]) for row in table(found.file)}
    assert outcomes == {"2": (None, "deleted"), "3": (None, "already_gone"), "4": (None, "failed")}
    assert found.counts["already_gone"] == 1

    loads.spec = make_spec(mode="update")
    plan = loads.plan(loads.stage([("1", "Anne", "Rome"), ("2", "Berta", "Oslo")]))
    payload = read_csv(plan.batches[0].file)
    found = read(
        loads,
        plan,
        plan.batches[0].file,
        *results(
            loads,
            [success(payload[1], 2, "false")],
            [{"sf__Id": payload[0]["Id"], "sf__Error": "A:b:--", **payload[0]}],
        ),
    )
    assert by_row(found) == {1: ("failed", "A:b:--"), 2: ("updated", None)}


# --- without a key ---


def keyless(folder: Path, *fields: Any, **changes: Any) -> Loads:
    mappings = changes.pop("mappings", (MappingSpec("Name", "name"), MappingSpec("City__c", "city")))
    spec = make_spec(*mappings, mode="insert", compare="nothing", key_fields=(), **changes)
    return Loads(folder, spec, make_describe(KEY, field("Name"), field("City__c"), *fields))


def test_equal_rows_without_a_key_are_interchangeable(tmp_path: Path) -> None:
    loads = keyless(tmp_path)
    rows = [("", "Anna", "Rome")] * 3 + [("", "Bert", None), ("", "Anna", "Rome"), ("", None, None)]
    plan = loads.plan(loads.stage(rows))
    (batch,) = plan.batches
    anna = {"Name": "Anna", "City__c": "Rome"}
    good, bad, _ = results(
        loads,
        [success(anna, 1), success({"Name": "Bert", "City__c": ""}, 2), success(anna, 3)],
        [failure(anna, "A:b:--"), failure({"Name": "", "City__c": ""}, "C:d:--")],
    )
    found = read(loads, plan, batch.file, good, bad)
    assert by_row(found) == {
        1: ("inserted", None),
        2: ("inserted", None),
        3: ("failed", "A:b:--"),
        4: ("inserted", None),
        6: ("failed", "C:d:--"),
    }
    assert (found.remaining, found.unmatched) == (1, 0)
    assert len({row["record_id"] for row in table(found.file) if row["record_id"]}) == 3


def test_more_results_than_equal_rows_are_nobodys(tmp_path: Path) -> None:
    loads = keyless(tmp_path)
    plan = loads.plan(loads.stage([("", "Anna", "Rome"), ("", "Bert", "Oslo")]))
    anna = {"Name": "Anna", "City__c": "Rome"}
    found = read(loads, plan, plan.batches[0].file, *results(loads, [success(anna, 1), success(anna, 2)], []))
    assert by_row(found) == {1: ("inserted", None)}
    assert (found.unmatched, found.remaining) == (1, 1)


def test_attempts_on_equal_rows_never_settle_the_same_row_twice(tmp_path: Path) -> None:
    loads = keyless(tmp_path)
    plan = loads.plan(loads.stage([("", "Anna", "Rome")] * 6 + [("", "Bert", "Oslo")]))
    (batch,) = plan.batches
    anna, bert = {"Name": "Anna", "City__c": "Rome"}, {"Name": "Bert", "City__c": "Oslo"}
    first = read(
        loads, plan, batch.file, *results(loads, [success(anna, 1)], [failure(anna, "A:b:--")], [anna] * 3 + [bert])
    )
    # One of the six is in no file: it may have arrived.
    assert (first.rows, first.remaining, first.unprocessed) == (2, 5, 4)
    folder, _ = loads.attempt()
    rest = folder / "rest.csv"
    assert remaining_payload(loads, plan, batch.file, [first.file], rest, only_unprocessed=True) == 4
    assert sorted(read_csv(rest), key=lambda row: row["Name"]) == [anna] * 3 + [bert]
    second = read(loads, plan, rest, *results(loads, [success(anna, 2), success(bert, 3)], [], [anna] * 2))
    assert (second.rows, second.remaining, second.unprocessed) == (2, 2, 2)
    rest = folder / "rest2.csv"
    files = [first.file, second.file]
    assert remaining_payload(loads, plan, batch.file, files, rest, only_unprocessed=True) == 2
    third = read(loads, plan, rest, *results(loads, [success(anna, 4), success(anna, 5)], []))
    settled = [
        row["_row"] for each in (first, second, third) for row in table(each.file) if row["outcome"] != "unprocessed"
    ]
    assert len(settled) == len(set(settled)) == 6
    final = loads.end(loads.stage([("", "Anna", "Rome")] * 6 + [("", "Bert", "Oslo")]), plan, [*files, third.file])
    assert final.balanced
    assert (final.source["inserted"], final.source["failed"], final.source["unknown"]) == (5, 1, 1)


def test_values_that_salesforce_writes_anew_still_match(tmp_path: Path) -> None:
    fields = [
        field("Amount__c", "currency", precision=18, scale=2),
        field("Day__c", "date"),
        field("When__c", "datetime"),
        field("At__c", "time"),
        field("Flag__c", "boolean"),
        field("Parent__c", "reference"),
        field("Tags__c", "multipicklist", length=4099),
        field("Long__c", "textarea", length=32000),
    ]
    columns = ["name", "amount", "day", "moment", "at", "flag", "parent", "tags", "long"]
    targets = ["Name", *(each.name for each in fields)]
    mappings = tuple(
        MappingSpec(target, column, when_blank="clear" if target == "Amount__c" else "leave")
        for target, column in zip(targets, columns, strict=True)
    )
    loads = keyless(tmp_path, *fields, mappings=mappings, time_zone="Europe/Berlin")
    loads.columns = columns
    rows: list[list[str | None]] = [
        ["n", "1.50", "2024-01-02", "2024-07-01 10:00:00.25", "10:00:00.5", "yes", "0015f00002JUWMV", "b;a", "x\r\ny"],
        ["n", "007", None, "2024-07-01 10:00:00Z", None, "0", None, "a", "x\ry"],
        ["n", None, None, None, None, None, None, None, "\u00a0x"],
    ]
    plan = loads.plan(loads.stage(rows))
    assert plan.counts["insert"] == 3
    echoes = [
        [
            "n",
            "1.5000",
            "2024-01-02",
            "2024-07-01T08:00:00.000+0000",
            "10:00:00.000Z",
            "TRUE",
            "0015f00002JUWMVAA5",
            "a;b",
            "x\ny",
        ],
        ["n", "7.0", "", "2024-07-01T10:00:00.000Z", "", "false", "", "a", "x\r\ny"],
        ["n", "", "", "", "", "", "", "", "x"],
    ]
    good = [success(dict(zip(targets, echo, strict=True)), number) for number, echo in enumerate(echoes, 1)]
    found = read(loads, plan, plan.batches[0].file, *results(loads, list(reversed(good)), []))
    assert {row["_row"]: row["record_id"][-4] for row in table(found.file)} == {1: "1", 2: "2", 3: "3"}
    assert found.unmatched == 0


def test_shuffled_results_of_many_rows_leave_nobody_out(tmp_path: Path) -> None:
    loads = keyless(tmp_path)
    shuffled = random.Random(7)
    plan = loads.plan(loads.stage(("", f"name {shuffled.randrange(3000)}", f"city {n % 7}") for n in range(5000)))
    payload = read_csv(plan.batches[0].file)
    shuffled.shuffle(payload)
    good = [success(row, number) for number, row in enumerate(payload[:4000])]
    found = read(
        loads, plan, plan.batches[0].file, *results(loads, good, [failure(row, "A:b:--") for row in payload[4000:]])
    )
    assert (found.rows, found.remaining, found.unmatched) == (5000, 0, 0)
    rows = table(found.file)
    assert len({row["_row"] for row in rows}) == 5000
    held = {row["_row"]: row for row in table(plan.rows_file)}
    taken = {row["record_id"]: held[row["_row"]]["content_lo"] for row in rows if row["record_id"]}
    sent = {}
    for number, row in enumerate(payload[:4000]):
        sent.setdefault((row["Name"], row["City__c"]), set()).add(taken[f"a00{number:012d}AAA"])
    assert all(len(contents) == 1 for contents in sent.values())


def test_a_result_file_that_breaks_off_is_told_as_such(loads: Loads) -> None:
    plan = loads.plan(loads.stage(ROWS))
    (batch,) = plan.batches
    good, bad, _ = results(loads, [success(row, n) for n, row in enumerate(read_csv(batch.file))], [])
    text = good.read_text()
    good.write_text(text[: text.rindex('","') - 2])
    with pytest.raises(ResultsUnreadable, match=r"good.csv cannot be read as CSV"):
        read(loads, plan, batch.file, good, bad)


def test_a_packed_result_file_that_breaks_off_is_told_as_such(loads: Loads) -> None:
    plan = loads.plan(loads.stage((str(number), f"name {number * 7919 % 1009}", "x") for number in range(3000)))
    (batch,) = plan.batches
    good, bad, _ = results(loads, [success(row, n) for n, row in enumerate(read_csv(batch.file))], [])
    packed = gzip.compress(good.read_bytes())
    zipped = good.with_name("good.csv.gz")
    for size in (5, len(packed) // 2):
        zipped.write_bytes(packed[:size])
        with pytest.raises(ResultsUnreadable, match=r"good.csv.gz cannot be read as CSV"):
            read(loads, plan, batch.file, zipped, bad)
