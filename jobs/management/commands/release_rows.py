from typing import Any

from django.core.management.base import CommandParser

from jobs.management.base import JobCommand
from jobs.management.commands._lookup import add_sync_arguments, find_sync, whoever_types
from jobs.parked import release_parked


class Command(JobCommand):
    help = "Releases parked rows of a sync, so that its next job sends them again: all of them, or those named."

    def add_arguments(self, parser: CommandParser) -> None:
        add_sync_arguments(parser)
        parser.add_argument(
            "--key", action="append", metavar="KEY", help="Sync key of a parked row; may be given several times."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        sync = find_sync(options["name"], options["organization"])
        released = release_parked(sync, by=whoever_types(sync), keys=options["key"])
        self.stdout.write(f"{released} parked row{'' if released == 1 else 's'} of '{sync.name}' released.")
