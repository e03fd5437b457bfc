"""Previews: what a sync would do, row by row, with nothing sent."""

import csv
import io

import pytest
from django.core.management import call_command

from jobs import plans
from jobs.errors import JobRefused
from jobs.models import Batch, ErrorGroup, Job, Status
from jobs.results import open_refused_rows_csv
from jobs.start import start_job
from tests.factories import anybody
from tests.jobs.scenario import make_people_sync, people, run, write_csv
from tests.org_reader import OrgReader

pytestmark = pytest.mark.django_db(transaction=True)


def edited(count, **rows):
    """The source again, with some cells of rows changed: by number, (last, first, title)."""
    table = people(count)
    for number, cells in rows.items():
        table[int(number[1:])][1:] = cells
    return table


@pytest.fixture
def sync(sandbox):
    """Ten people, loaded; since then three of them changed and one left."""
    sync = make_people_sync(sandbox, mode="mirror")
    write_csv(sync.organization, "people.csv", people(10))
    assert run(sync).status == Status.SUCCEEDED
    rows = edited(10, r1=("Person 1", "First 1", "Boss"), r2=("Renamed", "", "Buyer"), r3=("x" * 90, "a", "b"))
    write_csv(sync.organization, "people.csv", [*rows[:5], *rows[6:], ["P9", "New", "Nina", "Buyer"]])
    return sync


def changes_of(row):
    return {each.field: (each.before, each.after) for each in row.changes if each.differs}


def test_a_preview_tells_each_change_and_sends_nothing(sync, sandbox):
    before = OrgReader(sandbox).query("SELECT Id, LastName, Title, SystemModstamp FROM Contact ORDER BY Id")
    job = run(sync, preview=True)
    assert (job.status, job.reason) == (Status.PLANNED, "")
    assert not Batch.all_objects.filter(job=job).exists()
    assert OrgReader(sandbox).query("SELECT Id, LastName, Title, SystemModstamp FROM Contact ORDER BY Id") == before
    rows = {row.key: row for row in plans.page(job).rows}
    assert set(rows) == {"P0000001", "P0000002", "P9", "P0000005"}
    assert changes_of(rows["P0000001"]) == {"Title": ("Buyer", "Boss")}
    assert changes_of(rows["P0000002"]) == {"LastName": ("Person 2", "Renamed")}
    assert rows["P9"].is_new
    assert changes_of(rows["P9"])["FirstName"] == (None, "Nina")
    left = rows["P0000005"]
    assert (left.action, left.row, left.is_new) == ("delete", None, False)
    assert changes_of(left)["LastName"] == ("Person 5", None)
    assert left.record_id
    [group] = ErrorGroup.all_objects.filter(job=job)
    assert (group.code, group.sample_row) == ("Max Length Violation", 3)
    with open_refused_rows_csv(job) as refused:
        assert b"Max Length Violation" in refused.read()


def test_a_sync_can_be_previewed_while_its_job_lives_and_while_it_is_paused(sync):
    waiting = start_job(sync, by=anybody(sync), wake=False)
    type(sync).all_objects.filter(pk=sync.pk).update(paused=True)
    assert run(sync, preview=True).status == Status.PLANNED
    first = start_job(sync, by=anybody(sync), preview=True, wake=False)
    with pytest.raises(JobRefused, match=f"already has a preview: job {first.pk}"):
        start_job(sync, by=anybody(sync), preview=True, wake=False)
    waiting.refresh_from_db()
    assert waiting.status == Status.QUEUED


def test_the_job_after_a_preview_has_the_same_plan_byte_for_byte(sync):
    preview, job = run(sync, preview=True), run(sync)
    assert job.status == Status.PARTIAL
    assert files_of(preview) == files_of(job)
    assert preview.manifests["plan"]["fingerprint"] == job.manifests["plan"]["fingerprint"]


def files_of(job):
    """The files of a plan, by what they are, with their bytes."""
    plan, _ = plans.plan_of(job)
    found = {"rows": plan.rows_file, "errors": plan.errors_file}
    found |= {f"batch {batch.number}": batch.file for batch in plan.batches}
    return {name: path.read_bytes() for name, path in found.items()}


