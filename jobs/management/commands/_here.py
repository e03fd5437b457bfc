"""Works on a job in the command's own process, shows it, and ends with the code that tells how it went."""

from __future__ import annotations

import sys
from typing import NoReturn

from rich.console import Console

from jobs.errors import JobRefused
from jobs.foreground import work_on
from jobs.management.commands._lookup import whoever_types
from jobs.management.commands._show import EXIT_CODES, JobBar, quiet_console, show_outcome
from jobs.models import Job, Status
from jobs.start import cancel_job


def work_here(job: Job, verbosity: int) -> NoReturn:
    """Take a job to its end, or to the approval it waits for. Ctrl-C cancels it in good order.

    verbosity: as given to the command. Ends the process with 0 clean, 1 failed or cancelled, 2 finished with row
    errors, 3 waits for approval.
    """
    console = Console()
    end_with_outcome(console, follow_here(console, job, verbosity))


def follow_here(console: Console, job: Job, verbosity: int) -> Job:
    """Do the work of `work_here`; the job as it is then."""
    with quiet_console(verbosity):
        try:
            return _follow(job, console)
        except KeyboardInterrupt:
            job.refresh_from_db()
            try:
                cancel_job(job, by=whoever_types(job))
            except JobRefused as refused:
                console.print(str(refused))
            # What was sent is read back before the command ends.
            return _follow(job, console)


def end_with_outcome(console: Console, job: Job) -> NoReturn:
    """Show what became of a job, and end the process with the code that tells it."""
    show_outcome(console, job)
    if job.status == Status.WAITING_APPROVAL:
        console.print(
            f"Approve it with `manage.py approve_job {job.pk}`, or reject it with `manage.py reject_job {job.pk}`."
        )
    sys.exit(EXIT_CODES[job.status])


def _follow(job: Job, console: Console) -> Job:
    with JobBar(console, job.sync.name) as bar:
        return work_on(job, tell=bar)
