"""What a person is shown of a job: where it stands, and counts that add up."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from jobs import files
from jobs.counts import api_calls, live_counts
from jobs.models import Job, Status
from syncs.engine.families import ADJUSTMENTS

Count = tuple[str, int]

# What becomes of a row that was read; together they are the rows read.
_OF_SOURCE = {
    "inserted": "Inserted",
    "updated": "Updated",
    "deleted": "Deleted",
    "restored": "Restored from the recycle bin",
    "unchanged": "Unchanged, not sent",
    "ignored": "Ignored by the mode",
    "filtered": "Filtered out",
    "parked": "Parked",
    "malformed": "Malformed",
    "rejected": "Rejected by a rule",
    "failed": "Refused by Salesforce",
    "not_sent": "Not sent",
    "unknown": "Outcome unknown",
}
# What becomes of a known record that left the source.
_OF_DROPPED = {
    "deleted": "Deleted",
    "already_gone": "Already gone",
    "expired": "Expired",
    "ignored": "Left alone by the mode",
    "withheld": "Withheld",
    "failed": "Refused by Salesforce",
    "not_sent": "Not sent",
    "unknown": "Outcome unknown",
}
_OF_PLAN = {
    "insert": "To insert",
    "update": "To update",
    "upsert": "To insert or update",
    "source_delete": "To delete",
    "undelete": "To restore from the recycle bin",
    "unchanged": "Unchanged, not sent",
    "ignored": "Ignored by the mode",
    "filtered": "Filtered out",
    "parked": "Parked",
    "malformed": "Malformed",
    "rejected": "Rejected by a rule",
}
_OF_PLAN_DROPPED = {
    "delete": "To delete",
    "expire": "To expire",
    "dropped_ignored": "Left alone by the mode",
    "withheld": "Withheld",
}
_ALWAYS = {"inserted", "updated", "unchanged", "rejected", "failed", "insert", "update", "upsert", "delete"}

CHANGED_SILENTLY: dict[str, str] = {"trimmed": "Blanks trimmed", **ADJUSTMENTS}

_MOST_LOG = 200_000  # bytes


@dataclasses.dataclass(frozen=True)
class Sum:
    """Counts that add up to `total`, or do not: `left_over` is what is missing."""

    title: str
    total: int
    parts: tuple[Count, ...]

    @property
    def left_over(self) -> int:
        return self.total - sum(rows for _, rows in self.parts)


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where a job stands. most: 0 when it cannot be known how far it is."""

    text: str
    done: int
    most: int
    failed: int
    api_calls: int


def progress(job: Job) -> Progress:
    """Where a job stands, in two queries."""
    counts = live_counts(job)
    if job.status == Status.PLANNING:
        text = f"{job.progress.get('rows', 0):,} rows read so far"
        return Progress(text, 0, 0, 0, api_calls(job))
    done, most, failed = counts["answered"], counts["planned"], counts["failed"]
    text = f"{done:,} of {most:,} rows answered by Salesforce" if most else "Nothing to send yet"
    return Progress(text, done, most, failed, api_calls(job))


def sums(job: Job) -> list[Sum]:
    """The counts of a job: of what it did, or, before its end, of what it plans to do."""
    if job.counts:
        dropped = job.counts.get("dropped", {})
        found = [_sum(_rows_of(job), job.counts.get("read", 0), job.counts, _OF_SOURCE)]
        gone = _sum("Known records that left the source", dropped.get("dropped", 0), dropped, _OF_DROPPED)
        return [*found, *([gone] if gone.total else [])]
    plan = job.manifests.get("plan", {}).get("counts")
    if plan is None:
        return []
    gone = _sum("Known records that left the source", plan.get("dropped", 0), plan, _OF_PLAN_DROPPED)
    return [_sum(_rows_of(job), plan.get("read", 0), plan, _OF_PLAN), *([gone] if gone.total else [])]


def _rows_of(job: Job) -> str:
    return f"Records that job {job.undo_of_id} changed" if job.is_undo else "Rows read"


def _sum(title: str, total: int, counts: dict[str, int], labels: dict[str, str]) -> Sum:
    parts = [(label, counts.get(name, 0)) for name, label in labels.items() if counts.get(name) or name in _ALWAYS]
    return Sum(title, total, tuple(part for part in parts if part[1] or total))


def in_short(job: Job) -> str:
    """What became of a job's rows, in a line; "-" before its end."""
    if not job.counts:
        return "-"
    sent = sum(job.counts.get(name, 0) for name in ("inserted", "updated", "deleted", "restored"))
    sent += job.counts.get("dropped", {}).get("deleted", 0)
    refused = sum(job.counts.get(name, 0) for name in ("malformed", "rejected", "failed"))
    return f"{job.counts.get('read', 0):,} read, {sent:,} changed in Salesforce, {refused:,} refused"


def changed_silently(job: Job) -> list[tuple[str, str, int]]:
    """Cells that lost blanks at their edges, or were made to fit: (what, field, cells) each."""
    told = CHANGED_SILENTLY.items()
    return [(label, field, cells) for name, label in told for field, cells in job.counts.get(name, {}).items()]


def log_tail(job: Job) -> tuple[str, bool]:
    """The end of a job's log, and whether it has more before that."""
    path: Path = files.log_path(job)
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _MOST_LOG))
            return file.read().decode(errors="replace"), size > _MOST_LOG
    except FileNotFoundError:
        return "", False
