from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from jobs.worker import run_worker


class Command(BaseCommand):
    help = "Starts a worker. Any number of workers may run, on any number of machines."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--concurrency", type=int, default=4, help="How many things it does at once.")
        parser.add_argument("--parent-pid", type=int, help="End when this process is no longer the parent.")

    def handle(self, *args: Any, **options: Any) -> None:
        run_worker(concurrency=options["concurrency"], parent_pid=options["parent_pid"])
