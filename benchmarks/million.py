"""A million contacts into the sandbox, by sfsync and by others, in one run: `make bench`.

Prints CPU seconds, resident memory and ratios. CPU seconds are those of the worker process alone; the sandbox's own
share is printed beside them. Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb

ROWS, ACCOUNTS = 1_000_000, 20_000
COLUMNS = {
    "External_Id__c": "'K' || lpad(i::VARCHAR, 9, '0')",
    "FirstName": "list_extract(['Ana', 'Björn', 'Chloé', 'Grace', 'Hugo', 'Mei', 'Noor', 'Priya'], (i % 8 + 1)::INT)",
    "LastName": "'Person ' || (i * 7919 % 1000003)",
    "Email": "'person' || i || '@example.com'",
    "Phone": "'+351 21 ' || lpad((i * 31 % 1000000)::VARCHAR, 6, '0')",
    "Title": "list_extract(['Engineer', 'Buyer', 'Analyst', 'Head of Sales'], (i % 4 + 1)::INT)",
    "Birthdate": "strftime(DATE '1950-01-01' + (i * 13 % 20000)::INT, '%Y-%m-%d')",
    "MailingStreet": "(i % 900 + 1) || ' Long Street, Floor ' || (i % 30)",
    "MailingCity": "list_extract(['Lisboa', 'Zürich', 'Austin', 'Kraków', 'Nairobi'], (i % 5 + 1)::INT)",
    "MailingPostalCode": "lpad((i * 17 % 100000)::VARCHAR, 5, '0')",
    "Department": "'Department of Everything Number ' || (i % 500)",
    "Loyalty_Points__c": "(i * 37 % 50000)::VARCHAR",
}


def write_people(path: Path, rows: int, *, changed_every: int = 0, columns: dict[str, str] = COLUMNS) -> None:
    """Write the CSV file; every `changed_every`-th row has another title. columns: by name, SQL of the row number i."""
    columns = dict(columns)
    if changed_every:
        columns["Title"] = f"CASE WHEN i % {changed_every} = 0 THEN 'Promoted' ELSE {columns['Title']} END"
    select = ", ".join(f'{expression} AS "{name}"' for name, expression in columns.items())
    duckdb.sql(f"COPY (SELECT {select} FROM range(1, {rows} + 1) t(i)) TO '{path}' (HEADER, DELIMITER ',')")


class Usage:
    """CPU seconds and the largest resident memory of a running process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def cpu(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mb(self) -> float:
        for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("this system does not tell a process's peak memory")


def report(name: str, cpu: float, peak_mb: float, sandbox_cpu: float, wall: float, note: str = "") -> None:
    print(f"{name:<34}{cpu:>9.2f}{peak_mb:>9.0f}{sandbox_cpu:>12.2f}{wall:>9.1f}  {note}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    rows = parser.parse_args().rows
    folder = Path(tempfile.mkdtemp(prefix="sfsync-bench-"))
    os.environ["SFSYNC_DATA"] = str(folder / "data")
    os.environ["DJANGO_SETTINGS_MODULE"] = "sfsync.settings"
    import django

    django.setup()
    try:
        _run(folder, rows)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path, rows: int) -> None:
    from django.conf import settings
    from django.core.management import call_command

    from orgs.models import Organization
    from sfsync import processes
    from sfsync.demo.data import SANDBOX_LOGIN

    call_command("migrate", verbosity=0)
    organization = Organization.objects.create(name="Bench", slug="bench")
    files = settings.SFSYNC_FILES / "bench"
    files.mkdir(parents=True)
    write_people(files / "people.csv", rows)
    size = (files / "people.csv").stat().st_size / 1e6
    print(f"{rows:,} contacts x {len(COLUMNS)} columns, {size:.0f} MB of CSV, on {os.cpu_count()} cores\n")
    print(f"{'':<34}{'CPU s':>9}{'peak MB':>9}{'sandbox CPU':>12}{'wall s':>9}")
    with ExitStack() as stack:
        url, https_url, ca, sandbox = start_sandbox(stack, processes, folder / "first")
        command = ["manage.py", "worker", "--parent-pid", str(os.getpid())]
        worker = in_background(stack, processes, command, folder / "worker.log")
        sync = make_sync(organization, url, SANDBOX_LOGIN)
        first = _measure_job(sync, Usage(worker.pid), sandbox, "sfsync, first load", rows)
        write_people(files / "people.csv", rows, changed_every=100)
        _measure_job(sync, Usage(worker.pid), sandbox, "sfsync, 1 % changed", rows)
        write_people(files / "people.csv", rows, changed_every=99)
        _set(sync, compare="destination")
        _measure_job(sync, Usage(worker.pid), sandbox, "sfsync, compare = destination", rows)
        _with_parents(organization, stack, processes, folder, files, Usage(worker.pid), rows)
        write_people(folder / "upload.csv", rows)
        others = [_curl(stack, processes, folder), _simple_salesforce(stack, processes, folder)]
    print()
    for name, cpu in others:
        print(f"sfsync's first load took {first / cpu:.2f} times the CPU of {name}.")


def in_background(stack: ExitStack, processes: Any, arguments: list[str], log: Path) -> Any:
    """A process that ends with `stack`. processes: the module `sfsync.processes`."""
    process = processes.start(arguments, log)
    stack.callback(processes.stop, [process])
    return process


def start_sandbox(stack: ExitStack, processes: Any, folder: Path) -> tuple[str, str, str, Usage]:
    """A practice org in a folder of its own: its addresses, http and https, the file of its CA, and what it uses."""
    folder.mkdir()
    arguments = ["-m", "sandbox", "--port", "0", "--https-port", "0", "--ready-file", str(folder / "ready.json")]
    process = in_background(stack, processes, [*arguments, "--parent-pid", str(os.getpid())], folder / "sandbox.log")
    ready = processes.wait_for_file(folder / "ready.json", process, 30)
    return ready["http_url"], ready["https_url"], ready["ca_file"], Usage(process.pid)


def make_sync(
    organization: Any,
    url: str,
    login: dict[str, str],
    *,
    name: str = "people",
    object: str = "Contact",
    columns: Iterable[str] = COLUMNS,
) -> Any:
    """A sync of the file <name>.csv, whose columns are called like fields, into an object of a practice org."""
    from connections.models import Connection
    from syncs.models import FieldMapping, Sync

    source = Connection(organization=organization, name=f"Files of {name}", kind="delimited_file")
    destination = Connection(organization=organization, name=f"Org of {name}", kind="salesforce")
    source.set_values({})
    destination.set_values({"auth_url": url, **login})
    source.save()
    destination.save()
    sync = Sync.all_objects.create(
        organization=organization,
        name=name,
        source=source,
        source_path=f"{name}.csv",
        destination=destination,
        object=object,
        key_fields=("External_Id__c",),
    )
    for position, column in enumerate(columns):
        FieldMapping.all_objects.create(
            organization=organization, sync=sync, position=position, target=column, source_column=column
        )
    return sync


def _with_parents(
    organization: Any, stack: ExitStack, processes: Any, folder: Path, files: Path, worker: Usage, rows: int
) -> None:
    """All rows again, into an org of their own, each with its account, found by a number that is no external id."""
    from sfsync.demo.data import SANDBOX_LOGIN
    from syncs.models import FieldMapping

    url, _, _, sandbox = start_sandbox(stack, processes, folder / "parents")
    numbers = "SELECT 'A-' || i AS AccountNumber, 'Account ' || i AS Name, 'X' || i AS External_Id__c"
    duckdb.sql(f"COPY ({numbers} FROM range({ACCOUNTS}) t(i)) TO '{files / 'accounts.csv'}' (HEADER)")
    columns = ["External_Id__c", "AccountNumber", "Name"]
    accounts = make_sync(organization, url, SANDBOX_LOGIN, name="accounts", object="Account", columns=columns)
    _measure_job(accounts, worker, sandbox, "sfsync, the accounts", ACCOUNTS)
    write_people(files / "members.csv", rows, columns={**COLUMNS, "account": f"'A-' || (i % {ACCOUNTS})"})
    sync = make_sync(organization, url, SANDBOX_LOGIN, name="members")
    FieldMapping.all_objects.create(
        organization=organization,
        sync=sync,
        position=len(COLUMNS),
        target="AccountId",
        source_column="account",
        lookup_object="Account",
        lookup_field="AccountNumber",
    )
    _measure_job(sync, worker, sandbox, "sfsync, with a lookup", rows)


def _set(sync: Any, **changes: Any) -> None:
    type(sync).all_objects.filter(pk=sync.pk).update(**changes)


def _measure_job(sync: Any, worker: Usage, sandbox: Usage, name: str, rows: int) -> float:
    from jobs.models import Job, Status
    from jobs.start import start_job
    from orgs import access

    cpu, sandbox_cpu, started = worker.cpu(), sandbox.cpu(), time.monotonic()
    job = start_job(sync, by=access.operator(sync.organization, "the benchmark"))
    while Job.all_objects.get(pk=job.pk).is_live:
        time.sleep(0.5)
    job = Job.all_objects.get(pk=job.pk)
    if job.status != Status.SUCCEEDED:
        sys.exit(f"job {job.pk} ended as {job.status}: {job.reason}")
    used = worker.cpu() - cpu
    sent = job.counts["inserted"] + job.counts["updated"]
    report(
        name,
        used,
        worker.peak_mb(),
        sandbox.cpu() - sandbox_cpu,
        time.monotonic() - started,
        f"{sent:,} rows sent of {rows:,}, every result read, snapshot committed",
    )
    return used


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


def _simple_salesforce(stack: ExitStack, processes: Any, folder: Path) -> tuple[str, float]:
    _, https_url, ca, sandbox = start_sandbox(stack, processes, folder / "third")
    before = sandbox.cpu()
    program = [sys.executable, "-m", "benchmarks.by_simple_salesforce", https_url, str(folder / "upload.csv")]
    cpu, peak, wall = _child(program, {"REQUESTS_CA_BUNDLE": ca})
    report("simple-salesforce bulk2.upsert", cpu, peak, sandbox.cpu() - before, wall, "no results read")
    return "simple-salesforce", cpu


def _curl(stack: ExitStack, processes: Any, folder: Path) -> tuple[str, float]:
    """Upload the file in two halves by plain curl: about the least that anybody can use."""
    from benchmarks.by_curl import close_job, halves, open_job, token

    url, _, _, sandbox = start_sandbox(stack, processes, folder / "second")
    before, cpu, peak, wall = sandbox.cpu(), 0.0, 0.0, 0.0
    access = token(url)
    for half in halves(folder / "upload.csv", folder):
        job = open_job(url, access)
        upload = ["curl", "-sf", "-X", "PUT", "-H", f"Authorization: Bearer {access}", "-H", "Content-Type: text/csv"]
        used = _child([*upload, "-T", str(half), f"{url}{job}/batches"], {})
        cpu, peak, wall = cpu + used[0], max(peak, used[1]), wall + used[2]
        close_job(url, access, job)
    report("curl, upload only", cpu, peak, sandbox.cpu() - before, wall, "no validation, no results")
    return "curl", cpu


if __name__ == "__main__":
    if subprocess.run(["curl", "--version"], capture_output=True, check=False).returncode:
        sys.exit("The benchmark compares with curl; install it first.")
    main()
