"""One row, sent alone, with the exact request and answer; and nothing secret among them."""

from __future__ import annotations

import json

import pytest
import requests
from django.core.management import CommandError, call_command

from connections.salesforce.exchanges import Recorder
from jobs import exchanges
from jobs.errors import JobRefused
from jobs.models import Job, JobEvent, Status
from jobs.start import start_job
from orgs.models import Role
from tests.factories import anybody, make_member, make_organization
from tests.jobs.scenario import KEYED, go_on, make_people_sync, people, run, write_csv

pytestmark = pytest.mark.django_db(transaction=True)

REFUSAL = {
    "action": "refuse_rows",
    "object": "Contact",
    "field": "LastName",
    "matches": "Person 3$",
    "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
    "message": "no threes",
}


@pytest.fixture
def sync(sandbox):
    sync = make_people_sync(sandbox)
    rows = people(20)
    rows[5][1], rows[6][0] = "", rows[7][0]
    write_csv(sync.organization, "people.csv", rows)
    return sync


def test_a_row_of_a_preview_is_sent_alone(sync, org, sandbox):
    preview = run(sync, preview=True)
    job = run(sync, replay_of=preview, test_row=2)
    assert (job.status, job.counts["read"], job.counts["inserted"]) == (Status.SUCCEEDED, 1, 1)
    assert [record["External_Id__c"] for record in org.query("SELECT External_Id__c FROM Contact")] == ["P0000002"]
    (exchange,) = exchanges.exchanges_of(job)
    assert (exchange["method"], exchange["status"]) == ("PATCH", 200)
    assert exchange["path"] == "/services/data/v62.0/composite/sobjects/Contact/External_Id__c"
    sent = {"External_Id__c": "P0000002", "LastName": "Person 2", "FirstName": "First 2", "Title": "Buyer"}
    body = {"allOrNone": False, "records": [{"attributes": {"type": "Contact"}, **sent}]}
    assert json.loads(exchange["request_body"]) == body
    assert json.loads(exchange["answer_body"])[0]["success"] is True
    assert exchange["request_headers"]["Content-Type"].startswith("application/json")
    # What is known of the other records is still known.
    assert run(sync, preview=True).manifests["plan"]["counts"]["unchanged"] == 1


def test_a_refused_row_is_sent_alone_although_it_is_known_what_comes(sync, sandbox):
    sandbox.faults({**REFUSAL, "times": None})
    job = run(sync)
    test = run(sync, replay_of=job, test_row=3)
    assert (test.status, test.counts["failed"]) == (Status.PARTIAL, 1)
    assert "no threes" in exchanges.exchanges_of(test)[0]["answer_body"]


def test_a_row_that_salesforce_holds_already_is_sent_all_the_same(sync):
    job = run(sync)
    assert run(sync, replay_of=job, test_row=2).counts["updated"] == 1


def test_a_row_that_breaks_a_rule_is_not_sent(sync):
    test = run(sync, replay_of=run(sync), test_row=5)
    assert (test.status, test.counts["rejected"]) == (Status.PARTIAL, 1)
    assert exchanges.exchanges_of(test) == []


def test_nothing_is_deleted_by_a_test(sandbox, org):
    sync = make_people_sync(sandbox, mode="mirror")
    write_csv(sync.organization, "people.csv", people(5))
    job = run(sync)
    assert run(sync, replay_of=job, test_row=1).counts["dropped"]["deleted"] == 0
    assert org.count("Contact") == 5


def test_an_insert_with_a_key_goes_by_one_call(sandbox, org):
    sync = make_people_sync(sandbox, mode="insert")
    write_csv(sync.organization, "people.csv", people(5))
    job = run(sync, replay_of=run(sync, preview=True), test_row=4)
    assert job.batches.get().lane == "collections"
    (exchange,) = exchanges.exchanges_of(job)
    assert (exchange["method"], exchange["path"]) == ("POST", "/services/data/v62.0/composite/sobjects")
    assert org.count("Contact") == 1


def test_an_insert_without_a_key_goes_by_bulk_and_says_so(sandbox, org):
    sync = make_people_sync(sandbox, key_fields=[], mode="insert", compare="nothing")
    write_csv(sync.organization, "people.csv", people(5))
    job = run(sync, replay_of=run(sync, preview=True), test_row=4)
    assert (job.status, job.counts["inserted"], job.batches.get().lane) == (Status.SUCCEEDED, 1, "bulk")
    assert JobEvent.all_objects.filter(
        job=job, text__contains="goes by bulk, in several requests: the sync has no sync key"
    )
    told = exchanges.exchanges_of(job)
    assert [(each["method"], each["status"]) for each in told[:3]] == [("POST", 200), ("PUT", 201), ("PATCH", 200)]
    assert "Person 4" in told[1]["request_body"]
    results = next(each for each in told if "successfulResults" in each["path"])
    assert "Person 4" in results["answer_body"], "what was downloaded is shown, and was read"


