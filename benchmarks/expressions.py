"""Expressions over a million rows: `python -m benchmarks.expressions`.

For each expression, and for all of them together: rows a second through the prepare step of a job, and through the same
SQL in a plain DuckDB that nobody locked, from and into files of the same form. Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb

from syncs.engine.expressions import Scope, as_text, compile_expression
from syncs.engine.prepare import prepare
from syncs.engine.sql import parquet
from syncs.engine.stage import Staged
from syncs.engine.workspace import Workspace
from syncs.spec import ColumnSpec, MappingSpec, SelectionSpec, SyncSpec

ROWS = 1_000_000

# The columns of the source, by what makes their cells from the row's number i.
CELLS = {
    "First Name": "'First ' || i",
    "Last": "'Last' || (i % 1000)",
    "price": "((i % 10000) / 100)::DECIMAL(10,2)::VARCHAR",
    "born": "strftime(DATE '2000-01-01' + (i % 5000)::INTEGER, '%d.%m.%Y')",
    "mail": "CASE WHEN i % 7 > 0 THEN 'person' || i || '@Example.com' END",
}
TYPES = (ColumnSpec("price", "number"), ColumnSpec("born", "date", "%d.%m.%Y"))
EXPRESSIONS = (
    "upper(\"First Name\") || ', ' || coalesce(Last, '?')",
    "CASE WHEN price > 50 THEN 'large' ELSE 'small' END",
    "born + 1",
    "regexp_replace(lower(mail), '@.*', '@example.org')",
    "price * 2",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    rows = parser.parse_args().rows
    folder = Path(tempfile.mkdtemp(prefix="sfsync-bench-"))
    try:
        staged = write_rows(folder / "staged.parquet", rows)
        print(f"{rows:,} rows, on {os.cpu_count()} cores; million rows a second, wall and CPU\n")
        print(f"{'':<56}{'sfsync':>8}{'CPU':>7}{'plain':>9}{'CPU':>7}{'ratio':>8}")
        for expressions in (*((each,) for each in EXPRESSIONS), EXPRESSIONS):
            name = expressions[0] if len(expressions) == 1 else "all of them together"
            ours = measured(lambda each=expressions: by_us(folder, staged, each))
            plain = measured(lambda each=expressions: by_duckdb(folder, staged, each))
            speeds = [rows / seconds / 1e6 for seconds in (*ours, *plain)]
            print(f"{name:<56}{speeds[0]:>8.2f}{speeds[1]:>7.2f}{speeds[2]:>9.2f}{speeds[3]:>7.2f}", end="")
            print(f"{speeds[0] / speeds[2]:>8.2f}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_rows(path: Path, rows: int) -> Staged:
    """A staged table with so many rows."""
    cells = ", ".join(f"{sql} AS c_{place}" for place, sql in enumerate(CELLS.values()))
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT (i + 1)::BIGINT AS _row, {cells} FROM range({rows}) AS t(i)) TO '{path}' (FORMAT parquet)"
        )
    return Staged(path, None, tuple(CELLS), rows, (), {})


def measured(action: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU seconds of the faster of two runs."""
    times = []
    for _ in range(2):
        wall, cpu = time.perf_counter(), time.process_time()
        action()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(times)


def by_us(folder: Path, staged: Staged, expressions: Sequence[str]) -> None:
    lines = [MappingSpec(f"Field{place}__c", expression=each) for place, each in enumerate(expressions)]
    spec = SyncSpec(SelectionSpec(path="rows.csv"), "Thing__c", (), "insert", tuple(lines), columns=TYPES)
    to = folder / "prepared.parquet"
    now = datetime.datetime.now(datetime.UTC)
    workspace = Workspace(folder / "scratch", threads=os.cpu_count() or 2)
    prepare(workspace, spec, staged, to, job_started_at=now, file_name="")


def by_duckdb(folder: Path, staged: Staged, expressions: Sequence[str]) -> None:
    scope = Scope(staged.columns, TYPES)
    texts = [as_text(compile_expression(each, scope)) for each in expressions]
    columns = ", ".join(f"{text} AS x_{place}" for place, text in enumerate(texts))
    query = f"SELECT _row, {columns} FROM {parquet(staged.path)}"
    with duckdb.connect(config={"threads": os.cpu_count() or 2}) as connection:
        connection.execute(f"COPY ({query}) TO '{folder / 'plain.parquet'}' (FORMAT parquet)")


if __name__ == "__main__":
    main()
