"""Bulk API 1.0 over bare HTTP: its messages to the letter, its three content types, and what it refuses."""

from __future__ import annotations

import gzip
import json
import re
import time
from typing import Any
from xml.etree import ElementTree

import pytest
import requests

from tests.sandbox.conftest import Client

SPACE = "http://www.force.com/2009/06/asyncapi/dataload"
TYPES = {"CSV": "text/csv", "XML": "application/xml", "JSON": "application/json"}


class Classic:
    """Calls Bulk API 1.0 of the sandbox of a client."""

    def __init__(self, client: Client, release: str = "60.0") -> None:
        self.base = f"{client.sandbox.http_url}/services/async/{release}"
        self.token = client.sandbox.login()
        self.http = requests.Session()
        self.http.trust_env = False

    def call(self, method: str, path: str, content: str | bytes = b"", kind: str = "XML", **more: str) -> Any:
        data = content.encode() if isinstance(content, str) else content
        headers = {"X-SFDC-Session": self.token, "Content-Type": f"{TYPES[kind]}; charset=UTF-8"}
        headers |= {key.replace("_", "-"): value for key, value in more.items()}
        return self.http.request(method, self.base + path, data=data or None, headers=headers, timeout=30)

    def open(self, operation: str, kind: str = "CSV", object_name: str = "Contact", **more: str) -> str:
        headers = {key: more.pop(key) for key in list(more) if key.startswith("Sforce")}
        values = {"operation": operation, "object": object_name, "contentType": kind, **more}
        inside = "".join(f"<{key}>{value}</{key}>" for key, value in values.items())
        answer = self.call("POST", "/job", f'<jobInfo xmlns="{SPACE}">{inside}</jobInfo>', **headers)
        assert answer.status_code == 201, answer.text
        return str(read(answer)["id"])

    def add(self, job: str, content: str | bytes, kind: str = "CSV") -> str:
        answer = self.call("POST", f"/job/{job}/batch", content, kind)
        assert answer.status_code == 201, answer.text
        values = answer.json() if kind == "JSON" else read(answer)
        assert values["state"] == "Queued"
        return str(values["id"])

    def state(self, job: str, state: str) -> Any:
        return self.call("POST", f"/job/{job}", f'<jobInfo xmlns="{SPACE}"><state>{state}</state></jobInfo>')

    def wait(self, job: str, batch: str) -> dict[str, str]:
        deadline = time.monotonic() + 20
        while (info := read(self.call("GET", f"/job/{job}/batch/{batch}")))["state"] in ("Queued", "InProgress"):
            assert time.monotonic() < deadline, info
            time.sleep(0.01)
        return info

    def run(self, operation: str, content: str | bytes, kind: str = "CSV", **more: str) -> tuple[dict[str, str], Any]:
        """One batch through a job of its own: its batchInfo and the answer with its results."""
        job = self.open(operation, kind, **more)
        info = self.wait(job, batch := self.add(job, content, kind))
        assert self.state(job, "Closed").status_code == 200
        return info, self.call("GET", f"/job/{job}/batch/{batch}/result")

    def query(self, soql: str, kind: str = "CSV") -> requests.Response:
        job = self.open("query", kind)
        info = self.wait(job, batch := self.add(job, soql, kind))
        assert info["state"] == "Completed", info
        listed = self.call("GET", f"/job/{job}/batch/{batch}/result")
        ids = listed.json() if kind == "JSON" else [each.text for each in ElementTree.fromstring(listed.content)]
        assert [each[:3] for each in ids] == ["752"]
        found: requests.Response = self.call("GET", f"/job/{job}/batch/{batch}/result/{ids[0]}")
        return found


def read(answer: requests.Response) -> dict[str, str]:
    """The values of an XML control message, in its order."""
    assert answer.headers["Content-Type"] == "application/xml", answer.text
    root = ElementTree.fromstring(answer.content)
    assert root.tag.startswith(f"{{{SPACE}}}")
    return {each.tag.rpartition("}")[2]: each.text or "" for each in root}


def refused(answer: requests.Response) -> tuple[int, str, str]:
    values = read(answer)
    assert list(values) == ["exceptionCode", "exceptionMessage"]
    return answer.status_code, values["exceptionCode"], values["exceptionMessage"]


