"""What a job did to records: each row with what was sent, what it was before, and what became of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from syncs.engine import history
from syncs.engine.history import Before, HistoryUnreadable
from syncs.engine.story import Story, story_of_key

from .factories import Loads

AT = datetime(2025, 1, 1, tzinfo=UTC)
ROWS = [("K1", "Anna", "Rome"), ("K2", 'a "b",\nc', None), ("K3", "Cleo", "#Bern")]


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    return Loads(tmp_path)


def told(loads: Loads, path: Path, key: str) -> Story:
    return story_of_key(loads.workspace, {1: [path]}, key)


def written(loads: Loads, plan: Any, outcomes: Path, before: Before | None = None) -> Path:
    path = history.new_name(loads.folder)
    assert history.write(loads.workspace, plan, outcomes, before, 5, AT, path) == len(ROWS)
    return path


def test_rows_find_what_became_of_them_in_whatever_order_it_was_told(loads: Loads) -> None:
    plan, final = loads.run(ROWS)
    lines = pq.read_table(final.outcomes_file)
    pq.write_table(lines.take(list(reversed(range(lines.num_rows)))), loads.folder / "reversed.parquet")
    for outcomes in (final.outcomes_file, loads.folder / "reversed.parquet"):
        path = written(loads, plan, outcomes)
        for number, (key, name, city) in enumerate(ROWS, start=1):
            [change] = told(loads, path, key).changes
            fields = {field.name: (field.before, field.after, field.basis) for field in change.fields}
            wanted = {"Ext__c": key, "Name": name, "City__c": city}
            assert fields == {name: (None, value, "new") for name, value in wanted.items() if value}
            assert (change.row, change.job, change.at, change.outcome) == (number, 5, AT, "inserted")


def test_what_was_read_before_stands_beside_what_was_sent(loads: Loads) -> None:
    loads.run(ROWS)
    plan, final = loads.run([("K1", "Anna", "Oslo"), ("K2", "new", "Bonn"), ("K3", "Cleo", "Bern")])
    seqs = [line["_seq"] for line in pq.read_table(plan.rows_file).to_pylist() if line["batch"]]
    images = {"_seq": seqs[:2], "record_id": ["x", "y"], "b_0": ["Anna", "old"], "b_1": ["Rome", None]}
    pq.write_table(pa.table(images), loads.folder / "before.parquet")
    before = Before(loads.folder / "before.parquet", ("Name", "City__c"), 2)
    path = written(loads, plan, final.outcomes_file, before)

    def fields(key: str) -> dict[str, tuple[Any, ...]]:
        [change] = told(loads, path, key).changes
        return {field.name: (field.before, field.after, field.basis, field.changed) for field in change.fields}

    assert fields("K1")["Name"] == ("Anna", "Anna", "read", False)
    assert fields("K1")["City__c"] == ("Rome", "Oslo", "read", True)
    assert fields("k2")["City__c"] == (None, "Bonn", "read", True)
    assert fields("K3")["City__c"] == (None, "Bern", "unknown", None)


def test_a_payload_that_is_not_the_plans_is_no_history(loads: Loads) -> None:
    plan, final = loads.run(ROWS)
    [batch] = plan.batches
    whole = batch.file.read_bytes()
    for text in (whole + whole.split(b"\n", 1)[1], whole.rsplit(b"\n", 2)[0] + b"\n"):
        batch.file.write_bytes(text)
        with pytest.raises(HistoryUnreadable):
            history.write(loads.workspace, plan, final.outcomes_file, None, 5, AT, loads.folder / "h.parquet")
