from typing import Any

from django.core.management.base import CommandParser

from jobs.management.base import JobCommand
from jobs.management.commands._here import work_here
from jobs.management.commands._lookup import find_job, whoever_types
from jobs.start import start_undo


class Command(JobCommand):
    help = (
        "Plans what takes an ended job back, here and now: as far as nobody has changed it since. Waits for approval "
        "before anything is sent. Ends as run_sync does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("job", type=int, help="Number of the job that is taken back.")
        parser.add_argument("--preview", action="store_true", help="Plan it, and send nothing.")
        parser.add_argument("--queue", action="store_true", help="Leave it to the workers and return at once.")

    def handle(self, *args: Any, **options: Any) -> None:
        job = find_job(options["job"])
        undo = start_undo(job, by=whoever_types(job), preview=options["preview"], wake=bool(options["queue"]))
        if not options["queue"]:
            work_here(undo, options["verbosity"])
        undo.refresh_from_db()
        self.stdout.write(f"Job {undo.pk} is queued. {undo.reason}")
