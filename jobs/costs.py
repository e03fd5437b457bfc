"""What an action on a sync will cost, about, before anybody starts it."""

from __future__ import annotations

import dataclasses

from django.conf import settings

from jobs import forecast
from jobs.counts import api_calls
from jobs.models import ENDED, Job
from syncs.engine import lanes
from syncs.engine.plan import Operation
from syncs.models import Sync
from syncs.spec import SyncSpec

# To read the limits and the description of the object, where no earlier job tells.
_CALLS_TO_PLAN = 2


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
    spec = SyncSpec.from_json(last.spec)
    operation: Operation = "upsert" if spec.key_fields else "insert"
    lane, most = lanes.lane_of(spec, operation, rows), max(1, min(lanes.most_rows(spec, operation), sync.batch_rows))
    sizes = [min(most, rows - first) for first in range(0, rows, most)]
    batches = [_Batch(size, lane, operation) for size in sizes]
    cost = forecast.cost_of(
        batches,
        spec,
        forecast.speed_of(last),
        tick=settings.SFSYNC_TICK_SECONDS,
        at_once=settings.SFSYNC_BATCHES_AT_ONCE,
    )
    planning = last.forecast.get("planning_calls", _CALLS_TO_PLAN)
    return Cost(known, rows, last, api_calls(last), cost.batches, planning + cost.calls)


@dataclasses.dataclass(frozen=True)
class _Batch:
    rows: int
    lane: str
    operation: str
