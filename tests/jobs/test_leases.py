import threading
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from jobs.leases import LeaseLost, hold
from jobs.models import Job
from tests.factories import make_job, make_organization, make_sync

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def job():
    return make_job(make_sync(make_organization()))


@pytest.fixture(autouse=True)
def short_leases(settings):
    settings.SFSYNC_LEASE_SECONDS = 2.0


def stored(job):
    return Job.all_objects.get(pk=job.pk)


def test_a_held_row_is_not_given_to_anybody_else(job):
    with hold(Job, job.pk) as first, hold(Job, job.pk) as second:
        assert first is not None and second is None
    with hold(Job, job.pk) as third:
        assert third is not None


def test_of_many_at_once_one_gets_it(job):
    got, barrier = [], threading.Barrier(8)

    def take():
        try:
            barrier.wait()
            with hold(Job, job.pk) as lease:
                got.append(lease is not None)
                time.sleep(0.5)
        finally:
            connection.close()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 7 + [True]


def test_a_lease_is_renewed_for_as_long_as_its_holder_lives(job):
    with hold(Job, job.pk) as lease:
        time.sleep(3.0)
        lease.check()
        with hold(Job, job.pk) as other:
            assert other is None


def test_a_holder_that_did_not_renew_for_half_its_lease_makes_no_further_call(job, monkeypatch):
    with hold(Job, job.pk) as lease:
        monkeypatch.setattr(lease, "_renew", lambda: None)
        lease.check()
        time.sleep(1.5)
        with pytest.raises(LeaseLost):
            lease.check()


def test_a_holder_whose_lease_was_taken_over_changes_nothing(job):
    with hold(Job, job.pk) as lease:
        Job.all_objects.filter(pk=job.pk).update(token="somebody else's")
        with pytest.raises(LeaseLost):
            lease.save(reason="mine")
        with pytest.raises(LeaseLost):
            lease.check()
    after = stored(job)
    assert (after.token, after.reason) == ("somebody else's", "")


def test_a_silent_holder_is_taken_over_by_the_databases_clock(job):
    Job.all_objects.filter(pk=job.pk).update(token="dead", lease_until=timezone.now() - timedelta(seconds=1))
    with hold(Job, job.pk) as lease:
        assert lease is not None


def test_a_held_row_stays_due_and_a_released_one_is_due_when_its_holder_said(job):
    with hold(Job, job.pk) as lease:
        assert stored(job).next_poll_at <= timezone.now()
        lease.poll_in(30)
    assert timedelta(seconds=25) < stored(job).next_poll_at - timezone.now() < timedelta(seconds=31)
    with hold(Job, job.pk) as lease:
        lease.poll_in(None)
    assert stored(job).next_poll_at is None


def test_a_row_whose_holder_failed_stays_due(job):
    with pytest.raises(ValueError), hold(Job, job.pk):
        raise ValueError
    assert stored(job).next_poll_at <= timezone.now()
    assert stored(job).lease_until is None
