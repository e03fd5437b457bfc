from typing import Any

from django.core.management.base import CommandParser

from jobs.management.base import JobCommand
from jobs.management.commands._here import work_here
from jobs.management.commands._lookup import find_job, whoever_types
from jobs.start import start_job


class Command(JobCommand):
    help = (
        "Runs the sync of an ended job on nothing but the rows that were refused in it, here and now. The source is "
        "not read again. Ends as run_sync does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("job", type=int, help="Number of the job whose refused rows are tried again.")
        parser.add_argument("--queue", action="store_true", help="Leave it to the workers and return at once.")

    def handle(self, *args: Any, **options: Any) -> None:
        job = find_job(options["job"])
        again = start_job(job.sync, by=whoever_types(job), replay_of=job, wake=bool(options["queue"]))
        if not options["queue"]:
            work_here(again, options["verbosity"])
        again.refresh_from_db()
        self.stdout.write(f"Job {again.pk} is queued. {again.reason}")
