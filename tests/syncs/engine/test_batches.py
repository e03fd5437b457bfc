"""Payload files: how they are written, and where they are cut."""

from __future__ import annotations

import itertools
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncs.engine.plan import PlannedBatch
from syncs.engine.planned_files import PlannedFiles

from .factories import Loads, make_spec, read_csv, table


def write(folder: Path, tables: list[pa.Table], **limits: int) -> tuple[list[int], tuple[PlannedBatch, ...]]:
    writer = PlannedFiles(make_spec(**{"batch_rows": 1000, "batch_bytes": 1_000_000, **limits}), folder, "p")
    numbers = [number for each in tables for number in writer.write("upsert", each).to_pylist()]
    return numbers, writer.close()


def test_a_payload_is_utf8_with_quotes_line_feeds_and_empty_cells_for_null(tmp_path: Path) -> None:
    rows = pa.table({"Ext__c": ["1", 'a "b", c\nd'], "Näme": ["é\U0001f600", None]})
    _, (batch,) = write(tmp_path, [rows])
    assert batch.file.read_bytes().decode() == '"Ext__c","Näme"\n"1","é\U0001f600"\n"a ""b"", c\nd",\n'
    assert batch == PlannedBatch(
        1, "upsert", tmp_path / "p-batch-00001.csv", 2, batch.file.stat().st_size, "collections", marks=((0, 17),)
    )


def test_a_blank_in_the_only_column_is_still_a_row(tmp_path: Path) -> None:
    _, (batch,) = write(tmp_path, [pa.table({"Name": ["a", None, "b"]})])
    assert batch.file.read_text() == '"Name"\n"a"\n""\n"b"\n'


def test_files_are_cut_at_the_number_of_rows(tmp_path: Path) -> None:
    numbers, batches = write(
        tmp_path, [pa.table({"Name": list("abcde")}), pa.table({"Name": list("fg")})], batch_rows=3
    )
    assert numbers == [1, 1, 1, 2, 2, 2, 3]
    assert [batch.rows for batch in batches] == [3, 3, 1]


def test_a_row_too_long_for_any_file_goes_alone(tmp_path: Path) -> None:
    numbers, batches = write(tmp_path, [pa.table({"Name": ["a", "x" * 100, "b"]})], batch_bytes=30)
    assert numbers == [1, 2, 3]
    assert [batch.bytes > 30 for batch in batches] == [False, True, False]


def test_no_file_holds_two_operations_and_numbers_go_on(tmp_path: Path) -> None:
    writer = PlannedFiles(make_spec(), tmp_path, "p")
    first = writer.write("upsert", pa.table({"Name": ["a"]}))
    writer.write("delete", pa.table({"Id": ["b"]}))
    assert writer.write("upsert", pa.table({"Name": ["c"]})).to_pylist() == first.to_pylist() == [1]
    found = [(batch.number, batch.operation, batch.rows) for batch in writer.close()]
    assert found == [(1, "upsert", 2), (2, "delete", 1)]


def test_no_file_holds_two_waves_or_two_sets_of_columns(tmp_path: Path) -> None:
    writer = PlannedFiles(make_spec(), tmp_path, "p")
    writer.write("update", pa.table({"Id": ["a"], "Name": ["x"]}))
    writer.write("update", pa.table({"Id": ["b"], "Gone_On__c": ["2026-01-01"]}))
    writer.write("update", pa.table({"Id": ["c"], "Name": ["y"]}), 1)
    assert [(batch.number, batch.wave, batch.rows) for batch in writer.close()] == [(1, 0, 1), (2, 0, 1), (3, 1, 1)]


def test_a_file_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "p-batch-00001.csv").write_text("somebody's")
    with pytest.raises(FileExistsError):
        write(tmp_path, [pa.table({"Name": ["a"]})])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.text('ab"\n,é', max_size=30), max_size=40), max_size=4),
    st.integers(1, 20),
    st.integers(20, 400),
)
def test_every_row_stands_in_one_file_and_files_are_as_full_as_they_may_be(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[str]], max_rows: int, max_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("batches")
    tables = [pa.table({"Name": pa.array(part, pa.string())}) for part in parts]
    numbers, batches = write(folder, tables, batch_rows=max_rows, batch_bytes=max_bytes)
    rows = [row for part in parts for row in part]
    found = [row["Name"] for batch in batches for row in read_csv(batch.file)]
    assert found == rows
    assert numbers == [batch.number for batch in batches for _ in range(batch.rows)]
    for batch in batches:
        assert batch.bytes == batch.file.stat().st_size
        assert batch.rows <= max_rows and (batch.bytes <= max_bytes or batch.rows == 1)
    for batch, following in itertools.pairwise(batches):
        if batch.rows < max_rows and batch.bytes <= max_bytes:
            first = read_csv(following.file)[0]["Name"]
            line = len(('"' + first.replace('"', '""') + '"\n').encode())
            assert batch.bytes + line > max_bytes


def test_the_plan_says_in_which_batch_each_row_stands(loads: Loads) -> None:
    loads.spec = make_spec(batch_rows=2)
    staged = loads.stage([("1", "a", "x"), ("2", "b" * 300, "x"), ("3", "c", "x"), ("4", "d", "x"), ("5", "e", "x")])
    plan = loads.plan(staged)
    assert [(row["_row"], row["batch"]) for row in table(plan.rows_file)] == [(1, 1), (2, None), (3, 1), (4, 2), (5, 2)]
    assert [[row["Ext__c"] for row in read_csv(batch.file)] for batch in plan.batches] == [["1", "3"], ["4", "5"]]


def test_many_small_batches_of_a_large_table_add_up(loads: Loads) -> None:
    loads.spec = make_spec(batch_rows=700)
    plan = loads.plan(loads.stage((str(number), f"name {number}", "x") for number in range(50_000)))
    assert sum(batch.rows for batch in plan.batches) == 50_000
    assert len(plan.batches) == 72
    assert [row["Ext__c"] for batch in plan.batches for row in read_csv(batch.file)] == [str(n) for n in range(50_000)]
