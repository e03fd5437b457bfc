from datetime import timedelta

import pytest
from celery import Celery
from django.utils import timezone

from jobs import queue
from jobs.errors import JobRefused
from jobs.models import Batch, BatchState, Job, JobEvent, Status
from jobs.start import approve_job, cancel_job, reject_job, start_job
from jobs.sweep import claim_due
from syncs.models import Sync
from tests.factories import anybody, make_batch, make_connection, make_job, make_organization, make_sync

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sync():
    return make_sync(make_organization())


@pytest.fixture
def sent(monkeypatch):
    """What was sent to the broker."""
    messages = []
    monkeypatch.setattr(queue, "send", lambda task, pk: messages.append((task, pk)))
    return messages


def waiting(sync, **changes):
    return make_job(sync, status=Status.WAITING_APPROVAL, **{"planned_at": timezone.now(), **changes})


def test_a_started_job_carries_its_spec_and_wakes_a_worker(sync, sent):
    job = start_job(sync, by=anybody(sync))
    assert job.spec == sync.spec().to_json()
    assert job.status == Status.QUEUED
    assert sent == [(queue.RUN_JOB, job.pk)]


def test_a_second_job_on_a_running_sync_is_refused_and_says_what_to_do(sync, sent):
    first = start_job(sync, by=anybody(sync))
    with pytest.raises(JobRefused) as refused:
        start_job(sync, by=anybody(sync))
    assert f"job {first.pk}, queued" in str(refused.value)
    assert f"cancel_job {first.pk}" in str(refused.value)
    assert Job.all_objects.count() == 1


def test_with_the_broker_down_a_job_stays_queued_and_says_why(sync, settings, monkeypatch):
    settings.SFSYNC_BROKER_URL = "redis://:hidden@127.0.0.1:1/0"
    # An app of its own: an app keeps the first broker it was connected to.
    down = Celery("down", broker=settings.SFSYNC_BROKER_URL, set_as_current=False)
    down.conf.broker_transport_options = queue.app.conf.broker_transport_options
    monkeypatch.setattr(queue, "app", down)
    job = start_job(sync, by=anybody(sync))
    job.refresh_from_db()
    assert job.status == Status.QUEUED
    assert "redis://127.0.0.1:1/0 cannot be reached" in job.reason
    assert "hidden" not in job.reason
    assert "stays queued" in JobEvent.all_objects.filter(job=job).last().text
    assert claim_due() == [(queue.RUN_JOB, job.pk)]


def test_an_approved_job_loads(sync, sent):
    job = waiting(sync)
    approve_job(job, by=anybody(job))
    assert (job.status, job.approved_by) == (Status.LOADING, "alice")
    assert sent == [(queue.RUN_JOB, job.pk)]


def test_a_rejected_job_is_over(sync, sent):
    job = waiting(sync)
    reject_job(job, by=anybody(job), reason="too many")
    assert job.status == Status.CANCELLED
    assert "too many" in job.reason
    assert sent == []


def test_a_plan_is_void_when_the_sync_was_changed_since(sync, sent):
    job = waiting(sync)
    sync.mode = "mirror"
    sync.save()
    job.refresh_from_db()
    job = Job.all_objects.get(pk=job.pk)
    with pytest.raises(JobRefused, match="was changed since"):
        approve_job(job, by=anybody(job))
    assert Job.all_objects.get(pk=job.pk).status == Status.WAITING_APPROVAL


def test_a_plan_grows_too_old_to_approve(sync, sent, settings):
    job = waiting(sync, planned_at=timezone.now() - timedelta(hours=settings.SFSYNC_APPROVAL_HOURS + 1))
    with pytest.raises(JobRefused, match="older than"):
        approve_job(job, by=anybody(job))


@pytest.mark.parametrize("decide", [approve_job, reject_job])
def test_only_a_job_that_waits_can_be_decided_about(sync, sent, decide):
    job = make_job(sync, status=Status.LOADING)
    with pytest.raises(JobRefused, match="does not wait for approval"):
        decide(job, by=anybody(job))


@pytest.mark.parametrize(
    ("status", "then"),
    [
        (Status.QUEUED, Status.CANCELLED),
        (Status.WAITING_APPROVAL, Status.CANCELLED),
        (Status.PLANNING, Status.CANCELLING),
        (Status.LOADING, Status.CANCELLING),
    ],
)
def test_a_live_job_can_be_cancelled(sync, sent, status, then):
    job = make_job(sync, status=status)
    cancel_job(job, by=anybody(job))
    assert job.status == then


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.FINISHING])
def test_what_is_over_cannot_be_cancelled(sync, sent, status):
    with pytest.raises(JobRefused, match="cannot be cancelled"):
        cancel_job(make_job(sync, status=status), by=anybody(sync))


def test_a_due_row_is_claimed_once_and_again_when_its_message_was_lost(sync):
    job = make_job(sync, next_poll_at=timezone.now())
    assert claim_due() == [(queue.RUN_JOB, job.pk)]
    assert claim_due() == []
    Job.all_objects.update(next_poll_at=timezone.now() - timedelta(seconds=1))
    assert claim_due() == [(queue.RUN_JOB, job.pk)]


def test_a_held_row_is_claimed_only_when_its_holder_fell_silent(sync):
    job = make_job(sync, next_poll_at=timezone.now(), token="x", lease_until=timezone.now() + timedelta(seconds=30))
    assert claim_due() == []
    Job.all_objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert claim_due() == [(queue.RUN_JOB, job.pk)]


def loading(sync, batches, **changes):
    job = make_job(sync, status=Status.LOADING, salesforce_org_id="00D1", load_slot=str(sync.pk), **changes)
    return [make_batch(job, number, next_poll_at=timezone.now()) for number in range(1, batches + 1)]


def test_a_salesforce_org_gets_only_so_many_batches_at_once(sync, settings):
    settings.SFSYNC_BATCHES_AT_ONCE = 3
    organization = make_organization("beta")
    first = loading(sync, 2)
    second = loading(make_sync(organization, destination=make_connection(organization, "salesforce")), 4)
    assert {pk for _, pk in claim_due()} == {first[0].pk, first[1].pk, second[0].pk}
    Batch.all_objects.filter(pk=first[0].pk).update(state=BatchState.DONE)
    assert [pk for _, pk in claim_due()] == [second[1].pk]


def test_batches_of_a_job_with_a_key_that_is_not_unique_go_one_by_one(sync):
    batches = loading(sync, 3, serial=True)
    assert [pk for _, pk in claim_due()] == [batches[0].pk]
    Batch.all_objects.filter(pk=batches[0].pk).update(state=BatchState.DONE)
    assert [pk for _, pk in claim_due()] == [batches[1].pk]


def test_batches_wait_until_their_job_has_its_slot(sync):
    loading(sync, 2)
    Job.all_objects.update(load_slot=None)
    assert claim_due() == []


def test_a_sync_that_was_paused_or_changed_since_it_was_read_is_started_as_it_is_now(sync, sent):
    read_before = Sync.all_objects.get(pk=sync.pk)
    Sync.all_objects.filter(pk=sync.pk).update(object="Contact")
    assert start_job(read_before, by=anybody(sync)).spec["object"] == "Contact"
    Job.all_objects.update(status=Status.SUCCEEDED)
    Sync.all_objects.filter(pk=sync.pk).update(paused=True)
    with pytest.raises(JobRefused, match="is paused"):
        start_job(read_before, by=anybody(sync))
