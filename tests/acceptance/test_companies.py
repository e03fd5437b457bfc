"""The companies of the S&P 500 on two days, mirrored into Account: what joined, changed, stayed and left."""

from __future__ import annotations

import csv

import pytest
from django.core.management import call_command

from jobs.management.commands import _show
from jobs.models import ErrorGroup, JobEvent, Status
from jobs.results import write_refused_rows
from tests.acceptance.real_data import (
    COMPANIES,
    COMPANIES_2024,
    COMPANIES_2025,
    by_key,
    companies,
    copy_file,
    held,
    outcome,
    rows_of,
    uploaded,
    writing_calls,
)
from tests.factories import make_organization, make_sync
from tests.jobs.scenario import go_on, make_destination, run

pytestmark = pytest.mark.django_db(transaction=True)

FILE = "companies.csv"


@pytest.fixture
def put(shared_data):
    """Overwrite the source with the companies of one of the two days; returns their rows."""

    def copy(sync, name):
        copy_file(sync.organization, shared_data / name, FILE)
        return rows_of(shared_data / name)

    return copy


@pytest.fixture
def make(sandbox, by_bulk):
    def sync(**changes):
        organization = make_organization()
        values = {"key_fields": ["Symbol__c"], "mode": "mirror", "source_path": FILE, "mappings": COMPANIES, **changes}
        return make_sync(organization, destination=make_destination(organization, sandbox), **values)

    return sync


def check_org_equals(org, rows, key="Symbol__c"):
    assert by_key(held(org, "Account", COMPANIES), key) == by_key(companies(rows), key)


def test_a_year_of_changes_is_mirrored_and_only_what_changed_is_sent(make, put, sandbox, org):
    sync = make()
    first = put(sync, COMPANIES_2024)
    job = run(sync)
    assert (job.status, outcome(job)) == (Status.SUCCEEDED, {"read": 503, "inserted": 503})
    check_org_equals(org, first)
    assert uploaded(sandbox) == {"upsert": 503}

    second = put(sync, COMPANIES_2025)
    job = run(sync)
    assert job.status == Status.SUCCEEDED, job.reason
    assert outcome(job) == {
        "read": 503,
        "inserted": 16,
        "updated": 49,
        "unchanged": 438,
        "dropped: dropped": 16,
        "dropped: deleted": 16,
    }
    check_org_equals(org, second)
    assert uploaded(sandbox) == {"upsert": 503 + 16 + 49, "delete": 16}

    job = run(sync)
    assert (job.status, outcome(job)) == (Status.SUCCEEDED, {"read": 503, "unchanged": 503})
    assert uploaded(sandbox) == {"upsert": 568, "delete": 16}


@pytest.fixture
def waiting(make, put, sandbox):
    """A job with 16 deletes that the guard has stopped, and the rows before and after it."""
    sync = make(guard_rows=10)
    first = put(sync, COMPANIES_2024)
    assert run(sync).status == Status.SUCCEEDED
    second = put(sync, COMPANIES_2025)
    job = run(sync)
    assert job.status == Status.WAITING_APPROVAL
    return job, first, second


def test_few_changes_are_mirrored_by_collections_to_the_same_end(make, put, sandbox, org, monkeypatch):
    monkeypatch.setattr("syncs.engine.lanes.FEW_ROWS", 2_000)
    sync = make()
    put(sync, COMPANIES_2024)
    assert outcome(run(sync)) == {"read": 503, "inserted": 503}
    second = put(sync, COMPANIES_2025)
    job = run(sync)
    assert (job.status, job.counts["inserted"], job.counts["updated"]) == (Status.SUCCEEDED, 16, 49)
    assert job.counts["dropped"]["deleted"] == 16
    assert {batch.lane for batch in job.batches.all()} == {"collections"} and not uploaded(sandbox)
    check_org_equals(org, second)


