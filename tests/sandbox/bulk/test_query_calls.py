from __future__ import annotations

import csv
import io
import time
from typing import Any

from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess


def _start(client: Client, soql: str, operation: str = "query", **options: str) -> str:
    answer = client.call("POST", "/jobs/query", json={"operation": operation, "query": soql, **options})
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "UploadComplete"
    return str(answer.json()["id"])


def _wait(client: Client, job_id: str) -> dict[str, Any]:
    for _ in range(500):
        info: dict[str, Any] = client.call("GET", f"/jobs/query/{job_id}").json()
        if info["state"] not in ("UploadComplete", "InProgress"):
            return info
        time.sleep(0.02)
    raise AssertionError(info)


def test_a_query_job_answers_csv_in_the_selected_order(client: Client) -> None:
    client.load(
        "insert",
        'LastName,Score__c,Number_Ext__c,Last_Seen__c,Opted_In__c,Birthdate,Title\n"Q""x",1.50,7,2024-01-02T03:04:05Z,yes,'
        "2000-01-02,\n",
    )
    soql = "SELECT Title, LastName, Score__c, Number_Ext__c, Last_Seen__c, Opted_In__c, Birthdate FROM Contact"
    job_id = _start(client, soql)
    info = _wait(client, job_id)
    assert (info["jobType"], info["numberRecordsProcessed"], info["object"]) == ("V2Query", 1, "Contact")
    answer = client.call("GET", f"/jobs/query/{job_id}/results")
    assert answer.headers["Content-Type"] == "text/csv; charset=UTF-8"
    assert (answer.headers["Sforce-Locator"], answer.headers["Sforce-NumberOfRecords"]) == ("null", "1")
    header, row = answer.content.decode().splitlines()
    assert header == '"Title","LastName","Score__c","Number_Ext__c","Last_Seen__c","Opted_In__c","Birthdate"'
    assert row == '"","Q""x","1.5","7","2024-01-02T03:04:05.000Z","true","2000-01-02"'


def test_parents_are_columns_by_their_paths(client: Client) -> None:
    account = client.create("Account", Name="Parent")
    client.load("insert", f"LastName,AccountId\na,{account}\nb,\n")
    soql = "SELECT LastName, Account.Name, Account.Owner.Username, Account.CreatedDate FROM Contact ORDER BY LastName"
    job_id = _start(client, soql)
    _wait(client, job_id)
    header, first, second = client.call("GET", f"/jobs/query/{job_id}/results").text.splitlines()
    assert header == '"LastName","Account.Name","Account.Owner.Username","Account.CreatedDate"'
    assert first.startswith('"a","Parent","admin@sandbox.example","20')
    assert second == '"b","","",""'


def test_numbers_of_18_digits_stay_exact(client: Client) -> None:
    client.load("insert", "Name,Latitude__c\nx,-6.081689834590001\ny,100\n", "Airport__c")
    job_id = _start(client, "SELECT Latitude__c FROM Airport__c ORDER BY Name")
    _wait(client, job_id)
    assert client.call("GET", f"/jobs/query/{job_id}/results").text.split() == [
        '"Latitude__c"',
        '"-6.081689834590001"',
        '"100"',
    ]


def test_results_come_in_pages_by_locator(client: Client) -> None:
    client.load("insert", "LastName,Number_Ext__c\n" + "".join(f"n,{n}\n" for n in range(2_500)))
    job_id = _start(client, "SELECT Number_Ext__c FROM Contact", lineEnding="CRLF", columnDelimiter="PIPE")
    _wait(client, job_id)
    locator, sizes, seen = "", [], []
    while locator != "null":
        suffix = f"&locator={locator}" if locator else ""
        answer = client.call("GET", f"/jobs/query/{job_id}/results?maxRecords=1000{suffix}")
        locator = answer.headers["Sforce-Locator"]
        sizes.append(int(answer.headers["Sforce-NumberOfRecords"]))
        assert answer.text.count("\r\n") == sizes[-1] + 1
        seen += [
            int(row["Number_Ext__c"]) for row in csv.DictReader(io.StringIO(answer.text, newline=""), delimiter="|")
        ]
    assert sizes == [1000, 1000, 500]
    assert sorted(seen) == list(range(2_500))
    assert client.call("GET", f"/jobs/query/{job_id}/results?locator=!!").status_code == 400
    assert client.call("GET", f"/jobs/query/{job_id}/results?maxRecords=0").status_code == 400
    pages = client.call("GET", f"/jobs/query/{job_id}/resultPages").json()
    assert pages["done"] is True