@pytest.fixture
def classic(client: Client) -> Classic:
    return Classic(client)


def test_control_messages_have_the_elements_and_the_order_of_the_guide(classic: Classic) -> None:
    body = f'<jobInfo xmlns="{SPACE}"><operation>upsert</operation><object>contact</object>'
    body += "<externalIdFieldName>external_id__c</externalIdFieldName><contentType>CSV</contentType></jobInfo>"
    answer = classic.call("POST", "/job", body)
    assert answer.status_code == 201
    assert answer.text.startswith(f'<?xml version="1.0" encoding="UTF-8"?><jobInfo xmlns="{SPACE}"><id>750')
    info = read(answer)
    assert list(info) == [
        *("id", "operation", "object", "createdById", "createdDate", "systemModstamp", "state", "externalIdFieldName"),
        *("concurrencyMode", "contentType", "numberBatchesQueued", "numberBatchesInProgress"),
        *("numberBatchesCompleted", "numberBatchesFailed", "numberBatchesTotal", "numberRecordsProcessed"),
        *("numberRetries", "apiVersion", "numberRecordsFailed", "totalProcessingTime", "apiActiveProcessingTime"),
        "apexProcessingTime",
    ]
    assert (info["object"], info["externalIdFieldName"], info["apiVersion"]) == ("Contact", "External_Id__c", "60.0")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", info["createdDate"])
    job = info["id"]
    empty = classic.call("GET", f"/job/{job}/batch").text
    assert empty.endswith(f'<batchInfoList xmlns="{SPACE}" />')
    batch = classic.add(job, "External_Id__c,LastName\na,A\nb,\n")
    done = classic.wait(job, batch)
    assert list(done) == [
        "id",
        "jobId",
        "state",
        "createdDate",
        "systemModstamp",
        "numberRecordsProcessed",
        "numberRecordsFailed",
        "totalProcessingTime",
        "apiActiveProcessingTime",
        "apexProcessingTime",
    ]
    assert (done["state"], done["numberRecordsProcessed"], done["numberRecordsFailed"]) == ("Completed", "2", "1")
    result = classic.call("GET", f"/job/{job[:15]}/batch/{batch[:15]}/result")
    assert result.headers["Content-Type"] == "text/csv"
    head, first, second = result.text.splitlines()
    assert head == '"Id","Success","Created","Error"'
    assert re.fullmatch(r'"003\w{15}","true","true",""', first)
    assert second == '"","false","false","REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --"'
    sent = classic.call("GET", f"/job/{job}/batch/{batch}/request")
    assert sent.text == "External_Id__c,LastName\na,A\nb,\n"
    known = read(classic.call("GET", f"/job/{job}"))
    numbers = {key: known[f"number{key}"] for key in ("BatchesCompleted", "BatchesTotal", "RecordsProcessed")}
    assert numbers == {"BatchesCompleted": "1", "BatchesTotal": "1", "RecordsProcessed": "2"}
    closed = read(classic.state(job, "Closed"))
    assert (closed["state"], closed["numberRecordsFailed"]) == ("Closed", "1")


def test_json_speaks_json_and_keeps_nulls_and_parents(classic: Classic, client: Client) -> None:
    account = client.create("Account", Name="Parent")
    body = {"operation": "insert", "object": "Contact", "concurrencyMode": 1, "contentType": "JSON"}
    answer = classic.call("POST", "/job", json.dumps(body), "JSON")
    assert (answer.status_code, answer.headers["Content-Type"]) == (201, "application/json")
    info = answer.json()
    assert (info["concurrencyMode"], info["apiVersion"]) == ("Serial", 60.0)
    assert list(info) == sorted(info)
    records = [
        {"LastName": "Null", "Title": None, "AccountId": account, "Opted_In__c": True, "Score__c": 1.50},
        {"attributes": {"type": "Contact"}, "LastName": "By user", "Owner": {"Username": "admin@sandbox.example"}},
        {"FirstName": "No last name"},
    ]
    batch = classic.add(info["id"], json.dumps(records), "JSON")
    classic.wait(info["id"], batch)
    assert classic.call("GET", f"/job/{info['id']}/batch", kind="JSON").json()["batchInfo"][0]["id"] == batch
    results = classic.call("GET", f"/job/{info['id']}/batch/{batch}/result", kind="JSON").json()
    assert [each["success"] for each in results] == [True, True, False]
    assert results[2] == {
        "success": False,
        "created": False,
        "id": None,
        "errors": [
            {
                "message": "Required fields are missing: [LastName]",
                "fields": ["LastName"],
                "statusCode": "REQUIRED_FIELD_MISSING",
                "extendedErrorDetails": None,
            }
        ],
    }
    soql = "SELECT Id, LastName, Title, Opted_In__c, Score__c, CreatedDate FROM Contact WHERE LastName = 'Null'"
    found = classic.query(soql, "JSON").json()
    created = found[0].pop("CreatedDate")
    assert isinstance(created, int)
    assert abs(created / 1000 - time.time()) < 60
    made = results[0]["id"]
    assert found == [
        {
            "attributes": {"type": "Contact", "url": f"/services/data/v60.0/sobjects/Contact/{made}"},
            "Id": made,
            "LastName": "Null",
            "Title": None,
            "Opted_In__c": True,
            "Score__c": 1.5,
        }
    ]