def test_a_guarded_plan_says_why_it_waits_and_nothing_of_it_is_sent(waiting, sandbox, org):
    job, first, _ = waiting
    assert "would delete 16 of 503 known records" in job.reason
    assert uploaded(sandbox) == {"upsert": 503}
    check_org_equals(org, first)


@pytest.mark.parametrize("here", [False, True], ids=["by workers", "here"])
def test_an_approved_plan_is_carried_out_as_it_was_approved(here, waiting, put, sandbox, org):
    job, _, second = waiting
    # What the source says by now does not matter: the plan was approved, not the source.
    put(job.sync, COMPANIES_2024)
    if here:
        with pytest.raises(SystemExit) as ended:
            call_command("approve_job", str(job.pk), "--here")
        assert ended.value.code == 0
        job.refresh_from_db()
    else:
        call_command("approve_job", str(job.pk))
        job = go_on(job)
    assert job.status == Status.SUCCEEDED, job.reason
    assert (job.counts["inserted"], job.counts["updated"], job.counts["dropped"]["deleted"]) == (16, 49, 16)
    check_org_equals(org, second)
    assert uploaded(sandbox) == {"upsert": 568, "delete": 16}
    assert any("Approved by" in event.text for event in JobEvent.all_objects.filter(job=job))


def test_a_rejected_plan_sends_nothing_and_the_next_job_plans_the_same(waiting, sandbox, org, capsys):
    job, first, _ = waiting
    before = writing_calls(sandbox)
    call_command("reject_job", str(job.pk))
    assert "Rejected by" in capsys.readouterr().out
    job.refresh_from_db()
    assert job.status == Status.CANCELLED
    check_org_equals(org, first)
    assert writing_calls(sandbox) == before

    again = run(job.sync)
    assert again.status == Status.WAITING_APPROVAL
    assert again.manifests["plan"]["fingerprint"] == job.manifests["plan"]["fingerprint"]


def test_the_command_ends_with_3_and_says_how_to_go_on(make, put, sandbox, capsys):
    sync = make(guard_rows=10)
    put(sync, COMPANIES_2024)
    with pytest.raises(SystemExit) as ended:
        call_command("run_sync", sync.name)
    assert ended.value.code == 0
    put(sync, COMPANIES_2025)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        call_command("run_sync", sync.name)
    assert ended.value.code == _show.EXIT_CODES[Status.WAITING_APPROVAL] == 3
    printed = capsys.readouterr().out
    assert "would delete 16 of 503 known records" in " ".join(printed.split())
    assert "approve_job" in printed and "reject_job" in printed


def test_rows_that_share_a_key_are_rejected_by_number_and_the_rest_goes_on(make, put, sandbox, org, tmp_path):
    sync = make(key_fields=("CIK__c",))
    rows = put(sync, COMPANIES_2024)
    pairs = {"1652044": (20, 21), "1754301": (205, 206), "1564708": (339, 340)}
    assert {key: tuple(n for n, row in enumerate(rows, 1) if row["CIK"] == key) for key in pairs} == pairs

    job = run(sync)
    assert (job.status, outcome(job)) == (Status.PARTIAL, {"read": 503, "rejected": 6, "inserted": 497})
    check_org_equals(org, [row for row in rows if row["CIK"] not in pairs], "CIK__c")

    (group,) = ErrorGroup.all_objects.filter(job=job)
    assert (group.source, group.code, group.rows, group.sample_row) == ("rule", "Duplicate Key", 6, 20)
    refused = tmp_path / "refused.csv"
    assert write_refused_rows(job, refused) == 6
    with open(refused, newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert [int(row["_row"]) for row in written] == sorted(number for pair in pairs.values() for number in pair)
    for row in written:
        assert {column: row[column] for column in rows[0]} == rows[int(row["_row"]) - 1]
        assert row["_error_code"] == "Duplicate Key"
        assert all(str(number) in row["_error_message"] for number in pairs[row["CIK"]]), row["_error_message"]
