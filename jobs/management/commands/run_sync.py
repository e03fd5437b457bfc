from typing import Any

from django.core.management.base import CommandParser

from jobs.management.base import JobCommand
from jobs.management.commands._here import work_here
from jobs.management.commands._lookup import add_parameter_argument, add_sync_arguments, find_sync, whoever_types
from jobs.start import start_job


class Command(JobCommand):
    help = (
        "Runs a sync here and now, and shows its progress. Ends with 0 when all went well, 1 when the job failed, "
        "2 when it finished with row errors, 3 when it waits for approval."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_sync_arguments(parser)
        parser.add_argument("--queue", action="store_true", help="Leave it to the workers and return at once.")
        add_parameter_argument(parser)
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--full-resync", action="store_true", help="Send every row, whatever Salesforce is known to hold."
        )
        what.add_argument(
            "--baseline", action="store_true", help="Record what the source holds as known, and send nothing."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        sync = find_sync(options["name"], options["organization"])
        job = start_job(
            sync,
            by=whoever_types(sync),
            full_resync=options["full_resync"],
            baseline=options["baseline"],
            parameters=dict(options["parameter"]),
            wake=bool(options["queue"]),
        )
        if not options["queue"]:
            work_here(job, options["verbosity"])
        job.refresh_from_db()
        self.stdout.write(f"Job {job.pk} is queued. {job.reason}")