def test_no_match_is_a_header_and_zero_records(client: Client) -> None:
    job_id = _start(client, "SELECT Id FROM Contact")
    _wait(client, job_id)
    answer = client.call("GET", f"/jobs/query/{job_id}/results")
    assert (answer.text, answer.headers["Sforce-NumberOfRecords"]) == ('"Id"\n', "0")


def test_query_all_sees_the_recycle_bin(client: Client) -> None:
    made = client.create("Contact", LastName="x")
    client.call("DELETE", f"/sobjects/Contact/{made}")
    counts = {}
    for operation in ("query", "queryAll"):
        job_id = _start(client, "SELECT Id, IsDeleted FROM Contact", operation)
        counts[operation] = _wait(client, job_id)["numberRecordsProcessed"]
    assert counts == {"query": 0, "queryAll": 1}


REFUSED = [
    ({"operation": "query", "query": "SELECT nope FROM Contact"}, "INVALID_FIELD"),
    ({"operation": "query", "query": "SELECT COUNT() FROM Contact"}, "FUNCTIONALITY_NOT_ENABLED"),
    ({"operation": "query", "query": "SELECT Id FROM Contact LIMIT 5 OFFSET 5"}, "FUNCTIONALITY_NOT_ENABLED"),
    ({"operation": "query", "query": "SELECT MailingAddress FROM Contact"}, "FUNCTIONALITY_NOT_ENABLED"),
    ({"operation": "query", "query": "SELECT Title FROM Contact GROUP BY Title"}, "FUNCTIONALITY_NOT_ENABLED"),
    ({"operation": "query", "query": "SELECT (SELECT Id FROM Contacts) FROM Account"}, "FUNCTIONALITY_NOT_ENABLED"),
    (
        {"operation": "query", "query": "SELECT TYPEOF Who WHEN Lead THEN Email END FROM Task"},
        "FUNCTIONALITY_NOT_ENABLED",
    ),
    ({"operation": "query", "query": "SELECT Id FROM Contact", "color": "red"}, "JSON_PARSER_ERROR"),
    ({"operation": "insert", "query": "SELECT Id FROM Contact"}, "INVALIDJOB"),
    ({"operation": "query"}, "INVALIDJOB"),
]


def test_a_query_job_that_cannot_be_is_refused(client: Client) -> None:
    for body, code in REFUSED:
        answer = client.call("POST", "/jobs/query", json=body)
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code), body


def test_results_are_asked_for_too_early_by_another_version_or_after_an_abort(client: Client) -> None:
    client.sandbox.faults({"action": "slow_job", "seconds": 30})
    job_id = _start(client, "SELECT Id FROM Contact")
    assert client.call("GET", f"/jobs/query/{job_id}/results").status_code == 400
    assert client.call("PATCH", f"/jobs/query/{job_id}", json={"state": "UploadComplete"}).status_code == 400
    assert client.call("PATCH", f"/jobs/query/{job_id}", json={"state": "Aborted"}).json()["state"] == "Aborted"
    assert client.call("GET", f"/jobs/query/{job_id}/results").status_code == 400
    assert client.call("DELETE", f"/jobs/query/{job_id}").status_code == 204
    done = _start(client, "SELECT Id FROM Contact")
    _wait(client, done)
    other = Client(client.sandbox, "v61.0")
    assert other.call("GET", f"/jobs/query/{done}/results").status_code == 409
    assert [each["id"] for each in client.call("GET", "/jobs/query").json()["records"]] == [done]


def test_ingest_and_query_jobs_are_kept_apart(sandbox: SandboxProcess, client: Client) -> None:
    job_id = _start(client, "SELECT Id FROM Contact")
    assert client.call("GET", f"/jobs/ingest/{job_id}").status_code == 404
