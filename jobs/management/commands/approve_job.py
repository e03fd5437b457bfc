from typing import Any

from django.core.management.base import CommandParser

from jobs.management.base import JobCommand
from jobs.management.commands._here import work_here
from jobs.management.commands._lookup import find_job, whoever_types
from jobs.start import approve_job


class Command(JobCommand):
    help = (
        "Approves the plan of a job that waits for approval. Workers send it; --here sends it in this process, and "
        "then ends as run_sync does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("job", type=int, help="Number of the job.")
        parser.add_argument("--here", action="store_true", help="Send it here and now, without a worker.")

    def handle(self, *args: Any, **options: Any) -> None:
        job = find_job(options["job"])
        approve_job(job, by=whoever_types(job), wake=not options["here"])
        if options["here"]:
            work_here(job, options["verbosity"])
        job.refresh_from_db()
        self.stdout.write(f"Job {job.pk}: {job.get_status_display()}. {job.reason}")
