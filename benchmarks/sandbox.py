"""How fast the sandbox takes, processes and gives back a million contacts: `python -m benchmarks.sandbox [--rows N]`.

A CSV of a million contacts (12 columns, just below the 150 MB of one job) is uploaded by curl into one Bulk API 2.0
upsert, twice: first all rows are new, then each one changes its record. Printed are the wall seconds from the job's
creation until the successful results are downloaded, by step, with the sandbox's CPU seconds and peak memory, and how
many times that is what a bare DuckDB of two threads takes to read the same file into a table and to write the table
out again, in the same run. Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.bench import COLUMNS, ROWS, Usage, write_people
from tests.sandbox_process import SandboxProcess

SHORTER = {"Department": "'Dept. ' || (i % 500)"}
_PLAIN = """
import sys, duckdb
base = duckdb.connect(config={"threads": 2})
base.execute(f"CREATE TABLE t AS SELECT * FROM read_csv('{sys.argv[1]}', all_varchar = true, header = true)")
base.execute(f"COPY t TO '{sys.argv[2]}' (HEADER, DELIMITER ',', FORCE_QUOTE *)")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-") as name, SandboxProcess(https=False) as sandbox:
        folder = Path(name)
        upload = folder / "upload.csv"
        write_people(upload, rows, columns={**COLUMNS, **SHORTER})
        print(f"{rows:,} contacts x {len(COLUMNS)} columns, {upload.stat().st_size / 1e6:.0f} MB")
        plain_wall, plain_cpu = _plain(upload, folder / "plain.csv")
        print(f"{'':<22}{'upload s':>9}{'process s':>10}{'results s':>10}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}")
        for title in ("every row is new", "every row is known"):
            wall, cpu = _load(sandbox, upload, folder / "results.csv", rows, title)
            print(f"  {wall / plain_wall:.1f} times the wall and {cpu / plain_cpu:.1f} times the CPU of plain DuckDB")


def _plain(upload: Path, out: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a bare DuckDB that reads the file and writes it out again."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", _PLAIN, str(upload), str(out)], check=True)
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"plain DuckDB, read and written: {wall:.1f} s wall, {cpu:.1f} s CPU")
    return wall, cpu


def _load(sandbox: SandboxProcess, upload: Path, results: Path, rows: int, title: str) -> tuple[float, float]:
    """Wall and CPU seconds of one job, from its creation until its results are here."""
    usage, token = Usage(sandbox.pid), sandbox.login()
    base = f"{sandbox.http_url}/services/data/v60.0/jobs/ingest"
    cpu, started = usage.cpu(), time.monotonic()
    body = {"object": "Contact", "operation": "upsert", "externalIdFieldName": "External_Id__c"}
    job = f"{base}/{json.loads(_curl(token, base, *_json(body)))['id']}"
    _curl(token, f"{job}/batches", "--upload-file", str(upload), "-H", "Content-Type: text/csv", "-H", "Expect:")
    uploaded = time.monotonic()
    _curl(token, job, "-X", "PATCH", *_json({"state": "UploadComplete"}))
    while (info := json.loads(_curl(token, job)))["state"] not in ("JobComplete", "Failed", "Aborted"):
        time.sleep(0.1)
    processed = time.monotonic()
    if (info["state"], info["numberRecordsProcessed"], info["numberRecordsFailed"]) != ("JobComplete", rows, 0):
        raise RuntimeError(f"the job went wrong: {info}")
    _curl(token, f"{job}/successfulResults", "-o", str(results))
    ended = time.monotonic()
    parts = (uploaded - started, processed - uploaded, ended - processed)
    wall, cpu = ended - started, usage.cpu() - cpu
    print(
        f"{title:<22}{parts[0]:>9.1f}{parts[1]:>10.1f}{parts[2]:>10.1f}{wall:>8.1f}{cpu:>8.1f}{usage.peak_mb():>9.0f}"
    )
    return wall, cpu


def _json(body: dict[str, Any]) -> tuple[str, ...]:
    return ("-H", "Content-Type: application/json", "-d", json.dumps(body))


def _curl(token: str, url: str, *options: str) -> bytes:
    command = ["curl", "-sS", "--fail", "--noproxy", "*", "-H", f"Authorization: Bearer {token}", *options, url]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    main()
