"""PostgreSQL and Redis, two workers: what an installation grows into."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from jobs.models import Batch, BatchState, JobEvent, Status
from jobs.start import start_job
from tests.factories import anybody
from tests.jobs.scenario import make_people_sync, people, write_csv
from tests.workers import Worker, wait_for, wait_for_end

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.grown]

ROWS = 20_000


@pytest.fixture
def sync(sandbox):
    sync = make_people_sync(sandbox, batch_rows=1_000)
    write_csv(sync.organization, "people.csv", people(ROWS))
    return sync


@pytest.fixture
def workers(redis_server):
    both = [Worker(concurrency=2), Worker(concurrency=2)]
    yield both
    for one in both:
        one.stop()


def holders(job):
    """The processes that hold batches of a job right now."""
    held = Batch.all_objects.filter(job=job).exclude(holder="").values_list("holder", flat=True)
    return {holder.split(":")[1] for holder in held}


def check_all_there(job, org):
    assert job.status == Status.SUCCEEDED, job.reason
    assert job.counts["inserted"] == ROWS
    found = Counter(record["External_Id__c"] for record in org.query("SELECT External_Id__c FROM Contact"))
    assert len(found) == ROWS and set(found.values()) == {1}


def test_both_workers_have_batches_of_one_job_and_killing_one_loses_nothing(sync, sandbox, org, workers):
    sandbox.faults(
        {"method": "PUT", "path": "/batches/?$", "every": 1, "times": None, "action": "hold_before", "seconds": 1}
    )
    job = start_job(sync, by=anybody(sync))
    pids = {str(worker.pid) for worker in workers}
    wait_for(lambda: holders(job) == pids, "both workers to hold batches")
    workers[0].kill()
    sandbox.clear_faults()
    check_all_there(wait_for_end(job), org)


def test_redis_stopped_and_started_in_the_middle_loses_nothing(sync, org, workers, redis_server):
    job = start_job(sync, by=anybody(sync))
    wait_for(lambda: Batch.all_objects.filter(job=job, state=BatchState.DONE).count() >= 3, "some batches to end")
    redis_server.kill()
    time.sleep(3)
    redis_server.start()
    check_all_there(wait_for_end(job), org)


def test_a_job_that_was_started_while_redis_was_down_runs_when_it_is_back(sync, org, workers, redis_server):
    redis_server.kill()
    job = start_job(sync, by=anybody(sync))
    job.refresh_from_db()
    assert job.status == Status.QUEUED and "cannot be reached" in job.reason
    assert JobEvent.all_objects.filter(job=job, text__contains="stays queued").exists()
    time.sleep(2)
    job.refresh_from_db()
    assert job.status == Status.QUEUED
    redis_server.start()
    check_all_there(wait_for_end(job), org)
