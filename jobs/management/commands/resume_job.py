from typing import Any

from django.core.management.base import CommandError, CommandParser

from jobs.management.base import JobCommand
from jobs.management.commands._here import work_here
from jobs.management.commands._lookup import find_job
from jobs.models import Status


class Command(JobCommand):
    help = (
        "Goes on, in this process, with a job that was left unfinished because what worked on it was ended. "
        "Workers do that by themselves. Ends as run_sync does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("job", type=int, help="Number of the job.")

    def handle(self, *args: Any, **options: Any) -> None:
        job = find_job(options["job"])
        if not job.is_live or job.status == Status.WAITING_APPROVAL:
            raise CommandError(f"Job {job.pk} is {job.get_status_display().lower()}; there is nothing to resume.")
        work_here(job, options["verbosity"])
