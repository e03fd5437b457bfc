"""A worker: a Celery worker with threads, and a timer that looks into the database for what is due."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time

from celery.signals import worker_shutting_down
from django.conf import settings
from django.db import connection

from jobs.history_files import remove_old_history
from jobs.remove import remove_old_files
from jobs.sweep import sweep
from sfsync import alive, broker
from sfsync.celery import app

TIDY_EVERY = 3600.0  # seconds

log = logging.getLogger("sfsync.jobs")


def run_worker(*, concurrency: int, parent_pid: int | None = None) -> None:
    """Work until a signal ends it. concurrency: threads; parent_pid: end when that process is gone."""
    _ensure_broker()
    stopping = threading.Event()
    worker_shutting_down.connect(lambda **_: stopping.set(), weak=False)
    # Before Celery has found the broker: should that die in this moment, it is the timer that starts it again.
    threading.Thread(target=_tick, args=(stopping, parent_pid), name="timer", daemon=True).start()
    app.worker_main(
        ["worker", "--pool=threads", f"--concurrency={concurrency}", "--loglevel=WARNING"]
        + ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    )


def _tick(stopping: threading.Event, parent_pid: int | None) -> None:
    """Send what is due, straight from the database, as often as the settings say; tidy up once an hour."""
    tidied = -math.inf
    while not stopping.wait(settings.SFSYNC_TICK_SECONDS):
        if parent_pid is not None and os.getppid() != parent_pid:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        try:
            _ensure_broker()
            sweep()
            alive.tell()
            if time.monotonic() - tidied > TIDY_EVERY:
                tidied = time.monotonic()
                remove_old_files()
                remove_old_history()
        except Exception:
            # Whatever it was, the timer must live: without it nothing that was abandoned is found again.
            log.exception("The timer could not look for work; it tries again.")
            connection.close()


def _ensure_broker() -> None:
    if broker.is_embedded(settings.SFSYNC_BROKER_URL):
        broker.ensure_embedded(settings.SFSYNC_BROKER_URL)
