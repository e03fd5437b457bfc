"""Works on one job in this process, without a broker or workers, until it has ended or waits for a person."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import connection

from jobs import queue
from jobs.load import advance_batch
from jobs.models import Job, Status
from jobs.run import run_job
from jobs.sweep import claim_due

VERBS: dict[str, Callable[[int], None]] = {queue.RUN_JOB: run_job, queue.ADVANCE_BATCH: advance_batch}


def work_on(job: Job, *, tell: Callable[[Job], None], threads: int = 2) -> Job:
    """Do what is due of `job` until it ends or waits for approval; returns it as it is then.

    tell: called several times a second with the job as it stands. Workers may help; leases keep them apart.
    """
    under_way: set[Future[None]] = set()
    with ThreadPoolExecutor(threads, thread_name_prefix="foreground") as pool:
        while True:
            for task, pk in claim_due(job):
                under_way.add(pool.submit(_do, task, pk))
            _raise_errors(under_way)
            job.refresh_from_db()
            tell(job)
            if not job.is_live or job.status == Status.WAITING_APPROVAL:
                return job
            time.sleep(0.1)


def _do(task: str, pk: int) -> None:
    try:
        VERBS[task](pk)
    finally:
        connection.close()  # this thread's own


def _raise_errors(under_way: set[Future[None]]) -> None:
    for future in [future for future in under_way if future.done()]:
        under_way.discard(future)
        future.result()
