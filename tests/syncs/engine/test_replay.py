"""The refused rows of a job, taken as a source."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connections.sources.base import MalformedRow, Reading
from syncs.engine import replay, rules, stage
from syncs.engine.errors import Interrupted
from syncs.engine.rejects import ERROR_SCHEMA, VIOLATION
from syncs.engine.workspace import Workspace


def staged_of(workspace, folder, columns, rows, malformed=()):
    arrays = [pa.array([row[place] for row in rows], pa.string()) for place in range(len(columns))]
    numbers = pa.array(range(1, len(rows) + 1), pa.int64())
    batch = pa.record_batch([*arrays, numbers], names=[*columns, "_row"])
    reading = Reading(tuple(columns), iter([batch]), list(malformed), "a test")
    return stage.stage(workspace, reading, folder / "rows.parquet")


def errors_of(folder, *lines):
    """A file of row errors. lines: (row, code) each, or (row, code, source)."""
    path = folder / "errors.parquet"
    rows = [
        {"_row": row, "code": code, "source": source[0] if source else "rule", "message": "no"}
        for row, code, *source in lines
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=ERROR_SCHEMA), path)
    return path


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "scratch", memory_mb=100)


def test_only_refused_rows_are_left_under_their_numbers(workspace, tmp_path):
    rows = [(f"k{number}", f" name {number} " if number % 2 else "plain", None) for number in range(1, 11)]
    whole = staged_of(workspace, tmp_path, ("id", "name", "note"), rows, [MalformedRow(11, "x", "one cell")])
    errors = errors_of(
        tmp_path, (8, "DUPLICATES_DETECTED"), (3, "Blank Key"), (3, "Invalid Date"), (11, rules.MALFORMED), (None, "X")
    )
    made = replay.replay(workspace, whole, errors, tmp_path / "again.parquet")
    assert pq.read_table(made.path).to_pylist() == [
        {"_row": 3, "c_0": "k3", "c_1": "name 3", "c_2": None},
        {"_row": 8, "c_0": "k8", "c_1": "plain", "c_2": None},
    ]
    assert pq.read_table(made.padded).to_pylist() == [{"_row": 3, "c_0": "k3", "c_1": " name 3 ", "c_2": None}]
    assert (made.rows, made.malformed, made.trimmed, made.columns) == (2, (), {"name": 1}, ("id", "name", "note"))
    assert stage.Staged.from_json(made.to_json()) == made


def test_rows_that_went_on_with_a_violation_are_not_replayed(workspace, tmp_path):
    whole = staged_of(workspace, tmp_path, ("id",), [("a",), ("b",), ("c",)])
    errors = errors_of(tmp_path, (1, "X", VIOLATION), (2, "X", VIOLATION), (2, "Y", "salesforce"))
    made = replay.replay(workspace, whole, errors, tmp_path / "again.parquet")
    assert pq.read_table(made.path).column("_row").to_pylist() == [2]


def test_without_trimmed_cells_nothing_is_padded(workspace, tmp_path):
    whole = staged_of(workspace, tmp_path, ("id",), [(" a ",), ("b",)])
    made = replay.replay(workspace, whole, errors_of(tmp_path, (2, "X")), tmp_path / "again.parquet")
    assert (made.rows, made.padded, made.trimmed) == (1, None, {})


def test_many_rows_are_taken_in_portions(workspace, tmp_path):
    count = 200_000
    whole = staged_of(workspace, tmp_path, ("id",), [(f" {number}",) for number in range(1, count + 1)])
    errors = errors_of(tmp_path, *((number, "X") for number in range(1, count + 1, 2)))
    made = replay.replay(workspace, whole, errors, tmp_path / "again.parquet")
    assert made.rows == made.trimmed["id"] == count // 2
    assert pq.read_table(made.path).column("_row").to_pylist() == list(range(1, count + 1, 2))


def test_it_stops_on_request(workspace, tmp_path):
    whole = staged_of(workspace, tmp_path, ("id",), [("a",)])
    errors = errors_of(tmp_path, (1, "X"))
    workspace.interrupt()
    with pytest.raises(Interrupted):
        replay.replay(workspace, whole, errors, tmp_path / "again.parquet")
