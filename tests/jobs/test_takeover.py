"""What a dead worker leaves behind is found again, at whatever line it died."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.bulk_lane import BulkLane
from jobs.leases import LeaseLost
from jobs.load import advance_batch
from jobs.models import Batch, BatchState, Job, Status
from jobs.run import run_job
from jobs.start import start_job
from jobs.sweep import claim_due
from tests.factories import anybody, make_organization
from tests.jobs.scenario import go_on, make_people_sync, people, run, write_csv

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("by_bulk")]


@pytest.fixture
def sync(sandbox):
    sync = make_people_sync(sandbox, batch_rows=50)
    write_csv(sync.organization, "people.csv", people(100))
    return sync


def make_due(job):
    """As if enough time had passed."""
    long_ago = timezone.now() - timedelta(seconds=1)
    Job.all_objects.filter(pk=job.pk).update(next_poll_at=long_ago)
    Batch.all_objects.filter(job=job).update(next_poll_at=long_ago)


def test_a_job_whose_last_batch_ended_without_waking_it_looks_for_itself(sync):
    job = start_job(sync, by=anybody(sync), wake=False)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.status == Status.LOADING
    assert timedelta(0) < job.next_poll_at - timezone.now() <= timedelta(seconds=10)


def test_batches_are_due_although_their_planner_died_just_after_taking_the_slot(sync):
    job = start_job(sync, by=anybody(sync), wake=False)
    run_job(job.pk)
    assert {task for task, _ in claim_due(job)} == {"jobs.advance_batch"}
    assert Batch.all_objects.filter(job=job, next_poll_at__isnull=True).count() == 0


def test_a_batch_whose_holder_was_too_slow_stays_due(sync, monkeypatch):
    job = start_job(sync, by=anybody(sync), wake=False)
    run_job(job.pk)
    batch = Batch.all_objects.filter(job=job).first()

    def too_slow(self):
        raise LeaseLost

    with monkeypatch.context() as patched:
        patched.setattr(BulkLane, "step", too_slow)
        advance_batch(batch.pk)
    batch.refresh_from_db()
    assert batch.next_poll_at <= timezone.now()
    assert batch.lease_until is None
    assert go_on(job).status == Status.SUCCEEDED


def test_an_unexpected_error_is_tried_again_and_then_told(sync, settings, monkeypatch):
    settings.SFSYNC_RETRY_SECONDS = 0.001
    monkeypatch.setattr(BulkLane, "step", lambda self: 1 / 0)
    job = run(sync)
    assert job.status == Status.FAILED
    assert "Gave up after 15 tries: division by zero" in job.reason
    assert job.counts["not_sent"] == 100


def test_results_that_were_settled_before_a_crash_are_settled_once(sync):
    """The outcome of an attempt is saved, then the worker dies before it can say what comes next."""
    job = run(sync)
    batch = Batch.all_objects.filter(job=job).first()
    Batch.all_objects.filter(pk=batch.pk).update(state=BatchState.CLOSED)
    Job.all_objects.filter(pk=job.pk).update(status=Status.LOADING, load_slot="again")
    make_due(job)
    advance_batch(batch.pk)
    batch.refresh_from_db()
    assert batch.state == BatchState.DONE
    assert batch.counts["inserted"] == 50
    assert len(batch.outcomes) == 1


def test_of_two_syncs_into_one_object_one_loads_at_a_time(sandbox, sync):
    elsewhere = make_organization("beta")
    other = make_people_sync(sandbox, organization=elsewhere)
    write_csv(elsewhere, "people.csv", people(100))
    first, second = start_job(sync, by=anybody(sync), wake=False), start_job(other, by=anybody(other), wake=False)
    run_job(first.pk)
    run_job(second.pk)
    second.refresh_from_db()
    assert second.status == Status.LOADING and second.load_slot is None
    # Nothing of one organization is told to the other.
    assert second.reason == "Waits for its turn: one job at a time loads Contact of a Salesforce org."
    assert claim_due(second) == []
    assert go_on(first).status == Status.SUCCEEDED
    make_due(second)
    assert go_on(second).status == Status.SUCCEEDED
