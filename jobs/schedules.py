"""Starts syncs whose schedules say so.

A start and the schedule's step to the next one are one transaction, and the step names the start that it leaves: of
any number of workers one makes the start, and a worker that dies in between has done neither.
"""

from __future__ import annotations

import logging
import random
from datetime import datetime

from django.db import IntegrityError, OperationalError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from jobs.errors import JobRefused
from jobs.start import start_job
from orgs import access
from syncs.models import Schedule
from syncs.schedule import BadSchedule

log = logging.getLogger("sfsync.jobs")

# So that a tick stays short, and what was started is handed on soon; what is left is found by the next tick.
MOST_AT_ONCE = 50


def start_due() -> int:
    """Start what is due, once each over all workers. Returns how many jobs this call started.

    A sync that has a live job is not started again: its start is skipped. Starts that were missed are made up for by
    one. One sync's trouble keeps no other from starting.
    """
    found = list(_due().order_by("next_start_at").values_list("pk", flat=True)[:MOST_AT_ONCE])
    random.shuffle(found)  # workers that look at the same moment get in each other's way less
    return sum(_start(pk) for pk in found)


def _due() -> QuerySet[Schedule]:
    return Schedule.all_objects.filter(enabled=True, sync__paused=False, next_start_at__lte=Now())


def _start(pk: int) -> bool:
    try:
        with transaction.atomic():
            schedule = _stepped(pk)
            return schedule is not None and _start_or_skip(schedule)
    except OperationalError:
        raise  # the database's trouble, not this sync's: the start stays due
    except Exception:
        log.exception("The start of schedule %s failed unexpectedly.", pk)
        with transaction.atomic():
            schedule = _stepped(pk)
            if schedule is not None:
                _note(schedule, "Something unexpected happened; sfsync's log has more.")
        return False


def _stepped(pk: int) -> Schedule | None:
    """The schedule, moved on to its next start; None when another worker was faster, or it is not due any more.

    It waits for nobody: what somebody is changing at this moment is still due at the next look. So it cannot stand in
    a circle with a form that saves a sync and then its schedule. SQLite has no locks of rows, and needs none.
    """
    schedule: Schedule | None = (
        _due()
        .select_related("sync__source", "sync__destination", "sync__organization")
        .select_for_update(of=("self", "sync"), skip_locked=True)
        .filter(pk=pk)
        .first()
    )
    if schedule is None or schedule.next_start_at is None:
        return None
    due = schedule.next_start_at
    changes = {"last_start_at": due, "last_skip": "", "next_start_at": None}
    try:
        # Never back to the same start, whatever this machine's clock says.
        changes["next_start_at"] = schedule.next_after(max(timezone.now(), due))
    except BadSchedule as error:
        # Checked when it was saved; but a time zone may have gone since.
        changes["last_skip"] = f"There is no next start: {error}"
    if not Schedule.all_objects.filter(pk=pk, enabled=True, next_start_at=due).update(**changes):
        return None
    schedule.last_start_at = due
    return schedule


def _start_or_skip(schedule: Schedule) -> bool:
    due: datetime | None = schedule.last_start_at
    try:
        # The sweep that follows wakes a worker for it: a broker that is down must not hold up the other starts.
        by = access.scheduler(schedule.sync.organization)
        start_job(schedule.sync, by=by, wake=False, scheduled_for=due)
    except JobRefused as refused:
        _note(schedule, f"The start of {due:%Y-%m-%d %H:%M} UTC was skipped: {refused}")
        return False
    except IntegrityError:
        return False  # this very start has a job already
    return True


def _note(schedule: Schedule, text: str) -> None:
    log.info("Schedule of %s: %s", schedule.sync, text)
    Schedule.all_objects.filter(pk=schedule.pk).update(last_skip=text)