def test_a_lost_answer_is_told_and_settled(sandbox, org, settings):
    settings.SFSYNC_LONGEST_CALL_SECONDS = 0.2
    sync = make_people_sync(sandbox, mode="insert")
    write_csv(sync.organization, "people.csv", people(5))
    preview = run(sync, preview=True)
    sandbox.faults({"action": "lose_answer", "method": "POST", "path": "composite/sobjects$"})
    job = run(sync, replay_of=preview, test_row=4)
    assert (job.status, job.counts["inserted"]) == (Status.SUCCEEDED, 1)
    first = exchanges.exchanges_of(job)[0]
    assert (first["status"], first["answer_body"]) == (None, "") and first["error"]
    assert org.count("Contact") == 1


def test_nothing_secret_is_kept(sync, sandbox):
    job = run(sync, replay_of=run(sync, preview=True), test_row=2)
    text = json.dumps(exchanges.exchanges_of(job)) + job.manifests["exchanges"]["path"]
    with open(job.manifests["exchanges"]["path"], encoding="utf-8") as file:
        text += file.read()
    assert "Authorization" not in text and "Bearer" not in text
    for secret in (sandbox.client_secret, sandbox.security_token):
        assert secret not in text


def test_a_token_that_an_answer_repeats_is_taken_out_and_long_bodies_are_cut():
    kept = []
    recorder = Recorder(kept.append)
    headers = {"Authorization": "Bearer s3cr3t", "Cookie": "s3cr3t", "X-Other": "has s3cr3t in it"}
    exchange = recorder.asked("POST", "x?token=s3cr3t", headers, b"s3cr3t" + b"a" * 200_000, "s3cr3t")
    recorder.failed(exchange, ValueError("at s3cr3t"), "s3cr3t")
    assert "s3cr3t" not in repr(kept)
    assert list(kept[0].request_headers) == ["X-Other"]
    assert len(kept[0].request_body) < 100_100 and kept[0].request_body.endswith("[cut here; it is longer]")
    answer = requests.Response()
    answer.status_code, answer._content, answer._content_consumed = 200, b"b" * 200_000, True
    answer.request = requests.Request("GET", "http://x/y").prepare()
    recorder.answered(exchange, answer, "s3cr3t")
    assert kept[-1].status == 200 and len(kept[-1].answer_body) < 100_100


def test_rows_that_cannot_be_sent_alone_are_refused(sync, sandbox):
    job = run(sync)
    with pytest.raises(JobRefused, match="read no row 99"):
        start_job(sync, by=anybody(sync), replay_of=job, test_row=99)
    with pytest.raises(JobRefused, match="shares its key with other rows"):
        start_job(sync, by=anybody(sync), replay_of=job, test_row=6)
    with pytest.raises(JobRefused, match="Say which one"):
        start_job(sync, by=anybody(sync), test_row=2)
    other = make_people_sync(sandbox, organization=make_organization("beta"))
    with pytest.raises(JobRefused, match="Say which one"):
        start_job(other, by=anybody(other), replay_of=job, test_row=2)
    with pytest.raises(JobRefused, match="is no test of one row"):
        exchanges.exchanges_of(job)
    assert Job.all_objects.count() == 1


def test_a_row_is_tested_from_its_page_and_the_job_shows_what_was_said(sync, client):
    client.force_login(make_member(sync.organization, "carol", Role.OWNER))
    job = run(sync)
    page = f"/admin/jobs/job/{job.pk}/"
    assert ">Send only this row</button>" in client.get(f"{page}rows/5/").content.decode()
    client.post(f"{page}test/", {"row": "x"})
    assert Job.all_objects.count() == 1
    client.post(f"{page}test/", {"row": "2"})
    test = go_on(Job.all_objects.exclude(pk=job.pk).get())
    shown = client.get(f"/admin/jobs/job/{test.pk}/change/").content.decode()
    assert f'Row 2 of <a href="{page}change/">job {job.pk}</a>, sent alone' in " ".join(shown.split())
    assert "PATCH /services/data/v62.0/composite/sobjects/Contact/External_Id__c" in shown
    assert "Person 2" in shown and "Bearer" not in shown


def test_a_row_is_tested_in_a_shell(sync, capsys):
    job = run(sync, preview=True)
    with pytest.raises(SystemExit) as ended:
        call_command("test_row", str(job.pk), "2")
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "PATCH /services/data/v62.0/composite/sobjects/Contact/External_Id__c" in said
    assert '"LastName":"Person 2"' in said and '"success":true' in said
    with pytest.raises(CommandError, match="read no row 99"):
        call_command("test_row", str(job.pk), "99")


def test_no_line_of_the_mapping_is_left_out(sync):
    job = run(sync, replay_of=run(sync, preview=True), test_row=2)
    (record,) = json.loads(exchanges.exchanges_of(job)[0]["request_body"])["records"]
    assert set(record) == {"attributes", *KEYED}
