"""What makes a planned job wait until somebody approves it, before anything is sent; and the seal on what it sends."""

from __future__ import annotations

import hashlib
import statistics
from pathlib import Path

from jobs.models import ENDED, Batch, Job
from syncs.engine.plan import Plan
from syncs.spec import SyncSpec

# Fewer rows than this say little about a share.
FEWEST_ROWS = 100
# What is usual is told by so many of the latest jobs, and by no fewer than so many.
_LATEST_JOBS, _FEWEST_JOBS = 5, 3
# Among so many jobs those are looked for that read the same.
_MOST_LOOKED_AT = 50
_OPERATIONS = {"insert": "to insert", "update": "to update", "upsert": "to insert or update", "delete": "to delete"}


def why_wait(job: Job, spec: SyncSpec, plan: Plan) -> str:
    """Why a person has to approve the plan of a job: a sentence per guard that it hits; "" when it hits none.

    A plan that sends nothing waits for nobody, but a baseline with many rows rejected does: it says what is known.
    """
    if not plan.batches and not plan.baseline:
        return ""
    reasons = [
        plan.guard.reason,
        _many_rejected(spec, plan),
        _unusual_count(job, spec, plan),
        _always(spec, plan),
    ]
    return "\n".join(filter(None, reasons))


def _many_rejected(spec: SyncSpec, plan: Plan) -> str:
    read, bad = plan.counts["read"], plan.counts["rejected"] + plan.counts["malformed"]
    if read < FEWEST_ROWS or 100 * bad <= spec.guard_rejected_percent * read:
        return ""
    return (
        f"{bad:,} of {read:,} rows read ({100 * bad / read:.1f} %) are rejected or malformed, which is more than "
        f"{spec.guard_rejected_percent} %."
    )


def _unusual_count(job: Job, spec: SyncSpec, plan: Plan) -> str:
    apart = job.baseline or job.replay_of_id is not None or job.undo_of_id is not None or job.test_row is not None
    if apart or not spec.guard_count_percent:
        return ""
    before = _rows_read_before(job)
    if len(before) < _FEWEST_JOBS:
        return ""
    read, usual = plan.counts["read"], statistics.median(before)
    off = abs(read - usual)
    if off < FEWEST_ROWS or 100 * off <= spec.guard_count_percent * usual:
        return ""
    share = f" ({100 * off / usual:.1f} %)" if usual else ""
    return (
        f"{read:,} rows were read, {off:,.0f} {'more' if read > usual else 'fewer'}{share} than the usual {usual:,.0f} "
        f"(the middle of the last {len(before)} jobs), which is more than {spec.guard_count_percent} %."
    )


def _rows_read_before(job: Job) -> list[int]:
    """How many rows the latest jobs read that read the whole source, with the same parameters."""
    whole = Job.all_objects.filter(
        sync=job.sync_id, status__in=ENDED, pk__lt=job.pk, replay_of=None, undo_of=None, test_row=None
    )
    latest = whole.filter(counts__read__gte=0).order_by("-pk").values_list("parameters", "counts__read")
    return [read for parameters, read in latest[:_MOST_LOOKED_AT] if parameters == job.parameters][:_LATEST_JOBS]


def _always(spec: SyncSpec, plan: Plan) -> str:
    if spec.approval != "always" or not plan.batches:
        return ""
    rows: dict[str, int] = {}
    for batch in plan.batches:
        rows[batch.operation] = rows.get(batch.operation, 0) + batch.rows
    told = ", ".join(f"{rows[name]:,} {what}" for name, what in _OPERATIONS.items() if rows.get(name))
    total = sum(rows.values())
    return f"This sync always asks for approval; {'1 row' if total == 1 else f'{total:,} rows'} would be sent: {told}."


# --- the seal ---


def seal(plan: Plan) -> dict[str, str]:
    """The SHA-256 of each file that a plan sends, by the number of its batch. Raises OSError."""
    return {str(batch.number): _sha256(batch.file) for batch in plan.batches}


def is_broken(job: Job, batch: Batch, payload: Path) -> bool:
    """Whether the file that a batch is about to send is not the one that was approved. Raises OSError.

    payload: the batch's own. Jobs that wait for nobody have no seal.
    """
    sealed = job.manifests.get("sealed", {}).get(str(batch.number))
    return sealed is not None and sealed != _sha256(payload)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