def test_xml_batches_are_written_and_queried(classic: Classic) -> None:
    head = f'<sObjects xmlns="{SPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
    rows = "<sObject><LastName>A &amp; B</LastName><Title xsi:nil='true'/></sObject>"
    rows += "<sObject><LastName>C</LastName><Owner><sObject>"
    rows += "<Username>admin@sandbox.example</Username></sObject></Owner></sObject>"
    rows += "<sObject><Email>nobody</Email></sObject>"
    info, result = classic.run("insert", f"{head}{rows}</sObjects>", "XML")
    assert (info["state"], info["numberRecordsFailed"]) == ("Completed", "1")
    assert result.headers["Content-Type"] == "application/xml"
    root = ElementTree.fromstring(result.content)
    names = [[child.tag.rpartition("}")[2] for child in each] for each in root]
    assert names == [["id", "success", "created"]] * 2 + [["errors", "success", "created"]]
    found = classic.query("SELECT Id, LastName, Title FROM Contact ORDER BY LastName", "XML")
    assert found.headers["Content-Type"] == "application/xml"
    records = ElementTree.fromstring(found.content)
    assert records.tag == f"{{{SPACE}}}queryResult"
    assert [child.tag.rpartition("}")[2] for child in records[0]] == ["type", "Id", "Id", "LastName", "Title"]
    assert [record.findtext(f"{{{SPACE}}}LastName") for record in records] == ["A & B", "C"]
    bomb = '<!DOCTYPE a [<!ENTITY b "c">]><sObjects><sObject><LastName>&b;</LastName></sObject></sObjects>'
    info, _ = classic.run("insert", bomb, "XML")
    assert info["state"] == "Failed"
    assert "document type" in info["stateMessage"]


def test_parents_are_nested_records_in_json_and_xml(classic: Classic, client: Client) -> None:
    account = client.create("Account", Name="Parent")
    client.load("insert", f"LastName,AccountId\na,{account}\nb,\n")
    soql = "SELECT LastName, Account.Id, Account.Phone, Account.Owner.Username FROM Contact ORDER BY LastName"
    found = classic.query(soql, "JSON").json()
    owner = {"attributes": {"type": "User"}, "Username": "admin@sandbox.example"}
    attributes = {"type": "Account", "url": f"/services/data/v60.0/sobjects/Account/{account}"}
    above = {"attributes": attributes, "Id": account, "Phone": None, "Owner": owner}
    assert [each["Account"] for each in found] == [above, None]
    text = classic.query(soql, "XML").text
    nested = '<Owner xsi:type="sObject"><type>User</type><Username>admin@sandbox.example</Username></Owner></Account>'
    assert text.count(nested) == 1
    assert text.endswith('<LastName>b</LastName><Account xsi:nil="true"/></records></queryResult>')


