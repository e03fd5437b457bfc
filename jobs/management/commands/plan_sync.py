import sys
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console

from jobs import plans
from jobs.foreground import work_on
from jobs.management.base import JobCommand
from jobs.management.commands._lookup import add_parameter_argument, add_sync_arguments, find_sync, whoever_types
from jobs.management.commands._show import JobBar, quiet_console, show_plan
from jobs.models import Status
from jobs.start import start_job

NOTHING, FAILED, CHANGES = 0, 1, 2


class Command(JobCommand):
    help = (
        "Previews a sync: reads, compares and plans as a job does, and sends nothing. Ends with 0 when there is "
        "nothing to do, 2 when rows would change or be rejected, 1 when it failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_sync_arguments(parser)
        add_parameter_argument(parser)
        parser.add_argument("--full-resync", action="store_true", help="As if every row were sent again.")
        parser.add_argument("--rows", type=int, default=20, help="How many changed rows to show; 20 unless told.")
        parser.add_argument("--csv", metavar="FILE", help="Write all rows that would change into this file, too.")

    def handle(self, *args: Any, **options: Any) -> None:
        sync = find_sync(options["name"], options["organization"])
        job = start_job(
            sync,
            by=whoever_types(sync),
            preview=True,
            full_resync=options["full_resync"],
            parameters=dict(options["parameter"]),
            wake=False,
        )
        console = Console()
        with quiet_console(options["verbosity"]), JobBar(console, sync.name) as bar:
            job = work_on(job, tell=bar)
        show_plan(console, job, max(0, options["rows"]))
        if job.status != Status.PLANNED:
            sys.exit(FAILED)
        if options["csv"]:
            with plans.open_plan_csv(job) as rows, open(options["csv"], "wb") as file:
                file.writelines(rows)
        counts = job.manifests["plan"]["counts"]
        sys.exit(CHANGES if plans.changes_something(job) or counts["rejected"] or counts["malformed"] else NOTHING)
