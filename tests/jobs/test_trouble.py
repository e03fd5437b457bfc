"""Things that go wrong between a plan and its end: the right rows are sent once, and a message says what to do."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from jobs.models import Batch, ErrorGroup, Job, JobEvent, Status
from jobs.results import row_errors
from jobs.start import approve_job
from syncs.models import FieldMapping, Sync
from tests.factories import anybody
from tests.org_hand import OrgHand
from tests.org_reader import OrgReader
from tests.sandbox_process import SandboxProcess

from .scenario import go_on, make_people_sync, people, run, write_csv

pytestmark = pytest.mark.django_db(transaction=True)

LANES = ["collections", "bulk"]


@pytest.fixture(autouse=True)
def impatient(settings: Any) -> None:
    settings.SFSYNC_RETRY_SECONDS = 0.02
    settings.SFSYNC_TICK_SECONDS = 0.05


def choose(lane: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncs.engine.lanes.FEW_ROWS", 2_000 if lane == "collections" else 0)


def allow(sandbox: SandboxProcess, **fields: bool) -> None:
    """Let the connected user see fields of Contact, or not; one that is not seen is as good as deleted."""
    permissions = {"fields": {f"Contact.{name}": {"read": yes, "edit": yes} for name, yes in fields.items()}}
    body = {"username": sandbox.username, "permissions": permissions}
    requests.post(f"{sandbox.http_url}/_sandbox/users", json=body, timeout=30).raise_for_status()


def told(job: Job) -> str:
    return "\n".join(event.text for event in JobEvent.all_objects.filter(job=job))


def titles(org: OrgReader) -> dict[str, str | None]:
    return {each["External_Id__c"]: each["Title"] for each in org.query("SELECT External_Id__c, Title FROM Contact")}


def wanted(rows: list[list[str]]) -> dict[str, str]:
    return {row[0]: row[3] for row in rows[1:]}


# --- Salesforce jobs that end early, or never ---


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"action": "fail_job", "message": "InternalServerError : try later", "after_rows": 200}, "try later; "),
        ({"action": "abort_job", "after_rows": 200}, "was aborted; "),
    ],
)
def test_a_salesforce_job_that_ends_early_leaves_its_rest_to_another(
    fault: dict[str, Any], words: str, sandbox: SandboxProcess, org: OrgReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose("bulk", monkeypatch)
    sandbox.faults(fault)
    sync, rows = make_people_sync(sandbox), people(500)
    write_csv(sync.organization, "people.csv", rows)
    job = run(sync)
    assert (job.status, job.counts["inserted"]) == (Status.SUCCEEDED, 500) and titles(org) == wanted(rows)
    assert f"{words}300 rows go into a new Salesforce job." in told(job)
    assert run(sync).counts["unchanged"] == 500


def test_a_salesforce_job_that_is_stuck_is_aborted_and_its_rest_goes_anew(
    sandbox: SandboxProcess, org: OrgReader, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose("bulk", monkeypatch)
    settings.SFSYNC_STUCK_HOURS = 1 / 3600
    sandbox.faults({"action": "slow_job", "seconds": 600})
    sync, rows = make_people_sync(sandbox), people(30)
    write_csv(sync.organization, "people.csv", rows)
    job = run(sync)
    assert (job.status, job.counts["inserted"]) == (Status.SUCCEEDED, 30) and titles(org) == wanted(rows)
    assert "has done nothing for" in told(job) and "Setup > Bulk Data Load Jobs" in told(job)
    assert Batch.all_objects.get(job=job).attempt == 2


# --- values beyond every limit ---


@pytest.mark.parametrize("lane", LANES)
def test_a_cell_beyond_every_limit_rejects_its_own_row_alone(
    lane: str, sandbox: SandboxProcess, org: OrgReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(lane, monkeypatch)
    sync = make_people_sync(sandbox, mappings={"External_Id__c": "id", "LastName": "id", "Description": "text"})
    cells = ["x" * 131_073, "x" * 1_000_000, "x" * 32_000, "short"]
    write_csv(sync.organization, "people.csv", [["id", "text"], *([f"K{n}", cell] for n, cell in enumerate(cells))])
    job = run(sync)
    assert (job.status, job.counts["rejected"], job.counts["inserted"]) == (Status.PARTIAL, 2, 2)
    errors = row_errors(job).errors
    assert [(error.row, error.code) for error in errors] == [(1, "Max Length Violation"), (2, "Max Length Violation")]
    assert "holds at most 32000 characters, and this value has 131073. Shorten it." in errors[0].message
    assert {each["LastName"] for each in org.query("SELECT LastName FROM Contact")} == {"K2", "K3"}


# --- keys of other kinds ---


@pytest.mark.parametrize("lane", LANES)
def test_a_formula_field_finds_records_and_is_never_sent(
    lane: str, sandbox: SandboxProcess, org: OrgReader, hand: OrgHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(lane, monkeypatch)
    hand.insert("Contact", FirstName="Ada", LastName="Lovelace")
    sync = make_people_sync(sandbox, key_fields=["Name"], mappings={"Name": "name", "Title": "title"}, mode="update")
    write_csv(sync.organization, "people.csv", [["name", "title"], ["ada lovelace", "Countess"], ["Nobody", "x"]])
    job = run(sync)
    assert (job.status, job.counts["updated"], job.counts["ignored"]) == (Status.SUCCEEDED, 1, 1), job.reason
    assert org.query("SELECT Name, Title FROM Contact") == [{"Name": "Ada Lovelace", "Title": "Countess"}]
    assert run(sync).counts["unchanged"] == 1
    Sync.all_objects.filter(pk=sync.pk).update(mode="delete")
    assert run(sync).counts["deleted"] == 1 and org.count("Contact") == 0


@pytest.mark.parametrize(
    ("key", "mode", "words"),
    [
        ("Name", "upsert", ["Sync key 'Name'", "can find records but not be written", "such as 'update'"]),
        ("Description", "update", ["Sync key 'Description'", "cannot search records by it", "an external id"]),
    ],
)
def test_a_key_that_cannot_do_its_work_is_refused_before_anything_is_sent(
    key: str, mode: str, words: list[str], sandbox: SandboxProcess, org: OrgReader
) -> None:
    sync = make_people_sync(sandbox, key_fields=[key], mappings={key: "name", "LastName": "name"}, mode=mode)
    write_csv(sync.organization, "people.csv", [["name"], ["Ada"]])
    job = run(sync)
    assert job.status == Status.FAILED and all(word in job.reason for word in words), job.reason
    assert org.count("Contact") == 0


# --- a field that is gone ---


@pytest.mark.parametrize("lane", LANES)
def test_a_field_that_is_gone_between_plan_and_load_stops_its_rows_and_says_so(
    lane: str, sandbox: SandboxProcess, org: OrgReader, hand: OrgHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(lane, monkeypatch)
    hand.insert("Contact", External_Id__c="gone", LastName="gone")
    sync = make_people_sync(sandbox, compare="destination", mode="mirror", guard_rows=0, guard_percent=100)
    rows = people(9)
    for key, last, *_ in rows[1:5]:
        hand.insert("Contact", External_Id__c=key, LastName=last)
    write_csv(sync.organization, "people.csv", rows)
    job = run(sync)
    assert job.status == Status.WAITING_APPROVAL
    allow(sandbox, Title=False)
    approve_job(job, by=anybody(job), wake=False)
    job = go_on(job)
    sent_none = {"updated": job.counts["updated"], "inserted": job.counts["inserted"]}
    assert sent_none == {"updated": 0, "inserted": 0}
    groups = list(ErrorGroup.all_objects.filter(job=job))
    words = f"{job.reason} {' '.join(f'{group.sample_message} {group.advice}' for group in groups)}"
    assert "Title" in words and "Give the user access to it or take it out of the mapping" in words
    # What left the source is deleted all the same: its payload has no field but the id.
    assert (job.status, job.counts["dropped"]["deleted"]) == (Status.PARTIAL if groups else Status.FAILED, 1)
    # As long as it is gone, the next job says so before it sends anything.
    refused = run(sync)
    assert refused.status == Status.FAILED and "Field 'Title'" in refused.reason
    FieldMapping.all_objects.filter(sync=sync, target="Title").delete()
    assert run(sync).status == Status.SUCCEEDED
    found = [each["External_Id__c"] for each in org.query("SELECT External_Id__c FROM Contact ORDER BY External_Id__c")]
    assert found == sorted(wanted(rows))


def test_a_field_that_a_bulk_job_does_not_find_is_told_of(
    sandbox: SandboxProcess, org: OrgReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose("bulk", monkeypatch)
    message = "InvalidBatch : Field name not found : Title"
    sandbox.faults({"action": "fail_job", "message": message})
    sync, rows = make_people_sync(sandbox), people(20)
    write_csv(sync.organization, "people.csv", rows)
    job = run(sync)
    assert (job.status, job.counts["not_sent"]) == (Status.FAILED, 20) and message in job.reason
    assert Batch.all_objects.get(job=job).attempt == 1
    assert run(sync).counts["inserted"] == 20 and titles(org) == wanted(rows)
