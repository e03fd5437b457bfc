"""The first rows of a plan go alone; behind them nothing moves until somebody lets it, whatever is killed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from jobs.errors import JobRefused
from jobs.load import advance_batch
from jobs.models import Batch, BatchState, Job, Status
from jobs.start import approve_job, cancel_job, reject_job, start_again, start_job
from jobs.sweep import claim_due, sweep
from orgs.models import Role
from syncs.models import FieldMapping, Sync
from tests.factories import anybody, make_member
from tests.jobs.scenario import go_on, make_people_sync, people, run, write_csv
from tests.workers import Worker, wait_for, wait_for_end

pytestmark = pytest.mark.django_db(transaction=True)

REFUSAL = {
    "action": "refuse_rows",
    "object": "Contact",
    "field": "LastName",
    "matches": "Person 3$",
    "code": "DUPLICATES_DETECTED",
    "message": "no",
}


@pytest.fixture
def sync(sandbox):
    sync = make_people_sync(sandbox)
    write_csv(sync.organization, "people.csv", people(50))
    return sync


@pytest.fixture
def waiting(sync, sandbox):
    """A job whose canary of ten rows was sent; one of them was refused."""
    sandbox.faults(REFUSAL)
    job = run(sync, canary=10)
    assert job.status == Status.WAITING_APPROVAL
    return job


def keys(org):
    return {record["External_Id__c"] for record in org.query("SELECT External_Id__c FROM Contact")}


def keys_of(*numbers):
    return {f"P{number:07}" for number in numbers}


TEN = keys_of(*range(1, 3), *range(4, 11))


def approve(job):
    job = Job.all_objects.get(pk=job.pk)
    approve_job(job, by=anybody(job), wake=False)
    return go_on(job)


def test_a_canary_tells_what_became_of_its_rows_and_holds_nothing(waiting, org):
    told = "Canary: 10 rows were sent: 9 inserted, 1 refused (DUPLICATES_DETECTED). 40 rows are left."
    assert waiting.reason == f"{told} Let it go on, or reject it."
    assert keys(org) == TEN
    held = wait_for(lambda: Job.all_objects.filter(pk=waiting.pk, token="").first(), "the end of the last step")
    assert (held.load_slot, held.lease_until, held.canary_done) == (None, None, False)
    assert claim_due() == []


def test_nobody_starts_a_batch_behind_a_canary_not_even_when_told_to(waiting, org):
    behind = Batch.all_objects.get(job=waiting, wave=1)
    for status, slot in ((Status.WAITING_APPROVAL, None), (Status.LOADING, "mine")):
        Job.all_objects.filter(pk=waiting.pk).update(status=status, load_slot=slot)
        assert [pk for task, pk in claim_due() if pk == behind.pk and "batch" in task] == []
        advance_batch(behind.pk)
        behind.refresh_from_db()
        assert (behind.state, behind.attempt) == (BatchState.PLANNED, 0)
    assert keys(org) == TEN


def test_let_go_on_the_rest_is_sent(waiting, org):
    job = approve(waiting)
    assert (job.status, job.canary_done) == (Status.PARTIAL, True)
    assert (job.counts["inserted"], job.counts["failed"], job.counts["not_sent"]) == (49, 1, 0)
    assert keys(org) == keys_of(*range(1, 51)) - keys_of(3)


def test_rejected_what_was_sent_counts_and_is_known(waiting, sync, org):
    job = Job.all_objects.get(pk=waiting.pk)
    reject_job(job, by=anybody(job), reason="look at row 3", wake=False)
    assert job.status == Status.CANCELLING
    job = go_on(job)
    assert (job.status, job.reason) == (Status.CANCELLED, "Rejected by alice: look at row 3")
    assert (job.counts["inserted"], job.counts["failed"], job.counts["not_sent"]) == (9, 1, 40)
    assert keys(org) == TEN
    assert run(sync, preview=True).manifests["plan"]["counts"]["unchanged"] == 9


def test_a_canary_is_rejected_without_salesforce(waiting, sandbox):
    sandbox.faults({"action": "maintenance"})
    job = Job.all_objects.get(pk=waiting.pk)
    cancel_job(job, by=anybody(job))
    assert go_on(job).status == Status.CANCELLED
    assert job.batches.get(wave=1).unresolved == "not_sent"


@pytest.mark.slow
def test_a_canary_that_nobody_looked_at_in_time_ends_as_failed_and_counts(waiting, sync, settings):
    long_ago = timezone.now() - timedelta(hours=settings.SFSYNC_APPROVAL_HOURS, seconds=1)
    Job.all_objects.filter(pk=waiting.pk).update(planned_at=long_ago)
    with pytest.raises(JobRefused, match="older than"):
        approve_job(Job.all_objects.get(pk=waiting.pk), by=anybody(waiting))
    sweep()
    job = go_on(waiting)
    assert job.status == Status.FAILED
    assert job.reason == (
        "Nobody approved the plan within 72 hours: what the canary sent counts, the rest was not sent."
    )
    assert (job.counts["inserted"], job.counts["not_sent"]) == (9, 40)
    assert run(sync, preview=True).manifests["plan"]["counts"]["unchanged"] == 9


def test_a_change_behind_a_canary_makes_the_rest_void(waiting, sync, org):
    approve_job(waiting, by=anybody(waiting), wake=False)
    FieldMapping.all_objects.filter(sync=sync, target="Title").delete()
    job = go_on(waiting)
    assert job.status == Status.FAILED
    assert "the mapping of Title. So the approval is void. What the canary sent counts" in job.reason
    assert (job.counts["inserted"], job.counts["not_sent"]) == (9, 40)
    assert keys(org) == TEN


def test_a_change_while_a_canary_waits_leaves_only_to_reject_the_rest(waiting, sync):
    FieldMapping.all_objects.filter(sync=sync, target="Title").delete()
    with pytest.raises(JobRefused, match="So the plan is void. Reject it"):
        approve_job(Job.all_objects.get(pk=waiting.pk), by=anybody(waiting))


def test_a_guard_comes_before_the_canary(sync, org):
    Sync.all_objects.update(approval="always")
    job = run(sync, canary=10)
    assert "always asks for approval; 50 rows" in job.reason
    assert org.count("Contact") == 0
    job = approve(job)
    assert job.status == Status.WAITING_APPROVAL and "Canary: 10 rows were sent: 10 inserted." in job.reason
    # Somebody still looks at the page of the first decision.
    with pytest.raises(JobRefused, match="waits for another decision by now"):
        approve_job(job, by=anybody(job), of_canary=False)
    assert org.count("Contact") == 10
    assert approve(job).status == Status.SUCCEEDED
    assert org.count("Contact") == 50


def test_a_canary_of_all_rows_has_nothing_to_wait_for(sync, org):
    assert run(sync, canary=50).status == Status.SUCCEEDED
    assert run(sync, canary=5).status == Status.SUCCEEDED, "nothing to send"


def test_a_canary_that_salesforce_refuses_as_a_whole_says_so(sync, sandbox, org):
    sandbox.faults(
        {"action": "status", "method": "PATCH", "path": "sobjects", "status": 400, "code": "BAD", "times": 9}
    )
    job = run(sync, canary=10)
    assert job.status == Status.WAITING_APPROVAL
    assert job.reason.startswith("Canary: 10 rows were sent: 10 not sent (Salesforce refused a call:")
    sandbox.clear_faults()
    reject_job(job, by=anybody(job), wake=False)
    assert go_on(job).counts["not_sent"] == 50
    assert org.count("Contact") == 0


def test_a_canary_has_the_first_rows_whatever_is_done_with_them(sandbox, org, hand):
    """Updates and inserts, mixed."""
    sync = make_people_sync(sandbox, key_fields=["LastName"])
    for number in (2, 4, 6, 20):
        hand.insert("Contact", LastName=f"Person {number}", Title="Old")
    write_csv(sync.organization, "people.csv", people(30, title="New"))
    job = run(sync, canary=5)
    assert "5 rows were sent: 3 inserted, 2 updated" in job.reason
    new = {record["LastName"] for record in org.query("SELECT LastName FROM Contact WHERE Title = 'New'")}
    assert new == {f"Person {number}" for number in range(1, 6)}
    assert approve(job).counts["updated"] == 4
    assert org.count("Contact") == 30


def test_parents_go_before_their_children_behind_a_canary_too(sandbox, org):
    sync = make_people_sync(
        sandbox,
        object="Account",
        mappings={
            "External_Id__c": "id",
            "Name": "last",
            "ParentId": {"source_column": "first", "lookup_object": "Account", "lookup_field": "External_Id__c"},
        },
    )
    rows = [["id", "last", "first"], *([f"C{n}", f"Child {n}", f"P{n}"] for n in range(4))]
    rows += [[f"P{n}", f"Parent {n}", ""] for n in range(4)]
    write_csv(sync.organization, "people.csv", rows)
    job = run(sync, canary=2)
    assert keys_in(org, "Account") == {"P0", "P1"}
    job = approve(job)
    assert (job.status, job.counts["inserted"]) == (Status.SUCCEEDED, 8)


def keys_in(org, object):
    return {record["External_Id__c"] for record in org.query(f"SELECT External_Id__c FROM {object}")}


@pytest.mark.parametrize("options", [{"baseline": True}, {"preview": True}])
def test_what_sends_nothing_takes_no_canary(sync, options):
    with pytest.raises(JobRefused, match="A canary sends the first rows of a plan"):
        start_job(sync, by=anybody(sync), canary=10, **options)


@pytest.mark.parametrize("rows", [0, -1, 1_000_001])
def test_a_canary_has_some_rows(sync, rows):
    with pytest.raises(JobRefused, match="A canary has 1 to 1,000,000 rows"):
        start_job(sync, by=anybody(sync), canary=rows)


def test_a_job_with_a_canary_is_run_again_with_it(waiting):
    reject_job(waiting, by=anybody(waiting), wake=False)
    go_on(waiting)
    assert start_again(waiting, by=anybody(waiting), wake=False).canary_rows == 10


# --- pages, commands ---


def test_a_canary_is_started_and_let_go_on_in_the_admin(sync, client):
    client.force_login(make_member(sync.organization, "carol", Role.OWNER))
    start = f"/admin/syncs/sync/{sync.pk}/start/"
    assert 'name="canary"' in client.get(start).content.decode()
    client.post(start, {"asked": "1", "canary": "ten"})
    assert not Job.all_objects.exists()
    client.post(start, {"asked": "1", "canary": "10"})
    job = go_on(Job.all_objects.get())
    page = f"/admin/jobs/job/{job.pk}/"
    shown = client.get(f"{page}change/").content.decode()
    assert "Canary: 10 rows were sent: 10 inserted." in shown and ">Let it go on</button>" in shown
    assert "Nothing was sent yet" not in shown
    client.post(f"{page}approve/", {"of_canary": "yes"})
    assert go_on(job).status == Status.SUCCEEDED


def test_a_canary_is_started_and_rejected_in_a_shell(sync, capsys):
    with pytest.raises(SystemExit) as ended:
        call_command("run_sync", sync.name, canary=10)
    assert ended.value.code == 3
    job = Job.all_objects.get()
    assert "Canary: 10 rows were sent" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit) as ended:
        call_command("reject_job", str(job.pk), here=True, reason="no")
    assert ended.value.code == 1
    job.refresh_from_db()
    assert (job.status, job.counts["inserted"]) == (Status.CANCELLED, 10)


# --- whatever is killed ---


@pytest.mark.slow
@pytest.mark.parametrize("lane", ["collections", "bulk"])
def test_workers_that_are_killed_around_the_end_of_a_canary_send_nothing_behind_it(sandbox, org, lane):
    sync = make_people_sync(sandbox, **({"duplicate_rules": "allow_save"} if lane == "collections" else {}))
    write_csv(sync.organization, "people.csv", people(2500))
    first = {"method": "PATCH", "path": "sobjects" if lane == "collections" else "/jobs/ingest/[^/]+/?$"}
    last = first if lane == "collections" else {"method": "GET", "path": "/successfulResults/?$"}
    worker = Worker(SFSYNC_LONGEST_CALL_SECONDS="0.2")
    try:
        job = start_job(sync, by=anybody(sync), canary=10)
        for call, action in ((first, "hold_before"), (last, "hold_after")):
            (rule,) = sandbox.faults({**call, "nth": 1, "action": action, "seconds": 120})[-1:]
            wait_for(lambda rule=rule: is_held(sandbox, rule), f"a call held by {action}")
            worker.kill()
            sandbox.release(rule["id"])
            worker.start()
        # And again and again, from the last answer of the canary until it waits.
        deadline = timezone.now() + timedelta(seconds=60)
        while Job.all_objects.get(pk=job.pk).status != Status.WAITING_APPROVAL:
            assert timezone.now() < deadline
            assert set(sent_of(job)) <= {0}
            if Batch.all_objects.filter(job=job, wave=0, state=BatchState.DONE).exists():
                worker.kill()
                worker.start()
                wait_for_end(job)
        sweep()
        assert keys(org) == keys_of(*range(1, 11))
        assert set(sent_of(job)) == {0}
        job = Job.all_objects.get(pk=job.pk)
        approve_job(job, by=anybody(job))
        worker.kill()
        worker.start()
        job = wait_for_end(job)
    finally:
        worker.stop()
    assert (job.status, job.counts["not_sent"], job.counts["unknown"]) == (Status.SUCCEEDED, 0, 0)
    assert job.counts["inserted"] + job.counts["updated"] == 2500
    assert org.count("Contact") == 2500


def is_held(sandbox, rule):
    return any(each["held"] for each in sandbox.fault_rules() if each["id"] == rule["id"])


def sent_of(job):
    """The waves of batches of which anything was sent."""
    return Batch.all_objects.filter(job=job, attempt__gt=0).values_list("wave", flat=True)
