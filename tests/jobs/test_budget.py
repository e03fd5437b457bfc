"""Jobs and the budget of their Salesforce org: they foresee what they need, and wait or stop where it is not there."""

from __future__ import annotations

from datetime import timedelta

import pytest
import requests
from django.core.management import call_command
from django.utils import timezone

from connections.models import CallLease, LimitName, OrgLimit
from jobs.counts import api_calls
from jobs.foreground import work_on
from jobs.models import Batch, BatchState, Job, JobEvent, Status
from jobs.start import approve_job, cancel_job, start_job
from jobs.sweep import claim_due
from jobs.waiting import WAITS
from orgs.models import Role
from syncs.models import Sync
from tests.factories import anybody, make_batch, make_job, make_member, make_sync
from tests.jobs.scenario import go_on, make_people_sync, people, run, write_csv

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def impatient(settings):
    settings.SFSYNC_LIMITS_SECONDS = 0.5
    settings.SFSYNC_TICK_SECONDS = 0.1


@pytest.fixture
def limits(sandbox):
    """Set what the org takes a day, and what is used of it; returns what it counts."""

    def post(**body):
        url = f"{sandbox.http_url}/_sandbox/limits"
        answer = requests.post(url, json=body, timeout=30) if body else requests.get(url, timeout=30)
        answer.raise_for_status()
        return answer.json()

    return post


@pytest.fixture
def sync(sandbox):
    return make_people_sync(sandbox, guard_budget_percent=100)


class Enough(Exception):
    pass


def work_until(job: Job, condition) -> Job:
    """Work on a job until a condition holds for it."""

    def tell(job: Job) -> None:
        if condition(job):
            raise Enough

    with pytest.raises(Enough):
        work_on(job, tell=tell)
    job.refresh_from_db()
    return job


def begin(sync: Sync, **options) -> Job:
    sync.refresh_from_db()
    return start_job(sync, by=anybody(sync), wake=False, **options)


def waits(job: Job) -> bool:
    return job.reason.startswith(WAITS)


def assert_foreseen(job: Job) -> None:
    used = api_calls(job)
    assert abs(job.forecast["calls"] - used) <= 0.1 * used, (job.forecast, used)


@pytest.mark.parametrize("rows", [100, 10_000])
def test_the_forecast_is_within_a_tenth_of_the_calls_used(sync, limits, settings, rows):
    settings.SFSYNC_TICK_SECONDS = 0.5
    for turn in range(3):
        write_csv(sync.organization, "people.csv", people(rows, title=f"Buyer {turn}"))
        before = limits()["used_api_requests"]
        job = run(sync)
        assert job.status == Status.SUCCEEDED
        assert_foreseen(job)
        assert api_calls(job) == limits()["used_api_requests"] - before
    assert job.forecast["bulk_batches"] == (1 if rows > 2_000 else 0)


def test_a_preview_has_a_forecast_too(sync):
    write_csv(sync.organization, "people.csv", people(500))
    job = run(sync, preview=True)
    assert job.status == Status.PLANNED and job.forecast["calls_to_send"] == 3


def test_a_job_waits_while_the_share_is_used_up_and_goes_on_when_there_is_room(sync, limits):
    write_csv(sync.organization, "people.csv", people(100))
    limits(daily_api_requests=100, used_api_requests=72)
    job = work_until(begin(sync), waits)
    assert job.status == Status.PLANNING and job.token == "" and job.failures == 0
    assert "of 100 API calls of this Salesforce org are used, and its share is 80 %. Looks again at" in job.reason
    assert job.next_poll_at > timezone.now() - timedelta(seconds=10)
    assert limits()["used_api_requests"] <= 80
    limits(daily_api_requests=200)
    job = go_on(job)
    assert job.status == Status.SUCCEEDED and job.reason == "" and job.failures == 0
    assert sum(event.text.startswith(WAITS) for event in JobEvent.all_objects.filter(job=job)) == 1


