"""A disk that is full at each write, one after the other: the job waits, goes on, and loses nothing."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest
from django.db import connection

from jobs.foreground import work_on
from jobs.models import Batch, Job, JobEvent, Status
from jobs.start import start_job
from tests.factories import anybody
from tests.jobs.scenario import make_people_sync, people, run, write_csv
from tests.workers import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

ROWS = 50_000
DISK = 32 << 20
# What is freed each time that something did not fit.
SLICE = 1 << 20


@pytest.fixture
def disk(tmp_path, settings):
    """A small disk of its own for job files and scratch."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", place], capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"a disk of one's own can be mounted by root only: {mount.stderr.strip()}")
    settings.SFSYNC_STORAGE, settings.SFSYNC_SCRATCH = place / "storage", place / "scratch"
    settings.SFSYNC_STORAGE.mkdir()
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(ballast: Path, leave: int) -> None:
    """Take the disk's room but for `leave` bytes."""
    free = os.statvfs(ballast.parent)
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - leave)


def failures(job: Job) -> int:
    return sum(Job.all_objects.filter(pk=job.pk).values_list("failures", flat=True)) + sum(
        Batch.all_objects.filter(job=job).values_list("failures", flat=True)
    )


@pytest.mark.parametrize("kind", ["keyless", "keyed"])
def test_a_disk_that_is_full_at_each_write_delays_a_job_and_changes_nothing(sandbox, org, settings, disk, kind):
    settings.SFSYNC_RETRY_SECONDS = 0.05
    changes = {"key_fields": (), "mode": "insert", "compare": "nothing"} if kind == "keyless" else {}
    sync = make_people_sync(sandbox, batch_rows=5_000, **changes)
    write_csv(sync.organization, "people.csv", people(ROWS))
    ballast = disk / "ballast"
    fill(ballast, leave=16 << 10)
    job = start_job(sync, by=anybody(sync), wake=False)
    freed = 0

    def work() -> None:
        try:
            work_on(Job.all_objects.get(pk=job.pk), tell=lambda job: None)
        finally:
            connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    while worker.is_alive():
        wait_for(lambda: failures(job) or not worker.is_alive(), "a full disk, or the end")
        size = ballast.stat().st_size
        if size > SLICE:
            os.truncate(ballast, size - SLICE)
            freed += 1
        worker.join(0.15)
    job.refresh_from_db()
    assert job.status == Status.SUCCEEDED, job.reason
    assert freed > 5
    assert JobEvent.all_objects.filter(job=job, text__contains="tried again").exists()
    assert job.counts["inserted"] == ROWS == org.count("Contact")
    ballast.unlink()
    if kind == "keyed":
        assert run(sync).counts["unchanged"] == ROWS
