"""The lane of few rows: what becomes of a call is settled by the rows themselves, and no row is there twice."""

from __future__ import annotations

import dataclasses
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from connections.salesforce import collections
from jobs.collections_lane import CollectionsLane
from jobs.load import advance_batch
from jobs.models import Batch, BatchState, JobEvent, Status
from jobs.run import run_job
from jobs.start import cancel_job, start_job
from tests.factories import anybody
from tests.jobs.scenario import go_on, make_people_sync, people, run, write_csv

pytestmark = pytest.mark.django_db(transaction=True)

WRITE = {"method": "POST|PATCH|DELETE", "path": "/composite/sobjects"}


@pytest.fixture(autouse=True)
def impatient(settings):
    settings.SFSYNC_RETRY_SECONDS = 0.01
    settings.SFSYNC_LONGEST_CALL_SECONDS = 0.2


def make(sandbox, rows=450, *, spec=None, monkeypatch=None, **changes):
    sync = make_people_sync(sandbox, **changes)
    write_csv(sync.organization, "people.csv", people(rows))
    if spec:
        plain = type(sync).spec
        monkeypatch.setattr(
            type(sync), "spec", lambda self, *given, **named: dataclasses.replace(plain(self, *given, **named), **spec)
        )
    return sync


def told(job):
    return "\n".join(event.text for event in JobEvent.all_objects.filter(job=job))


def counts(job):
    dropped = {f"dropped {name}": rows for name, rows in job.counts["dropped"].items() if rows}
    source = {name: rows for name, rows in job.counts.items() if isinstance(rows, int) and rows and name != "read"}
    return source | dropped


def keys(org, object="Contact"):
    return sorted(record["External_Id__c"] for record in org.query(f"SELECT External_Id__c FROM {object}"))


def test_few_rows_take_one_call_for_two_hundred(sandbox, org):
    sync = make(sandbox, mode="mirror")
    job = run(sync)
    assert (job.status, counts(job)) == (Status.SUCCEEDED, {"inserted": 450})
    (batch,) = job.batches.all()
    assert (batch.lane, batch.attempt, batch.state) == ("collections", 1, BatchState.DONE)
    assert batch.api_calls == 3 and not sandbox.state()["jobs"]
    write_csv(sync.organization, "people.csv", people(440, title="Owner"))
    job = run(sync)
    assert (job.status, counts(job)) == (
        Status.SUCCEEDED,
        {"updated": 440, "dropped dropped": 10, "dropped deleted": 10},
    )
    assert {record["Title"] for record in org.query("SELECT Title FROM Contact")} == {"Owner"}
    assert counts(run(sync)) == {"unchanged": 440}


def test_rows_that_are_refused_stand_beside_those_that_are_taken(sandbox):
    refusal = {
        "action": "refuse_rows",
        "object": "Contact",
        "field": "LastName",
        "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
    }
    sandbox.faults({**refusal, "matches": "^Person 2[0-9]$", "message": "Not: this, one"})
    job = run(make(sandbox))
    assert (job.status, counts(job)) == (Status.PARTIAL, {"inserted": 440, "failed": 10})
    group = job.error_groups.get()
    assert (group.code, group.rows, group.sample_message) == ("FIELD_CUSTOM_VALIDATION_EXCEPTION", 10, "Not: this, one")


@pytest.mark.parametrize("action", ["lose_answer", "twice"])
@pytest.mark.parametrize("known", [0, 300])
def test_an_answer_that_is_lost_or_given_twice_changes_nothing(action, known, sandbox, org):
    """Rows that the lost call made count as inserted, although they are found when they are sent again."""
    sync = make(sandbox)
    if known:
        write_csv(sync.organization, "people.csv", people(known, title="Before"))
        run(sync)
        write_csv(sync.organization, "people.csv", people(450))
        wait_a_second()
    sandbox.faults({**WRITE, "nth": 2, "action": action})
    job = run(sync)
    assert sandbox.fault_rules()[-1]["fired"] == 1
    if action == "lose_answer":
        assert "was lost" in told(job)
        wanted = {"inserted": 450 - known, **({"updated": known} if known else {})}
        assert counts(job) == wanted
    # Of a call that arrived twice, Salesforce's answer is that to the second time.
    assert job.status == Status.SUCCEEDED
    assert keys(org) == [f"P{number:07}" for number in range(1, 451)]
    assert counts(run(sync)) == {"unchanged": 450}


def wait_a_second():
    """Salesforce tells times in seconds: what was made before is then older than what is made next."""
    time.sleep(2.1)


