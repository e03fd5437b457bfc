"""The row-error page of a job that refused a million rows: `python -m benchmarks.row_errors`.

Runs such a job, asks the admin for pages of its row errors, and compares with reading the file of errors row by row.
Prints milliseconds, medians of 15 calls each. Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.bench import COLUMNS, ROWS, Bench, bench, write_people

CALLS, PLAIN_CALLS, PAGE = 15, 3, 50

# Each row breaks a rule, every tenth another one too; the words that are searched for stand where they are rare.
BROKEN = {
    "Email": "'person' || i || ' at example.com'",
    "Birthdate": "CASE WHEN i % 10 = 0 THEN '31.02.1990' ELSE '1990-02-01' END",
    "LastName": "'Person ' || i || CASE WHEN i % 100000 = 99999 THEN ' of Nineveh' ELSE '' END",
}
DATE_CODE = "Invalid Date"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    rows = parser.parse_args().rows
    with bench() as place:
        job = refuse(place, rows)
        print(f"Job {job.pk}: {job.counts['rejected']:,} of {rows:,} rows refused, on {os.cpu_count()} cores\n")
        measure(job, rows)


def refuse(place: Bench, rows: int) -> Any:
    """Run a job, in this process, whose every row breaks a rule. Returns the job."""
    from jobs.foreground import work_on
    from jobs.start import start_job

    write_people(place.files / "people.csv", rows, columns={**COLUMNS, **BROKEN})
    sync = place.sync(place.org())
    job = work_on(start_job(sync, by=place.operator, wake=False), tell=lambda job: None)
    if job.counts.get("rejected") != rows:
        sys.exit(f"job {job.pk} ended as {job.status}, with {job.counts.get('rejected')} rows refused: {job.reason}")
    return job


def measure(job: Any, rows: int) -> None:
    """Print a line for each kind of page."""
    from django.contrib.auth.models import User
    from django.test import Client
    from django.urls import reverse

    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.create_superuser("bench"))
    address = reverse("admin:jobs_job_rows", args=[job.pk])
    errors_file = Path(job.manifests["final"]["errors_file"])
    pages: list[tuple[str, dict[str, Any]]] = [
        ("first page", {}),
        ("deep page", {"after": rows * 9 // 10}),
        ("by code, first page", {"code": DATE_CODE}),
        ("by code, deep page", {"code": DATE_CODE, "after": rows * 9 // 10}),
        ("searched, in many rows", {"q": "person 7"}),
        ("searched, in few rows", {"q": "of nineveh"}),
        ("searched, in none", {"q": "no such words"}),
        ("searched by code", {"q": "of nineveh", "code": DATE_CODE}),
    ]
    print(f"{'':<26}{'page ms':>10}{'slowest':>10}{'row by row ms':>16}{'ratio':>8}")
    for name, asked in pages:
        times = [_timed(lambda asked=asked: _page(client, address, asked)) for _ in range(CALLS + 1)][1:]
        plain = statistics.median(_timed(lambda asked=asked: _plain(errors_file, **asked)) for _ in range(PLAIN_CALLS))
        page = statistics.median(times)
        print(f"{name:<26}{page:>10.0f}{max(times):>10.0f}{plain:>16.0f}{plain / page:>8.1f}", flush=True)


def _timed(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1000


def _page(client: Any, address: str, asked: dict[str, Any]) -> None:
    answer = client.get(address, asked)
    assert answer.status_code == 200 and b"paginator" in answer.content


def _plain(errors_file: Path, *, code: str = "", q: str = "", after: int = 0) -> list[dict[str, Any]]:
    """The same page as a simple program finds it, which does not even look into the source's cells."""
    found: list[dict[str, Any]] = []
    for error in _each(errors_file):
        texts = (error["value"], error["message"], error["key"])
        if (
            (error["_row"] or 0) > after
            and code in ("", error["code"])
            and (not q or any(q in (text or "").lower() for text in texts))
        ):
            found.append(error)
            if len(found) > PAGE:
                break
    return found


def _each(errors_file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(errors_file).iter_batches(10_000):
        yield from batch.to_pylist()


if __name__ == "__main__":
    main()
