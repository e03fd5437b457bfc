from typing import Any

from django.core.management.base import CommandParser

from jobs.management.base import JobCommand
from jobs.management.commands._lookup import find_job, whoever_types
from jobs.start import reject_job


class Command(JobCommand):
    help = "Ends a job that waits for approval; nothing is sent."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("job", type=int, help="Number of the job.")

    def handle(self, *args: Any, **options: Any) -> None:
        job = find_job(options["job"])
        reject_job(job, by=whoever_types(job))
        job.refresh_from_db()
        self.stdout.write(f"Job {job.pk}: {job.get_status_display()}. {job.reason}")