def test_a_call_that_never_arrived_is_sent_again_after_the_keys_were_read(sandbox, org):
    sandbox.faults({**WRITE, "nth": 1, "action": "status", "status": 502, "html": True})
    job = run(make(sandbox))
    assert (job.status, counts(job)) == (Status.SUCCEEDED, {"inserted": 450})
    assert len(keys(org)) == 450


def test_deletes_whose_answer_was_lost_count_as_deleted(sandbox, org):
    sync = make(sandbox, 50, mode="mirror")
    run(sync)
    write_csv(sync.organization, "people.csv", people(45))
    sandbox.faults({"method": "DELETE", "path": "/composite/sobjects", "action": "lose_answer"})
    job = run(sync)
    assert (job.status, counts(job)["dropped deleted"]) == (Status.SUCCEEDED, 5)
    assert len(keys(org)) == 45


def test_inserts_that_must_go_by_calls_are_settled_by_their_keys(sandbox, org, monkeypatch):
    sync = make(sandbox, mode="insert", spec={"duplicate_rules": "allow_save"}, monkeypatch=monkeypatch)
    sandbox.faults({**WRITE, "nth": 2, "action": "lose_answer"})
    job = run(sync)
    assert {batch.lane for batch in job.batches.all()} == {"collections"}
    assert (job.status, counts(job)) == (Status.SUCCEEDED, {"inserted": 450})
    assert len(keys(org)) == 450
    assert sum("/composite/sobjects" in call["path"] for call in sandbox.requests()["requests"]) == 3


def test_inserts_without_a_key_whose_answer_was_lost_are_unknown_and_never_sent_again(sandbox, org, monkeypatch):
    changes = {"mode": "insert", "compare": "nothing", "key_fields": ()}
    sync = make(sandbox, spec={"duplicate_rules": "allow_save"}, monkeypatch=monkeypatch, **changes)
    sandbox.faults({**WRITE, "nth": 2, "action": "lose_answer"})
    job = run(sync)
    assert (job.status, counts(job)) == (Status.FAILED, {"inserted": 250, "unknown": 200})
    assert "nobody can tell what became of its rows" in job.reason
    assert org.count("Contact") == 450


def test_a_worker_that_takes_over_waits_until_salesforce_is_done_with_the_call(sandbox, org, monkeypatch, settings):
    settings.SFSYNC_LONGEST_CALL_SECONDS = 300
    sync = make(sandbox)
    job = start_job(sync, by=anybody(sync), wake=False)
    run_job(job.pk)
    batch = Batch.all_objects.get(job=job)

    class Killed(BaseException):
        pass

    upsert = collections.upsert

    def die_after(*args):
        upsert(*args)
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(collections, "upsert", die_after)
        advance_batch(batch.pk)
    batch.refresh_from_db()
    assert (batch.state, batch.calls["sending"]["rows"], batch.calls["done"]) == (BatchState.SENDING, 200, [])
    advance_batch(batch.pk)
    batch.refresh_from_db()
    assert batch.calls["sending"] is not None and batch.next_poll_at > timezone.now() + timedelta(seconds=10)
    assert len(keys(org)) == 200
    settings.SFSYNC_LONGEST_CALL_SECONDS = 0
    Batch.all_objects.filter(pk=batch.pk).update(next_poll_at=timezone.now())
    job = go_on(job)
    assert (job.status, counts(job)) == (Status.SUCCEEDED, {"inserted": 450})
    assert len(keys(org)) == 450


def test_a_cancel_between_two_calls_keeps_what_was_answered(sandbox, org, monkeypatch):
    sync = make(sandbox)
    job = start_job(sync, by=anybody(sync), wake=False)
    call = CollectionsLane._call

    def cancel_first(self, each):
        job.refresh_from_db()
        if job.status == Status.LOADING:
            cancel_job(job, by=anybody(job))
        return call(self, each)

    monkeypatch.setattr(CollectionsLane, "_call", cancel_first)
    job = go_on(job)
    assert (job.status, counts(job)) == (Status.CANCELLED, {"inserted": 200, "not_sent": 250})
    assert len(keys(org)) == 200


def test_an_object_that_is_refused_ends_the_batch_with_what_was_sent(sandbox, org):
    sandbox.faults({**WRITE, "nth": 2, "action": "status", "status": 404, "code": "NOT_FOUND", "message": "no field"})
    job = run(make(sandbox))
    assert (job.status, counts(job)) == (Status.FAILED, {"inserted": 200, "not_sent": 250})
    assert "Salesforce refused a call" in job.reason and "no field" in job.reason


