import getpass
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from jobs.errors import JobRefused
from jobs.foreground import work_on
from jobs.management.commands._lookup import add_sync_arguments, find_sync
from jobs.management.commands._show import EXIT_CODES, JobBar, quiet_console, show_outcome
from jobs.models import Status
from jobs.start import cancel_job, start_job


class Command(BaseCommand):
    help = (
        "Runs a sync here and now, and shows its progress. Ends with 0 when all went well, 1 when the job failed, "
        "2 when it finished with row errors, 3 when it waits for approval."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_sync_arguments(parser)
        parser.add_argument("--queue", action="store_true", help="Leave it to the workers and return at once.")
        parser.add_argument(
            "--full-resync", action="store_true", help="Forget what Salesforce is known to hold; send every row."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        sync = find_sync(options["name"], options["organization"])
        console = Console()
        try:
            job = start_job(sync, by=getpass.getuser(), full_resync=options["full_resync"], wake=bool(options["queue"]))
        except JobRefused as refused:
            raise CommandError(str(refused)) from None
        if options["queue"]:
            job.refresh_from_db()
            console.print(f"Job {job.pk} is queued. {job.reason}", highlight=False)
            return
        with quiet_console(options["verbosity"]):
            try:
                with JobBar(console, sync.name) as bar:
                    job = work_on(job, tell=bar)
            except KeyboardInterrupt:
                job = self._cancel(job, console, sync.name)
        show_outcome(console, job)
        if job.status == Status.WAITING_APPROVAL:
            console.print(
                f"Approve it with `manage.py approve_job {job.pk}`, or reject it with `manage.py reject_job {job.pk}`."
            )
        sys.exit(EXIT_CODES[job.status])

    def _cancel(self, job, console, title):
        """Ctrl-C: what was sent is read back before the command ends."""
        job.refresh_from_db()
        try:
            cancel_job(job, by=getpass.getuser())
        except JobRefused as refused:
            console.print(str(refused))
        with JobBar(console, title) as bar:
            return work_on(job, tell=bar)
