"""A year of the S&P 500 is mirrored, and taken back: cell by cell what it was, but for what somebody changed since."""

from __future__ import annotations

import pytest

from jobs.foreground import work_on
from jobs.models import Status
from jobs.results import row_errors
from jobs.start import approve_job, start_undo
from tests.acceptance.real_data import COMPANIES, COMPANIES_2024, COMPANIES_2025, by_key, copy_file, held, outcome
from tests.factories import anybody, make_organization, make_sync
from tests.jobs.scenario import go_on, make_destination, run

pytestmark = pytest.mark.django_db(transaction=True)

FILE = "companies.csv"
WITH_IDS = {"Id": "", **COMPANIES}


@pytest.mark.parametrize("lane", ["few", "bulk"])
def test_a_year_of_companies_is_taken_back_cell_by_cell(sandbox, org, hand, shared_data, lane, monkeypatch):
    if lane == "bulk":
        monkeypatch.setattr("syncs.engine.lanes.FEW_ROWS", 0)
        monkeypatch.setattr("jobs.existing.FEW_KEYS", 0)
    organization = make_organization()
    sync = make_sync(
        organization,
        destination=make_destination(organization, sandbox),
        key_fields=["Symbol__c"],
        mode="mirror",
        source_path=FILE,
        mappings=COMPANIES,
        object="Account",
        keep_before=True,
        guard_rows=10_000,
        guard_percent=100,
    )
    copy_file(organization, shared_data / COMPANIES_2024, FILE)
    assert run(sync).status == Status.SUCCEEDED
    was = by_key(held(org, "Account", WITH_IDS), "Id")
    copy_file(organization, shared_data / COMPANIES_2025, FILE)
    job = run(sync)
    assert job.status == Status.SUCCEEDED, job.reason
    done = outcome(job)
    # By hand: two fields of companies that the job changed, and one that it made.
    now = by_key(held(org, "Account", WITH_IDS), "Id")
    changed = [each for each, record in now.items() if each in was and record != was[each]]
    field = next(name for name in COMPANIES if now[changed[0]][name] != was[changed[0]][name])
    hand.update("Account", changed[0], **{field: "By hand"})
    made = next(each for each in now if each not in was)
    hand.update("Account", made, Headquarters_Location__c="Nowhere")

    undo = work_on(start_undo(job, by=anybody(job), wake=False), tell=lambda job: None)
    assert undo.status == Status.WAITING_APPROVAL, undo.reason
    approve_job(undo, by=anybody(undo), wake=False)
    undo = go_on(undo)
    assert undo.status == Status.PARTIAL
    assert undo.counts["restored"] == done["dropped: deleted"]
    assert undo.counts["deleted"] == done["inserted"] - 1
    assert undo.counts["read"] == done["inserted"] + done["updated"] + done["dropped: deleted"]
    after = by_key(held(org, "Account", WITH_IDS), "Id")
    assert after.pop(made)["Headquarters_Location__c"] == "Nowhere"
    assert after == {**was, changed[0]: {**was[changed[0]], field: "By hand"}}
    listed = {(each.record_id, each.code, each.field) for each in row_errors(undo, limit=500).errors}
    assert listed == {(changed[0], "Changed Since", field), (made, "Changed Since", "Headquarters_Location__c")}
    # The next job brings the year back.
    again = outcome(run(sync))
    assert again["inserted"] == done["inserted"] - 1
    assert again["dropped: deleted"] == done["dropped: deleted"]
