from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sfsync import processes
from sfsync.supervisor import Supervisor, listen, start_services


class Command(BaseCommand):
    help = "Runs sfsync in this terminal: the web server, a worker and the beat. Ctrl-C ends all of them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--bind", default=settings.SFSYNC_BIND, help="Address of the web server, host:port.")
        parser.add_argument("--user", help="Name of the first user; asked for otherwise.")

    def handle(self, *args: Any, **options: Any) -> None:
        data = settings.SFSYNC_DATA
        try:
            with processes.only_one(data / "up.lock", "sfsync"), listen(options["bind"]) as listening:
                call_command("prepare", user=options["user"], stdout=self.stdout)
                with Supervisor(data, self._tell) as supervisor:
                    start_services(supervisor, listening)
                    host, port = listening.getsockname()[:2]
                    self._tell(f"sfsync runs at http://{host}:{port}/admin/ (Ctrl-C ends it; logs: {data}).")
                    supervisor.watch()
                    self._tell("Ending.")
        except RuntimeError as error:
            raise CommandError(str(error)) from None

    def _tell(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()  # somebody may be reading it through a pipe