def test_a_value_that_cannot_be_read_costs_its_row_only(sandbox, org, monkeypatch):
    upsert = collections.upsert

    def refuse(session, object, key, records, options):
        if any(b'"P0000007"' in record for record in records):
            records = [b'"no record"', *records][:200]
        return upsert(session, object, key, records, options)

    monkeypatch.setattr(collections, "upsert", refuse)
    job = run(make(sandbox))
    assert (job.status, counts(job)) == (Status.PARTIAL, {"inserted": 449, "failed": 1})
    assert job.error_groups.get().code == "JSON_PARSER_ERROR"
    assert Batch.all_objects.get(job=job).api_calls < 40


def test_events_are_published_and_a_lost_answer_publishes_them_again(sandbox):
    sync = make_people_sync(
        sandbox,
        object="Order_Event__e",
        mode="insert",
        compare="nothing",
        key_fields=(),
        mappings={"Order_Number__c": "id", "Note__c": "last", "Amount__c": {"constant": "12.50"}},
    )
    write_csv(sync.organization, "people.csv", people(250))
    sandbox.faults({**WRITE, "nth": 2, "action": "lose_answer"})
    job = run(sync)
    assert (job.status, counts(job)) == (Status.SUCCEEDED, {"inserted": 250}), (job.reason, told(job))
    assert {batch.lane for batch in job.batches.all()} == {"events"}
    assert sum("/composite/sobjects" in call["path"] for call in sandbox.requests()["requests"]) == 3


def test_events_that_salesforce_refuses_are_told(sandbox):
    sync = make_people_sync(
        sandbox,
        object="Order_Event__e",
        mode="insert",
        compare="nothing",
        key_fields=(),
        mappings={"Order_Number__c": "id", "Ship_Date__c": {"constant": "2024-02-01"}},
    )
    rows = people(10)
    write_csv(sync.organization, "people.csv", rows)
    sandbox.faults({**WRITE, "action": "status", "status": 400, "code": "LIMIT_EXCEEDED", "message": "too many"})
    assert counts(run(sync)) == {"inserted": 10}


def test_events_can_be_published_only(sandbox):
    sync = make_people_sync(
        sandbox, object="Order_Event__e", key_fields=["Order_Number__c"], mappings={"Order_Number__c": "id"}
    )
    write_csv(sync.organization, "people.csv", people(10))
    job = run(sync)
    assert job.status == Status.FAILED
    assert "Choose the mode 'insert' and compare = nothing, without a sync key" in job.reason


def test_hard_deletes_go_by_bulk_and_a_missing_permission_is_told(sandbox, org, monkeypatch):
    sync = make(sandbox, 20, mode="mirror", spec={"hard_delete": True}, monkeypatch=monkeypatch)
    run(sync)
    write_csv(sync.organization, "people.csv", people(19))
    create = {"method": "POST", "path": "/jobs/ingest/?$"}
    sandbox.faults({**create, "action": "status", "status": 400, "code": "FEATURENOTENABLED", "message": "no"})
    job = run(sync)
    assert (job.status, counts(job)["dropped not_sent"]) == (Status.FAILED, 1)
    assert "hard delete needs 'Bulk API Hard Delete'" in job.reason
    job = run(sync)
    assert (job.status, counts(job)["dropped deleted"]) == (Status.SUCCEEDED, 1)
    assert [one["operation"] for one in sandbox.state()["jobs"]] == ["hardDelete"]


def test_a_wave_waits_for_the_end_of_the_one_below(sandbox, org, by_bulk):
    sync = make(sandbox, 300, batch_rows=100)
    job = start_job(sync, by=anybody(sync), wake=False)
    run_job(job.pk)
    for batch in Batch.all_objects.filter(job=job):
        Batch.all_objects.filter(pk=batch.pk).update(wave=3 - batch.number)
    job = go_on(job)
    assert job.status == Status.SUCCEEDED
    made = org.query("SELECT External_Id__c FROM Contact ORDER BY Id")
    first = [(int(record["External_Id__c"][1:]) - 1) // 100 for record in made]
    assert first == sorted(first, reverse=True)


def test_a_stuck_salesforce_job_is_aborted_and_its_rest_sent_anew(sandbox, org, by_bulk, settings):
    settings.SFSYNC_STUCK_HOURS = 0.0001
    settings.SFSYNC_TICK_SECONDS = 0.1
    sandbox.faults({"action": "slow_job", "nth": 1, "seconds": 30})
    job = run(make(sandbox, 100))
    assert (job.status, counts(job)) == (Status.SUCCEEDED, {"inserted": 100}), job.reason
    assert "has done nothing for" in told(job) and Batch.all_objects.get(job=job).attempt == 2
