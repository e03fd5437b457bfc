"""A million contacts into the sandbox, by sfsync and by others, in one run: `make bench`.

Prints CPU seconds, resident memory and ratios. CPU seconds are those of the worker process alone; the sandbox's own
share is printed beside them. Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from typing import Any

import duckdb

from benchmarks.bench import COLUMNS, ROWS, Bench, Org, Usage, bench, write_people
from benchmarks.by_curl import close_job, halves, open_job, token

ACCOUNTS = 20_000


def report(name: str, cpu: float, peak_mb: float, sandbox_cpu: float, wall: float, note: str = "") -> None:
    print(f"{name:<34}{cpu:>9.2f}{peak_mb:>9.0f}{sandbox_cpu:>12.2f}{wall:>9.1f}  {note}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    rows = parser.parse_args().rows
    with bench() as place:
        write_people(place.files / "people.csv", rows)
        size = (place.files / "people.csv").stat().st_size / 1e6
        print(f"{rows:,} contacts x {len(COLUMNS)} columns, {size:.0f} MB of CSV, on {os.cpu_count()} cores\n")
        print(f"{'':<34}{'CPU s':>9}{'peak MB':>9}{'sandbox CPU':>12}{'wall s':>9}")
        first = _by_sfsync(place, rows)
        write_people(place.folder / "upload.csv", rows)
        others = [_curl(place), _simple_salesforce(place)]
    print()
    for name, cpu in others:
        print(f"sfsync's first load took {first / cpu:.2f} times the CPU of {name}.")


def _by_sfsync(place: Bench, rows: int) -> float:
    """CPU seconds of the first load."""
    org, worker = place.org("first"), place.worker()
    sync = place.sync(org)
    first = _measure_job(place, sync, worker, org, "sfsync, first load", rows)
    write_people(place.files / "people.csv", rows, changed_every=100)
    _measure_job(place, sync, worker, org, "sfsync, 1 % changed", rows)
    write_people(place.files / "people.csv", rows, changed_every=99)
    type(sync).all_objects.filter(pk=sync.pk).update(compare="destination")
    _measure_job(place, sync, worker, org, "sfsync, compare = destination", rows)
    _with_parents(place, worker, rows)
    return first


def _with_parents(place: Bench, worker: Usage, rows: int) -> None:
    """All rows again, into an org of their own, each with its account, found by a number that is no external id."""
    from syncs.models import FieldMapping

    org = place.org("parents")
    numbers = "SELECT 'A-' || i AS AccountNumber, 'Account ' || i AS Name, 'X' || i AS External_Id__c"
    duckdb.sql(f"COPY ({numbers} FROM range({ACCOUNTS}) t(i)) TO '{place.files / 'accounts.csv'}' (HEADER)")
    columns = ["External_Id__c", "AccountNumber", "Name"]
    accounts = place.sync(org, name="accounts", object="Account", columns=columns)
    _measure_job(place, accounts, worker, org, "sfsync, the accounts", ACCOUNTS)
    write_people(place.files / "members.csv", rows, columns={**COLUMNS, "account": f"'A-' || (i % {ACCOUNTS})"})
    sync = place.sync(org, name="members")
    FieldMapping.all_objects.create(
        organization=place.organization,
        sync=sync,
        position=len(COLUMNS),
        target="AccountId",
        source_column="account",
        lookup_object="Account",
        lookup_field="AccountNumber",
    )
    _measure_job(place, sync, worker, org, "sfsync, with a lookup", rows)


def _measure_job(place: Bench, sync: Any, worker: Usage, org: Org, name: str, rows: int) -> float:
    sandbox_cpu = org.usage.cpu()
    ran = place.run(sync, worker)
    sent = ran.job.counts["inserted"] + ran.job.counts["updated"]
    note = f"{sent:,} rows sent of {rows:,}, every result read, snapshot committed"
    report(name, ran.cpu, worker.peak_mb(), org.usage.cpu() - sandbox_cpu, ran.seconds, note)
    return ran.cpu


def _child(arguments: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Run a program. Returns its CPU seconds, peak memory in MB and wall seconds."""
    started, peak = time.monotonic(), 0.0
    pid = os.posix_spawnp(arguments[0], arguments, {**os.environ, **environment})
    while True:
        # What wait4 tells of memory includes the parent's before the exec; the process itself knows better.
        with contextlib.suppress(OSError, RuntimeError):
            peak = max(peak, Usage(pid).peak_mb())
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            break
        time.sleep(0.02)
    if status:
        sys.exit(f"{arguments[0]} failed")
    return usage.ru_utime + usage.ru_stime, peak, time.monotonic() - started


def _simple_salesforce(place: Bench) -> tuple[str, float]:
    org = place.org("third")
    before, upload = org.usage.cpu(), str(place.folder / "upload.csv")
    program = [sys.executable, "-m", "benchmarks.by_simple_salesforce", org.https_url, upload]
    cpu, peak, wall = _child(program, {"REQUESTS_CA_BUNDLE": org.ca_file})
    report("simple-salesforce bulk2.upsert", cpu, peak, org.usage.cpu() - before, wall, "no results read")
    return "simple-salesforce", cpu


def _curl(place: Bench) -> tuple[str, float]:
    """Upload the file in two halves by plain curl: about the least that anybody can use."""
    org = place.org("second")
    before, cpu, peak, wall = org.usage.cpu(), 0.0, 0.0, 0.0
    access = token(org.url)
    for half in halves(place.folder / "upload.csv", place.folder):
        job = open_job(org.url, access)
        upload = ["curl", "-sf", "-X", "PUT", "-H", f"Authorization: Bearer {access}", "-H", "Content-Type: text/csv"]
        used = _child([*upload, "-T", str(half), f"{org.url}{job}/batches"], {})
        cpu, peak, wall = cpu + used[0], max(peak, used[1]), wall + used[2]
        close_job(org.url, access, job)
    report("curl, upload only", cpu, peak, org.usage.cpu() - before, wall, "no validation, no results")
    return "curl", cpu


if __name__ == "__main__":
    if subprocess.run(["curl", "--version"], capture_output=True, check=False).returncode:
        sys.exit("The benchmark compares with curl; install it first.")
    main()
