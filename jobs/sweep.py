"""Finds what is due, queued or abandoned, and hands it on.

Every live job and batch that somebody must look at has a `next_poll_at`; one that is held stays due, so that it is
found again when its holder dies. Claiming moves the time on a little: of several sweepers one gets each row, and a
message that was lost is sent again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import timedelta

from django.conf import settings
from django.db.models import BooleanField, Case, Q, QuerySet, When
from django.db.models.functions import Now

from jobs import queue
from jobs.approval import end_aged
from jobs.leases import free
from jobs.models import BEHIND_THE_CANARY, Batch, BatchState, Job, Status
from jobs.schedules import start_due

log = logging.getLogger("sfsync.jobs")

# A task that was sent has this long to be picked up before it is sent again.
CLAIM = timedelta(seconds=10)

MOVING = [Status.QUEUED, Status.PLANNING, Status.LOADING, Status.CANCELLING, Status.FINISHING]


def claim_due(job: Job | None = None) -> list[tuple[str, int]]:
    """Claim what is due now, of all jobs or of one: (task name, primary key) each."""
    jobs = Job.all_objects.filter(status__in=MOVING)
    batches = (
        Batch.all_objects.filter(
            Q(job__status=Status.LOADING, job__load_slot__isnull=False) | Q(job__status=Status.CANCELLING)
        )
        .exclude(state=BatchState.DONE)
        .exclude(BEHIND_THE_CANARY)
    )
    if job is not None:
        jobs, batches = jobs.filter(pk=job.pk), batches.filter(job=job)
    claimed = [(queue.RUN_JOB, pk) for pk in _claim(jobs)]
    allowed = _within_limits(batches)
    return claimed + [(queue.ADVANCE_BATCH, pk) for pk in _claim(batches.filter(pk__in=allowed))]


def _claim(rows: QuerySet) -> list[int]:
    due = rows.filter(free(), next_poll_at__lte=Now())
    claimable = rows.model.all_objects.filter(free(), next_poll_at__lte=Now())
    return [pk for pk in due.values_list("pk", flat=True) if claimable.filter(pk=pk).update(next_poll_at=Now() + CLAIM)]


def _within_limits(batches: QuerySet) -> list[int]:
    """The batches that may be worked on: at most so many of a Salesforce org at once, those under way first; then those
    of urgent syncs, and of the jobs with the fewest rows to send.

    All sweepers choose the same ones, so that together they do not exceed the limit. Of a job, only those of the lowest
    wave: parents before their children. A batch whose refused rows are left alone for a while takes nobody's turn.
    """
    columns = ("pk", "state", "job_id", "job__salesforce_org_id", "job__serial", "job__status", "wave", _resting())
    unfinished = list(batches.order_by("job_id", "number").values_list(*columns, "job__sync__priority", "rows"))
    to_send: dict[int, int] = defaultdict(int)
    for row in unfinished:
        to_send[row[2]] += row[9]
    ordered = sorted(unfinished, key=lambda row: (row[1] == BatchState.PLANNED, row[8], to_send[row[2]]))
    lowest: dict[int, int] = {}
    for row in ordered:
        lowest[row[2]] = min(row[6], lowest.get(row[2], row[6]))
    per_org: dict[str, int] = defaultdict(int)
    per_job: dict[int, int] = defaultdict(int)
    allowed = []
    for pk, state, job_id, org_id, serial, status, wave, resting, _, _ in ordered:
        if resting and state == BatchState.PLANNED and status != Status.CANCELLING:
            continue
        turn = wave == lowest[job_id] and not (serial and per_job[job_id])
        room = turn and per_org[org_id] < settings.SFSYNC_BATCHES_AT_ONCE
        # Cancelling costs at most the read-back of what is under way.
        if room or status == Status.CANCELLING:
            allowed.append(pk)
            per_org[org_id] += 1
            per_job[job_id] += 1
    return allowed


def _resting() -> Case:
    return Case(When(rest_until__gt=Now(), then=True), default=False, output_field=BooleanField())


def sweep() -> int:
    """Start the syncs that are due, end what nobody approved in time, and hand on. Called by the clock.

    Returns how many tasks were sent.
    """
    start_due()
    end_aged()
    return hand_on()


def hand_on() -> int:
    """Send what is due to the workers. Called by the clock and after each task, so that what follows needs no clock.

    Returns how many tasks were sent; quiet when the broker is down.
    """
    claimed = claim_due()
    for task, pk in claimed:
        try:
            queue.send(task, pk)
        except queue.BrokerDown as error:
            log.warning("%s What is due waits in the database.", error)
            return 0
    return len(claimed)
