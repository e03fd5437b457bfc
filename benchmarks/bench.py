"""What benchmarks run on: contacts in a CSV file, a database and folders of their own, practice orgs and a worker.

Nothing of it stays behind.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb

ROWS = 1_000_000
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


@dataclasses.dataclass(frozen=True)
class Org:
    """A practice org: its addresses, the file of its CA, and what its process uses."""

    url: str
    https_url: str
    ca_file: str
    usage: Usage


@dataclasses.dataclass(frozen=True)
class Ran:
    """A job that has ended, or waits for approval, with what the worker and the clock say of it."""

    job: Any
    cpu: float
    seconds: float


class Bench:
    """folder: for whatever is needed. organization: the one that there is. files: its folder of source files."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        from django.conf import settings
        from django.core.management import call_command

        from orgs.models import Organization

        call_command("migrate", verbosity=0)
        self.folder, self._stack = folder, stack
        self.organization = Organization.objects.create(name="Bench", slug="bench", history_days=0)
        self.files: Path = settings.SFSYNC_FILES / "bench"
        self.files.mkdir(parents=True)

    def org(self, name: str = "org") -> Org:
        """Start a practice org in a folder of its own."""
        from sfsync import processes

        folder = self.folder / name
        folder.mkdir()
        arguments = ["-m", "sandbox", "--port", "0", "--https-port", "0", "--ready-file", str(folder / "ready.json")]
        process = self._start([*arguments, "--parent-pid", str(os.getpid())], folder / "sandbox.log")
        ready = processes.wait_for_file(folder / "ready.json", process, 30)
        return Org(ready["http_url"], ready["https_url"], ready["ca_file"], Usage(process.pid))

    def worker(self) -> Usage:
        """Start the process that works on jobs."""
        command = ["manage.py", "worker", "--parent-pid", str(os.getpid())]
        return Usage(self._start(command, self.folder / "worker.log").pid)

    def _start(self, arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
        from sfsync import processes

        process: subprocess.Popen[bytes] = processes.start(arguments, log)
        self._stack.callback(processes.stop, [process])
        return process

    def sync(self, org: Org, *, name: str = "people", object: str = "Contact", columns: Iterable[str] = COLUMNS) -> Any:
        """A sync of the file <name>.csv, whose columns are called like fields, into an object of a practice org."""
        from connections.models import Connection
        from sfsync.demo.data import SANDBOX_LOGIN
        from syncs.models import FieldMapping, Sync

        source = Connection(organization=self.organization, name=f"Files of {name}", kind="delimited_file")
        destination = Connection(organization=self.organization, name=f"Org of {name}", kind="salesforce")
        source.set_values({})
        destination.set_values({"auth_url": org.url, **SANDBOX_LOGIN})
        source.save()
        destination.save()
        sync = Sync.all_objects.create(
            organization=self.organization,
            name=name,
            source=source,
            source_path=f"{name}.csv",
            destination=destination,
            object=object,
            key_fields=("External_Id__c",),
        )
        for position, column in enumerate(columns):
            FieldMapping.all_objects.create(
                organization=self.organization, sync=sync, position=position, target=column, source_column=column
            )
        return sync

    def run(self, sync: Any, worker: Usage, **options: Any) -> Ran:
        """A job by the worker, to its end, or to the approval it waits for. Leaves the program when it fails.

        options: of `jobs.start.start_job`.
        """
        from jobs.models import Job, Status
        from jobs.start import start_job

        cpu, started = worker.cpu(), time.monotonic()
        job = start_job(sync, by=self.operator, **options)
        while job.is_live and job.status != Status.WAITING_APPROVAL:
            time.sleep(0.2)
            job = Job.all_objects.get(pk=job.pk)
        if job.status not in (Status.SUCCEEDED, Status.PLANNED, Status.WAITING_APPROVAL):
            raise SystemExit(f"job {job.pk} ended as {job.status}: {job.reason}")
        return Ran(job, worker.cpu() - cpu, time.monotonic() - started)

    @property
    def operator(self) -> Any:
        """Whoever starts the jobs."""
        from orgs import access

        return access.operator(self.organization, "the benchmark")


@contextlib.contextmanager
def bench(*, keep: bool = False) -> Iterator[Bench]:
    """Django is set up on entry, so that its models can be imported only from then on. keep: leave the files."""
    folder = Path(tempfile.mkdtemp(prefix="sfsync-bench-"))
    os.environ["SFSYNC_DATA"] = str(folder / "data")
    os.environ["DJANGO_SETTINGS_MODULE"] = "sfsync.settings"
    import django

    django.setup()
    try:
        with ExitStack() as stack:
            yield Bench(folder, stack)
    finally:
        if keep:
            print(f"The files are below {folder}.")
        else:
            shutil.rmtree(folder, ignore_errors=True)
