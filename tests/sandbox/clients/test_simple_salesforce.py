"""simple-salesforce, unmodified, over HTTPS: an independent client that must not notice it is not at Salesforce."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from simple_salesforce import Salesforce, SalesforceMalformedRequest, SalesforceResourceNotFound
from simple_salesforce.exceptions import SalesforceMoreThanOneRecord

from tests.sandbox_process import SandboxProcess


@pytest.fixture
def salesforce(sandbox: SandboxProcess) -> Iterator[Any]:
    with requests.Session() as session:
        # A CA bundle named in the environment would win over the sandbox's own.
        session.trust_env = False
        session.verify = str(sandbox.ca_file)
        address = str(sandbox.https_url).replace("127.0.0.1", "localhost")
        yield Salesforce(instance_url=address, session_id=sandbox.login(), session=session, version="59.0")


def test_it_describes_and_queries(salesforce: Any) -> None:
    assert "Contact" in {each["name"] for each in salesforce.describe()["sobjects"]}
    assert salesforce.Contact.describe()["keyPrefix"] == "003"
    assert salesforce.Contact.metadata()["objectDescribe"]["name"] == "Contact"
    assert salesforce.is_sandbox() is True
    assert salesforce.limits()["DailyApiRequests"]["Max"] == 1_000_000
    assert "api-usage" in salesforce.api_usage
    for number in range(3):
        salesforce.Contact.create({"LastName": f"O'Hara {number}"})
    found = salesforce.query_all("SELECT LastName FROM Contact WHERE LastName LIKE 'O\\'Hara%' ORDER BY LastName")
    assert [record["LastName"] for record in found["records"]] == [f"O'Hara {number}" for number in range(3)]


def test_it_walks_pages_searches_and_hears_of_changes(salesforce: Any) -> None:
    rows = [{"attributes": {"type": "Contact"}, "LastName": f"Row {number:03}"} for number in range(250)]
    for start in (0, 200):
        body = {"records": rows[start : start + 200]}
        made = salesforce.restful("composite/sobjects", method="POST", data=json.dumps(body))
        assert all(each["success"] for each in made)
    small = {"Sforce-Query-Options": "batchSize=200"}
    soql = "SELECT Id, LastName FROM Contact ORDER BY LastName"
    first = salesforce.query(soql, headers=small)
    assert (len(first["records"]), first["done"], first["totalSize"]) == (200, False, 250)
    rest = salesforce.query_more(first["nextRecordsUrl"], identifier_is_url=True)
    assert (len(rest["records"]), rest["done"]) == (50, True)
    walked = [each["LastName"] for each in salesforce.query_all_iter(soql, headers=small)]
    assert walked == [each["LastName"] for each in rows]
    gone = first["records"][0]["Id"]
    salesforce.Contact.delete(gone)
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=2)
    start_of_span = end - datetime.timedelta(hours=1)
    assert [each["id"] for each in salesforce.Contact.deleted(start_of_span, end)["deletedRecords"]] == [gone]
    assert len(salesforce.Contact.updated(start_of_span, end)["ids"]) == 249
    assert len(salesforce.query_all("SELECT Id FROM Contact", include_deleted=True)["records"]) == 250
    found = salesforce.search("FIND {Row} IN ALL FIELDS RETURNING Contact(Id, LastName LIMIT 5)")
    assert len(found["searchRecords"]) == 5
    assert salesforce.oauth2("userinfo")["organization_id"].startswith("00D")


def test_it_creates_reads_changes_and_deletes(salesforce: Any) -> None:
    made = salesforce.Contact.create({"LastName": "Doe", "External_Id__c": "k+1"})
    assert made["success"] is True
    assert salesforce.Contact.get_by_custom_id("External_Id__c", "k+1")["Id"] == made["id"]
    assert salesforce.Contact.update(made["id"], {"Title": "Boss"}) == 204
    assert salesforce.Contact.upsert("External_Id__c/k%2B1", {"Title": "Chief"}) == 200
    assert salesforce.Contact.upsert("External_Id__c/k2", {"LastName": "Second"}) == 201
    assert salesforce.Contact.get(made["id"])["Title"] == "Chief"
    assert salesforce.Contact.delete(made["id"]) == 204
    with pytest.raises(SalesforceResourceNotFound):
        salesforce.Contact.get(made["id"])
    with pytest.raises(SalesforceMalformedRequest) as refusal:
        salesforce.Contact.create({"FirstName": "x"})
    assert refusal.value.content[0]["errorCode"] == "REQUIRED_FIELD_MISSING"


def test_it_hears_of_several_matches(salesforce: Any) -> None:
    for name in ("A", "B"):
        salesforce.Contact.create({"LastName": name, "Legacy_Code__c": "x"})
    with pytest.raises(SalesforceMoreThanOneRecord):
        salesforce.Contact.get_by_custom_id("Legacy_Code__c", "x")


def test_its_bulk2_loads_queries_and_deletes(salesforce: Any, tmp_path: Path) -> None:
    records = [{"External_Id__c": f"k{n}", "LastName": f'Name, "{n}"'} for n in range(50)]
    contact = salesforce.bulk2.Contact
    summary = contact.upsert(records=records, external_id_field="External_Id__c", wait=0)
    assert [(each["numberRecordsProcessed"], each["numberRecordsFailed"]) for each in summary] == [(50, 0)]
    job_id = summary[0]["job_id"]
    assert len(contact.get_successful_records(job_id).splitlines()) == 51
    assert len(contact.get_failed_records(job_id).splitlines()) == 1
    assert len(contact.get_unprocessed_records(job_id).splitlines()) == 1
    pages = list(contact.query("SELECT Id, LastName FROM Contact", max_records=20, wait=0))
    assert [len(page.splitlines()) for page in pages] == [21, 21, 11]
    ids = [{"Id": each["Id"]} for each in salesforce.query("SELECT Id FROM Contact")["records"]]
    file = tmp_path / "ids.csv"
    file.write_text("Id\n" + "\n".join(each["Id"] for each in ids[:10]) + "\n")
    assert contact.delete(csv_file=str(file), wait=0)[0]["numberRecordsProcessed"] == 10
    assert salesforce.query("SELECT COUNT() FROM Contact")["totalSize"] == 40


def test_its_session_renewal_is_triggered_by_our_401(sandbox: SandboxProcess, salesforce: Any) -> None:
    renewed = []

    def renew(session: Any) -> tuple[str, str]:
        renewed.append(True)
        return sandbox.login(), str(sandbox.https_url).replace("https://127.0.0.1", "localhost")

    salesforce._salesforce_login_partial = lambda: renew(salesforce)
    sandbox.faults({"path": "/query", "action": "expire_token"})
    assert salesforce.query("SELECT Id FROM Contact")["totalSize"] == 0
    assert renewed == [True]
