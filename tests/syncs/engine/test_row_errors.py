from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from syncs.engine import row_errors
from syncs.engine.rejects import ERROR_SCHEMA
from syncs.engine.stage import Staged
from syncs.engine.workspace import Workspace

NAMES = ["100%", "a_b", 'it\'s "so"', "Žofie", "plain", "plain"]


@pytest.fixture
def results(tmp_path: Path) -> tuple[Workspace, Staged, Path]:
    """Six rows, two errors in each, the errors of the file in no order."""
    staged = Staged(tmp_path / "staged.parquet", None, ("name", "nr"), 6, (), {})
    rows = list(range(1, 7))
    pq.write_table(pa.table({"_row": rows, "c_0": NAMES, "c_1": [f"nr{row}" for row in rows]}), staged.path)
    errors = [
        {"_row": row, "source": "rule", "code": code, "field": "Name", "message": f"{code} in {row}", "key": f"k{row}"}
        for code in ("TOO_LONG", "REQUIRED")
        for row in reversed(rows)
    ]
    gone = {"_row": None, "source": "salesforce", "code": "DELETE_FAILED", "message": "a record that left the source"}
    path = tmp_path / "errors.parquet"
    pq.write_table(pa.Table.from_pylist([*errors, gone], ERROR_SCHEMA), path)
    return Workspace(tmp_path / "scratch"), staged, path


def rows_of(page: row_errors.RowErrors) -> list[int]:
    return sorted({error.row for error in page.errors})


def test_pages_follow_each_other_and_keep_the_errors_of_a_row_together(results) -> None:
    seen, after = [], 0
    while after is not None:
        page = row_errors.page(*results, after=after, limit=4)
        assert len(page.errors) == 2 * len(rows_of(page))
        seen.append(rows_of(page))
        after = page.following
    assert seen == [[1, 2, 3, 4], [5, 6]]


def test_a_code_narrows_the_page(results) -> None:
    page = row_errors.page(*results, code="REQUIRED")
    assert [error.message for error in page.errors] == [f"REQUIRED in {row}" for row in range(1, 7)]


@pytest.mark.parametrize(
    ("search", "rows"),
    [
        ("%", [1]),
        ("_B", [2]),
        ("it's \"SO", [3]),
        ("žof", [4]),
        ("PLAIN", [5, 6]),
        ("nr2", [2]),
        ("K3", [3]),
        ("in 6", [6]),
        ("\0", []),
        ("x" * 100_000, []),
    ],
)
def test_a_search_takes_every_character_for_itself(results, search: str, rows: list[int]) -> None:
    assert rows_of(row_errors.page(*results, search=search)) == rows


def test_one_row_comes_with_all_its_errors_and_its_source_columns(results) -> None:
    errors, cells = row_errors.one_row(*results, row=3)
    assert [error.code for error in errors] == ["REQUIRED", "TOO_LONG"]
    assert cells == {"name": NAMES[2], "nr": "nr3"}
    assert row_errors.one_row(*results, row=7) == ((), None)


def test_a_search_that_takes_long_stops_and_can_be_gone_on_with(results, monkeypatch) -> None:
    monkeypatch.setattr(row_errors, "_WINDOW", 2)
    monkeypatch.setattr(row_errors, "_SEARCH_SECONDS", 0)
    after, found, pages = 0, [], 0
    while after is not None:
        page = row_errors.page(*results, search="plain", after=after)
        found += rows_of(page)
        after, pages = page.following, pages + 1
    assert (found, pages) == ([5, 6], 3)
