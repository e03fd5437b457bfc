"""What a plan will cost, before anything is sent: API calls, bulk batches, event publishes and seconds.

The calls of a Salesforce job are counted out, but for the looks at it: those depend on how long it takes, which earlier
jobs tell.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from django.conf import settings

from connections import budget
from connections.models import LimitName
from connections.salesforce.assignment import BULK_OBJECTS
from connections.salesforce.collections import MOST_RECORDS
from connections.salesforce.session import calls_counted
from connections.sessions import salesforce_session
from jobs.leases import Lease
from jobs.models import Batch, BatchState, Job
from jobs.polling import Speed
from syncs.engine.plan import Plan, PlannedBatch
from syncs.spec import SyncSpec

# Salesforce splits what is sent into batches of so many rows, and counts those (Bulk API 2.0 guide, "How Requests Are
# Processed").
BATCH_ROWS = 10_000
# To open a Salesforce job, send its rows, close it, and fetch its results of three kinds.
CALLS_PER_SALESFORCE_JOB = 6
# A call of collections, about.
_SECONDS_PER_CALL = 0.5
# So many Salesforce jobs tell how long the next one will take.
_SEEN = 12


class Sized(Protocol):
    """A batch, planned or stored."""

    @property
    def rows(self) -> int: ...
    @property
    def lane(self) -> str: ...
    @property
    def operation(self) -> str: ...


@dataclasses.dataclass(frozen=True)
class Cost:
    """calls: to send the rows and to read what became of them. batches, events: of those limits. seconds: about."""

    calls: int
    batches: int
    events: int
    seconds: float


def bulk_batches(rows: int) -> int:
    """How many of the org's daily bulk batches a Salesforce job of so many rows uses."""
    return -(-rows // BATCH_ROWS)


def cost_of(batches: Iterable[Sized], spec: SyncSpec, speed: Speed, *, tick: float, at_once: int) -> Cost:
    """What it costs to send batches, when no row has to be sent twice.

    speed: of earlier Salesforce jobs. tick: seconds between two looks into the database. at_once: Salesforce jobs that
    are open at the same time.
    """
    calls = bulk = events = 0
    by_bulk, by_calls = 0.0, 0.0
    for batch in batches:
        if batch.lane == "bulk":
            expected = speed.expected(batch.rows)
            calls += CALLS_PER_SALESFORCE_JOB + expected.looks(tick)
            calls += _asks_for_a_rule(spec, batch.operation)
            bulk += bulk_batches(batch.rows)
            by_bulk += expected.seconds
        else:
            needed = -(-batch.rows // MOST_RECORDS)
            calls += needed
            events += batch.rows if batch.lane == "events" else 0
            by_calls += needed * _SECONDS_PER_CALL
    return Cost(calls, bulk, events, round(by_bulk / max(1, at_once) + by_calls, 1))


def _asks_for_a_rule(spec: SyncSpec, operation: str) -> bool:
    return spec.auto_assign == "default" and operation != "delete" and spec.object.lower() in BULK_OBJECTS


def speed_of(job: Job) -> Speed:
    """How long Salesforce jobs of earlier jobs of the same sync took; where there were none, of the same Salesforce org
    and organization."""
    ended = Batch.all_objects.filter(organization_id=job.organization_id, state=BatchState.DONE, lane="bulk")
    same_org = {"job__salesforce_org_id": job.salesforce_org_id}
    for asked in ({"job__sync": job.sync_id}, same_org):
        newest = ended.filter(**asked).order_by("-pk").values_list("outcomes", flat=True)
        seen = list(itertools.islice(_seen(newest[: 4 * _SEEN]), _SEEN))
        if seen:
            return Speed(tuple(seen))
    return Speed()


def _seen(outcomes: Iterable[list[dict[str, Any]]]) -> Iterable[tuple[int, float, bool]]:
    for entries in outcomes:
        for entry in entries:
            if entry.get("seconds") and entry.get("state") == "JobComplete":
                yield sum(entry["counts"].values()), entry["seconds"], entry.get("watched", True)


def forecast(job: Job, lease: Lease) -> None:
    """Write down what the job's plan will cost, with the calls that planning took so far. lease: of the job."""
    plan = Plan.from_json(job.manifests["plan"])
    spec, speed = SyncSpec.from_json(job.spec), speed_of(job)
    at_once = 1 if job.serial else min(settings.SFSYNC_BATCHES_AT_ONCE, len(plan.batches))
    batches: Sequence[PlannedBatch] = plan.batches
    cost = cost_of(batches, spec, speed, tick=settings.SFSYNC_TICK_SECONDS, at_once=at_once)
    planning = job.api_calls + calls_counted()
    told = {"calls": planning + cost.calls, "planning_calls": planning, "calls_to_send": cost.calls}
    more = {"bulk_batches": cost.batches, "events": cost.events, "seconds": cost.seconds}
    job.forecast = {**told, **more, "speed": [list(each) for each in speed.seen]}
    lease.save(forecast=job.forecast)


def budget_guard(job: Job) -> str:
    """Why a person has to approve a plan that takes so much of what is left; "" when nobody has to.

    job: with its forecast. Compares the calls that it needs to send with what is left of our share of the Salesforce
    org's daily API calls.
    """
    percent = SyncSpec.from_json(job.spec).guard_budget_percent
    calls = int(job.forecast.get("calls_to_send", 0))
    if percent >= 100 or not calls:
        return ""
    left = budget.left(salesforce_session(job.destination).identity.org_key, LimitName.CALLS)
    if left is None or calls <= math.floor(left * percent / 100):
        return ""
    return (
        f"It needs about {calls:,} API calls to send its rows, more than {percent} % of the {left:,} that are left of "
        "this Salesforce org's share."
    )


def must_fit(job: Job) -> None:
    """Raises BudgetSpent when what the job needs is not left now, although it can be some other time."""
    org_key = salesforce_session(job.destination).identity.org_key
    needs = (("calls_to_send", LimitName.CALLS), ("bulk_batches", LimitName.BATCHES), ("events", LimitName.EVENTS))
    for told, name in needs:
        budget.must_fit(org_key, name, int(job.forecast.get(told, 0)))
