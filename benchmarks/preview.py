"""A preview of a million rows with 1 % changed, beside the planning of the job that follows. Part of `make bench`.

Prints CPU seconds of the worker process for both, and how long pages of the plan take in the admin: the first time in
a process, and the median of the calls after that.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

from benchmarks.bench import ROWS, Bench, Usage, bench, write_people

TURNS, CALLS = 3, 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    rows = parser.parse_args().rows
    with bench() as place:
        from jobs.start import reject_job

        write_people(place.files / "people.csv", rows)
        sync, worker = place.sync(place.org()), place.worker()
        _job(place, sync, worker, "baseline", baseline=True)
        write_people(place.files / "people.csv", rows, changed_every=100)
        print(f"{rows:,} contacts x 12 columns, 1 % changed\n")
        # A job that waits for approval has planned, and done no more.
        type(sync).all_objects.filter(pk=sync.pk).update(approval="always")
        previews, plannings = 0.0, 0.0
        for _ in range(TURNS):
            waiting, cost = _job(place, sync, worker, "planning of a job")
            reject_job(waiting, by=place.operator, wake=False)
            plannings += cost
            preview, cost = _job(place, sync, worker, "preview", preview=True)
            previews += cost
        print(f"{'previews / plannings':<40}{previews / plannings:>9.2f}\n")
        _pages(preview)


def _job(place: Bench, sync: Any, worker: Usage, name: str, **options: Any) -> tuple[Any, float]:
    ran = place.run(sync, worker, **options)
    print(f"{name:<40}{ran.cpu:>9.1f} CPU s{worker.peak_mb():>9.0f} MB", flush=True)
    return ran.job, ran.cpu


def _pages(job: Any) -> None:
    from django.contrib.auth.models import User
    from django.test import Client
    from django.urls import reverse

    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.create_superuser("bench"))
    address = reverse("admin:jobs_job_plan", args=[job.pk])
    behind = job.manifests["plan"]["counts"]["unchanged"] + 5000
    pages: dict[str, dict[str, Any]] = {
        "first page": {},
        "a page behind 5,000 changes": {"after": behind},
        "deletes only": {"action": "delete"},
        "unchanged rows": {"action": "unchanged"},
        "a search": {"q": "nobody is called so"},
        "a search that finds many": {"q": "person 7"},
    }
    print(f"{'':<40}{'first ms':>10}{'median ms':>11}")
    for name, asked in pages.items():
        times = []
        for _ in range(CALLS + 1):
            started = time.perf_counter()
            answer = client.get(address, asked)
            times.append(1000 * (time.perf_counter() - started))
            assert answer.status_code == 200 and b"Plan of job" in answer.content
        print(f"{name:<40}{times[0]:>10.0f}{statistics.median(times[1:]):>11.0f}", flush=True)


if __name__ == "__main__":
    main()
