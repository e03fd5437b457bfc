from __future__ import annotations

from typing import Any

import pytest

from sandbox.store import id18, make_id
from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess


@pytest.mark.parametrize(
    ("short", "check"),
    [
        ("012000000000000", "AAA"),
        ("0015f00002JUWMV", "AA5"),
        ("0015f00002J9YYE", "AA3"),
        ("00Dxx0000001gPL", "EAY"),
        ("005xx000001SwiU", "AAS"),
        ("750Do00000DmVvB", "IAV"),
    ],
)
def test_an_id_gets_salesforces_check_letters(short: str, check: str) -> None:
    assert id18(short) == short + check


def test_ids_are_counted_up_with_the_objects_prefix(client: Client) -> None:
    ids = [client.create("Account", Name=f"A{number}") for number in range(3)]
    assert ids == [id18(each[:15]) for each in ids]
    assert {each[:3] for each in ids} == {"001"}
    assert client.create("Airport__c", Name="X")[:3] == "a00"
    assert len(make_id("001", 62**9 - 1)) == 18


def test_ids_made_by_sql_and_by_python_agree(client: Client) -> None:
    rows = "".join(f"n{number}\n" for number in range(3000))
    made = [row["sf__Id"] for row in client.load("insert", "LastName\n" + rows).success]
    assert len(set(made)) == 3000
    assert all(each == id18(each[:15]) for each in made)


def test_a_record_is_created_read_changed_and_deleted(client: Client) -> None:
    answer = client.call("POST", "/sobjects/Contact/", json={"LastName": "Doe", "FirstName": "Jo", "Email": "j@x.io"})
    record_id = answer.json()["id"]
    assert answer.json() == {"id": record_id, "success": True, "errors": []}
    assert answer.headers["Location"] == f"/services/data/v60.0/sobjects/Contact/{record_id}"
    record = client.call("GET", f"/sobjects/Contact/{record_id}").json()
    assert record["attributes"] == {"type": "Contact", "url": f"/services/data/v60.0/sobjects/Contact/{record_id}"}
    assert (record["Name"], record["Opted_In__c"], record["OwnerId"][:3]) == ("Jo Doe", False, "005")
    assert record["CreatedDate"].endswith(".000+0000")
    changed = client.call("PATCH", f"/sobjects/Contact/{record_id[:15]}", json={"FirstName": None, "Title": "Boss"})
    assert (changed.status_code, changed.content) == (204, b"")
    record = client.call("GET", f"/sobjects/Contact/{record_id}?fields=Name,Title,Email").json()
    assert (record["Name"], record["Title"], record["Email"]) == ("Doe", "Boss", "j@x.io")
    assert client.call("DELETE", f"/sobjects/Contact/{record_id}").status_code == 204
    for method in ("GET", "DELETE"):
        gone = client.call(method, f"/sobjects/Contact/{record_id}")
        assert (gone.status_code, gone.json()[0]["errorCode"]) == (404, "ENTITY_IS_DELETED")
    assert client.query("SELECT Id FROM Contact") == []
    assert client.query("SELECT Id, IsDeleted FROM Contact", "queryAll") == [{"Id": record_id, "IsDeleted": True}]


def test_numbers_come_back_digit_for_digit(client: Client) -> None:
    body = '{"Name": "X", "Latitude__c": -6.081689834590001, "Longitude__c": 145.391998291, "Altitude__c": 5282}'
    made = client.call("POST", "/sobjects/Airport__c", data=body).json()["id"]
    text = client.call("GET", f"/sobjects/Airport__c/{made}").text
    assert '"Latitude__c":-6.081689834590001,' in text
    assert '"Longitude__c":145.391998291,' in text
    assert '"Altitude__c":5282.0,' in text
    whole = client.create("Account", Name="N", NumberOfEmployees=12)
    assert '"NumberOfEmployees":12,' in client.call("GET", f"/sobjects/Account/{whole}").text


def test_an_address_is_read_as_an_object_and_not_written(client: Client) -> None:
    made = client.create("Account", Name="A", BillingCity="Oslo", BillingCountry="Norway")
    address = client.call("GET", f"/sobjects/Account/{made}").json()["BillingAddress"]
    assert (address["city"], address["country"], address["street"]) == ("Oslo", "Norway", None)
    refused = client.call("POST", "/sobjects/Account", json={"Name": "A", "BillingAddress": {"city": "Oslo"}})
    assert refused.json()[0]["errorCode"] == "INVALID_FIELD"


@pytest.mark.parametrize(
    ("version", "made", "changed", "has_created"), [("v60.0", 201, 200, True), ("v45.0", 201, 204, False)]
)
def test_upsert_by_external_id_answers_as_its_version_demands(
    sandbox: SandboxProcess, version: str, made: int, changed: int, has_created: bool
) -> None:
    client = Client(sandbox, version)
    first = client.call("PATCH", "/sobjects/Contact/External_Id__c/a%2Fb%20c", json={"LastName": "One"})
    assert first.status_code == made
    assert ("created" in first.json()) is has_created
    second = client.call("PATCH", "/sobjects/Contact/external_id__c/A%2FB%20C", json={"LastName": "Two"})
    assert second.status_code == changed
    assert bool(second.content) is has_created
    assert client.query("SELECT LastName, External_Id__c FROM Contact") == [
        {"LastName": "Two", "External_Id__c": "A/B C"}
    ]


