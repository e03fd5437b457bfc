"""Celery tasks: find by id, call, done. Quiet when the row is gone, or another worker holds it."""

from __future__ import annotations

from celery import shared_task

from jobs import queue
from jobs.load import advance_batch
from jobs.run import run_job
from jobs.sweep import sweep


@shared_task(name=queue.RUN_JOB)
def run_job_task(pk: int) -> None:
    run_job(pk)
    sweep()


@shared_task(name=queue.ADVANCE_BATCH)
def advance_batch_task(pk: int) -> None:
    advance_batch(pk)
    sweep()


@shared_task(name="jobs.sweep")
def sweep_task() -> None:
    sweep()
