"""The history of records, through real jobs: what was done to a record, by which job, from what to what."""

from __future__ import annotations

import pytest

from jobs import history
from jobs.models import HistoryFile, Status
from tests.factories import anybody
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
