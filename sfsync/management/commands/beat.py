from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sfsync import alive, processes
from sfsync.celery import app

# A beat that was killed a moment ago may still be going.
PATIENCE = 15.0  # seconds


class Command(BaseCommand):
    help = "Sends the clock's ticks to the workers. One runs on one data folder; a second one ends with an error."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--parent-pid", type=int, help="End when this process is no longer the parent.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with processes.only_one(settings.SFSYNC_DATA / "beat.lock", "A beat", PATIENCE):
                processes.end_when_orphaned(options["parent_pid"], alive.tell)
                # What is due stands in the database: there is nothing for the beat to remember.
                app.Beat(scheduler_cls="celery.beat:Scheduler", loglevel="WARNING", quiet=True).run()
        except RuntimeError as error:
            raise CommandError(str(error)) from None
