from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from jobs.management.base import JobCommand
from jobs.management.commands._lookup import find_job
from jobs.results import write_refused_rows


class Command(JobCommand):
    help = "Writes the refused rows of a job as CSV, in the source's own columns and with the reasons behind them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("job", type=int, help="Number of the job.")
        parser.add_argument("file", type=Path, help="Where to write the CSV.")

    def handle(self, *args: Any, **options: Any) -> None:
        job = find_job(options["job"])
        if options["file"].exists():
            raise CommandError(f"{options['file']} exists already. Name another file.")
        rows = write_refused_rows(job, options["file"])
        self.stdout.write(f"{rows} refused rows of job {job.pk} are in {options['file']}.")
