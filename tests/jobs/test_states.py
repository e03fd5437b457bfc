import itertools

import pytest
from django.db import IntegrityError, transaction

from jobs.models import ENDED, LIVE, Job, JobEvent, Status
from jobs.states import ALLOWED, StatusChanged, move
from tests.factories import make_job, make_organization, make_sync

pytestmark = pytest.mark.django_db


@pytest.fixture
def sync():
    return make_sync(make_organization())


def test_every_status_is_either_live_or_ended_and_has_its_moves():
    assert set(LIVE) | set(ENDED) == set(Status) == set(ALLOWED)
    assert not set(LIVE) & set(ENDED)
    assert all(not ALLOWED[status] for status in ENDED)
    assert all(ALLOWED[status] for status in LIVE)


def test_every_status_can_be_reached_from_queued():
    reached = {Status.QUEUED}
    while True:
        further = reached | set(itertools.chain.from_iterable(ALLOWED[status] for status in reached))
        if further == reached:
            break
        reached = further
    assert reached == set(Status)


@pytest.mark.parametrize(("old", "new"), list(itertools.product(Status, Status)))
def test_a_job_moves_only_where_it_may(sync, old, new):
    job = make_job(sync, status=old)
    if new in ALLOWED[old]:
        move(job, new, text="because")
        assert Job.all_objects.get(pk=job.pk).status == new
        assert JobEvent.all_objects.get(job=job).text == "because"
        assert (job.ended_at is not None) == (new in ENDED)
    else:
        with pytest.raises(ValueError):
            move(job, new)


def test_of_two_movers_one_wins(sync):
    job = make_job(sync)
    mine, theirs = Job.all_objects.get(pk=job.pk), Job.all_objects.get(pk=job.pk)
    move(theirs, Status.CANCELLED)
    with pytest.raises(StatusChanged):
        move(mine, Status.PLANNING)
    assert JobEvent.all_objects.filter(job=job).count() == 1


def test_a_mover_without_the_lease_moves_nothing(sync):
    job = make_job(sync, token="theirs")
    with pytest.raises(StatusChanged):
        move(job, Status.PLANNING, token="mine")


def test_the_database_itself_keeps_a_sync_at_one_live_job(sync):
    make_job(sync, status=Status.LOADING)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_job(sync, status=Status.WAITING_APPROVAL)
    make_job(sync, status=Status.FAILED)


def test_an_ended_job_gives_its_slot_back(sync):
    job = make_job(sync, status=Status.FINISHING, load_slot="00D:Account")
    move(job, Status.SUCCEEDED)
    assert job.load_slot is None
