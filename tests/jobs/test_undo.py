"""Taking a job back: what nobody has changed since is as it was before, and what somebody has is listed."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.utils import timezone

from connections.models import Connection
from jobs.errors import JobRefused
from jobs.foreground import work_on
from jobs.models import Job, Status
from jobs.results import row_errors
from jobs.start import approve_job, reject_job, start_undo
from syncs.models import Sync
from tests.factories import anybody
from tests.jobs.scenario import go_on, make_people_sync, people, run, write_csv
from tests.workers import Worker, wait_for, wait_for_end

pytestmark = pytest.mark.django_db(transaction=True)

FIELDS = "Id, External_Id__c, LastName, FirstName, Title"


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


def test_what_somebody_changed_since_stays_and_is_listed(mirrored, org, hand):
    sync, job, was = mirrored
    ids = by_key(org)
    changed, new, left = ids["P0000015"], ids["N0000003"], ids["P0000016"]
    gone = next(each for each, record in was.items() if record["External_Id__c"] == "P0000007")
    hand.update("Contact", changed, Title="Chief")
    hand.update("Contact", new, FirstName="Eva", LastName="Meier")
    hand.delete("Contact", left)
    done = undone(job)
    assert done.status == Status.PARTIAL
    # A field that the job did not write does not keep a new record; its last name does.
    assert counts(done) == {"updated": 8, "deleted": 9, "restored": 10, "rejected": 3}
    found = errors(done)
    assert set(found) == {
        (changed, "Changed Since", "Title"),
        (new, "Changed Since", "LastName"),
        (left, "Deleted Since", ""),
    }
    assert found[changed, "Changed Since", "Title"].message == (
        "Title holds 'Chief' now. The job wrote 'Owner' over 'Buyer', and somebody has changed it since, so it stays."
    )
    assert (
        "LastName holds 'Meier' now, where it held 'New 3' after the job"
        in found[new, "Changed Since", "LastName"].message
    )
    now = held(org)
    assert now[gone] == was[gone]
    assert now.pop(changed) == {**was.pop(changed), "Title": "Chief"}
    assert now.pop(new)["FirstName"] == "Eva"
    was.pop(left)
    assert now == was


def test_a_record_goes_back_as_far_as_nobody_has_changed_it(sandbox, org, hand):
    sync = make_people_sync(sandbox, keep_before=True)
    rows = people(2)
    write_csv(sync.organization, "people.csv", rows)
    run(sync)
    write_csv(sync.organization, "people.csv", [rows[0], ["P0000001", "New last", "New first", "New title"]])
    job = run(sync)
    hand.update("Contact", by_key(org)["P0000001"], Title="Chief")
    done = undone(job)
    assert (done.status, counts(done)) == (Status.PARTIAL, {"updated": 1, "violations": 1})
    assert done.reason == "1 record was taken back only in part: somebody has changed the rest since."
    (group,) = done.error_groups.all()
    assert (group.code, group.field, group.source) == ("Changed Since", "Title", "violation")
    (record,) = org.query("SELECT LastName, FirstName, Title FROM Contact WHERE External_Id__c = 'P0000001'")
    assert record == {"LastName": "Person 1", "FirstName": "First 1", "Title": "Chief"}


def test_what_is_as_it_was_already_is_left_alone(mirrored, org, hand, sandbox):
    sync, job, was = mirrored
    ids = by_key(org)
    hand.update("Contact", ids["P0000015"], Title="Buyer")
    hand.delete("Contact", ids["N0000003"])
    gone = next(each for each, record in was.items() if record["External_Id__c"] == "P0000007")
    sandbox._control("POST", "undelete", {"ids": [gone]})
    done = undone(job)
    assert counts(done) == {"updated": 9, "deleted": 9, "restored": 9, "unchanged": 3}
    assert held(org) == was


def test_deleted_records_that_were_purged_are_told_and_the_rest_goes_back(mirrored, org, sandbox):
    sync, job, was = mirrored
    sandbox._control("POST", "empty-recycle-bin", {})
    done = undone(job)
    assert (done.status, counts(done)) == (Status.PARTIAL, {"updated": 10, "deleted": 10, "rejected": 10})
    assert {code for _, code, _ in errors(done)} == {"Gone For Good"}
    assert held(org) == {each: record for each, record in was.items() if record["External_Id__c"] > "P0000010"}


def test_a_preview_sends_nothing_and_its_undo_does_what_it_said(mirrored, org):
    sync, job, was = mirrored
    now = held(org)
    preview = undo(job, preview=True)
    assert (preview.status, preview.batches.count()) == (Status.PLANNED, 0)
    assert held(org) == now
    done = undone(job)
    assert done.manifests["plan"]["fingerprint"] == preview.manifests["plan"]["fingerprint"]
    assert done.manifests["plan"]["counts"] == preview.manifests["plan"]["counts"]
    assert held(org) == was


def test_an_undo_is_undone_itself(mirrored, org):
    sync, job, was = mirrored
    after = held(org)
    first = undone(job)
    second = undone(first)
    assert (second.status, counts(second)) == (Status.SUCCEEDED, {"updated": 10, "deleted": 10, "restored": 10})
    assert held(org) == after
    third = undone(second)
    assert third.status == Status.SUCCEEDED
    assert held(org) == was


def test_a_second_undo_finds_nothing_left_to_do(mirrored, org):
    sync, job, was = mirrored
    undone(job)
    again = undo(job)
    assert (again.status, counts(again)) == (Status.SUCCEEDED, {"unchanged": 30})
    assert held(org) == was


def test_many_records_are_read_and_changed_by_bulk(mirrored, org, by_bulk, monkeypatch):
    monkeypatch.setattr("jobs.existing.FEW_KEYS", 0)
    sync, job, was = mirrored
    done = undone(job)
    assert (done.status, counts(done)) == (Status.SUCCEEDED, {"updated": 10, "deleted": 10, "restored": 10})
    assert {batch.operation: batch.lane for batch in done.batches.all()} == {
        "undelete": "collections",
        "update": "bulk",
        "delete": "bulk",
    }
    assert held(org) == was
    assert counts(run(sync)) == {"inserted": 10, "updated": 10, "unchanged": 10}


def test_expired_records_lose_their_stamp(sandbox, org):
    custom = {"on_new": "insert", "on_changed": "update", "on_dropped": "expire", "expire_field": "Last_Seen__c"}
    sync = make_people_sync(sandbox, mode="custom", keep_before=True, **custom)
    rows = people(20)
    write_csv(sync.organization, "people.csv", rows)
    run(sync)
    write_csv(sync.organization, "people.csv", rows[:15])
    job = run(sync)
    stamped = "SELECT Id FROM Contact WHERE Last_Seen__c != null"
    assert job.counts["dropped"]["expired"] == len(org.query(stamped)) == 6
    assert counts(undone(job)) == {"updated": 6}
    assert org.query(stamped) == []
    assert run(sync).counts["dropped"]["expired"] == 6


def test_a_lookup_by_a_field_of_the_parent_goes_back_to_no_parent(sandbox, org, hand):
    parent = hand.insert("Account", Name="Parent", External_Id__c="A1")
    other = hand.insert("Account", Name="Other, without a key")
    lookup = {"source_column": "account", "lookup_object": "Account", "lookup_field": "External_Id__c"}
    mappings = {"External_Id__c": "id", "LastName": "last", "AccountId": lookup}
    sync = make_people_sync(sandbox, keep_before=True, mappings=mappings)
    first = hand.insert("Contact", LastName="One", External_Id__c="P1", AccountId=other)
    second = hand.insert("Contact", LastName="Two", External_Id__c="P2")
    write_csv(sync.organization, "people.csv", [["id", "last", "account"], ["P1", "One", "A1"], ["P2", "Two", "A1"]])
    job = run(sync)
    assert (job.status, counts(job)) == (Status.SUCCEEDED, {"updated": 2}), job.reason
    asked = "SELECT Id, AccountId FROM Contact"
    assert {each["AccountId"] for each in org.query(asked)} == {parent}
    done = undone(job)
    assert (done.status, counts(done)) == (Status.SUCCEEDED, {"updated": 2}), done.reason
    assert {each["Id"]: each["AccountId"] for each in org.query(asked)} == {first: other, second: None}


def test_a_job_that_was_refused_rows_is_undone_as_far_as_it_came(sandbox, org):
    sync = make_people_sync(sandbox, keep_before=True)
    rows = people(20)
    write_csv(sync.organization, "people.csv", rows)
    run(sync)
    was = held(org)
    error = {"code": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "no", "times": None}
    rule = {"action": "refuse_rows", "object": "Contact", "field": "LastName", "matches": "[05]$"}
    sandbox.faults({**rule, **error})
    write_csv(sync.organization, "people.csv", people(30, title="Owner"))
    job = run(sync)
    assert (job.status, counts(job)) == (Status.PARTIAL, {"inserted": 8, "updated": 16, "failed": 6})
    sandbox.clear_faults()
    done = undone(job)
    assert (done.status, counts(done)) == (Status.SUCCEEDED, {"updated": 16, "deleted": 8})
    assert held(org) == was


def test_rows_of_unknown_outcome_are_undone_where_salesforce_shows_them(sandbox, org, hand):
    sync = make_people_sync(sandbox, mode="insert", keep_before=True)
    write_csv(sync.organization, "people.csv", people(10))
    job = run(sync)
    assert counts(job) == {"inserted": 10}
    # As if the results had been lost: what was made is found by its key.
    batch = job.batches.get()
    unknown = Path(batch.outcomes[0]["file"]).with_name("unknown.parquet")
    final = job.manifests["final"]
    table = pq.read_table(final["outcomes_file"])
    lost = pa.array(["unknown"] * table.num_rows)
    table = table.set_column(table.schema.get_field_index("outcome"), "outcome", lost)
    table = table.set_column(table.schema.get_field_index("record_id"), "record_id", pa.nulls(10, pa.string()))
    pq.write_table(table, unknown)
    job.manifests = {**job.manifests, "final": {**final, "outcomes_file": str(unknown)}}
    job.counts = {**job.counts, "inserted": 0, "unknown": 10}
    job.save()
    (gone, *_) = ids = sorted(by_key(org).items())
    hand.delete("Contact", gone[1])
    done = undone(job)
    assert (done.status, counts(done)) == (Status.SUCCEEDED, {"deleted": 9, "unchanged": 1}), errors(done)
    assert len(ids) == 10 and held(org) == {}


@pytest.mark.parametrize("action", ["lose_answer", "expire_token"])
def test_a_lost_answer_to_a_restore_counts_as_what_became_of_it(mirrored, org, sandbox, settings, action):
    settings.SFSYNC_RETRY_SECONDS, settings.SFSYNC_LONGEST_CALL_SECONDS = 0.01, 0.2
    sync, job, was = mirrored
    sandbox.faults({"method": "POST", "path": "/services/Soap/u/", "nth": 1, "action": action})
    done = undone(job)
    assert (done.status, counts(done)) == (Status.SUCCEEDED, {"updated": 10, "deleted": 10, "restored": 10})
    assert held(org) == was


def test_what_cannot_be_undone_is_refused_with_the_way_out(sandbox, org, hand):
    sync = make_people_sync(sandbox)
    write_csv(sync.organization, "people.csv", people(3))
    first = run(sync)
    preview = run(sync, preview=True)
    with pytest.raises(JobRefused, match="is a preview. It sent nothing"):
        undo(preview)
    Sync.all_objects.filter(pk=sync.pk).update(approval="always")
    write_csv(sync.organization, "people.csv", people(3, title="Nobody"))
    rejected = run(sync)
    reject_job(rejected, by=anybody(sync))
    with pytest.raises(JobRefused, match="changed nothing in Salesforce"):
        undo(rejected)
    Sync.all_objects.filter(pk=sync.pk).update(approval="guards")
    write_csv(sync.organization, "people.csv", people(3))
    nothing = run(sync)
    with pytest.raises(JobRefused, match="changed nothing in Salesforce"):
        undo(nothing)
    write_csv(sync.organization, "people.csv", people(3, title="Owner"))
    changed = run(sync)
    with pytest.raises(JobRefused, match="'Keep before-images' in the sync"):
        undo(changed)
    Job.all_objects.filter(pk=first.pk).update(files_removed_at=timezone.now())
    with pytest.raises(JobRefused, match="past their retention"):
        undo(Job.all_objects.get(pk=first.pk))
    Job.all_objects.filter(pk=first.pk).update(files_removed_at=None)
    Connection.all_objects.filter(pk=sync.destination_id).update(salesforce_org_id="00D000000000009AAA")
    with pytest.raises(JobRefused, match="leads to 00D000000000009AAA by now"):
        undo(Job.all_objects.get(pk=first.pk))
    Connection.all_objects.filter(pk=sync.destination_id).update(salesforce_org_id=first.salesforce_org_id)
    # Inserts need no before-images; those that a later job changed stay.
    waiting = undo(Job.all_objects.get(pk=first.pk))
    assert (waiting.status, counts(waiting)) == (Status.PARTIAL, {"rejected": 3})
    live = start_undo(Job.all_objects.get(pk=first.pk), by=anybody(sync), wake=False)
    with pytest.raises(JobRefused, match="already has a job"):
        start_undo(Job.all_objects.get(pk=first.pk), by=anybody(sync), wake=False)
    with pytest.raises(JobRefused, match="It can be undone when it has ended"):
        undo(live)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, None])
def test_an_undo_whose_worker_is_killed_at_random_moments_ends_the_same(mirrored, org, sandbox, seed):
    sync, job, was = mirrored
    seed = random.randrange(10**6) if seed is None else seed
    moments = random.Random(seed)
    waiting = undo(job)
    hold = hold_some_call(sandbox, moments)
    approve_job(waiting, by=anybody(waiting))
    worker = Worker(concurrency=2, SFSYNC_LONGEST_CALL_SECONDS="1")
    kills = 0
    try:
        while kills < 8 and is_held(sandbox, waiting, hold):
            if moments.random() < 0.5:
                # Somewhere between this call and the next one.
                sandbox.release(hold)
                time.sleep(moments.uniform(0, 0.1))
            worker.kill()
            kills += 1
            sandbox.release(hold)
            hold = hold_some_call(sandbox, moments)
            worker.start()
        sandbox.clear_faults()
        done = wait_for_end(waiting)
    finally:
        worker.stop()
    assert kills, seed
    assert done.status == Status.SUCCEEDED, (seed, done.reason)
    assert counts(done) == {"updated": 10, "deleted": 10, "restored": 10}, seed
    assert held(org) == was, seed


def hold_some_call(sandbox, moments):
    action = moments.choice(["hold_before", "hold_after"])
    return sandbox.faults({"action": action, "path": "", "nth": moments.randint(1, 4), "seconds": 60})[-1]["id"]


def is_held(sandbox, job, rule):
    """Whether the call is held; False when the job ends without it."""

    def found():
        job.refresh_from_db()
        held = any(each["id"] == rule and each["held"] for each in sandbox.fault_rules())
        return "held" if held else "" if job.is_live else "ended"

    return wait_for(found, "a held call, or the end") == "held"
