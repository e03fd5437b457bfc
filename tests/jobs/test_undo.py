"""Taking a job back: what nobody has changed since is as it was before, and what somebody has is listed."""

from __future__ import annotations

import pytest

from jobs.foreground import work_on
from jobs.models import Status
from jobs.planning import Planner
from jobs.results import row_errors
from jobs.start import approve_job, start_undo
from tests.factories import anybody
from tests.jobs.before import make_plan_and_keep
from tests.jobs.scenario import go_on, make_people_sync, people, run, write_csv

pytestmark = pytest.mark.django_db(transaction=True)

FIELDS = "Id, External_Id__c, LastName, FirstName, Title"


@pytest.fixture(autouse=True)
def before(monkeypatch):
    monkeypatch.setattr(Planner, "_make_plan", make_plan_and_keep)


def held(org):
    return {each.pop("Id"): each for each in org.query(f"SELECT {FIELDS} FROM Contact")}


def by_key(org):
    return {each["External_Id__c"]: each["Id"] for each in org.query("SELECT Id, External_Id__c FROM Contact")}


def undo(job, **options):
    """An undo of the job, to the approval it waits for, or to its end."""
    return work_on(start_undo(job, by=anybody(job), wake=False, **options), tell=lambda job: None)


def undone(job):
    """An undo of the job that was approved, at its end."""
    waiting = undo(job)
    assert waiting.status == Status.WAITING_APPROVAL, waiting.reason
    approve_job(waiting, by=anybody(waiting), wake=False)
    return go_on(waiting)


def counts(job):
    return {name: rows for name, rows in job.counts.items() if isinstance(rows, int) and rows and name != "read"}


def errors(job):
    return {(each.record_id, each.code, each.field): each for each in row_errors(job).errors}


@pytest.fixture
def mirrored(sandbox, org):
    """A sync that holds 30 people, then others: 10 new ones, 10 changed ones, 10 that left, 10 as they were."""
    sync = make_people_sync(sandbox, mode="mirror", keep_before=True, guard_rows=1000, guard_percent=100)
    rows = people(30)
    write_csv(sync.organization, "people.csv", rows)
    assert run(sync).status == Status.SUCCEEDED
    was = held(org)
    changed = [[*row[:3], "Owner"] for row in rows[11:21]]
    new = [[f"N{number:07}", f"New {number}", "", ""] for number in range(10)]
    write_csv(sync.organization, "people.csv", [rows[0], *new, *changed, *rows[21:]])
    job = run(sync)
    assert counts(job) == {"inserted": 10, "updated": 10, "unchanged": 10}
    assert job.counts["dropped"]["deleted"] == 10
    return sync, job, was


def test_an_undo_waits_and_then_all_is_as_it_was(mirrored, org):
    sync, job, was = mirrored
    waiting = undo(job)
    assert waiting.status == Status.WAITING_APPROVAL
    assert waiting.reason == (
        "This undo would restore 10 records from the recycle bin, change 10 records back and delete 10 records."
    )
    assert held(org) != was
    approve_job(waiting, by=anybody(waiting), wake=False)
    done = go_on(waiting)
    assert (done.status, counts(done)) == (Status.SUCCEEDED, {"updated": 10, "deleted": 10, "restored": 10})
    assert held(org) == was
    # The next job of the sync sends the source's values again.
    again = run(sync)
    assert (again.status, counts(again)) == (Status.SUCCEEDED, {"inserted": 10, "updated": 10, "unchanged": 10})
    assert again.counts["dropped"]["deleted"] == 10
