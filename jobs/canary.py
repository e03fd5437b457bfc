"""The canary of a job: the first rows of its plan go alone, and somebody looks at what became of them."""

from __future__ import annotations

from pathlib import Path

from jobs import files
from jobs.leases import Lease
from jobs.models import Batch, BatchState, Job, Status
from jobs.states import move
from syncs.engine.finish import refused_by_code

_WORDS = {"inserted": "inserted", "updated": "updated", "deleted": "deleted", "already_gone": "already gone"}
_MOST_CODES = 5


def stop_behind(job: Job, lease: Lease) -> bool:
    """Let a job wait when its canary has ended and there is more to send; return whether it waits now.

    It gives its turn back. Raises the row engine's errors, StatusChanged and LeaseLost.
    """
    rest = Batch.all_objects.filter(job=job).exclude(state=BatchState.DONE)
    left = sum(rest.values_list("rows", flat=True))
    if job.canary_rows is None or job.canary_done or not left:
        return False
    reason = f"{outcome_of(job)} {_rows(left)} left. Let it go on, or reject it."
    lease.check()
    move(job, Status.WAITING_APPROVAL, text=reason, token=lease.token, reason=reason, load_slot=None)
    return True


def outcome_of(job: Job) -> str:
    """What became of the rows of the canary, in a sentence."""
    batches = list(Batch.all_objects.filter(job=job, wave=0))
    rows = sum(batch.rows for batch in batches)
    if not rows:
        return "Canary: no row could go first, since each waits for another one."
    counts: dict[str, int] = {}
    for batch in batches:
        for name, count in batch.counts.items():
            counts[name] = counts.get(name, 0) + count
    told = [f"{counts[name]:,} {word}" for name, word in _WORDS.items() if counts.get(name)]
    if counts.get("failed"):
        outcomes = [Path(entry["file"]) for batch in batches for entry in batch.outcomes]
        codes = list(refused_by_code(files.workspace(), outcomes))
        more = " and others" if len(codes) > _MOST_CODES else ""
        told.append(f"{counts['failed']:,} refused ({', '.join(codes[:_MOST_CODES])}{more})")
    for name in ("not_sent", "unknown"):
        missing = [batch for batch in batches if (batch.unresolved or "not_sent") == name]
        without = sum(batch.rows - sum(batch.counts.values()) for batch in missing) + counts.get(name, 0)
        if without > 0:
            why = " ".join(dict.fromkeys(batch.reason for batch in missing if batch.reason))
            told.append(
                f"{without:,} {'not sent' if name == 'not_sent' else 'of unknown outcome'}{why and f' ({why})'}"
            )
    return f"Canary: {_rows(rows, 'sent')}: {', '.join(told)}."


def _rows(count: int, what: str = "") -> str:
    verb = "was" if what else "is"
    many = "were" if what else "are"
    return f"{f'1 row {verb}' if count == 1 else f'{count:,} rows {many}'} {what}".rstrip()
