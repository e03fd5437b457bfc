"""The history of one record among many jobs: `python -m benchmarks.history`.

Makes up plans and outcomes of 1,000 jobs of 10,000 rows, writes and merges their history as jobs do, and looks up the
one record that is in each of them, by its key and by its id, each time in a fresh process. Prints seconds and the
largest resident memory of that process, beside a scan of the same files. Prints the CPU seconds of writing as well, for
those jobs and for one with a million rows. Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.bench import COLUMNS, Bench, Org, Usage, bench
from syncs.engine.encode import BatchWriter
from syncs.engine.plan import Guard, Plan, PlannedBatch, PlannedColumn
from syncs.engine.workspace import Workspace

JOBS, ROWS, LARGE, RECORDS = 1_000, 10_000, 1_000_000, 1_000_000
START = datetime(2025, 1, 1, tzinfo=UTC)


def made_up(folder: Path, number: int, rows: int, records: int) -> tuple[Plan, Path]:
    """The plan of a job that upserts so many rows of so many records, and its outcomes."""
    folder.mkdir(parents=True)
    # Each job takes other records, and one of them is in each: record 7.
    record = f"CASE WHEN r = 0 THEN 7 ELSE (r * 7919 + {number} * {rows}) % {records} END"
    values = ", ".join(f'{value} AS "{name}"' for name, value in {**COLUMNS, "Title": f"'Title {number}'"}.items())
    source = f"(SELECT r, {record} AS i FROM range({rows}) t(r))"
    connection = duckdb.connect()
    files = iter((folder / f"plan-batch-{batch:05d}.csv", batch) for batch in range(1, 1_000))
    writer = BatchWriter(lambda: next(files), max_rows=rows, max_bytes=100_000_000)
    numbers = [
        batch
        for part in connection.sql(f"SELECT {values} FROM {source}").to_arrow_reader(32_768)
        for batch in writer.write(_table(part)).to_pylist()
    ]
    writer.close()
    connection.execute("CREATE TABLE b AS SELECT unnest($1::INTEGER[]) AS batch", [numbers])
    line = (
        f"SELECT r + 1 AS _row, r + 1 AS _seq, lower(key) AS nkey, key, 'upsert' AS action, batch, {{}} FROM "
        f"(SELECT r, {COLUMNS['External_Id__c']} AS key, i FROM {source}) POSITIONAL JOIN b"
    )
    rows_file, outcomes = folder / "plan-rows.parquet", folder / "final-outcomes.parquet"
    connection.execute(f"COPY ({line.format('NULL::VARCHAR AS record_id')}) TO '{rows_file}'")
    answer = "'updated' AS outcome, '0035s' || lpad(i::VARCHAR, 10, '0') || 'AAA' AS record_id, NULL::VARCHAR AS error"
    connection.execute(f"COPY ({line.format(answer)}) TO '{outcomes}'")
    batches = tuple(PlannedBatch(file.number, "upsert", file.path, file.rows, file.bytes) for file in writer.done)
    return _plan(rows_file, batches), outcomes


def _table(part: Any) -> Any:
    import pyarrow as pa

    return pa.Table.from_batches([part])


def _plan(rows_file: Path, batches: tuple[PlannedBatch, ...]) -> Plan:
    return Plan(
        rows_file=rows_file,
        errors_file=rows_file,
        object="Contact",
        key_fields=("External_Id__c",),
        time_zone="UTC",
        columns=tuple(PlannedColumn(name, name, "text", False) for name in COLUMNS),
        fields=(),
        batches=batches,
        counts={},
        trimmed={},
        adjusted={},
        violations=0,
        known=0,
        unread_keys=0,
        guard=Guard(0, 0, False, ""),
        withheld_reason="",
        fingerprint="",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--large", type=int, default=LARGE, help="rows of the large job; 0 for none")
    parser.add_argument("--keep", action="store_true", help="leave the files, and say where they are")
    parser.add_argument("--look-up", nargs=2, metavar=("WHAT", "VALUE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.look_up:
        _look_up(*options.look_up)
        return
    with bench(keep=options.keep) as place:
        if options.large:
            _write_large(place.folder, options.large)
        _run(place, options.jobs, options.rows)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _write_large(folder: Path, rows: int) -> None:
    from syncs.engine import history

    plan, outcomes = made_up(folder / "large", 1, rows, rows)
    workspace, to = Workspace(folder / "scratch"), folder / "large.parquet"
    started = _cpu()
    history.write(workspace, plan, outcomes, None, 1, START, to)
    used = _cpu() - started
    size = sum(path.stat().st_size for path in folder.glob("large.*")) / 1e6
    payload = sum(batch.bytes for batch in plan.batches) / 1e6
    print(f"a job of {rows:,} rows x {len(COLUMNS)} fields: {used:.2f} CPU s; {payload:.0f} MB of CSV in {size:.0f} MB")
    shutil.rmtree(folder / "large")


def _run(place: Bench, jobs: int, rows: int) -> None:
    from django.conf import settings

    from jobs import history_files
    from jobs.models import HistoryFile

    nowhere = Org("http://127.0.0.1:9", "", "", Usage(os.getpid()))
    sync = place.sync(nowhere)
    workspace, written, merged = Workspace(settings.SFSYNC_SCRATCH), 0.0, 0.0
    for number in range(1, jobs + 1):
        plan, outcomes = made_up(place.folder / "job", number, rows, RECORDS)
        started = _cpu()
        file = history_files.write(workspace, sync, plan, outcomes, None, number, START + timedelta(hours=number))
        assert file is not None
        file.save()
        written += _cpu() - started
        started = _cpu()
        history_files.merge(workspace, sync)
        merged += _cpu() - started
        shutil.rmtree(place.folder / "job")
        if number % 100 == 0:
            print(f"{number:,} jobs written", flush=True)
    files = [Path(file.path) for file in HistoryFile.all_objects.all()]
    size = sum(path.stat().st_size for path in history_files.folder_of(sync).iterdir()) / 1e6
    print(
        f"{jobs:,} jobs of {rows:,} rows: {written:.1f} CPU s to write, {merged:.1f} to merge; "
        f"{size:.0f} MB in {len(files)} files\n"
    )
    print(f"{'one record in every job':<28}{'seconds':>9}{'peak MB':>9}{'changes':>9}{'scan s':>9}{'ratio':>8}")
    for what, value, column in (
        ("key", "k000000007", "lower(key) = 'k000000007'"),
        ("record_id", "0035s0000000007AAA", "id = '0035s0000000007AAA'"),
    ):
        _measure(what, value, files, column)


def _measure(what: str, value: str, files: list[Path], condition: str) -> None:
    from syncs.engine.sql import parquet

    program = [sys.executable, "-m", "benchmarks.history", "--look-up", what, value]
    told = subprocess.run(program, check=True, capture_output=True, text=True).stdout.split()
    seconds, peak, changes = float(told[0]), float(told[1]), int(told[2])
    started = time.perf_counter()
    connection = duckdb.connect(config={"threads": 2})
    connection.execute(f"SELECT * EXCLUDE (ended_at) FROM {parquet(*files, by_name=True)} WHERE {condition}").fetchall()
    scan = time.perf_counter() - started
    print(f"by {what:<25}{seconds:>9.2f}{peak:>9.0f}{changes:>9,}{scan:>9.2f}{scan / seconds:>8.1f}", flush=True)


def _look_up(what: str, value: str) -> None:
    """In a process of its own: seconds of the look-up, the largest memory in MB, and how many changes there are."""
    import django

    django.setup()
    from jobs import history
    from orgs import access
    from orgs.models import Organization

    actor = access.operator(Organization.objects.get(slug="bench"), "the benchmark")
    asked: Any = {what: value}
    started = time.perf_counter()
    page = history.story(actor, **asked, limit=50)
    seconds = time.perf_counter() - started
    peak = Usage(os.getpid()).peak_mb()
    changes = len(page.changes)
    while page.following:
        page = history.story(actor, **asked, limit=200, after=page.following)
        changes += len(page.changes)
    print(seconds, peak, changes)


if __name__ == "__main__":
    main()