@pytest.mark.slow
def test_looking_for_room_does_not_exceed_the_share_either(sync, limits, settings):
    settings.SFSYNC_LIMITS_SECONDS = 0.1
    write_csv(sync.organization, "people.csv", people(100))
    limits(daily_api_requests=100, used_api_requests=72)
    job = begin(sync)
    ends = timezone.now() + timedelta(seconds=12)
    work_until(job, lambda job: timezone.now() > ends)
    assert waits(job) and limits()["used_api_requests"] <= 80


def test_a_job_stops_where_its_sync_says_so(sync, limits):
    Sync.all_objects.filter(pk=sync.pk).update(when_over_budget="stop")
    write_csv(sync.organization, "people.csv", people(100))
    limits(daily_api_requests=100, used_api_requests=73)
    job = run(sync)
    assert job.status == Status.FAILED
    assert job.reason.startswith("Stopped before anything was sent: ") and "its share is 80 %" in job.reason
    assert limits()["used_api_requests"] <= 80


def test_a_job_that_does_not_fit_does_not_begin_to_send(sync, limits):
    write_csv(sync.organization, "people.csv", people(2_000))
    limits(daily_api_requests=100, used_api_requests=65)
    job = work_until(begin(sync), waits)
    assert job.status == Status.LOADING and job.load_slot is None and "About 10 API calls are needed." in job.reason
    limits(daily_api_requests=100, used_api_requests=10)
    assert go_on(job).status == Status.SUCCEEDED


def test_a_job_that_waits_can_be_cancelled(sync, limits):
    write_csv(sync.organization, "people.csv", people(100))
    limits(daily_api_requests=100, used_api_requests=72)
    job = work_until(begin(sync), waits)
    cancel_job(job, by=anybody(sync))
    assert go_on(job).status == Status.CANCELLED


@pytest.mark.parametrize("when", ["wait", "stop"])
def test_the_share_may_end_in_the_middle_of_a_load(sync, limits, when):
    Sync.all_objects.filter(pk=sync.pk).update(when_over_budget=when, batch_rows=200)
    write_csv(sync.organization, "people.csv", people(2_000))
    limits(daily_api_requests=100, used_api_requests=50)
    job = begin(sync)
    work_until(job, lambda job: Batch.all_objects.filter(job=job).exclude(state=BatchState.PLANNED).exists())
    limits(used_api_requests=72)  # somebody else
    if when == "wait":
        work_until(job, waits)
        limits(daily_api_requests=1_000)
        job = go_on(job)
        assert job.status == Status.SUCCEEDED and job.counts["inserted"] == 2_000
        return
    job = go_on(job)
    assert job.status == Status.FAILED and "Stopped: " in job.reason and job.counts["not_sent"] > 0
    assert job.counts["inserted"] + job.counts["not_sent"] == 2_000 and limits()["used_api_requests"] <= 80


@pytest.mark.usefixtures("by_bulk")
def test_bulk_batches_are_taken_before_the_salesforce_job_is_made(sync, sandbox, limits):
    write_csv(sync.organization, "people.csv", people(25_000))
    url = f"{sandbox.http_url}/_sandbox/bulk"
    requests.post(url, json={"limits": {"batches": 3}}, timeout=30).raise_for_status()
    Sync.all_objects.filter(pk=sync.pk).update(when_over_budget="stop")
    job = run(sync)
    # Three batches are more than the share of three ever has, so it tries, and stops.
    assert job.status == Status.FAILED and "bulk batches of this Salesforce org" in job.reason
    assert not sandbox.state()["jobs"]
    requests.post(url, json={"limits": {"batches": 4}}, timeout=30).raise_for_status()
    OrgLimit.objects.update(told_at=None)
    job = run(sync)
    assert job.status == Status.SUCCEEDED and job.forecast["bulk_batches"] == 3
    assert OrgLimit.objects.get(name=LimitName.BATCHES).used == 3


