"""Celery tasks: find by id, call, done. Quiet when the row is gone, or another worker holds it."""

from __future__ import annotations

from celery import shared_task

from jobs import queue
from jobs.load import advance_batch
from jobs.models import LIVE, Job
from jobs.run import run_job
from jobs.sweep import hand_on, sweep


@shared_task(name=queue.RUN_JOB)
def run_job_task(pk: int) -> None:
    # Where many wait, messages are sent again before the first is read; those of ended jobs must cost next to nothing.
    if Job.all_objects.filter(pk=pk, status__in=LIVE).exists():
        run_job(pk)
        hand_on()


@shared_task(name=queue.ADVANCE_BATCH)
def advance_batch_task(pk: int) -> None:
    advance_batch(pk)
    hand_on()


@shared_task(name="jobs.sweep")
def sweep_task() -> None:
    sweep()
