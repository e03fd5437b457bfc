from typing import Any

from django.core.management.base import CommandParser

from jobs.management.base import JobCommand
from jobs.management.commands._here import work_here
from jobs.management.commands._lookup import find_job, whoever_types
from jobs.start import reject_job


class Command(JobCommand):
    help = (
        "Ends a job that waits for approval; nothing is sent, or nothing behind its canary. What a canary did is "
        "written down by a worker; --here does so in this process, and then ends as run_sync does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("job", type=int, help="Number of the job.")
        parser.add_argument("--reason", default="", help="Why; it stands in the record of the job.")
        parser.add_argument("--here", action="store_true", help="End it here and now, without a worker.")

    def handle(self, *args: Any, **options: Any) -> None:
        job = find_job(options["job"])
        reject_job(job, by=whoever_types(job), reason=options["reason"][:500], wake=not options["here"])
        if options["here"] and job.is_live:
            work_here(job, options["verbosity"])
        job.refresh_from_db()
        self.stdout.write(f"Job {job.pk}: {job.get_status_display()}. {job.reason}")
