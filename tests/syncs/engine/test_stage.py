"""A source is read once, trimmed, and numbered."""

from __future__ import annotations

from pathlib import Path

import pytest

from connections.sources.base import MalformedRow
from syncs.engine.errors import DiskFull, Interrupted
from syncs.engine.stage import Staged, stage
from syncs.engine.workspace import Workspace

from .factories import Loads, reading, table


def test_rows_keep_their_numbers_and_their_text(loads: Loads) -> None:
    rows = [("1", 'a "b"\n', None), ("2", "", "x")]
    staged = loads.stage(rows, malformed=[MalformedRow(2, "oops", "2 cells instead of 3")])
    assert table(staged.path) == [
        {"_row": 1, "c_0": "1", "c_1": 'a "b"', "c_2": None},
        {"_row": 3, "c_0": "2", "c_1": "", "c_2": "x"},
    ]
    assert (staged.rows, staged.columns) == (2, ("id", "name", "city"))
    assert staged.malformed == (MalformedRow(2, "oops", "2 cells instead of 3"),)
    assert Staged.from_json(staged.to_json()) == staged


def test_trimmed_cells_are_counted_and_their_rows_kept_as_they_were(loads: Loads) -> None:
    staged = loads.stage([("1", "a", "b"), (" 2", "\u00a0a\u3000", "\t"), ("3", "c ", "d")])
    assert staged.trimmed == {"id": 1, "name": 2, "city": 1}
    assert staged.padded is not None
    assert [row["_row"] for row in table(staged.padded)] == [2, 3]
    assert table(staged.padded)[0]["c_1"] == "\u00a0a\u3000"
    assert [row["c_2"] for row in table(staged.path)] == ["b", "", "d"]


def test_no_second_file_is_made_when_nothing_was_trimmed(loads: Loads) -> None:
    staged = loads.stage([("1", "a", "b")])
    assert staged.padded is None
    assert sorted(path.name for path in staged.path.parent.iterdir()) == ["staged.parquet"]


def test_an_empty_source_is_a_table_without_rows(loads: Loads) -> None:
    staged = loads.stage([])
    assert (staged.rows, table(staged.path)) == (0, [])


def test_columns_may_differ_in_case_only(loads: Loads) -> None:
    loads.columns = ("Name", "name", 'a,b"c')
    staged = loads.stage([("1", "2", "3")])
    assert staged.columns == ("Name", "name", 'a,b"c')
    assert table(staged.path) == [{"_row": 1, "c_0": "1", "c_1": "2", "c_2": "3"}]


def test_progress_is_told_and_ends_with_all_rows(tmp_path: Path) -> None:
    told: list[int] = []
    rows = ((str(number), "n", "c") for number in range(250_000))
    source = reading(("id", "name", "city"), rows, batch_rows=20_000)
    staged = stage(Workspace(tmp_path), source, tmp_path / "staged.parquet", progress=told.append)
    assert told == sorted(told) and told[-1] == staged.rows == 250_000 and len(told) >= 2


def test_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    rows = ((str(number), "n", "c") for number in range(10))
    with pytest.raises(DiskFull, match="Free some space"):
        stage(Workspace(tmp_path), reading(("id", "name", "city"), rows), Path("/dev/full"))


def test_an_interrupt_stops_reading(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)

    def rows() -> object:
        yield ("1", "n", "c")
        workspace.interrupt()
        yield ("2", "n", "c")

    with pytest.raises(Interrupted):
        stage(workspace, reading(("id", "name", "city"), rows(), batch_rows=1), tmp_path / "s.parquet")  # type: ignore[arg-type]


def test_an_error_of_the_source_is_passed_on(tmp_path: Path) -> None:
    def rows() -> object:
        yield ("1", "n", "c")
        raise ValueError("the source broke off")

    with pytest.raises(ValueError, match="broke off"):
        stage(Workspace(tmp_path), reading(("id", "name", "city"), rows()), tmp_path / "s.parquet")  # type: ignore[arg-type]
