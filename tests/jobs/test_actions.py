"""What a job may be started for besides a plain run: a baseline, a replay of refused rows, other parameters."""

import pytest
from django.utils import timezone

from jobs import queue
from jobs.errors import JobRefused
from jobs.models import Job, JobEvent, Status
from jobs.start import approve_job, start_again, start_job
from orgs.models import AuditEvent
from syncs.models import Parameter
from tests.factories import anybody, make_job, make_organization, make_sync
from tests.jobs.scenario import make_people_sync, people, run, write_csv

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sync():
    return make_sync(make_organization())


@pytest.fixture
def sent(monkeypatch):
    monkeypatch.setattr(queue, "send", lambda task, pk: None)


def parameter(sync, name, default=None):
    return Parameter.all_objects.create(organization=sync.organization, sync=sync, name=name, default=default)


def first_event(job):
    return JobEvent.all_objects.filter(job=job).first().text


# --- parameters ---


def test_a_job_keeps_the_values_it_was_started_with(sync, sent):
    parameter(sync, "since")
    parameter(sync, "country", "DE")
    job = start_job(sync, by=anybody(sync), parameters={"since": "2024-01-01"})
    assert job.parameters == job.spec["parameters"] == {"since": "2024-01-01", "country": "DE"}
    assert "@since = '2024-01-01'." in first_event(job)
    assert AuditEvent.all_objects.get().changes["parameters"] == [None, job.parameters]


@pytest.mark.parametrize(
    ("given", "message"),
    [({}, "'since' has no value and no default"), ({"since": "1", "unitl": "2"}, "has no parameter 'unitl'.*since")],
)
def test_missing_and_unknown_parameters_are_named(sync, sent, given, message):
    parameter(sync, "since")
    with pytest.raises(JobRefused, match=message):
        start_job(sync, by=anybody(sync), parameters=given)
    assert not Job.all_objects.exists()


def test_a_plan_is_approved_with_the_values_it_was_made_with(sync, sent):
    asked = parameter(sync, "since")
    values = {"since": "2024-01-01"}
    job = start_job(sync, by=anybody(sync), parameters=values)
    Job.all_objects.filter(pk=job.pk).update(status=Status.WAITING_APPROVAL, planned_at=timezone.now())
    job = Job.all_objects.get(pk=job.pk)
    approve_job(job, by=anybody(sync))
    assert job.status == Status.LOADING
    Job.all_objects.filter(pk=job.pk).update(status=Status.WAITING_APPROVAL)
    asked.delete()
    with pytest.raises(JobRefused, match="was changed since"):
        approve_job(Job.all_objects.get(pk=job.pk), by=anybody(sync))


def test_a_path_is_read_with_its_parameters(sandbox, org):
    sync = make_people_sync(sandbox, source_path="people_@day.csv")
    parameter(sync, "day")
    write_csv(sync.organization, "people_2024-01-31.csv", people(3))
    assert run(sync, parameters={"day": "2024-01-31"}).counts["inserted"] == 3
    failed = run(sync, parameters={"day": "../people"})
    assert failed.status == Status.FAILED and "of @day cannot be part of the path" in failed.reason


# --- baseline ---


def test_a_baseline_is_a_job_that_says_so(sync, sent):
    job = start_job(sync, by=anybody(sync), baseline=True)
    assert (job.baseline, job.full_resync, job.action) == (True, False, "Baseline")
    assert "as a baseline: what the source holds is recorded as known, and nothing is sent" in first_event(job)
    assert AuditEvent.all_objects.get().changes["baseline"] == [None, True]


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"compare": "nothing"}, {}, "compares with nothing"),
        ({"key_fields": [], "mode": "insert", "compare": "nothing"}, {}, "has no sync key"),
        ({}, {"full_resync": True}, "exclude each other"),
    ],
)
def test_a_baseline_that_makes_no_sense_is_refused(sent, changes, options, message):
    sync = make_sync(make_organization(), **changes)
    with pytest.raises(JobRefused, match=message):
        start_job(sync, by=anybody(sync), baseline=True, **options)


# --- replay ---


@pytest.fixture
def partial(sandbox):
    """A job of 20 people that rules and Salesforce refused some of."""
    rows = people(20)
    rows[3][1] = ""  # required
    rows[7][3] = "#N/A"
    rows[9][3] = "  Buyer  "
    rows[11][1] = "x" * 100  # too long
    sync = make_people_sync(sandbox)
    write_csv(sync.organization, "people.csv", rows)
    sandbox.add_fault(
        {"where": "row", "object": "Contact", "field": "External_Id__c", "value": "P0000009", "error": "DUPLICATES_DETECTED"}
    )
    job = run(sync)
    assert job.status == Status.PARTIAL
    return job


def test_a_replay_takes_the_refused_rows_only(partial, org, sandbox):
    pass