def test_rows_are_found_by_action_and_by_what_stands_in_them(sync):
    job = run(sync, preview=True)
    assert [row.key for row in plans.page(job, action="delete").rows] == ["P0000005"]
    assert len(plans.page(job, action="unchanged").rows) == 6
    assert [row.key for row in plans.page(job, search="boss").rows] == ["P0000001"]
    # What was there counts, too.
    assert [row.key for row in plans.page(job, search="person 2").rows] == ["P0000002"]
    assert [row.key for row in plans.page(job, search="p0000005").rows] == ["P0000005"]
    assert plans.page(job, search="nowhere").rows == ()
    with pytest.raises(JobRefused, match="'merge' is no action"):
        plans.page(job, action="merge")


def test_pages_follow_each_other_over_batches_and_places_of_their_files(sandbox):
    sync = make_people_sync(sandbox, batch_rows=9_000)
    write_csv(sync.organization, "people.csv", people(20_000))
    job = run(sync, preview=True)
    assert len(job.manifests["plan"]["batches"]) == 3
    page = plans.page(job, after=8_995, limit=10)
    assert [row.key for row in page.rows] == [f"P{number:07}" for number in range(8_997, 9_007)]
    assert [changes_of(row)["LastName"][1] for row in page.rows] == [
        f"Person {number}" for number in range(8_997, 9_007)
    ]
    assert page.following == 9_005
    [last] = plans.page(job, after=19_998, limit=10).rows
    assert changes_of(last)["LastName"][1] == "Person 20000"
    [found] = plans.page(job, search="person 19876").rows or follow(job, "person 19876")
    assert found.key == "P0019876"


def follow(job, search):
    """A search that was broken off is gone on with."""
    after = -1
    while True:
        page = plans.page(job, search=search, after=after)
        if page.rows or page.following is None:
            return page.rows
        after = page.following


def test_the_plan_comes_as_csv(sync):
    job = run(sync, preview=True)
    with plans.open_plan_csv(job) as file:
        rows = {row["_key"]: row for row in csv.DictReader(io.TextIOWrapper(file, "utf-8"))}
    assert len(rows) == 4
    assert (rows["P0000001"]["Title before"], rows["P0000001"]["Title"]) == ("Buyer", "Boss")
    assert rows["P0000005"]["_action"] == "delete"
    assert rows["P0000005"]["_row"] == ""


def test_a_job_keeps_before_images_where_its_sync_asks_for_them(sync):
    assert "before" not in run(sync).manifests
    type(sync).all_objects.filter(pk=sync.pk).update(keep_before=True)
    write_csv(sync.organization, "people.csv", edited(4, r1=("Person 1", "First 1", "")))
    sync.mappings.filter(target="Title").update(when_blank="clear")
    job = run(sync)
    assert job.status == Status.WAITING_APPROVAL or job.manifests["before"]["rows"] > 0
    rows = {row.key: row for row in plans.page(job).rows}
    assert changes_of(rows["P0000001"]) == {"Title": ("Boss", None)}


def test_plan_sync_says_by_its_exit_code_whether_there_is_something_to_do(sync, capsys):
    with pytest.raises(SystemExit) as ended:
        call_command("plan_sync", sync.name)
    told = capsys.readouterr().out
    assert ended.value.code == 2
    for text in ("Title: Buyer -> Boss", "1 to delete, because they left the source", "Max Length Violation"):
        assert text in told
    write_csv(sync.organization, "people.csv", people(10))
    with pytest.raises(SystemExit) as ended:
        call_command("plan_sync", sync.name)
    assert ended.value.code == 0
    assert "Nothing to do" in capsys.readouterr().out
    sync.mappings.filter(target="Title").update(target="Nonsense__c")
    with pytest.raises(SystemExit) as ended:
        call_command("plan_sync", sync.name)
    assert ended.value.code == 1
    assert "Nonsense__c" in capsys.readouterr().out


def test_what_was_not_read_is_not_told_as_blank(sandbox, monkeypatch):
    monkeypatch.setattr("jobs.existing.FEW_KEYS", 1)
    sync = make_people_sync(sandbox)
    write_csv(sync.organization, "people.csv", people(3))
    run(sync)
    write_csv(sync.organization, "people.csv", people(3, title="Boss"))
    job = run(sync, preview=True)
    assert "before" not in job.manifests
    [first, *_] = plans.page(job).rows
    assert not any(change.known for change in first.changes)
    assert first.is_new is None


def test_a_plan_past_its_retention_says_so(sync):
    job = run(sync, preview=True)
    Job.all_objects.filter(pk=job.pk).update(files_removed_at="2026-01-01T00:00Z")
    job.refresh_from_db()
    with pytest.raises(JobRefused, match="deleted on 2026-01-01.*Preview the sync"):
        plans.page(job)
