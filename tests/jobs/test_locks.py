"""Rows that lock each other out all arrive in the end, without a person, and the job says how."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
import requests

from connections.salesforce import bulk
from jobs.collections_lane import CollectionsLane
from jobs.models import Batch, JobEvent, Status
from tests.jobs.scenario import make_people_sync, people, run, write_csv

pytestmark = pytest.mark.django_db(transaction=True)

CHILDREN, PARENTS = 50_000, 20
MAPPING = {"External_Id__c": "id", "LastName": "last", "FirstName": "first", "AccountId": "account"}


@pytest.fixture(autouse=True)
def impatient(settings):
    settings.SFSYNC_RETRY_SECONDS = 0.02
    settings.SFSYNC_TICK_SECONDS = 0.05


@pytest.fixture
def control(sandbox):
    def post(path, **body):
        requests.post(f"{sandbox.http_url}/_sandbox/{path}", json=body, timeout=30).raise_for_status()

    yield post
    post("rules", row_locks=False)
    let_go(sandbox)
    post("bulk", delay=0)


@pytest.fixture
def accounts(sandbox):
    """The ids of the parents."""
    headers = {"Authorization": f"Bearer {sandbox.login()}"}
    records = [{"attributes": {"type": "Account"}, "Name": f"Parent {number}"} for number in range(PARENTS)]
    url = f"{sandbox.http_url}/services/data/v62.0/composite/sobjects"
    answer = requests.post(url, json={"records": records}, headers=headers, timeout=30)
    return [each["id"] for each in answer.json()]


def let_go(sandbox):
    """What is held by hand is held no more."""
    requests.delete(f"{sandbox.http_url}/_sandbox/hold", timeout=30).raise_for_status()


def children(count, accounts):
    header, *rows = people(count)
    return [[*header, "account"], *([*row, accounts[number % len(accounts)]] for number, row in enumerate(rows))]


def told(job):
    return [event.text for event in JobEvent.all_objects.filter(job=job)]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "batch_rows"), [("upsert", 9_000), ("insert", CHILDREN)])
def test_fifty_thousand_children_of_twenty_parents_all_arrive(mode, batch_rows, sandbox, org, control, accounts):
    control("rules", row_locks=True)
    control("bulk", delay=1.0)
    sync = make_people_sync(sandbox, mappings=MAPPING, mode=mode, batch_rows=batch_rows)
    # Rows of one parent stand together; but batches, and Salesforce's own portions, begin in the midst of a parent's.
    header, *rows = children(CHILDREN, accounts)
    rows = [*([*row[:-1], accounts[0]] for row in rows[:1_000]), *rows[1_000:]]
    write_csv(sync.organization, "people.csv", [header, *rows])
    job = run(sync)
    assert job.status == Status.SUCCEEDED, (job.reason, told(job))
    assert (job.counts["inserted"], job.counts["failed"]) == (CHILDREN, 0)
    found = Counter(record["AccountId"] for record in org.query("SELECT AccountId FROM Contact"))
    assert found == Counter(row[-1] for row in rows)
    job.refresh_from_db()
    events = "\n".join(told(job))
    assert "rows were refused because others held their records or parents. They are sent again" in events
    assert sum(sum(batch.counts.values()) for batch in job.batches.all()) == CHILDREN


@pytest.mark.slow
def test_rows_of_a_parent_that_somebody_holds_step_down_to_calls_one_batch_at_a_time(
    sandbox, org, control, accounts, by_bulk, settings
):
    settings.SFSYNC_RETRY_SECONDS = 0.01
    control("hold", ids=accounts[:1])
    sync = make_people_sync(sandbox, mappings=MAPPING, batch_rows=100)
    write_csv(sync.organization, "people.csv", children(400, accounts))
    job = run(sync)
    events = "\n".join(told(job))
    assert (job.status, job.counts["inserted"], job.counts["failed"]) == (Status.PARTIAL, 380, 20), events
    assert job.serial and "From here on one batch of this job is sent at a time" in events
    assert "in calls of at most 200, one after the other" in events
    assert "After 9 tries 20 rows are still refused because others held" in events
    assert job.error_groups.get().code == "UNABLE_TO_LOCK_ROW"
    # Rows of one parent stand together, so that one batch has them all.
    assert sorted(batch.counts["failed"] for batch in job.batches.all()) == [0, 0, 0, 20]
    let_go(sandbox)
    again = run(sync)
    assert (again.status, again.counts["inserted"], again.counts["unchanged"]) == (Status.SUCCEEDED, 20, 380)


def test_a_parent_that_is_let_go_while_the_job_tries_again_takes_its_children(
    sandbox, org, control, accounts, monkeypatch
):
    """In the lane of few rows, too."""
    control("hold", ids=accounts[:1])
    sync = make_people_sync(sandbox, mappings=MAPPING)
    write_csv(sync.organization, "people.csv", children(400, accounts))
    call, calls = CollectionsLane._call, []

    def let_go_first(self, each):
        calls.append(len(each))
        if len(calls) == 4:
            let_go(sandbox)
        return call(self, each)

    monkeypatch.setattr(CollectionsLane, "_call", let_go_first)
    job = run(sync)
    assert (job.status, job.counts["inserted"]) == (Status.SUCCEEDED, 400)
    assert calls == [200, 200, 20, 20]
    (batch,) = job.batches.all()
    assert (batch.counts["failed"], batch.counts["inserted"], batch.retries) == (0, 400, 2)


def test_triggers_that_take_too_long_get_ever_fewer_rows(sandbox, org, control, monkeypatch):
    sandbox.faults(
        {
            "action": "refuse_rows",
            "object": "Contact",
            "field": "LastName",
            "matches": "^Person 7$",
            "code": "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            "message": "Slow: System.LimitException: Apex CPU time limit exceeded",
            "times": 3,
        }
    )
    sync = make_people_sync(sandbox)
    write_csv(sync.organization, "people.csv", people(30))
    job = run(sync)
    assert (job.status, job.counts["inserted"]) == (Status.SUCCEEDED, 30), told(job)
    assert "in calls of at most 10" in "\n".join(told(job))


def test_a_row_that_is_refused_for_good_is_not_sent_again(sandbox, org, by_bulk):
    sandbox.faults(
        {
            "action": "refuse_rows",
            "object": "Contact",
            "field": "LastName",
            "matches": "^Person 7$",
            "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        }
    )
    sync = make_people_sync(sandbox)
    write_csv(sync.organization, "people.csv", people(30))
    job = run(sync)
    assert (job.status, job.counts["inserted"], job.counts["failed"]) == (Status.PARTIAL, 29, 1)
    assert Batch.all_objects.get(job=job).attempt == 1


def test_a_salesforce_job_with_too_many_lock_failures_goes_on_in_smaller_ones(sandbox, org, by_bulk, settings):
    message = "TooManyLockFailure : Too many lock failure 200 Trying again later."
    sandbox.faults({"action": "fail_job", "nth": 1, "after_rows": 100, "message": message})
    sync = make_people_sync(sandbox, mappings=MAPPING)
    write_csv(sync.organization, "people.csv", children(1_000, [None]))
    job = run(sync)
    assert (job.status, job.counts["inserted"]) == (Status.SUCCEEDED, 1_000), (job.reason, told(job))
    assert "900 rows go into" in "\n".join(told(job)) and job.serial


def test_bulk_serial_sends_one_batch_at_a_time_from_the_start(sandbox, org, control, accounts, monkeypatch):
    open_jobs = []
    create = bulk.create_job

    def noting(*args, **options):
        open_jobs.append(sum(job["state"] not in ("JobComplete",) for job in sandbox.state()["jobs"]))
        return create(*args, **options)

    monkeypatch.setattr(bulk, "create_job", noting)
    sync = make_people_sync(sandbox, mappings=MAPPING, batch_rows=1_000)
    spec = type(sync).spec

    def serial(self, *given, **named):
        return dataclasses.replace(spec(self, *given, **named), bulk_serial=True)

    monkeypatch.setattr(type(sync), "spec", serial)
    write_csv(sync.organization, "people.csv", children(4_000, accounts))
    job = run(sync)
    assert (job.status, job.counts["inserted"], job.serial) == (Status.SUCCEEDED, 4_000, True)
    assert open_jobs == [0, 0, 0, 0]