def test_an_upsert_that_matches_several_changes_nothing(client: Client) -> None:
    ids = [client.create("Contact", LastName=name, Legacy_Code__c="same") for name in ("A", "B")]
    answer = client.call("PATCH", "/sobjects/Contact/Legacy_Code__c/SAME", json={"LastName": "C"})
    assert answer.status_code == 300
    assert answer.json() == [f"/services/data/v60.0/sobjects/Contact/{each}" for each in ids]
    assert [row["LastName"] for row in client.query("SELECT LastName FROM Contact ORDER BY LastName")] == ["A", "B"]


def test_a_case_sensitive_key_tells_cases_apart(client: Client) -> None:
    for code in ("abc", "ABC"):
        path = f"/sobjects/Contact/Case_Code__c/{code}"
        assert client.call("PATCH", path, json={"LastName": code}).status_code == 201
    assert client.query("SELECT LastName FROM Contact WHERE Case_Code__c = 'ABC'") == [{"LastName": "ABC"}]


def test_a_number_key_is_compared_as_a_number(client: Client) -> None:
    client.create("Contact", LastName="Bond", Number_Ext__c=7)
    assert client.call("PATCH", "/sobjects/Contact/Number_Ext__c/007", json={"Title": "Spy"}).status_code == 200
    assert client.call("GET", "/sobjects/Contact/Number_Ext__c/7.0").json()["Title"] == "Spy"


def test_a_path_that_names_no_external_id_is_not_found(client: Client) -> None:
    message = "Provided external ID field does not exist or is not accessible: {}"
    for path, name in (("Title/x", "Title"), ("Namez/x", "Namez")):
        answer = client.call("PATCH", f"/sobjects/Contact/{path}", json={"LastName": "x"})
        assert (answer.status_code, answer.json()[0]["message"]) == (404, message.format(name))
    assert client.call("GET", "/sobjects/Contact/xyz").json()[0]["message"] == message.format("xyz")


def test_update_only_forbids_the_insert(client: Client) -> None:
    path = "/sobjects/Contact/External_Id__c/new?updateOnly=true"
    assert client.call("PATCH", path, json={"LastName": "x"}).status_code == 404
    assert client.query("SELECT Id FROM Contact") == []


def test_a_method_override_and_an_insert_by_id_are_understood(client: Client) -> None:
    made = client.call("POST", "/sobjects/Account/Id", json={"Name": "A"})
    assert (made.status_code, made.json()["created"]) == (201, True)
    path = f"/sobjects/Account/{made.json()['id']}?_HttpMethod=PATCH"
    assert client.call("POST", path, json={"Site": "here"}).status_code == 204
    assert client.query("SELECT Site FROM Account") == [{"Site": "here"}]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", "JSON_PARSER_ERROR"),
        ("[]", "JSON_PARSER_ERROR"),
        ('{"LastName": 5}', "JSON_PARSER_ERROR"),
        ('{"LastName": "x", "Score__c": "abc"}', "JSON_PARSER_ERROR"),
        ('{"LastName": "x", "Opted_In__c": "perhaps"}', "JSON_PARSER_ERROR"),
        ('{"LastName": "x", "Nope__c": 1}', "INVALID_FIELD"),
        ('{"LastName": "x", "": {}}', "INVALID_FIELD"),
        ('{"LastName": "x", "Id": "003000000000001"}', "INVALID_FIELD"),
    ],
)
def test_a_body_that_cannot_be_is_refused_whole(client: Client, body: str, code: str) -> None:
    answer = client.call("POST", "/sobjects/Contact", data=body)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)
    assert client.query("SELECT Id FROM Contact") == []


def test_values_may_come_as_text(client: Client) -> None:
    made = client.create("Contact", LastName="T", Score__c="1.5", Opted_In__c="true")
    record: dict[str, Any] = client.call("GET", f"/sobjects/Contact/{made}").json()
    assert (record["Score__c"], record["Opted_In__c"]) == (1.5, True)


def test_an_object_nobody_may_create_is_refused(client: Client) -> None:
    answer = client.call("POST", "/sobjects/Organization", json={"Name": "x"})
    assert answer.json()[0]["errorCode"] == "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"


def test_case_numbers_count_up_and_formulas_follow(client: Client) -> None:
    ids = [client.create("Case", Subject=f"{number}") for number in range(2)]
    rows = client.query("SELECT Id, CaseNumber, Status, IsClosed FROM Case ORDER BY CaseNumber")
    assert [row["Id"] for row in rows] == ids
    assert int(rows[1]["CaseNumber"]) == int(rows[0]["CaseNumber"]) + 1
    assert [(row["Status"], row["IsClosed"]) for row in rows] == [("New", False)] * 2
    client.call("PATCH", f"/sobjects/Case/{ids[0]}", json={"Status": "Closed"})
    assert [row["IsClosed"] for row in client.query("SELECT IsClosed FROM Case ORDER BY CaseNumber")] == [True, False]
