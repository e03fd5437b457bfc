"""What jobs were foreseen to cost, and what they cost: 100, 10,000 and 1,000,000 contacts, each three times.

    python -m benchmarks.budget [--rows 1000000]

The first job of a sync knows nothing of earlier ones; the others do. Ends with 1 where a forecast is further off than a
tenth of the calls used.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import requests

from benchmarks.million import COLUMNS, in_background, make_sync, start_sandbox, write_people

SIZES, TURNS = (100, 10_000, 1_000_000), 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, action="append", help="Only this size; may be repeated.")
    sizes = parser.parse_args().rows or SIZES
    folder = Path(tempfile.mkdtemp(prefix="sfsync-bench-"))
    os.environ["SFSYNC_DATA"] = str(folder / "data")
    os.environ["DJANGO_SETTINGS_MODULE"] = "sfsync.settings"
    import django

    django.setup()
    try:
        sys.exit(0 if _run(folder, sizes) else 1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path, sizes: tuple[int, ...] | list[int]) -> bool:
    from django.conf import settings
    from django.core.management import call_command

    from orgs.models import Organization
    from sfsync import processes
    from sfsync.demo.data import SANDBOX_LOGIN

    call_command("migrate", verbosity=0)
    organization = Organization.objects.create(name="Bench", slug="bench")
    files = settings.SFSYNC_FILES / "bench"
    files.mkdir(parents=True)
    print(f"{'rows':>12}{'job':>5}{'foreseen':>10}{'used':>7}{'counted':>9}{'off':>8}{'s foreseen':>12}{'s':>8}")
    good = True
    with ExitStack() as stack:
        url, _, _, _ = start_sandbox(stack, processes, folder / "sandbox")
        command = ["manage.py", "worker", "--parent-pid", str(os.getpid())]
        in_background(stack, processes, command, folder / "worker.log")
        for rows in sizes:
            name = f"people-{rows}"
            sync = make_sync(organization, url, SANDBOX_LOGIN, name=name)
            for turn in range(TURNS):
                # Every row is another one each time, so that every row is sent.
                columns = {**COLUMNS, "Title": f"'Title {turn}'"}
                write_people(files / f"{name}.csv", rows, columns=columns)
                good = _measure(sync, url, rows) and good
    return good


def _counted(url: str) -> int:
    """How many calls the sandbox has counted."""
    answer = requests.get(f"{url}/_sandbox/limits", timeout=30)
    return int(answer.json()["used_api_requests"])


def _measure(sync: Any, url: str, rows: int) -> bool:
    from jobs.counts import api_calls
    from jobs.models import Job, Status
    from jobs.start import start_job
    from orgs import access

    before = _counted(url)
    job = start_job(sync, by=access.operator(sync.organization, "the benchmark"))
    while Job.all_objects.get(pk=job.pk).is_live:
        time.sleep(0.5)
    job = Job.all_objects.get(pk=job.pk)
    if job.status != Status.SUCCEEDED:
        sys.exit(f"job {job.pk} ended as {job.status}: {job.reason}")
    used, foreseen, counted = api_calls(job), job.forecast["calls"], _counted(url) - before
    off = abs(foreseen - used) / used
    took = (job.ended_at - job.planned_at).total_seconds() if job.ended_at and job.planned_at else 0.0
    print(
        f"{rows:>12,}{job.pk:>5}{foreseen:>10,}{used:>7,}{counted:>9,}{off:>8.1%}"
        f"{job.forecast['seconds']:>12.1f}{took:>8.1f}",
        flush=True,
    )
    return off <= 0.1


if __name__ == "__main__":
    main()
