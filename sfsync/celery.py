"""The Celery app. Tasks carry ids only; what is due stands in the database, so a lost message costs seconds."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sfsync.settings")

app = Celery("sfsync")


def configure() -> Celery:
    """Take the broker from Django's settings and find the tasks. Called once, when Django is ready."""
    from django.conf import settings

    app.conf.update(
        broker_url=settings.SFSYNC_BROKER_URL,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 2, "max_retries": 1},
        task_ignore_result=True,
        task_default_queue="sfsync",
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        # Each entry is safe to run twice and worthless when late.
        beat_schedule={
            "sweep": {"task": "jobs.sweep", "schedule": 10.0, "options": {"expires": 10}},
        },
    )
    app.autodiscover_tasks(["jobs"])
    return app
