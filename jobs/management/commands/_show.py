"""Shows a job in a terminal: a progress bar while it lives, its counts when it has ended."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from jobs import plans
from jobs.counts import api_calls, live_counts
from jobs.models import Batch, ErrorGroup, Job, Status
from jobs.view import CHANGED_SILENTLY
from syncs.engine import planned

EXIT_CODES: dict[str, int] = {
    Status.SUCCEEDED: 0,
    Status.PLANNED: 0,
    Status.FAILED: 1,
    Status.CANCELLED: 1,
    Status.PARTIAL: 2,
    Status.WAITING_APPROVAL: 3,
}

_BY = {"rule": "sfsync", "violation": "sfsync (the rows went on)", "salesforce": "Salesforce"}

_SOURCE_COUNTS = [
    ("read", "Read"),
    ("inserted", "Inserted"),
    ("updated", "Updated"),
    ("deleted", "Deleted"),
    ("unchanged", "Unchanged, not sent"),
    ("ignored", "Ignored by the mode"),
    ("malformed", "Malformed"),
    ("rejected", "Rejected by rule"),
    ("failed", "Refused by Salesforce"),
    ("not_sent", "Not sent"),
    ("unknown", "Outcome unknown"),
]
_ALWAYS = {"read", "inserted", "updated", "unchanged", "rejected", "failed"}

_MARKS: dict[str, str] = {
    Status.SUCCEEDED: "[green]✓",
    Status.PLANNED: "[green]✓",
    Status.PARTIAL: "[yellow]!",
    Status.WAITING_APPROVAL: "[yellow]?",
    Status.FAILED: "[red]✗",
    Status.CANCELLED: "[red]✗",
}


@contextlib.contextmanager
def quiet_console(verbosity: int) -> Iterator[None]:
    """Within this context, what is logged does not run through the progress bar; the job's own log has it all.

    verbosity: of the command; from 2 on, the console tells everything as well.
    """
    handlers = [handler for handler in logging.getLogger("sfsync").handlers if type(handler) is logging.StreamHandler]
    levels = [handler.level for handler in handlers]
    try:
        if verbosity < 2:
            for handler in handlers:
                handler.setLevel(logging.CRITICAL)
        yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)


class JobBar:
    """A progress bar that follows one job. Use as a context manager, and call it with the job as it stands."""

    def __init__(self, console: Console, title: str) -> None:
        self._mark = SpinnerColumn()
        self._progress = Progress(
            self._mark,
            TextColumn("[bold]{task.fields[title]}"),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._progress.add_task("Queued", total=None, title=title)

    def __enter__(self) -> JobBar:
        self._progress.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.stop()

    def __call__(self, job: Job) -> None:
        if job.status == Status.PLANNING:
            rows = job.progress.get("rows", 0)
            self._progress.update(self._task, description="Reading and planning", completed=rows, total=None)
            return
        counts = live_counts(job)
        if job.status in _MARKS:
            self._mark.finished_text = Text.from_markup(_MARKS[job.status])
        self._progress.update(
            self._task, description=job.get_status_display(), completed=counts["answered"], total=counts["planned"]
        )


def show_outcome(console: Console, job: Job) -> None:
    """Print what a job did: its counts, what was refused and why, calls and seconds."""
    action = f" ({job.action.lower()})" if job.action else ""
    console.print(
        f"[bold]Job {job.pk}[/bold] of '{job.sync.name}'{action}: {job.get_status_display()}", highlight=False
    )
    if job.reason:
        console.print(job.reason, markup=False, highlight=False)
    if job.status in (Status.FAILED, Status.CANCELLED) and not _sent_anything(job):
        console.print("Nothing was sent to Salesforce.")
    if job.counts:
        console.print(_counts_table(job))
    groups = list(ErrorGroup.all_objects.filter(job=job))
    if groups:
        _show_groups(console, groups)


def show_plan(console: Console, job: Job, most: int) -> None:
    """Print what a preview found: counts, the first rows that would change, and what would be rejected."""
    show_outcome(console, job)
    if job.status != Status.PLANNED:
        return
    plan, _ = plans.plan_of(job)
    for text, rows in [("rows read", plan.counts["read"]), *planned.counts_in_words(plan)]:
        console.print(f"{rows:>10,} [cyan]{text}[/cyan]", highlight=False)
    for row in plans.first_rows(job, most) if most else ():
        where = f"row {row.row}" if row.row else "left the source"
        console.print(f"[bold]{row.action}[/bold] {escape(row.key or row.record_id)} ({where})", highlight=False)
        for change in row.changes:
            if change.differs:
                console.print(f"    {_change_in_words(change, row)}", highlight=False)
    if not plans.changes_something(job):
        console.print("Nothing to do: Salesforce holds all of it as it is.")


def _change_in_words(change: planned.Change, row: planned.PlannedRow) -> str:
    if row.action == "delete":
        return f"{change.field}: [red]{escape(str(change.before))}[/red]"
    after = "(cleared)" if change.after is None else escape(change.after)
    if not change.known or row.is_new:
        return f"{change.field}: [green]{after}[/green]"
    before = "(blank)" if change.before is None else escape(change.before)
    return f"{change.field}: [red]{before}[/red] -> [green]{after}[/green]"


def _sent_anything(job: Job) -> bool:
    return Batch.all_objects.filter(job=job, attempt__gt=0).exists()


def _counts_table(job: Job) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="cyan")
    table.add_column(justify="right")
    for name, label in _SOURCE_COUNTS:
        if job.counts.get(name) or name in _ALWAYS:
            table.add_row(label, f"{job.counts.get(name, 0):,}")
    for name, rows in job.counts.get("dropped", {}).items():
        if rows and name != "dropped":
            table.add_row(f"Left the source: {name.replace('_', ' ')}", f"{rows:,}")
    for name, label in CHANGED_SILENTLY.items():
        for field, cells in job.counts.get(name, {}).items():
            table.add_row(f"{label}: {field}", f"{cells:,}")
    table.add_row("API calls", f"{api_calls(job):,}")
    if job.started_at and job.ended_at:
        table.add_row("Seconds", f"{(job.ended_at - job.started_at).total_seconds():.1f}")
    return table


def _show_groups(console: Console, groups: list[ErrorGroup]) -> None:
    """One refused row of each sort, on lines that fit into any terminal."""
    console.print("[bold]Refused rows[/bold]")
    for group in groups:
        by = _BY.get(group.source, group.source)
        field = f" ({group.field})" if group.field else ""
        console.print(
            f"[red]{group.rows:>8,}[/red]  [bold]{escape(group.code + field)}[/bold], by {by}", highlight=False
        )
        where = f"row {group.sample_row}: " if group.sample_row else ""
        told = [f"{where}{group.sample_message}", *([f"All of them: {group.advice}"] if group.advice else [])]
        for line in told:
            console.print(Padding(escape(line), (0, 0, 0, 10)), highlight=False)
