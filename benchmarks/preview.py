"""A preview of a million rows with 1 % changed, beside the planning of the job that follows. Part of `make bench`.

Prints CPU seconds of the worker process for both, and how long pages of the plan take in the admin.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.million import Usage, in_background, make_sync, start_sandbox, write_people

ROWS = 1_000_000


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
    with ExitStack() as stack:
        url, *_ = start_sandbox(stack, processes, folder / "sandbox")
        command = ["manage.py", "worker", "--parent-pid", str(os.getpid())]
        worker = Usage(in_background(stack, processes, command, folder / "worker.log").pid)
        sync = make_sync(organization, url, SANDBOX_LOGIN)
        _job(sync, worker, "baseline", baseline=True)
        write_people(files / "people.csv", rows, changed_every=100)
        print(f"{rows:,} contacts x 12 columns, 1 % changed\n")
        preview, cost = _job(sync, worker, "preview", preview=True)
        # A job that waits for approval has planned, and done no more.
        type(sync).all_objects.filter(pk=sync.pk).update(approval="always")
        _, planning = _job(sync, worker, "planning of a job")
        print(f"{'preview / planning':<40}{cost / planning:>9.2f}")
        _pages(preview)


def _job(sync: Any, worker: Usage, name: str, **options: Any) -> tuple[Any, float]:
    from jobs.models import Job, Status
    from jobs.start import start_job
    from orgs import access

    cpu = worker.cpu()
    job = start_job(sync, by=access.operator(sync.organization, "the benchmark"), **options)
    while (job := Job.all_objects.get(pk=job.pk)).is_live and job.status != Status.WAITING_APPROVAL:
        time.sleep(0.2)
    if job.status == Status.FAILED:
        raise SystemExit(f"job {job.pk} failed: {job.reason}")
    used = worker.cpu() - cpu
    print(f"{name:<40}{used:>9.1f} CPU s{worker.peak_mb():>9.0f} MB", flush=True)
    return job, used


def _pages(job: Any) -> None:
    from jobs import plans

    pages: dict[str, Callable[[], Any]] = {
        "first page": lambda: plans.page(job),
        "a page behind 5,000 changes": lambda: plans.page(
            job, after=job.manifests["plan"]["counts"]["unchanged"] + 5000
        ),
        "deletes only": lambda: plans.page(job, action="delete"),
        "unchanged rows": lambda: plans.page(job, action="unchanged"),
        "a search": lambda: plans.page(job, search="nobody is called so"),
    }
    for name, page in pages.items():
        started = time.monotonic()
        page()
        print(f"{name:<40}{1000 * (time.monotonic() - started):>9.0f} ms")


if __name__ == "__main__":
    main()
