"""Before-images: what records hold that a plan changes, joined to the plan's lines."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from syncs.engine import before
from syncs.engine.transform import Transform
from syncs.engine.workspace import Workspace

from .factories import Loads

# Records of some 400 characters, more than the engine may hold.
RECORDS, CHANGED, MEMORY_MB = 500_000, 5_000, 90


def written(loads: Loads, lines: str, *records: str, memory_mb: int = 200) -> list[dict[str, Any]]:
    """What is written for lines of a plan and files of records, both told in SQL."""
    plan, _ = loads.run([("K1", "Anna", "Rome")])
    folder, _ = loads.attempt()
    rows_file, files = folder / "rows.parquet", [folder / f"records-{number}.parquet" for number in range(len(records))]
    for query, path in zip([lines, *records], [rows_file, *files], strict=True):
        duckdb.sql(f"COPY ({query}) TO '{path}' (ROW_GROUP_SIZE 8192)")
    found = before.write(
        Workspace(folder / "scratch", memory_mb=memory_mb, threads=2),
        loads.spec,
        loads.describe,
        Transform.of(loads.spec, loads.describe, loads.columns),
        dataclasses.replace(plan, rows_file=rows_file),
        files,
        folder / "before.parquet",
    )
    table = pq.read_table(found.path)
    assert found.rows == table.num_rows
    return sorted(table.to_pylist(), key=lambda line: line["_seq"])


LINES = (
    "SELECT seq::BIGINT AS _seq, nkey, id AS record_id, action, batch FROM (VALUES {}) t(seq, nkey, id, action, batch)"
)
RECORD = (
    "SELECT '003000000000' || i || 'AAA' AS r_0, 'K' || i AS r_1, 'name ' || i AS r_2, 'city' AS r_3 "
    "FROM range({}) t(i)"
)


def test_a_line_finds_its_record_by_id_of_15_or_18_characters_or_else_by_its_key(tmp_path: Path) -> None:
    loads = Loads(tmp_path)
    lines = LINES.format(
        "(1, 'k101', '003000000000101AAA', 'update', 1), (2, 'k102', '003000000000102', 'delete', 1), "
        "(3, 'k103', NULL, 'upsert', 2), (4, 'k999', NULL, 'upsert', 2), (6, 'k105', NULL, 'insert', 2), "
        "(5, 'k104', '003000000000104AAA', 'update', NULL)"
    )
    found = written(loads, lines, RECORD.format("100, 110"))
    assert [(line["_seq"], line["record_id"]) for line in found] == [
        (1, "003000000000101AAA"),
        (2, "003000000000102AAA"),
        (3, "003000000000103AAA"),
    ]
    assert all(f"name {100 + line['_seq']}" in line.values() for line in found)


def test_a_record_that_was_read_twice_is_one(tmp_path: Path) -> None:
    lines = LINES.format("(1, 'k101', '003000000000101AAA', 'update', 1), (2, 'k102', NULL, 'upsert', 1)")
    found = written(Loads(tmp_path), lines, RECORD.format("100, 103"), RECORD.format("102, 110"))
    assert [line["_seq"] for line in found] == [1, 2]


def test_records_are_not_held_however_many_they_are(tmp_path: Path) -> None:
    ids = f"'003' || lpad((i * {RECORDS // CHANGED})::VARCHAR, 12, '0') || 'AAA'"
    line = f"i AS _seq, 'k' || i AS nkey, {ids} AS record_id, 'update' AS action, 1 AS batch"
    lines = f"SELECT {line} FROM range({CHANGED}) t(i)"
    wide = "repeat(hash(i)::VARCHAR, 10)"
    record = (
        f"SELECT '003' || lpad(i::VARCHAR, 12, '0') || 'AAA' AS r_0, 'K' || i AS r_1, {wide} AS r_2, {wide} AS r_3 "
        f"FROM range({RECORDS}) t(i)"
    )
    assert len(written(Loads(tmp_path), lines, record, memory_mb=MEMORY_MB)) == CHANGED
