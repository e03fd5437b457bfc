"""The bulk parts of published clients, unmodified: simple-salesforce over HTTPS, salesforce-bulk over HTTP."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import salesforce_bulk
from salesforce_bulk.util import IteratorBytesIO
from simple_salesforce import Salesforce

from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess


@pytest.fixture
def salesforce(sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    # Five seconds between two looks at a batch would be a long test.
    monkeypatch.setattr("simple_salesforce.bulk.sleep", lambda _: time.sleep(0.02))
    monkeypatch.setattr("simple_salesforce.bulk2.sleep", lambda _: time.sleep(0.02))
    with requests.Session() as session:
        # A CA bundle named in the environment would win over the sandbox's own.
        session.trust_env = False
        session.verify = str(sandbox.ca_file)
        address = str(sandbox.https_url).replace("127.0.0.1", "localhost")
        yield Salesforce(instance_url=address, session_id=sandbox.login(), session=session, version="59.0")


def test_simple_salesforce_bulk_does_all_it_can(salesforce: Any) -> None:
    contact = salesforce.bulk.Contact
    made = contact.insert([{"LastName": f"N {n}"} for n in range(5)] + [{"FirstName": "none"}], batch_size=3)
    assert [each["success"] for each in made] == [True] * 5 + [False]
    assert made[5]["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
    ids = [each["id"] for each in made if each["success"]]
    changed = contact.update([{"Id": each, "Title": "T"} for each in ids], use_serial=True)
    assert {(each["success"], each["created"]) for each in changed} == {(True, False)}
    keyed = [{"External_Id__c": "k", "LastName": "K"}, {"External_Id__c": "l", "LastName": "L", "Title": None}]
    result = contact.upsert(keyed, "External_Id__c", include_detailed_results=True)
    assert [(each["created"], each["LastName"]) for each in result] == [(True, "K"), (True, "L")]
    assert [each["success"] for each in contact.delete([{"Id": ids[0]}])] == [True]
    assert [each["success"] for each in contact.hard_delete([{"Id": ids[0]}, {"Id": ids[1]}])] == [True, True]
    found = contact.query("SELECT Id, LastName FROM Contact ORDER BY LastName")
    assert [each["LastName"] for each in found] == ["K", "L", "N 2", "N 3", "N 4"]
    assert contact.query("SELECT Id FROM Contact WHERE LastName = 'nobody'") == []
    assert len(contact.query_all("SELECT Id FROM Contact")) == 5


def test_simple_salesforce_bulk2_does_all_it_can(salesforce: Any, tmp_path: Path) -> None:
    contact = salesforce.bulk2.Contact
    done = contact.insert(records=[{"LastName": f"N {n}"} for n in range(10)], column_delimiter="PIPE", wait=0)
    assert [(each["numberRecordsProcessed"], each["numberRecordsFailed"]) for each in done] == [(10, 0)]
    ids = [each["Id"] for each in salesforce.query("SELECT Id FROM Contact")["records"]]
    changed = contact.update(records=[{"Id": each, "Title": 'a "b", c'} for each in ids], wait=0)
    assert changed[0]["numberRecordsFailed"] == 0
    assert contact.upsert(records=[{"External_Id__c": "k"}], external_id_field="External_Id__c", wait=0)[0] | {
        "job_id": ""
    } == {"numberRecordsFailed": 1, "numberRecordsProcessed": 1, "numberRecordsTotal": 1, "job_id": ""}
    file = tmp_path / "ids.csv"
    file.write_text("Id\n" + "\n".join(ids[:4]) + "\n")
    assert contact.delete(csv_file=str(file), wait=0)[0]["numberRecordsProcessed"] == 4
    assert contact.hard_delete(csv_file=str(file), wait=0)[0]["numberRecordsFailed"] == 0
    pages = list(contact.query("SELECT Id, Title FROM Contact", max_records=4, wait=0))
    assert [len(page.splitlines()) for page in pages] == [5, 3]
    job = done[0]["job_id"]
    assert len(contact.get_successful_records(job).splitlines()) == 11
    assert contact.get_unprocessed_records(job).splitlines() == ["LastName"]


def test_salesforce_bulk_loads_and_queries_in_both_content_types(client: Client) -> None:
    bulk = salesforce_bulk.SalesforceBulk(sessionId=client.sandbox.login(), host=client.sandbox.http_url)
    job = bulk.create_insert_job("Contact", contentType="CSV", concurrency="Parallel")
    adapter = salesforce_bulk.CsvDictsAdapter(iter([{"LastName": f"Name {n}", "Title": "x"} for n in range(20)]))
    batch = bulk.post_batch(job, adapter)
    bulk.wait_for_batch(job, batch, timeout=20, sleep_interval=0.02)
    bulk.close_job(job)
    assert [(each.success, each.created, each.error) for each in bulk.get_batch_results(batch)] == [
        ("true", "true", "")
    ] * 20
    assert bulk.job_status(job)["numberRecordsProcessed"] == "20"
    assert [each["state"] for each in bulk.get_batch_list(job)] == ["Completed"]
    for kind in ("CSV", "JSON"):
        job = bulk.create_query_job("Contact", contentType=kind)
        batch = bulk.query(job, "SELECT Id, LastName FROM Contact ORDER BY LastName")
        bulk.close_job(job)
        bulk.wait_for_batch(job, batch, timeout=20, sleep_interval=0.02)
        assert bulk.get_query_batch_request(batch).startswith("SELECT Id")
        (result,) = bulk.get_all_results_for_query_batch(batch)
        text = result.read().decode() if kind == "CSV" else json.load(IteratorBytesIO(result))
        rows = text.splitlines()[1:] if kind == "CSV" else text
        assert len(rows) == 20
    job = bulk.create_queryall_job("Contact", contentType="CSV", pk_chunking=10)
    batch = bulk.query(job, "SELECT LastName FROM Contact")
    with pytest.raises(salesforce_bulk.salesforce_bulk.BulkBatchFailed) as split:
        bulk.wait_for_batch(job, batch, timeout=20, sleep_interval=0.02)
    assert split.value.state == "NotProcessed"
    assert len(bulk.get_batch_list(job)) == 3
    bulk.abort_job(job)
    assert bulk.job_state(job) == "Aborted"
    with pytest.raises(salesforce_bulk.BulkApiError, match="InvalidJobState"):
        bulk.post_batch(job, io.BytesIO(b"LastName\nx\n"))
