from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from jobs.files import log_path
from jobs.management.base import JobCommand
from jobs.management.commands._lookup import find_job
from jobs.management.commands._show import show_outcome
from jobs.models import Batch, JobEvent


class Command(JobCommand):
    help = "Shows what a job did, or is doing: its counts, refused rows by reason, batches and events."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("job", type=int, help="Number of the job.")

    def handle(self, *args: Any, **options: Any) -> None:
        job = find_job(options["job"])
        console = Console()
        show_outcome(console, job)
        for batch in Batch.all_objects.filter(job=job):
            console.print(
                f"Batch {batch.number}: {batch.operation} {batch.rows:,} rows, {batch.get_state_display().lower()}, "
                f"Salesforce job {batch.salesforce_job_id or '-'}. {batch.reason}",
                highlight=False,
                markup=False,
            )
        for event in JobEvent.all_objects.filter(job=job):
            console.print(f"{event.at:%Y-%m-%d %H:%M:%S} {event.status} {event.text}", highlight=False, markup=False)
        console.print(f"Log: {log_path(job)}", highlight=False, markup=False)
