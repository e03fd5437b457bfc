"""Ten million rows: put on record by a baseline, then one in a thousand changed. Part of `make bench`.

Prints CPU seconds and the largest memory of the worker process, and how much scratch space it used at most.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.million import Usage, in_background, make_sync, start_sandbox, write_people

ROWS = 10_000_000


class Scratch:
    """The most that a folder ever held, looked at ten times a second."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.peak_mb = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            total = 0
            for path in self._folder.rglob("*"):
                try:
                    total += path.stat().st_size
                except OSError:  # gone since it was listed
                    continue
            self.peak_mb = max(self.peak_mb, total / 1e6)
            time.sleep(0.1)


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
    print(f"{rows:,} contacts x 12 columns, {size:.0f} MB of CSV\n")
    print(f"{'':<34}{'CPU s':>9}{'peak MB':>9}{'scratch MB':>12}{'wall s':>9}")
    with ExitStack() as stack:
        url, *_ = start_sandbox(stack, processes, folder / "sandbox")
        command = ["manage.py", "worker", "--parent-pid", str(os.getpid())]
        worker = Usage(in_background(stack, processes, command, folder / "worker.log").pid)
        sync = make_sync(organization, url, SANDBOX_LOGIN)
        scratch = Scratch(settings.SFSYNC_SCRATCH)
        _measure(sync, worker, scratch, "sfsync, baseline", baseline=True)
        write_people(files / "people.csv", rows, changed_every=1000)
        _measure(sync, worker, scratch, "sfsync, 0.1 % changed")


def _measure(sync: Any, worker: Usage, scratch: Scratch, name: str, **options: Any) -> None:
    from jobs.models import Job, Status
    from jobs.start import start_job
    from orgs import access

    cpu, started = worker.cpu(), time.monotonic()
    scratch.peak_mb = 0.0
    job = start_job(sync, by=access.operator(sync.organization, "the benchmark"), **options)
    while Job.all_objects.get(pk=job.pk).is_live:
        time.sleep(0.5)
    job = Job.all_objects.get(pk=job.pk)
    if job.status != Status.SUCCEEDED:
        raise SystemExit(f"job {job.pk} ended as {job.status}: {job.reason}")
    used, wall = worker.cpu() - cpu, time.monotonic() - started
    print(f"{name:<34}{used:>9.1f}{worker.peak_mb():>9.0f}{scratch.peak_mb:>12.0f}{wall:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
