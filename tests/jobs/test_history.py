"""The history of records, through real jobs: what was done to a record, by which job, from what to what."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from jobs import history
from jobs.models import HistoryFile, Status
from orgs.models import Role
from tests.factories import anybody, make_member
from tests.jobs.scenario import make_people_sync, run, write_csv

pytestmark = pytest.mark.django_db(transaction=True)


def story(sync, **asked):
    return history.story(anybody(sync), **asked).changes


def told(change):
    """(action, outcome, {field: (before, after)}) of the fields that were changed, or may have been."""
    return change.action, change.outcome, {field.name: (field.before, field.after) for field in change.changed_fields}


def load(sync, rows, **options):
    write_csv(sync.organization, "people.csv", [["id", "last", "first", "title"], *rows])
    return run(sync, **options)


@pytest.fixture
def sync(sandbox):
    return make_people_sync(sandbox, mode="mirror", guard_rows=100)


def test_a_record_is_followed_from_its_insert_to_its_delete(sync, org):
    rows = [["A1", "Ada", "Ann", "Boss"], ["A2", "Bob", "", ""]]
    first = load(sync, rows)
    second = load(sync, [["A1", "Ada", "Ann", "Chief"], rows[1]])
    third = load(sync, [rows[1]])
    assert {first.status, second.status, third.status} == {Status.SUCCEEDED}
    gone, changed, made = story(sync, key=" a1 ")
    assert told(made) == (
        "upsert",
        "inserted",
        {name: (None, value) for name, value in zip(
            ("External_Id__c", "LastName", "FirstName", "Title"), rows[0], strict=True)},
    )  # fmt: skip
    assert told(changed) == ("upsert", "updated", {"Title": ("Boss", "Chief")})
    assert [field.basis for field in changed.changed_fields] == ["sent"]
    assert {field.name for field in changed.same_fields} == {"External_Id__c", "LastName", "FirstName"}
    assert told(gone) == ("delete", "deleted", {})
    assert [(each.job, each.row, each.sync_name, each.has_job) for each in (made, changed, gone)] == [
        (first.pk, 1, "People", True), (second.pk, 1, "People", True), (third.pk, None, "People", True)
    ]  # fmt: skip
    assert len({each.record_id for each in (made, changed, gone)}) == 1 and len(made.record_id) == 18
    assert story(sync, record_id=made.record_id) == story(sync, record_id=made.record_id[:15]) == (gone, changed, made)
    assert [each.job for each in story(sync, key="A2")] == [first.pk]
    assert story(sync, key="A3") == ()
    assert HistoryFile.all_objects.count() == 3


def test_what_salesforce_refused_is_told_and_is_part_of_the_record_that_came_of_it(sync, sandbox):
    rule = {"action": "refuse_rows", "object": "Contact", "field": "Title", "matches": "^bad$"}
    sandbox.faults({**rule, "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "no", "times": None})
    assert load(sync, [["A1", "Ada", "", "bad"], ["A2", "Bob", "", ""]]).status == Status.PARTIAL
    load(sync, [["A1", "Ada", "", "good"], ["A2", "Bob", "", ""]])
    load(sync, [["A1", "Ada", "", "bad"], ["A2", "Bob", "", ""]])
    again, made, refused = story(sync, key="A1")
    assert [each.outcome for each in (refused, made, again)] == ["failed", "inserted", "failed"]
    assert refused.error.startswith("FIELD_CUSTOM_VALIDATION_EXCEPTION") and refused.record_id == ""
    assert told(again)[2] == {"Title": ("good", "bad")}
    assert story(sync, record_id=made.record_id) == (again, made, refused)


def test_a_parent_is_told_as_it_is_sent(sandbox, hand):
    hand.insert("Account", Name="Acme", External_Id__c="ACME")
    parent = {"source_column": "title", "lookup_object": "Account", "lookup_field": "External_Id__c"}
    sync = make_people_sync(sandbox, mappings={"External_Id__c": "id", "LastName": "last", "AccountId": parent})
    assert load(sync, [["A1", "Ada", "", "ACME"]]).status == Status.SUCCEEDED
    [made] = story(sync, key="A1")
    assert told(made)[2]["Account.External_Id__c"] == (None, "ACME")


def test_baselines_and_jobs_that_send_nothing_leave_no_history(sync):
    rows = [["A1", "Ada", "", ""]]
    load(sync, rows, baseline=True)
    load(sync, rows)
    assert not HistoryFile.all_objects.exists()


def test_page_api_and_command_tell_the_same(sync, client, capsys):
    client.force_login(make_member(sync.organization, "alice", Role.OWNER))
    load(sync, [["A1", "Ada", "", "Boss"]])
    job = load(sync, [["A1", "Ada", "", "<b>Chief"]])
    page = client.get("/admin/jobs/job/history/", {"key": "a1"}).content.decode()
    assert "&lt;b&gt;Chief" in page and f'/admin/jobs/job/{job.pk}/change/"' in page and "from as last sent" in page
    assert "is no record id" in client.get("/admin/jobs/job/history/", {"record_id": "A1"}).content.decode()
    assert "No job that you may see" in client.get("/admin/jobs/job/history/", {"key": "A9"}).content.decode()
    assert "History of a record" in client.get("/admin/jobs/job/").content.decode()
    answer = client.get("/api/v1/history/", {"key": "a1", "page_size": 1}).json()
    [newest] = answer["results"]
    assert {"name": "Title", "before": "Boss", "after": "<b>Chief", "basis": "sent", "changed": True} in newest[
        "fields"
    ]
    [oldest] = client.get(answer["next"]).json()["results"]
    assert (oldest["outcome"], newest["outcome"], newest["job"]) == ("inserted", "updated", job.pk)
    assert client.get(answer["next"]).json()["next"] is None
    for asked in ({}, {"key": "a", "record_id": "0" * 15}, {"record_id": "x"}, {"key": "a", "after": "1"}):
        assert client.get("/api/v1/history/", asked).status_code == 400
    call_command("show_history", key="A1")
    shown = capsys.readouterr().out
    assert f"job {job.pk} of 'People', row 1: upsert, updated. Key A1" in shown
    assert "Title: 'Boss' -> '<b>Chief' (from as last sent)" in shown
    with pytest.raises(CommandError, match="is no record id"):
        call_command("show_history", record_id="A1")
