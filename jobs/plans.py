"""Looking at the plan of a job: of a preview, of one that waits for approval, or of one that is over."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import duckdb
from django.conf import settings

from jobs import files
from jobs.errors import JobRefused
from jobs.models import Job
from syncs.engine import planned
from syncs.engine.before import Before
from syncs.engine.errors import EngineError
from syncs.engine.plan import Plan
from syncs.engine.planned import PlannedRow, PlannedRows

# What can be asked for, and what people call it.
ACTIONS: dict[str, tuple[str, ...]] = {
    "changes": planned.CHANGES,
    "insert": ("insert",),
    "update": ("update",),
    "upsert": ("upsert",),
    "delete": ("delete",),
    "undelete": ("undelete",),
    "expire": ("expire",),
    "unchanged": ("unchanged", "baseline"),
    "ignored": ("ignored",),
    "parked": ("parked",),
    "rejected": ("rejected",),
    "withheld": ("withheld",),
}


def plan_of(job: Job) -> tuple[Plan, Before | None]:
    """The plan of a job, and its before-images where they were read. Raises JobRefused when there is none."""
    if job.files_removed_at is not None:
        raise JobRefused(
            f"The plan of job {job.pk} was deleted on {job.files_removed_at:%Y-%m-%d}, because it was past its "
            "retention. Preview the sync to see what it would do now."
        )
    if "plan" not in job.manifests:
        raise JobRefused(f"Job {job.pk} is {job.get_status_display().lower()} and has no plan to show.")
    before = job.manifests.get("before")
    return Plan.from_json(job.manifests["plan"]), Before.from_json(before) if before else None


def page(job: Job, *, action: str = "changes", search: str = "", after: int = -1, limit: int = 50) -> PlannedRows:
    """A page of the plan: the first `limit` lines behind line `after`.

    action: a name of `ACTIONS`. search: text in a key, an id or a value. Raises JobRefused when there is none.
    """
    plan, before = plan_of(job)
    with _readable(job):
        return planned.page(
            files.workspace(), plan, before, actions=_actions(action), search=search, after=after, limit=limit
        )


def first_rows(job: Job, limit: int) -> tuple[PlannedRow, ...]:
    """The first rows that the plan changes."""
    return page(job, limit=limit).rows


def open_plan_csv(job: Job) -> BinaryIO:
    """All that the plan changes, as CSV, open for reading; it is gone from the disk once it is closed.

    Raises JobRefused when there is no plan.
    """
    plan, before = plan_of(job)
    settings.SFSYNC_SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.SFSYNC_SCRATCH) as folder, _readable(job):
        path = Path(folder) / "plan.csv"
        planned.plan_csv(files.workspace(), plan, before, path)
        return path.open("rb")


def changes_something(job: Job) -> bool:
    """Whether the plan of a job sends anything."""
    counts = job.manifests.get("plan", {}).get("counts", {})
    names = ("insert", "update", "upsert", "source_delete", "undelete", "delete", "expire")
    return any(counts.get(name) for name in names)


def _actions(name: str) -> Sequence[str]:
    if name not in ACTIONS:
        raise JobRefused(f"'{name}' is no action of a plan. There are: {', '.join(ACTIONS)}.")
    return ACTIONS[name]


@contextlib.contextmanager
def _readable(job: Job) -> Iterator[None]:
    """Tell in plain words what keeps the plan from being read."""
    try:
        yield
    except EngineError as error:
        raise JobRefused(f"The plan of job {job.pk} cannot be shown now. {error}") from None
    except (duckdb.Error, FileNotFoundError):
        raise JobRefused(f"The plan of job {job.pk} is missing or damaged. Preview the sync again.") from None