def test_all_operations_work_with_csv_and_gzip(classic: Classic, client: Client) -> None:
    job = classic.open("insert")
    answer = classic.call(
        "POST", f"/job/{job}/batch", gzip.compress(b'"LastName"\r\n"A"\r\n"B"\r\n'), "CSV", Content_Encoding="gzip"
    )
    classic.wait(job, read(answer)["id"])
    ids = [row["Id"] for row in client.query("SELECT Id FROM Contact")]
    classic.run("update", "Id,Title\n" + "".join(f"{each},T\n" for each in ids))
    assert [row["Title"] for row in client.query("SELECT Title FROM Contact")] == ["T", "T"]
    upsert = {"externalIdFieldName": "External_Id__c"}
    # An empty column Id beside the key is what older clients send.
    _, result = classic.run("upsert", "Id,External_Id__c,LastName\n,x,X\n,,Y\n", **upsert)
    assert "MISSING_ARGUMENT:External_Id__c not specified" in result.text
    classic.run("delete", f"Id\n{ids[0]}\n")
    classic.run("hardDelete", f"Id\n{ids[1]}\n")
    assert client.sandbox.state()["objects"]["Contact"] == {"live": 1, "deleted": 1}
    assert classic.query("SELECT LastName FROM Contact").text == '"LastName"\n"X"\n'
    none = classic.query("SELECT Id FROM Contact WHERE LastName = 'nobody'")
    assert none.text.strip() == "Records not found for this query"


def test_serial_batches_follow_each_other_and_parallel_ones_do_not(classic: Classic, client: Client) -> None:
    for mode, together in (("Serial", 1), ("Parallel", 3)):
        client.sandbox.faults({"action": "slow_job", "seconds": 0.3})
        job = classic.open("insert", concurrencyMode=mode)
        batches = [classic.add(job, f"LastName\nx{n}\n") for n in range(3)]
        most = 0
        while (info := read(classic.call("GET", f"/job/{job}")))["numberBatchesCompleted"] != "3":
            most = max(most, int(info["numberBatchesInProgress"]))
            assert info["numberBatchesFailed"] == "0"
            time.sleep(0.01)
        assert most == together
        assert [classic.wait(job, each)["state"] for each in batches] == ["Completed"] * 3


def test_an_abort_leaves_waiting_batches_unprocessed(classic: Classic, client: Client) -> None:
    client.sandbox.faults({"action": "slow_job", "seconds": 20})
    job = classic.open("insert", concurrencyMode="Serial")
    batches = [classic.add(job, "LastName\nx\n") for _ in range(3)]
    assert read(classic.state(job, "Aborted"))["state"] == "Aborted"
    assert {classic.wait(job, each)["state"] for each in batches} == {"NotProcessed"}
    assert refused(classic.state(job, "Closed")) == (400, "InvalidJobState", "Closing already Aborted Job not allowed")
    assert client.query("SELECT Id FROM Contact") == []


def test_a_query_is_cut_into_ranges_of_record_ids(classic: Classic, client: Client) -> None:
    client.load("insert", "LastName,Number_Ext__c\n" + "".join(f"n,{n}\n" for n in range(250)))
    job = classic.open("query", Sforce_Enable_PKChunking="chunkSize=100;")
    first = classic.add(job, "SELECT Number_Ext__c FROM Contact WHERE Number_Ext__c < 200 OR LastName = 'z' ")
    assert classic.wait(job, first)["state"] == "NotProcessed"
    listed = ElementTree.fromstring(classic.call("GET", f"/job/{job}/batch").content)
    batches = [each.findtext(f"{{{SPACE}}}id") or "" for each in listed]
    assert (len(batches), batches[0]) == (4, first)
    seen: list[int] = []
    for batch in batches[1:]:
        assert classic.wait(job, batch)["state"] == "Completed"
        result = ElementTree.fromstring(classic.call("GET", f"/job/{job}/batch/{batch}/result").content)[0].text
        rows = classic.call("GET", f"/job/{job}/batch/{batch}/result/{result}").text.splitlines()[1:]
        seen += [int(row.strip('"')) for row in rows]
        assert "Id " in classic.call("GET", f"/job/{job}/batch/{batch}/request").text
    assert sorted(seen) == list(range(200))
    chunked = client.call("GET", "/jobs/ingest?jobType=Classic&isPkChunkingEnabled=true").json()["records"]
    assert [each["id"] for each in chunked] == [job]
    assert client.call("GET", "/jobs/query?jobType=Classic&isPkChunkingEnabled=false").json()["records"] == []


