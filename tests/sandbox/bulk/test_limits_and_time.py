"""Bulk API 2.0: multipart jobs, filters, daily limits, what time does to jobs, permissions, locks and relationships."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import requests

from tests.sandbox.conftest import Client

UPSERT = {"externalIdFieldName": "External_Id__c"}
DAY = 86_400


def _control(client: Client, path: str, **body: Any) -> requests.Response:
    return requests.post(f"{client.sandbox.http_url}/_sandbox/{path}", json=body, timeout=30)


def _refused(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()[0]["errorCode"]


def _numbered(count: int) -> str:
    return "External_Id__c,LastName\n" + "".join(f"k{n},Name {n}\n" for n in range(count))


def _multipart(client: Client, job: dict[str, str], content: str, name: str = "content") -> requests.Response:
    parts = {
        "job": (None, json.dumps(job), "application/json"),
        name: ("content", content.encode(), "text/csv"),
    }
    return client.call("POST", "/jobs/ingest", files=parts)


def test_a_multipart_request_makes_a_whole_job(client: Client) -> None:
    job = {"object": "Contact", "operation": "insert", "contentType": "CSV", "lineEnding": "CRLF"}
    answer = _multipart(client, job, 'LastName,Description\r\nÄ,"two\r\nlines"\r\n')
    assert (answer.status_code, answer.json()["state"]) == (200, "UploadComplete")
    assert "contentUrl" not in answer.json()
    ended = client.end(answer.json()["id"])
    assert (ended.info["state"], ended.info["numberRecordsProcessed"]) == ("JobComplete", 1)
    assert client.query("SELECT LastName, Description FROM Contact") == [
        {"LastName": "Ä", "Description": "two\r\nlines"}
    ]
    assert _refused(_multipart(client, job, "LastName\r\n" + "x" * 100_000)) == (400, "INVALIDJOB")
    assert _refused(_multipart(client, job, "LastName\r\nx\r\n", "other")) == (400, "INVALIDJOB")
    assert _refused(_multipart(client, {"object": "Nope", "operation": "insert"}, "x")) == (400, "INVALIDENTITY")
    torn = client.call("POST", "/jobs/ingest", data=b"x", headers={"Content-Type": "multipart/form-data"})
    assert _refused(torn) == (400, "INVALIDJOB")


def test_a_job_that_cannot_be_is_refused(client: Client) -> None:
    cases = [
        ({"object": "Contact", "operation": "merge"}, "INVALIDJOB"),
        ({"object": "Contact", "operation": "insert", "color": "red"}, "JSON_PARSER_ERROR"),
        ({"object": "Contact", "operation": "insert", "externalIdFieldName": "External_Id__c"}, "INVALIDJOB"),
        ({"object": "Contact", "operation": "insert", "assignmentRuleId": "01Q000000000001"}, "INVALIDJOB"),
        ({"object": "Contact", "operation": "insert", "columnDelimiter": "DOT"}, "INVALIDJOB"),
        ({"object": "Contact", "operation": "insert", "contentType": "JSON"}, "INVALIDJOB"),
    ]
    for body, code in cases:
        assert _refused(client.call("POST", "/jobs/ingest", json=body)) == (400, code), body
    accepted = {"object": "Lead", "operation": "insert", "assignmentRuleId": "01Q000000000001"}
    assert client.call("POST", "/jobs/ingest", json=accepted).json()["assignmentRuleId"] == "01Q000000000001"
    assert _refused(Client(client.sandbox, "v48.0").call("POST", "/jobs/ingest", json=accepted)) == (400, "INVALIDJOB")
    for version, path in (("v40.0", "/jobs/ingest"), ("v46.0", "/jobs/query")):
        assert _refused(Client(client.sandbox, version).call("GET", path)) == (404, "NOT_FOUND")
    for query in (
        "jobType=Nope",
        "isPkChunkingEnabled=maybe",
        "concurrencyMode=Odd",
        "queryLocator=x",
        "queryLocator=" + "9" * 5000,
    ):
        assert client.call("GET", f"/jobs/ingest?{query}").status_code == 400, query


def test_an_upload_may_come_packed(client: Client) -> None:
    job = client.open_job("insert")
    headers = {"Content-Type": "text/csv", "Content-Encoding": "gzip"}
    packed = gzip.compress(_numbered(1000).encode())
    assert _refused(client.call("PUT", f"/jobs/ingest/{job}/batches", data=b"x", headers=headers))[0] == 400
    assert client.call("PUT", f"/jobs/ingest/{job}/batches", data=packed, headers=headers).status_code == 201
    client.set_state(job, "UploadComplete")
    assert client.wait(job)["numberRecordsProcessed"] == 1000


def test_failed_results_name_the_record_from_version_53_on(client: Client) -> None:
    for version, header in (("v52.0", ["sf__Error"]), ("v53.0", ["sf__Id", "sf__Error"])):
        other = Client(client.sandbox, version)
        row = other.load("update", "Id,LastName\n003000000000001AAA,x\n").failed[0]
        assert list(row)[: len(header)] == header
        assert row["sf__Error"] == "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--"


def test_results_are_served_while_a_job_runs(client: Client) -> None:
    client.sandbox.faults({"action": "slow_job", "seconds": 1})
    job = client.start_job("insert", _numbered(30_000))
    assert client.call("GET", f"/jobs/ingest/{job}/successfulResults").status_code == 400
    while (info := client.info(job))["numberRecordsProcessed"] < 10_000:
        assert info["state"] in ("UploadComplete", "InProgress"), info
        time.sleep(0.02)
    assert info["state"] == "InProgress"
    assert len(client.rows(job, "successfulResults")) in (10_000, 20_000)
    assert client.call("GET", f"/jobs/ingest/{job}/failedResults").status_code == 400
    _control(client, "clock", speed=100)
    assert client.wait(job)["numberRecordsProcessed"] == 30_000


def test_batches_and_records_above_the_daily_limit_stay_unprocessed(client: Client) -> None:
    assert _control(client, "bulk", limits={"batches": 2}).json()["limits"]["batches"] == 2
    ended = client.load("insert", _numbered(25_000))
    assert (ended.info["state"], ended.info["errorMessage"]) == (
        "Failed",
        "ExceededQuota : ApiBatchItems Limit exceeded.",
    )
    assert (len(ended.success), len(ended.unprocessed)) == (20_000, 5_000)
    _control(client, "clock", advance=DAY + 1)
    client = Client(client.sandbox)
    assert client.load("insert", _numbered(5)).info["state"] == "JobComplete"
    _control(client, "bulk", limits={"records": 10})
    assert client.load("insert", _numbered(6)).info["state"] == "Failed"
    _control(client, "bulk", limits={"query_jobs": 1})
    body = {"operation": "query", "query": "SELECT Id FROM Contact"}
    assert client.call("POST", "/jobs/query", json=body).status_code == 200
    refused = client.call("POST", "/jobs/query", json=body)
    assert _refused(refused) == (400, "LIMIT_EXCEEDED")
    assert refused.json()[0]["message"] == "Max bulk v2 query jobs (1) per 24 hrs has been reached"
    for wrong in ({"delay": -1}, {"limits": {"batches": "many"}}, {"other": 1}, {"result_rows": 0}):
        assert _control(client, "bulk", **wrong).status_code == 400


def test_time_closes_open_jobs_and_removes_old_ones(client: Client) -> None:
    done = client.start_job("insert", _numbered(1))
    client.wait(done)
    forgotten = client.open_job("insert")
    client.upload(forgotten, "LastName\nx\n")
    _control(client, "clock", advance=DAY + 60)
    client = Client(client.sandbox)
    assert client.wait(forgotten)["numberRecordsProcessed"] == 1
    assert client.info(done)["state"] == "JobComplete"
    _control(client, "clock", advance=6 * DAY)
    client = Client(client.sandbox)
    assert client.call("GET", f"/jobs/ingest/{done}").status_code == 404
    assert [each["id"] for each in client.call("GET", "/jobs/ingest").json()["records"]] == [forgotten]


def test_the_delay_of_jobs_follows_the_clock(client: Client) -> None:
    _control(client, "bulk", delay=600)
    job = client.start_job("insert", "LastName\nx\n")
    query = client.call("POST", "/jobs/query", json={"operation": "query", "query": "SELECT Id FROM Contact"}).json()
    time.sleep(0.1)
    assert client.info(job)["state"] == "UploadComplete"
    _control(client, "clock", speed=6000)
    assert client.wait(job)["state"] == "JobComplete"
    assert client.call("GET", f"/jobs/query/{query['id']}").json()["state"] in ("InProgress", "JobComplete")


def test_result_pages_are_as_long_as_the_sandbox_is_told(client: Client) -> None:
    client.load("insert", _numbered(25))
    _control(client, "bulk", result_rows=4)
    job = client.call(
        "POST", "/jobs/query", json={"operation": "query", "query": "SELECT LastName FROM Contact"}
    ).json()
    while client.call("GET", f"/jobs/query/{job['id']}").json()["state"] != "JobComplete":
        time.sleep(0.01)
    url: str | None = f"/jobs/query/{job['id']}/resultPages"
    counts, names = [], set()
    while url:
        answer = client.call("GET", url).json()
        counts.append(len(answer["resultPages"]))
        for page in answer["resultPages"]:
            text = client.call("GET", page["resultUrl"].removeprefix("/services/data/v60.0")).text
            names |= set(text.splitlines()[1:])
        url = (answer["nextRecordsUrl"] or "").removeprefix("/services/data/v60.0")
        assert answer["done"] is not bool(url)
    assert (counts, len(names)) == ([5, 2], 25)
    assert Client(client.sandbox, "v57.0").call("GET", f"/jobs/query/{job['id']}/resultPages").status_code == 404
    packed = client.call("GET", f"/jobs/query/{job['id']}/results?maxRecords=25", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.text.splitlines()) == 26


def test_parents_are_named_by_their_keys(client: Client) -> None:
    account = client.create("Account", Name="A", External_Id__c="A1")
    lead = client.create("Lead", LastName="L", Company="C", Email="lead@example.com")
    ended = client.load("insert", "LastName,account.external_id__c\na,A1\nb,nope\nc,\nd,#N/A\n")
    assert {row["LastName"] for row in ended.success} == {"a", "c", "d"}
    text = "INVALID_FIELD:Foreign key external ID: nope not found for field External_Id__c in entity Account:--"
    assert ended.errors("LastName") == {"b": text}
    assert client.query("SELECT AccountId FROM Contact WHERE LastName = 'a'") == [{"AccountId": account}]
    ended = client.load("insert", "Subject,Lead:Who.Email\ns,lead@example.com\n", "Task")
    assert ended.info["numberRecordsFailed"] == 0
    assert client.query("SELECT WhoId FROM Task") == [{"WhoId": lead}]


def test_jobs_do_what_their_user_may(client: Client) -> None:
    user = {
        "username": "small@sandbox.example",
        "password": "secret",
        "permissions": {
            "system": {"BulkApiHardDelete": False},
            "objects": {"Lead": {"read": False}},
            "fields": {"Contact.Title": {"read": False}},
        },
    }
    answer = requests.post(f"{client.sandbox.http_url}/_sandbox/users", json=user, timeout=30)
    assert answer.status_code < 300, answer.text
    form = {"grant_type": "password", "client_id": "sandbox-client", "client_secret": "sandbox-secret"}
    form |= {"username": "small@sandbox.example", "password": "secret"}
    token = requests.post(f"{client.sandbox.http_url}/services/oauth2/token", data=form, timeout=30).json()
    client.http.headers["Authorization"] = f"Bearer {token['access_token']}"
    hard = client.call("POST", "/jobs/ingest", json={"object": "Contact", "operation": "hardDelete"})
    assert _refused(hard) == (400, "FEATURENOTENABLED")
    assert _refused(client.call("POST", "/jobs/ingest", json={"object": "Lead", "operation": "insert"})) == (
        400,
        "INVALIDENTITY",
    )
    ended = client.load("insert", "LastName,Title\na,b\n")
    assert ended.info["errorMessage"] == "InvalidBatch : Field name not found : Title"
    body = {"operation": "query", "query": "SELECT Title FROM Contact"}
    assert _refused(client.call("POST", "/jobs/query", json=body)) == (400, "INVALID_FIELD")


def test_batches_that_run_together_cannot_have_each_others_parents(client: Client) -> None:
    account = client.create("Account", Name="A")
    _control(client, "rules", row_locks=True)
    client.sandbox.faults({"action": "slow_job", "seconds": 0.5, "times": 3})
    rows = "LastName,AccountId\n" + "".join(f"n{n},{account}\n" for n in range(10_100))
    ended = client.load("insert", rows)
    assert (len(ended.success), len(ended.failed)) == (10_000, 100)
    assert ended.failed[0]["sf__Error"] == (
        f"UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record or 1 records: {account}:--"
    )
    again = client.load("insert", rows[: rows.index("n10,")])
    assert again.info["numberRecordsFailed"] == 0


def test_platform_events_are_published_and_nothing_else(client: Client) -> None:
    rows = "Order_Number__c,Shipped__c\n1,true\n2,maybe\n#N/A,\n"
    ended = client.load("insert", rows, "Order_Event__e")
    assert ended.info["state"] == "JobComplete", ended.info
    assert [(row["Order_Number__c"], row["sf__Id"][:3], row["sf__Created"]) for row in ended.success] == [
        ("1", "e00", "true")
    ]
    codes = {key: error.partition(":")[0] for key, error in ended.errors("Order_Number__c").items()}
    assert codes == {"2": "INVALID_TYPE_ON_FIELD_IN_RECORD", "#N/A": "REQUIRED_FIELD_MISSING"}
    body = {"object": "Order_Event__e", "operation": "delete"}
    assert _refused(client.call("POST", "/jobs/ingest", json=body)) == (400, "INVALIDJOB")
