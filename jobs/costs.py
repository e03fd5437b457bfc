"""What an action on a sync will cost, about, before anybody starts it."""

from __future__ import annotations

import dataclasses

from jobs.counts import api_calls
from jobs.models import ENDED, Job
from syncs.models import Sync

# Salesforce splits what is sent into batches of so many rows, and counts those (15,000 in 24 hours).
BATCH_ROWS = 10_000
# A job at Salesforce takes calls to open it, send its rows, close it, look at it several times and fetch its results.
_CALLS_PER_JOB = 10
_CALLS_BESIDES = 5


@dataclasses.dataclass(frozen=True)
class Cost:
    """Estimates from the last job that read the whole source. Each is None when nothing is known.

    known: records in the snapshot. read: rows the last job read. last: that job. last_calls: API calls it used.
    batches: of 10,000 rows, for sending every row. calls: API calls for sending every row.
    """

    known: int | None
    read: int | None
    last: Job | None
    last_calls: int | None
    batches: int | None
    calls: int | None


def cost_of(sync: Sync) -> Cost:
    """What it costs to send every row of a sync."""
    known = (sync.snapshot or {}).get("rows")
    whole = Job.all_objects.filter(sync=sync, status__in=ENDED, replay_of=None, counts__read__gte=0)
    last = whole.defer("spec", "manifests").order_by("-pk").first()
    if last is None:
        return Cost(known, None, None, None, None, None)
    rows: int = last.counts["read"]
    calls = _CALLS_BESIDES + _CALLS_PER_JOB * _parts(rows, sync.batch_rows)
    return Cost(known, rows, last, api_calls(last), _parts(rows, BATCH_ROWS), calls)


def _parts(rows: int, size: int) -> int:
    return -(-rows // size)
