"""Sends tasks by their names. The only place that knows the broker."""

from __future__ import annotations

import logging

from django.conf import settings
from kombu.exceptions import OperationalError

from sfsync import broker
from sfsync.celery import app

log = logging.getLogger("sfsync.jobs")

RUN_JOB = "jobs.run_job"
ADVANCE_BATCH = "jobs.advance_batch"


class BrokerDown(Exception):
    """The message broker cannot be reached; what was to be sent stays due in the database."""


def send(task: str, pk: int) -> None:
    """Wake a worker for `task` on the row `pk`. Raises BrokerDown; never waits longer than a few seconds."""
    try:
        app.send_task(task, args=[pk], retry=False, ignore_result=True)
    except (OperationalError, OSError) as error:
        raise BrokerDown(f"The message broker {where()} cannot be reached: {error}") from None


def where() -> str:
    """The broker's address without a password, for messages."""
    url: str = settings.SFSYNC_BROKER_URL
    if broker.is_embedded(url):
        return "(embedded)"
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
