import pyarrow.parquet as pq
import pytest

from syncs.engine import refusals
from syncs.engine.workspace import Workspace
from tests.jobs.parking import SCHEMA, write_refusals


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "scratch", memory_mb=100)


@pytest.fixture
def path(tmp_path):
    write_refusals(tmp_path / "refusals.parquet", parked=120, counting=5)
    return tmp_path / "refusals.parquet"


def test_parked_rows_are_paged_by_key_and_others_are_not_shown(workspace, path):
    seen, after = [], ""
    while after is not None:
        page = refusals.page(workspace, path, after=after, limit=50)
        seen += [row.key for row in page.rows]
        after = page.following
    assert seen == [f"A{number:03}" for number in range(1, 121)]
    [first] = refusals.page(workspace, path, limit=1).rows
    assert first == refusals.ParkedRow("a001", "A001", 10, "DUPLICATES_DETECTED", "Twin A001")


@pytest.mark.parametrize(
    ("search", "found"), [("twin a01", 10), ("A120", 1), ("duplicates", 120), ("b001", 0), ("'", 0)]
)
def test_parked_rows_are_searched_in_any_case(workspace, path, search, found):
    assert len(refusals.page(workspace, path, search=search, limit=200).rows) == found


def test_all_parked_rows_are_released_and_the_others_stay(workspace, path, tmp_path):
    left = refusals.release(workspace, path, tmp_path / "new.parquet")
    assert left == refusals.Left(5, 0)
    table = pq.read_table(tmp_path / "new.parquet")
    assert table.schema.remove_metadata() == SCHEMA
    assert table.column("key").to_pylist() == [f"B{number:03}" for number in range(1, 6)]


def test_chosen_rows_are_released(workspace, path, tmp_path):
    keys = ["A002", "a003", "B001"]
    assert refusals.unknown(workspace, path, keys) == ["B001"]
    left = refusals.release(workspace, path, tmp_path / "new.parquet", keys)
    assert left == refusals.Left(123, 118)
    rest = refusals.page(workspace, tmp_path / "new.parquet", limit=3).rows
    assert [row.key for row in rest] == ["A001", "A004", "A005"]


def test_what_the_file_says_of_itself_stays(workspace, path, tmp_path):
    table = pq.read_table(path).replace_schema_metadata({"sfsync_refusals": "{}"})
    pq.write_table(table, path)
    refusals.release(workspace, path, tmp_path / "new.parquet")
    assert pq.read_schema(tmp_path / "new.parquet").metadata[b"sfsync_refusals"] == b"{}"
