"""What an org's setup brings beyond refusals: duplicate alerts, record types, formulas, assignment, deletes, merges."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.rows.formula import FormulaError, compile_condition
from sandbox.schema import Schema, SchemaError
from tests.sandbox.conftest import Client
from tests.sandbox.rows.channels import CHANNELS, control
from tests.sandbox_process import ROOT

ALLOW = {"Sforce-Duplicate-Rule-Header": "includeRecordDetails=true; allowSave=true"}


def test_an_alert_is_told_with_its_matches_and_passes_when_asked_and_a_block_never_does(ruled: Client) -> None:
    known = ruled.create("Contact", LastName="Müller", FirstName="Ann", Phone="555", Fax="1")
    same = {"LastName": "MULLER", "FirstName": "ann", "Fax": "1"}
    answer = ruled.call("POST", "/sobjects/Contact", json=same)
    (error,) = answer.json()
    assert (answer.status_code, error["errorCode"], error["fields"]) == (400, "DUPLICATES_DETECTED", [])
    told = error["duplicateResult"]
    assert (told["allowSave"], told["duplicateRule"], told["errorMessage"]) == (True, "Same_Name", error["message"])
    (match,) = told["matchResults"]
    assert [each["record"]["Id"] for each in match["matchRecords"]] == [known]
    assert ruled.call("POST", "/sobjects/Contact", json=same, headers=ALLOW).status_code == 201
    blocked = ruled.call("POST", "/sobjects/Contact", json={"LastName": "Else", "Phone": "555"}, headers=ALLOW)
    assert (blocked.status_code, blocked.json()[0]["duplicateResult"]["allowSave"]) == (400, False)
    assert ruled.create("Contact", LastName="Else", Fax="1")


def test_record_types_are_described_and_the_default_is_taken(ruled: Client) -> None:
    infos = ruled.call("GET", "/sobjects/Contact/describe").json()["recordTypeInfos"]
    shown = [(each["developerName"], each["active"], each["defaultRecordTypeMapping"]) for each in infos]
    assert shown == [("VIP", True, False), ("Plain", True, True), ("Old", False, False), ("Master", True, False)]
    ids = {each["developerName"]: each["recordTypeId"] for each in infos}
    ruled.create("Contact", LastName="A")
    vip = ruled.create("Contact", LastName="B", RecordTypeId=ids["VIP"], Tier__c="Gold")
    rows = ruled.query("SELECT RecordTypeId FROM Contact ORDER BY LastName")
    assert [row["RecordTypeId"] for row in rows] == [ids["Plain"], ids["VIP"]]
    changed = ruled.call("PATCH", f"/sobjects/Contact/{vip}", json={"Tier__c": "Silver"})
    assert changed.json()[0]["errorCode"] == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"


def test_formula_fields_are_worked_out_from_the_record_and_its_parent(ruled: Client) -> None:
    account = ruled.create("Account", Name="Acme")
    ruled.create("Contact", LastName="A", Score__c=1.5, AccountId=account)
    ruled.create("Contact", LastName="B")
    rows = ruled.query("SELECT Double_Score__c, Greeting__c FROM Contact ORDER BY LastName")
    assert rows == [
        {"Double_Score__c": 3.0, "Greeting__c": "Dear Acme"},
        {"Double_Score__c": None, "Greeting__c": "Dear B"},
    ]


def test_rest_runs_the_active_assignment_rule_unless_told_otherwise_and_bulk_only_a_named_one(ruled: Client) -> None:
    web = ruled.query("SELECT Id FROM User WHERE Alias = 'web'")[0]["Id"]
    ruled.create("Account", Name="Mine")
    me = ruled.query("SELECT OwnerId FROM Account")[0]["OwnerId"]
    for number, header in enumerate(
        ({}, {"Sforce-Auto-Assign": "FALSE"}, {"Sforce-Auto-Assign": "01Q5s0000000002AAA"})
    ):
        for source in ("Web", "Phone"):
            lead = {"LastName": f"{number} {source}", "Company": "C", "LeadSource": source}
            assert ruled.call("POST", "/sobjects/Lead", json=lead, headers=header).status_code == 201
    content = "LastName,Company,LeadSource\n{} Web,C,Web\n"
    ruled.load("insert", content.format(3), "Lead")
    ruled.load("insert", content.format(4), "Lead", assignmentRuleId="01Q5s0000000001AAA")
    owners = {row["LastName"]: row["OwnerId"] for row in ruled.query("SELECT LastName, OwnerId FROM Lead")}
    assert {key for key, owner in owners.items() if owner == web} == {"0 Web", "2 Web", "2 Phone", "4 Web"}
    assert set(owners.values()) == {web, me}
    rules = ruled.query("SELECT Id, SobjectType FROM AssignmentRule WHERE Active = true")
    assert rules == [{"Id": "01Q5s0000000001AAA", "SobjectType": "Lead"}]


PARENT_HEADERS = {
    "Account:Account.Code__c": "type is not needed for non polymorphic foreign key references: Account",
    "Owner:User.Username": "Unable to find relationship: User",
    "Owner.Username": "Field name not found : Owner.Username",
    "Parent:Account:X": "Field name not found : Parent:Account:X",
    "Account.Nothing": "Field name not found : Account.Nothing",
    "Account.Site": "Field name provided, Site does not match an External ID, Salesforce Id, or indexed field for"
    " Account",
    "Nowhere__r.Id": "Unable to find relationship: Nowhere__r",
    "lastname": "Duplicate column name in header : lastname",
}


def test_parents_are_found_by_their_keys_in_columns_and_in_json(ruled: Client) -> None:
    account = ruled.create("Account", Name="Main", Code__c="Main")
    boss = ruled.create("Contact", LastName="Boss", Email="boss@x.io", External_Id__c="b")
    rows = [
        {"LastName": "A", "Account.Code__c": " mAIN ", "ReportsTo.Email": "boss@x.io"},
        {"LastName": "B", "Account.Code__c": "", "ReportsTo.External_Id__c": "B"},
    ]
    assert CHANNELS["bulk_2"](ruled, "insert", "Contact", rows, "") == [None, None]
    task = "Subject,Contact:Who.External_Id__c,Lead:Who.Email\ncall,b,\nmail,,nobody@x.io\n"
    ended = ruled.load("insert", task, "Task")
    text = "INVALID_FIELD:Foreign key external ID: nobody@x.io not found for field Email in entity Lead:--"
    assert ended.errors("Subject") == {"mail": text}
    polymorphic = {"attributes": {"type": "Contact"}, "External_Id__c": "b"}
    assert ruled.call("POST", "/sobjects/Task", json={"Subject": "json", "Who": polymorphic}).status_code == 201
    found = ruled.query("SELECT LastName, AccountId, ReportsToId FROM Contact WHERE LastName IN ('A', 'B')")
    assert sorted(tuple(row.values()) for row in found) == [("A", account, boss), ("B", None, boss)]
    assert [row["WhoId"] for row in ruled.query("SELECT WhoId FROM Task")] == [boss, boss]
    person = ruled.query("SELECT Id FROM Contact WHERE LastName = 'A'")[0]["Id"]
    assert ruled.call("PATCH", f"/sobjects/Contact/{person}", json={"Account": None}).status_code == 204
    assert ruled.query(f"SELECT AccountId FROM Contact WHERE Id = '{person}'") == [{"AccountId": None}]


def test_a_parent_in_json_is_named_by_exactly_one_key(ruled: Client) -> None:
    for parent in ({}, {"Code__c": "a", "Id": "b"}, "text", {"Site": "x"}, {"Code__c": {"a": 1}}):
        answer = ruled.call("POST", "/sobjects/Contact", json={"LastName": "A", "Account": parent})
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALID_FIELD"), parent


def test_a_header_with_a_wrong_relationship_fails_the_job(ruled: Client) -> None:
    objects = {title: "Lead" if "Owner" in title else "Contact" for title in PARENT_HEADERS}
    jobs = {each: ruled.start_job("insert", f"LastName,{each}\na,b\n", name) for each, name in objects.items()}
    told = {title: ruled.wait(job)["errorMessage"] for title, job in jobs.items()}
    assert told == {title: f"InvalidBatch : {text}" for title, text in PARENT_HEADERS.items()}


def test_children_go_with_their_parent_come_back_with_it_and_lookups_are_cleared_and_restored(ruled: Client) -> None:
    account, other = (ruled.create("Account", Name=name) for name in ("Top", "Other"))
    child = ruled.create("Account", Name="Child", ParentId=account)
    contact = ruled.create("Contact", LastName="A", AccountId=account)
    task = ruled.create("Task", Subject="Call", WhoId=contact)
    assert ruled.call("DELETE", f"/sobjects/Account/{account}").status_code == 204
    assert ruled.query("SELECT Id FROM Contact") == ruled.query("SELECT Id FROM Task") == []
    assert ruled.query(f"SELECT ParentId FROM Account WHERE Id = '{child}'") == [{"ParentId": None}]
    assert [each["success"] for each in control(ruled, "undelete", {"ids": [account, other]})] == [True, False]
    assert ruled.query("SELECT Id FROM Contact") == [{"Id": contact}]
    assert ruled.query("SELECT WhoId FROM Task") == [{"WhoId": contact}]
    assert ruled.query(f"SELECT ParentId FROM Account WHERE Id = '{child}'") == [{"ParentId": account}]
    ruled.call("DELETE", f"/sobjects/Task/{task}")
    assert control(ruled, "empty-recycle-bin", {}) == {"removed": 1}
    assert control(ruled, "undelete", {"ids": [task]})[0]["errors"][0]["statusCode"] == "INVALID_CROSS_REFERENCE_KEY"


def test_a_hard_delete_takes_children_for_ever(ruled: Client) -> None:
    account = ruled.create("Account", Name="Top")
    contact = ruled.create("Contact", LastName="A", AccountId=account)
    assert ruled.load("hardDelete", f"Id\n{account}\n", "Account").failed == []
    assert ruled.query("SELECT Id FROM Contact", "queryAll") == []
    assert control(ruled, "undelete", {"ids": [contact]})[0]["success"] is False


def test_a_merge_moves_children_and_leaves_the_losers_deleted_with_their_master(ruled: Client) -> None:
    master, loser = (ruled.create("Account", Name=name) for name in ("A", "B"))
    ruled.create("Contact", LastName="Child", AccountId=loser)
    assert control(ruled, "merge", {"object": "Account", "master": master, "duplicates": [loser]})["success"]
    assert ruled.query("SELECT AccountId FROM Contact") == [{"AccountId": master}]
    rows = ruled.query("SELECT MasterRecordId FROM Account WHERE IsDeleted = true", "queryAll")
    assert rows == [{"MasterRecordId": master}]
    answer = ruled.call("PATCH", f"/sobjects/Account/{loser}", json={"Site": "x"})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (404, "ENTITY_IS_DELETED")
    assert control(ruled, "undelete", {"ids": [loser]})[0]["success"] is False


def test_a_converted_lead_leads_to_what_was_made_of_it(ruled: Client) -> None:
    lead = ruled.create("Lead", LastName="L", Company="Acme", Email="l@x.io")
    made = control(ruled, "convert", {"lead": lead, "opportunity": "Deal"})
    row = ruled.query("SELECT IsConverted, ConvertedAccountId, ConvertedContactId, ConvertedOpportunityId FROM Lead")[0]
    ids = (made["accountId"], made["contactId"], made["opportunityId"])
    assert tuple(row.values()) == (True, *ids)
    assert ruled.query("SELECT Name, AccountId FROM Opportunity") == [{"Name": "Deal", "AccountId": made["accountId"]}]
    again = requests.post(f"{ruled.sandbox.http_url}/_sandbox/convert", json={"lead": lead}, timeout=30)
    assert (again.status_code, again.json()[0]["errorCode"]) == (400, "CANNOT_UPDATE_CONVERTED_LEAD")


def test_a_call_of_the_setup_that_makes_no_sense_is_refused(ruled: Client) -> None:
    calls: list[tuple[str, Any]] = [
        ("lock", {}),
        ("lock", {"ids": "x"}),
        ("hold", {"ids": ["nonsense"]}),
        ("rules", {"storage_mb": "much"}),
        ("rules", {"unknown": 1}),
        ("merge", {"object": "Task", "master": "x", "duplicates": []}),
        ("convert", {"lead": "00Q000000000009AAA"}),
    ]
    for path, body in calls:
        answer = requests.post(f"{ruled.sandbox.http_url}/_sandbox/{path}", json=body, timeout=30)
        assert answer.status_code == 400, (path, body)


FORMULAS = {
    "LEN(": "line 1 column 4: Syntax error",
    "LastName = 3": "line 1 column 10: Incorrect parameter type for operator '=': text, number",
    "Nowhere__c = 1": "line 1 column 1: Field Nowhere__c does not exist. Check spelling.",
    'LeadSource = "Web"': "line 1 column 1: Field LeadSource is a picklist field: use ISPICKVAL, INCLUDES, CASE or"
    " TEXT",
    "VLOOKUP(1)": "line 1 column 1: Unknown function VLOOKUP. Check spelling.",
    "LEN(LastName)": "Formula result is data type (number), incompatible with expected data type (true or false)",
    'AND(true,\n NOT("x"))': "line 2 column 6: Incorrect parameter type. Expected Boolean, received text",
    "ISNEW(1)": "line 1 column 1: Incorrect number of parameters for function 'ISNEW()'.",
}


def test_a_wrong_formula_is_refused_with_its_place_and_reason() -> None:
    schema = Schema()
    contact = schema.objects["contact"]
    for formula, reason in FORMULAS.items():
        with pytest.raises(FormulaError) as refused:
            compile_condition(schema, contact, formula)
        assert str(refused.value) == reason


def test_a_sandbox_does_not_start_with_a_wrong_rule_and_says_which(tmp_path: Path) -> None:
    rule = {"name": "Wrong", "formula": "LEN(", "message": "x"}
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps({"name": "Contact", "validationRules": [rule]}))
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--https-port", "-1", "--schema", str(file)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert ended.stderr.strip() == f"--schema: {file}: Contact validationRules Wrong: line 1 column 4: Syntax error"


@pytest.mark.parametrize(
    "entry",
    [
        {"triggers": [{"name": "T", "when": "true", "events": ["sometimes"]}]},
        {"lookupFilters": [{"field": "OwnerId", "formula": "Nothing__c = 1"}]},
        {"duplicateRules": [{"name": "D", "match": ["Name"]}]},
        {"duplicateRules": [{"name": "D", "match": ["LastName"], "action": "warn"}]},
        {"statusRules": [{"field": "Nothing__c"}]},
        {"validationRules": [{"name": "V", "formula": "true"}]},
        {"validationRules": [{"name": "V", "formula": "true", "message": "m", "colour": "red"}]},
        {"assignmentRules": [{"name": "A", "entries": [{"when": "true"}]}]},
        {"recordTypes": ["VIP"]},
        {"recordTypes": 5},
        {"duplicateRules": [{"name": "D", "match": 5}]},
        {"validationRules": [{"name": "V", "formula": "!" * 3000 + "true", "message": "m"}]},
        {"fields": [{"name": "F__c", "type": "double", "calculatedFormula": "LastName"}]},
    ],
)
def test_a_rule_that_cannot_be_is_refused(entry: dict[str, Any], tmp_path: Path) -> None:
    from sandbox.rows.policy import Policy

    file = tmp_path / "wrong.json"
    file.write_text(json.dumps({"name": "Contact", **entry}))
    with pytest.raises(SchemaError, match="Contact"):
        Policy(Schema([file]))


def test_a_person_account_has_a_contact_and_takes_no_fields_of_the_other_kind(ruled: Client) -> None:
    types = {row["DeveloperName"]: row["Id"] for row in ruled.query("SELECT Id, DeveloperName FROM RecordType")}
    person = {"RecordTypeId": types["PersonAccount"], "FirstName": "Jane"}
    made = ruled.create("Account", **person, LastName="Doe", PersonEmail="j@x.io", External_Id__pc="P1")
    rows = [
        {**person, "LastName": "Roe", "Name": "Company"},
        {"Name": "Company", "LastName": "Roe", "PersonEmail": "r@x.io"},
        person,
        {"Site": "x"},
    ]
    text = "Account: bad field names on insert/update call: "
    for channel, send in CHANNELS.items():
        assert send(ruled, "insert", "Account", rows, "") == [
            ("INVALID_FIELD_FOR_INSERT_UPDATE", text + "Name", ["Name"]),
            ("INVALID_FIELD_FOR_INSERT_UPDATE", text + "LastName, PersonEmail", ["LastName", "PersonEmail"]),
            ("REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]", ["LastName"]),
            ("REQUIRED_FIELD_MISSING", "Required fields are missing: [Name]", ["Name"]),
        ], channel
    assert ruled.call("PATCH", f"/sobjects/Account/{made}", json={"LastName": "Poe"}).status_code == 204
    account = ruled.query("SELECT Name, IsPersonAccount, PersonContactId FROM Account")[0]
    (contact,) = ruled.query("SELECT Id, Name, Email, External_Id__c, AccountId, IsPersonAccount FROM Contact")
    assert account == {"Name": "Jane Poe", "IsPersonAccount": True, "PersonContactId": contact["Id"]}
    assert list(contact.values())[1:] == ["Jane Poe", "j@x.io", "P1", made, True]
    assert ruled.call("DELETE", f"/sobjects/Account/{made}").status_code == 204
    assert ruled.query("SELECT Id FROM Contact") == []


def test_formulas_mean_what_they_mean_in_salesforce(ruled: Client) -> None:
    whole, forbidden = (ruled.create("Account", Name=name) for name in ("W", "A"))
    rows: dict[str, dict[str, str | None]] = {
        "Price__c": {"2": None, "1.99": "Too cheap", "": None},
        "Code__c": {"AB-12": None, "AB-": "Wrong code", "xAB-1": "Wrong code"},
        "Whole__c": {forbidden: "No parts for A"},
        "Made__c": {"2020-01-01": None, "2019-12-31": "Out of date", "2999-01-01": "Out of date"},
        "Colours__c": {"Red;Green": None, "Blue;Red": "Not both"},
        "Name": {"badly": None},
    }
    sent = [
        ({"Name": "P", "Whole__c": whole, field: value}, text)
        for field, by in rows.items()
        for value, text in by.items()
    ]
    sent += [
        ({"Name": "Badly", "Whole__c": whole, "Kind__c": kind}, text)
        for kind, text in (("Bolt", None), ("Nut", "No such words"))
    ]
    # What cannot be worked out is blank, and never breaks the write.
    sent.append(({"Name": "P", "Whole__c": whole, "Price__c": "123456.78", "Made__c": "2021-05-05"}, None))
    told = CHANNELS["collections"](ruled, "insert", "Part__c", [row for row, _ in sent], "")
    assert [each and each[1] for each in told] == [text for _, text in sent]


def test_a_detail_needs_its_master_keeps_it_and_goes_with_it_and_a_lookup_may_forbid_a_delete(ruled: Client) -> None:
    whole, other = (ruled.create("Account", Name=name) for name in ("W", "Other"))
    part = ruled.create("Part__c", Name="P", Whole__c=whole)
    spare = ruled.create("Part__c", Name="S", Whole__c=other, Spare__c=part)
    held = "Your attempt to delete P could not be completed because it is associated with the following parts.: S"
    for send in CHANNELS.values():
        missing = ("REQUIRED_FIELD_MISSING", "Required fields are missing: [Whole__c]", ["Whole__c"])
        assert send(ruled, "insert", "Part__c", [{"Name": "X"}], "") == [missing]
        (moved,) = send(ruled, "update", "Part__c", [{"Id": part, "Whole__c": other}], "")
        assert moved and (moved[0], moved[2]) == ("INVALID_FIELD_FOR_INSERT_UPDATE", ["Whole__c"])
        assert send(ruled, "delete", "Part__c", [{"Id": part}], "") == [("DELETE_FAILED", held, [])]
    assert ruled.call("DELETE", f"/sobjects/Account/{other}").status_code == 204
    assert [row["Id"] for row in ruled.query("SELECT Id FROM Part__c")] == [part]
    assert [row["Id"] for row in ruled.query("SELECT Id FROM Part__c WHERE IsDeleted = true", "queryAll")] == [spare]
    assert ruled.call("DELETE", f"/sobjects/Part__c/{part}").status_code == 204
