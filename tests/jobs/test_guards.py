"""Each guard, hit by a real job: it waits and holds nothing, and is approved, rejected, or nobody cares."""

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models import Batch, Job, JobEvent, Status
from jobs.start import approve_job, reject_job, start_job
from jobs.sweep import claim_due, sweep
from syncs.models import Parameter
from tests.factories import anybody, make_connection, make_job, make_organization
from tests.jobs.scenario import go_on, make_people_sync, people, run, write_csv
from tests.workers import Worker, wait_for, wait_for_end

pytestmark = pytest.mark.django_db(transaction=True)


def with_bad_titles(rows, count):
    """The rows, of which the first ones break a rule."""
    for number in range(1, count + 1):
        rows[number][3] = "#N/A"
    return rows


def usual(sync, *counts):
    """Jobs that ended, and read so many rows each."""
    for count in counts:
        make_job(sync, status=Status.SUCCEEDED, counts={"read": count})


def deletes(sandbox, **changes):
    sync = make_people_sync(sandbox, mode="mirror", **changes)
    write_csv(sync.organization, "people.csv", people(40))
    assert run(sync).status == Status.SUCCEEDED
    write_csv(sync.organization, "people.csv", people(28))
    return sync, "This job would delete 12 of 40 known records (30.0 %), which is more than 10 %.", (40, 28)


def rejected(sandbox, **changes):
    sync = make_people_sync(sandbox, **changes)
    write_csv(sync.organization, "people.csv", with_bad_titles(people(120), 30))
    return sync, "30 of 120 rows read (25.0 %) are rejected or malformed, which is more than 20 %.", (0, 90)


def unusual(sandbox, **changes):
    sync = make_people_sync(sandbox, **changes)
    usual(sync, 290, 300, 310)
    write_csv(sync.organization, "people.csv", people(140))
    told = (
        "140 rows were read, 160 fewer (53.3 %) than the usual 300 (the middle of the last 3 jobs), which is more than"
    )
    return sync, f"{told} 50 %.", (0, 140)


def always(sandbox, **changes):
    sync = make_people_sync(sandbox, approval="always", **changes)
    write_csv(sync.organization, "people.csv", people(5))
    return sync, "This sync always asks for approval; 5 rows would be sent: 5 to insert or update.", (0, 5)


@pytest.fixture(params=[deletes, rejected, unusual, always], ids=lambda guard: guard.__name__)
def waiting(request, sandbox):
    """A job that hit a guard, and how many records there are before and after it."""
    sync, reason, counts = request.param(sandbox)
    job = run(sync)
    assert (job.status, job.reason) == (Status.WAITING_APPROVAL, reason)
    return job, counts


def test_a_job_that_hit_a_guard_holds_nothing_and_goes_on_when_it_is_approved(waiting, sandbox, org):
    job, (before, after) = waiting
    calls = len(sandbox.requests()["requests"])
    job = wait_for(lambda: Job.all_objects.filter(pk=job.pk, token="").first(), "the end of the step that planned")
    assert (job.holder, job.lease_until, job.load_slot) == ("", None, None)
    assert not Batch.all_objects.filter(job=job).exclude(token="", lease_until=None, attempt=0).exists()
    assert claim_due() == []
    sweep()
    assert len(sandbox.requests()["requests"]) == calls, "nobody is connected to Salesforce for it"
    assert org.count("Contact") == before
    approve_job(job, by=anybody(job), wake=False)
    assert go_on(job).status in (Status.SUCCEEDED, Status.PARTIAL)
    assert org.count("Contact") == after


def test_a_job_that_hit_a_guard_sends_nothing_when_it_is_rejected(waiting, org):
    job, (before, _) = waiting
    reject_job(job, by=anybody(job), reason="not today")
    assert (job.status, job.reason) == (Status.CANCELLED, "Rejected by alice: not today")
    assert claim_due() == []
    assert org.count("Contact") == before


def test_a_job_that_nobody_approves_in_time_ends(waiting, org, settings):
    job, (before, _) = waiting
    sweep()
    job.refresh_from_db()
    assert job.status == Status.WAITING_APPROVAL
    long_ago = timezone.now() - timedelta(hours=settings.SFSYNC_APPROVAL_HOURS, seconds=1)
    Job.all_objects.filter(pk=job.pk).update(planned_at=long_ago)
    sweep()
    job.refresh_from_db()
    assert job.status == Status.FAILED
    assert "Nobody approved the plan within 72 hours, so nothing was sent." in job.reason
    assert org.count("Contact") == before
    assert start_job(job.sync, by=anybody(job), wake=False).is_live, "its sync is free again"


def test_while_a_job_waits_the_only_worker_does_the_work_of_others(sandbox, org):
    first, _, _ = always(sandbox)
    worker = Worker(concurrency=1)
    try:
        held = wait_for_end(start_job(first, by=anybody(first)))
        assert held.status == Status.WAITING_APPROVAL
        other = make_people_sync(sandbox, organization=make_organization("beta"))
        write_csv(other.organization, "people.csv", people(3))
        assert wait_for_end(start_job(other, by=anybody(other))).status == Status.SUCCEEDED
        held.refresh_from_db()
        assert held.status == Status.WAITING_APPROVAL
        approve_job(held, by=anybody(held))
        assert wait_for_end(held).status == Status.SUCCEEDED
    finally:
        worker.stop()
    assert org.count("Contact") == 5


