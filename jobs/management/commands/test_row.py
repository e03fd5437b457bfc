from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from jobs.exchanges import exchanges_of
from jobs.management.base import JobCommand
from jobs.management.commands._here import end_with_outcome, follow_here
from jobs.management.commands._lookup import find_job, whoever_types
from jobs.models import Job
from jobs.start import start_job


class Command(JobCommand):
    help = (
        "Sends one row of what an ended job or preview read, here and now, and shows the requests and the answers. "
        "Ends as run_sync does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("job", type=int, help="Number of the job that read the row.")
        parser.add_argument("row", type=int, help="Number of the row in the source.")

    def handle(self, *args: Any, **options: Any) -> None:
        other = find_job(options["job"])
        by = whoever_types(other)
        job = start_job(other.sync, by=by, replay_of=other, test_row=options["row"], wake=False)
        console = Console()
        job = follow_here(console, job, options["verbosity"])
        _show_exchanges(console, job)
        end_with_outcome(console, job)


def _show_exchanges(console: Console, job: Job) -> None:
    for exchange in exchanges_of(job):
        console.print(f"{exchange['method']} {exchange['path']}", style="bold", markup=False, highlight=False)
        _show_message(console, exchange["request_headers"], exchange["request_body"])
        answer = exchange["error"] or "No answer" if exchange["status"] is None else str(exchange["status"])
        console.print(answer, style="bold", markup=False, highlight=False)
        _show_message(console, exchange["answer_headers"], exchange["answer_body"])


def _show_message(console: Console, headers: dict[str, str], body: str) -> None:
    for name, value in headers.items():
        console.print(f"{name}: {value}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"\n{body}\n", markup=False, highlight=False, soft_wrap=True)