def test_a_plan_that_takes_much_of_what_is_left_waits_for_approval(sync, limits):
    Sync.all_objects.filter(pk=sync.pk).update(guard_budget_percent=20)
    write_csv(sync.organization, "people.csv", people(2_000))
    limits(daily_api_requests=100, used_api_requests=40)
    job = run(sync)
    assert job.status == Status.WAITING_APPROVAL
    assert "about 10 API calls" in job.reason and "more than 20 % of the 30 that are left" in job.reason
    assert not CallLease.objects.exists()
    approve_job(job, by=anybody(sync), wake=False)
    assert go_on(job).status == Status.SUCCEEDED


def test_urgent_and_small_jobs_go_first_once_there_is_a_turn(sync, settings):
    settings.SFSYNC_BATCHES_AT_ONCE = 2
    about = {"status": Status.LOADING, "salesforce_org_id": "00D5s0000000001EAA"}

    def job_of(name, rows, priority, **batch):
        other = make_sync(
            sync.organization, source=sync.source, destination=sync.destination, name=name, priority=priority
        )
        job = make_job(other, load_slot=name, **about)
        return [make_batch(job, number, rows=rows, next_poll_at=timezone.now(), **batch).pk for number in range(1, 4)]

    large = job_of("Large", 1_000_000, 2)
    assert {pk for _, pk in claim_due()} == set(large[:2])
    Batch.all_objects.update(next_poll_at=timezone.now())
    Batch.all_objects.filter(pk=large[0]).update(state=BatchState.CLOSED)
    small = job_of("Small", 10, 2)
    assert {pk for _, pk in claim_due()} == {large[0], small[0]}
    Batch.all_objects.update(next_poll_at=timezone.now())
    urgent = job_of("Urgent", 5_000, 1)
    job_of("Whenever", 1, 3)
    assert {pk for _, pk in claim_due()} == {large[0], urgent[0]}


def test_the_budget_is_shown_to_those_who_may_read_a_connection(sync, client, limits, capsys):
    write_csv(sync.organization, "people.csv", people(100))
    limits(daily_api_requests=15_000, used_api_requests=1_000)
    job = run(sync)
    client.force_login(make_member(sync.organization, "alice", Role.OWNER))
    shown = client.get(f"/admin/connections/connection/{sync.destination_id}/change/").content.decode()
    assert "Budget of the Salesforce org" in shown and "15,000" in shown and "12,000" in shown
    assert "API calls foreseen" in client.get(f"/admin/jobs/job/{job.pk}/change/").content.decode()
    found = client.get(f"/api/v1/connections/{sync.destination_id}/budget/").json()["results"]
    calls = next(each for each in found if each["name"] == "DailyApiRequests")
    assert (calls["max"], calls["share"], calls["reserved"]) == (15_000, 12_000, 0)
    assert calls["used"] == limits()["used_api_requests"] and calls["left"] == 12_000 - calls["used"]
    assert [each["used"] for each in calls["by_us"]] == [api_calls(job)]
    call_command("show_budget", sync.destination.name)
    assert f"API calls: {calls['used']:,} of 15,000 used, 0 set aside" in capsys.readouterr().out


def test_events_are_taken_from_the_hourly_limit_before_they_are_published(sandbox):
    sync = make_people_sync(
        sandbox,
        object="Order_Event__e",
        key_fields=[],
        mode="insert",
        compare="nothing",
        mappings={"Order_Number__c": "id"},
        when_over_budget="stop",
    )
    write_csv(sync.organization, "people.csv", people(500))
    job = run(sync)
    assert job.status == Status.SUCCEEDED and job.forecast["events"] == 500
    events = OrgLimit.objects.get(name=LimitName.EVENTS)
    assert events.used == 500 and events.max == 50_000
    OrgLimit.objects.filter(pk=events.pk).update(used=39_700)
    job = run(sync)
    assert job.status == Status.FAILED and "About 500 published events are needed." in job.reason