def test_a_batch_that_cannot_be_processed_fails_and_says_why(classic: Classic, client: Client) -> None:
    cases = [
        ("insert", "CSV", "LastName,Nope\na,b\n", "InvalidBatch : Field name not found : Nope"),
        ("insert", "CSV", "LastName\n" + "x\n" * 10_001, "InvalidBatch : A batch may have at most 10000 records"),
        ("insert", "CSV", "LastName,\x07\na,b\n", "InvalidBatch : Field name not found : \ufffd"),
        ("insert", "JSON", "[1]", "InvalidBatch : Failed to parse JSON."),
        ("insert", "JSON", '[{"Nope":{"a":"b"}}]', "InvalidBatch : Field name not found : Nope"),
        ("insert", "XML", "<sObjects><sObject>", "InvalidBatch : Failed to parse XML."),
        (
            "query",
            "CSV",
            "SELECT Id FROM Account",
            "InvalidBatch : Failed to process query: INVALID_TYPE_FOR_OPERATION",
        ),
        ("query", "CSV", "SELECT", "InvalidBatch : Failed to process query: MALFORMED_QUERY: "),
        (
            "query",
            "CSV",
            "SELECT MailingAddress FROM Contact",
            "InvalidBatch : Failed to process query: FUNCTIONALITY_NOT_ENABLED: Selecting compound data not supported"
            " in Bulk Query",
        ),
    ]
    for operation, kind, content, message in cases:
        info, result = classic.run(operation, content, kind)
        assert info["state"] == "Failed", content[:50]
        assert info["stateMessage"].startswith(message), info
        assert refused(result)[1] == "InvalidBatch"
    assert client.query("SELECT Id FROM Contact") == []


def test_calls_that_cannot_be_are_refused_in_the_language_they_came_in(classic: Classic, client: Client) -> None:
    job = classic.open("insert")
    token, classic.token = classic.token, "nonsense"
    assert refused(classic.call("GET", f"/job/{job}")) == (400, "InvalidSessionId", "Invalid session id")
    answer = classic.call("GET", f"/job/{job}", kind="JSON")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {"exceptionCode": "InvalidSessionId", "exceptionMessage": "Invalid session id"}
    classic.token = client.sandbox.login()
    client.sandbox.faults({"path": "/services/async/", "action": "expire_token"})
    assert [refused(classic.call("GET", f"/job/{job}"))[1] for _ in range(2)] == ["InvalidSessionId"] * 2
    classic.token = token
    assert refused(Classic(client, "20.0").call("GET", f"/job/{job}"))[1] == "InvalidVersion"
    for path, code in (("/job/750000000000000AAA", "InvalidJob"), (f"/job/{job}/batch/751x", "InvalidBatch")):
        assert refused(classic.call("GET", path))[:2] == (400, code)
    assert refused(classic.call("GET", "/jobs"))[1] == "InvalidUrl"
    assert refused(classic.call("PUT", f"/job/{job}/spec"))[1] == "InvalidUrl"
    bodies = {
        "<jobInfo><operation>merge</operation></jobInfo>": "InvalidJob",
        "<jobInfo><operation>insert</operation><object>Nope</object></jobInfo>": "InvalidEntity",
        "<jobInfo><operation>insert</operation><object>Contact</object><contentType>ZIP_CSV</contentType></jobInfo>": (
            "FeatureNotEnabled"
        ),
        "<jobInfo><operation>upsert</operation><object>Contact</object></jobInfo>": "InvalidJob",
        "<!DOCTYPE a><jobInfo/>": "InvalidXML",
        "<jobInfo>": "InvalidXML",
    }
    for body, code in bodies.items():
        assert refused(classic.call("POST", "/job", body))[:2] == (400, code), body
    assert classic.call("POST", "/job", "[]", "JSON").json()["exceptionCode"] == "InvalidJob"
    too_big = b"LastName\n" + b"x" * 10_000_000
    answer = classic.call("POST", f"/job/{job}/batch", too_big, "CSV")
    text = "Failed to read request. Exceeded max size limit of 10000000"
    assert refused(answer) == (400, "ClientInputError", text)
    assert read(classic.state(job, "Closed"))["state"] == "Closed"
    text = "Failed to create batch, since the Job is not Open. Current job state is 'Closed'"
    assert refused(classic.call("POST", f"/job/{job}/batch", "LastName\nx\n", "CSV")) == (400, "InvalidJobState", text)