def test_all_reasons_are_told_together(sandbox):
    sync = make_people_sync(sandbox, mode="mirror", approval="always")
    write_csv(sync.organization, "people.csv", people(300))
    job = run(sync)
    approve_job(job, by=anybody(job), wake=False)
    go_on(job)
    usual(sync, 300, 300)
    write_csv(sync.organization, "people.csv", with_bad_titles(people(120, title="New"), 30))
    job = run(sync)
    reasons = job.reason.split("\n")
    assert [reason.split()[0] for reason in reasons] == ["This", "30", "120", "This"]
    assert "would delete 180 of 300" in reasons[0] and "180 fewer (60.0 %)" in reasons[2]
    assert reasons[3].endswith("270 rows would be sent: 90 to insert or update, 180 to delete.")
    assert JobEvent.all_objects.get(job=job, status=Status.WAITING_APPROVAL).text == job.reason


def test_a_preview_tells_what_its_job_would_wait_for_and_ends(sandbox):
    sync, reason, _ = unusual(sandbox)
    job = run(sync, preview=True)
    assert (job.status, job.reason) == (Status.PLANNED, reason)


@pytest.mark.parametrize(
    ("rows", "bad", "changes"),
    [
        pytest.param(99, 60, {}, id="fewer than 100 rows"),
        pytest.param(120, 24, {}, id="exactly the share"),
        pytest.param(120, 119, {"guard_rejected_percent": 100}, id="switched off"),
        pytest.param(120, 120, {}, id="nothing is sent"),
    ],
)
def test_rejected_rows_that_are_no_reason_to_wait(sandbox, rows, bad, changes):
    sync = make_people_sync(sandbox, **changes)
    write_csv(sync.organization, "people.csv", with_bad_titles(people(rows), bad))
    assert run(sync).status == Status.PARTIAL


@pytest.mark.parametrize(
    ("before", "rows", "changes"),
    [
        pytest.param((300, 300), 140, {}, id="two jobs tell nothing"),
        pytest.param((99, 99, 99), 10, {}, id="fewer than 100 rows apart"),
        pytest.param((300, 300, 300), 150, {}, id="exactly the share"),
        pytest.param((900, 300, 300, 300), 200, {}, id="one that was unusual itself"),
        pytest.param((300, 300, 300), 10, {"guard_count_percent": 0}, id="switched off"),
        pytest.param((900, 900, 900, 900, 140, 140, 140, 140, 140), 140, {}, id="only the last five count"),
    ],
)
def test_counts_of_rows_that_are_no_reason_to_wait(sandbox, before, rows, changes):
    sync = make_people_sync(sandbox, **changes)
    usual(sync, *before)
    write_csv(sync.organization, "people.csv", people(rows))
    assert run(sync).status == Status.SUCCEEDED


def test_more_rows_than_usual_are_a_reason_too(sandbox):
    sync = make_people_sync(sandbox)
    usual(sync, 0, 0, 0)
    write_csv(sync.organization, "people.csv", people(100))
    told = "100 rows were read, 100 more than the usual 0 (the middle of the last 3 jobs), which is more than 50 %."
    assert run(sync).reason == told


def test_replays_baselines_and_tests_read_as_many_rows_as_they_do(sandbox):
    sync = make_people_sync(sandbox)
    usual(sync, 300, 300, 300)
    write_csv(sync.organization, "people.csv", with_bad_titles(people(110), 5))
    assert run(sync, baseline=True).status == Status.PARTIAL
    job = run(sync, preview=True)
    assert run(sync, replay_of=job, test_row=50).status == Status.SUCCEEDED
    # And what they read is not usual.
    make_job(sync, status=Status.SUCCEEDED, counts={"read": 110}, replay_of=job)
    assert "than the usual 300" in run(sync, full_resync=True).reason


def test_what_jobs_with_other_parameters_read_is_not_usual(sandbox):
    sync = make_people_sync(sandbox)
    Parameter.all_objects.create(organization=sync.organization, sync=sync, name="country", default="DE")
    for _ in range(3):
        make_job(sync, status=Status.SUCCEEDED, counts={"read": 5000}, parameters={"country": "US"})
    write_csv(sync.organization, "people.csv", people(10))
    assert run(sync).status == Status.SUCCEEDED
    assert run(sync, full_resync=True, parameters={"country": "US"}).status == Status.WAITING_APPROVAL


def test_a_baseline_of_many_bad_rows_waits_and_then_records_the_good_ones(sandbox, org):
    sync = make_people_sync(sandbox)
    write_csv(sync.organization, "people.csv", with_bad_titles(people(120), 30))
    job = run(sync, baseline=True)
    assert job.status == Status.WAITING_APPROVAL and "30 of 120 rows read" in job.reason
    approve_job(job, by=anybody(job), wake=False)
    assert go_on(job).counts["unchanged"] == 90
    assert org.count("Contact") == 0


def test_a_sync_that_always_asks_does_not_ask_when_there_is_nothing_to_send(sandbox):
    sync, _, _ = always(sandbox)
    job = run(sync)
    approve_job(job, by=anybody(job), wake=False)
    go_on(job)
    assert run(sync).status == Status.SUCCEEDED


def test_a_job_that_waits_for_another_sync_is_not_touched_by_the_clock(sandbox):
    """Waiting for a turn is no waiting for approval: it does not age."""
    organization = make_organization()
    sync = make_people_sync(sandbox, organization=organization, source=make_connection(organization))
    job = make_job(sync, status=Status.LOADING, planned_at=timezone.now() - timedelta(days=30))
    sweep()
    job.refresh_from_db()
    assert job.status == Status.LOADING
