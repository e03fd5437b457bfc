"""Many schedules at once, on what an installation grows into."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from django.utils import timezone

from connections.models import Connection
from jobs.models import LIVE, Job
from syncs.models import Schedule, Sync
from tests.factories import make_connection, make_organization
from tests.workers import Beat, Worker, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.grown]

SYNCS = 1_000


@pytest.fixture
def due():
    """Syncs that are all due at the same moment; their jobs end at once, because nobody said where Salesforce is."""
    organization = make_organization()
    nowhere = Connection.all_objects.create(organization=organization, kind="salesforce", name="Nowhere")
    ends = {"source": make_connection(organization), "destination": nowhere}
    syncs = Sync.all_objects.bulk_create(
        Sync(
            organization=organization,
            **ends,
            name=f"Sync {number}",
            source_path=f"{number}.csv",
            object="Account",
            key_fields=("External_Id__c",),
        )
        for number in range(SYNCS)
    )
    moment = (timezone.now() - timedelta(minutes=1)).replace(second=0, microsecond=0)
    Schedule.all_objects.bulk_create(
        Schedule(organization=organization, sync=sync, every_minutes=60, next_start_at=moment) for sync in syncs
    )
    return moment


@pytest.fixture
def workers(redis_server, due):
    running = [Worker(concurrency=2), Worker(concurrency=2)]
    beat = Beat()
    yield running
    for each in (*running, beat):
        each.stop()


def test_a_thousand_syncs_that_are_due_at_once_start_once_each_though_a_worker_is_killed(due, workers):
    wait_for(lambda: Job.all_objects.count() >= SYNCS // 4, "the first jobs")
    workers[0].kill()
    assert Job.all_objects.count() < SYNCS, "the worker was killed too late to matter"
    workers[0].start()  # as whatever watches over workers does

    wait_for(lambda: Job.all_objects.count() >= SYNCS, "a job of each sync", 120)
    wait_for(lambda: not Job.all_objects.filter(status__in=LIVE).exists(), "the end of all jobs", 120)

    jobs = Counter(Job.all_objects.values_list("sync_id", flat=True))
    assert len(jobs) == SYNCS and set(jobs.values()) == {1}
    assert set(Job.all_objects.values_list("scheduled_for", flat=True)) == {due}
    assert set(Schedule.all_objects.values_list("last_start_at", "last_skip")) == {(due, "")}
    upcoming = Schedule.all_objects.values_list("next_start_at", flat=True)
    assert all(due < start < due + timedelta(hours=2) for start in upcoming)
    log = workers[1].log.read_text(errors="replace")
    assert "deadlock" not in log and "failed unexpectedly" not in log
