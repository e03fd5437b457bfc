from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from jobs import queue, schedules
from jobs.models import Job, Status
from jobs.schedules import start_due
from jobs.sweep import sweep
from syncs.models import Parameter, Schedule
from tests.factories import make_connection, make_job, make_organization, make_sync

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def sent(monkeypatch):
    messages = []
    monkeypatch.setattr(queue, "send", lambda task, pk: messages.append((task, pk)))
    return messages


@pytest.fixture
def sync():
    return make_sync(make_organization())


def schedule_of(sync, *, due_ago=timedelta(seconds=1), **changes):
    made = Schedule.all_objects.create(organization=sync.organization, sync=sync, **{"every_minutes": 60, **changes})
    if due_ago is not None:
        Schedule.all_objects.filter(pk=made.pk).update(next_start_at=timezone.now() - due_ago)
    return Schedule.all_objects.get(pk=made.pk)


def now_of(schedule):
    return Schedule.all_objects.get(pk=schedule.pk)


def test_a_due_sync_is_started_once_and_its_next_start_is_set(sync, sent):
    schedule = schedule_of(sync)
    assert sweep() == 1
    job = Job.all_objects.get()
    assert (job.sync, job.started_by, job.scheduled_for) == (sync, "the schedule", schedule.next_start_at)
    assert sent == [(queue.RUN_JOB, job.pk)]
    assert start_due() == 0
    assert now_of(schedule).last_start_at == schedule.next_start_at
    assert now_of(schedule).next_start_at > timezone.now() + timedelta(minutes=59)


def test_what_is_not_due_not_enabled_or_paused_does_not_start(sync):
    schedule_of(sync, due_ago=-timedelta(minutes=1))
    other = make_sync(sync.organization, name="Off", source=sync.source, destination=sync.destination)
    schedule_of(other, enabled=False)
    paused = make_sync(sync.organization, name="Paused", source=sync.source, destination=sync.destination, paused=True)
    waiting = schedule_of(paused)
    assert start_due() == 0
    paused.paused = False
    paused.save()
    assert start_due() == 1
    assert Job.all_objects.get().scheduled_for == waiting.next_start_at


def test_a_start_that_falls_into_a_live_job_is_skipped_and_says_so(sync):
    make_job(sync, status=Status.LOADING)
    schedule = schedule_of(sync)
    assert start_due() == 0
    assert Job.all_objects.count() == 1
    assert "was skipped: The sync 'Accounts' already has a job" in now_of(schedule).last_skip
    assert now_of(schedule).next_start_at > timezone.now()
    Job.all_objects.update(status=Status.SUCCEEDED)
    Schedule.all_objects.update(next_start_at=timezone.now() - timedelta(seconds=1))
    assert start_due() == 1
    assert now_of(schedule).last_skip == ""


def test_many_missed_starts_are_made_up_for_by_one(sync):
    schedule = schedule_of(sync, due_ago=timedelta(hours=30, minutes=20))
    assert start_due() == 1
    Job.all_objects.update(status=Status.SUCCEEDED)
    assert start_due() == 0
    assert now_of(schedule).next_start_at > timezone.now()


def test_the_step_and_the_start_are_one(sync, monkeypatch):
    schedule = schedule_of(sync)

    def dies(*args, **options):
        raise SystemExit  # as a process that is ended between the two

    monkeypatch.setattr(schedules, "start_job", dies)
    with pytest.raises(SystemExit):
        start_due()
    assert now_of(schedule).next_start_at == schedule.next_start_at
    monkeypatch.undo()
    monkeypatch.setattr(queue, "send", lambda task, pk: None)
    assert start_due() == 1


def test_a_worker_whose_clock_is_behind_does_not_start_twice(sync, monkeypatch):
    schedule_of(sync, every_minutes=1)
    behind = timezone.now() - timedelta(hours=1)
    monkeypatch.setattr(schedules.timezone, "now", lambda: behind)
    assert start_due() == 1
    Job.all_objects.update(status=Status.SUCCEEDED)
    assert start_due() == 0


def test_a_sync_that_cannot_start_keeps_no_other_from_starting(sync):
    stranger = make_connection(make_organization("beta"))
    broken = make_sync(sync.organization, name="Broken", source=stranger, destination=sync.destination)
    schedule_of(broken, due_ago=timedelta(hours=1))
    schedule_of(sync)
    assert start_due() == 1
    assert "does not exist in this organization" in Schedule.all_objects.get(sync=broken).last_skip


def test_a_change_of_the_definition_moves_the_next_start_and_nothing_else_does(sync):
    schedule = schedule_of(sync, due_ago=None)
    first = schedule.next_start_at
    schedule.save()
    assert schedule.next_start_at == first
    schedule.every_minutes = 5
    schedule.save()
    assert schedule.next_start_at < first
    schedule.enabled = False
    schedule.save()
    assert schedule.next_start_at is None


def test_nothing_due_costs_one_query(sync, django_assert_num_queries):
    schedule_of(sync, due_ago=-timedelta(minutes=5))
    with django_assert_num_queries(1):
        start_due()


def test_a_worker_that_comes_late_starts_nothing_and_moves_nothing(sync):
    schedule = schedule_of(sync)
    assert start_due() == 1
    Job.all_objects.update(status=Status.SUCCEEDED)
    stepped = now_of(schedule)
    assert not schedules._start(schedule.pk)  # it had found the schedule when it was still due
    assert (Job.all_objects.count(), now_of(schedule).next_start_at) == (1, stepped.next_start_at)


def test_a_schedule_whose_time_zone_has_gone_starts_for_the_last_time_and_says_so(sync):
    schedule = schedule_of(sync, every_minutes=None, cron="0 6 * * *")
    Schedule.all_objects.update(time_zone="Mars/Base")
    assert start_due() == 1
    assert now_of(schedule).next_start_at is None
    assert "There is no next start: There is no time zone 'Mars/Base'" in now_of(schedule).last_skip
    assert start_due() == 0


def test_a_start_that_the_database_fails_at_stays_due(sync, monkeypatch):
    schedule = schedule_of(sync)

    def fails(*args, **options):
        raise OperationalError("the connection was lost")

    monkeypatch.setattr(schedules, "start_job", fails)
    with pytest.raises(OperationalError):
        start_due()
    assert now_of(schedule).next_start_at == schedule.next_start_at


def test_a_sync_that_has_to_be_asked_for_a_value_is_skipped_and_says_so(sync):
    asked = Parameter.all_objects.create(organization=sync.organization, sync=sync, name="since")
    schedule = schedule_of(sync)
    assert start_due() == 0
    skipped = now_of(schedule).last_skip
    assert "was skipped" in skipped and "'since' has no value and no default" in skipped
    assert "set a default. A schedule has nobody to ask." in skipped
    asked.default = "2024-01-01"
    asked.save()
    Schedule.all_objects.update(next_start_at=timezone.now() - timedelta(seconds=1))
    assert start_due() == 1
    assert Job.all_objects.get().parameters == {"since": "2024-01-01"}
