from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conftest import Client

SO = "/composite/sobjects"


def record(kind: str, **fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": kind}, **fields}


def send(client: Client, method: str, path: str, records: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    answer = client.call(method, path, json={"records": records, **more})
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def names(client: Client) -> list[str]:
    return [row["LastName"] for row in client.query("SELECT LastName FROM Contact ORDER BY LastName")]


def test_records_are_inserted_changed_read_and_deleted_by_the_hundred(client: Client) -> None:
    made = send(client, "POST", SO, [record("Contact", LastName=f"Name {n:03}") for n in range(200)])
    assert {tuple(each) for each in made} == {("id", "success", "errors")} and all(each["success"] for each in made)
    ids = [each["id"] for each in made]
    changed = send(client, "PATCH", SO, [record("Contact", id=each, Title="Boss") for each in ids[:2]])
    assert [each["id"] for each in changed] == ids[:2]
    missing = "0035s0000zzzzzz"
    read = client.call(
        "POST", f"{SO}/Contact", json={"ids": [ids[1], missing, ids[0][:15]], "fields": ["Title", "LastName"]}
    )
    assert [each and (each["Title"], each["LastName"]) for each in read.json()] == [
        ("Boss", "Name 001"),
        None,
        ("Boss", "Name 000"),
    ]
    assert read.json()[0]["attributes"] == {"type": "Contact", "url": f"/services/data/v60.0/sobjects/Contact/{ids[1]}"}
    got = client.call("GET", f"{SO}/Contact", params={"ids": ids[5], "fields": "LastName"}).json()
    assert got[0]["LastName"] == "Name 005"
    gone = client.call("DELETE", SO, params={"ids": ",".join([*ids[:3], missing])}).json()
    assert [each["success"] for each in gone] == [True, True, True, False]
    assert gone[3]["errors"][0]["statusCode"] == "INVALID_CROSS_REFERENCE_KEY"
    assert len(names(client)) == 197


def test_each_record_is_refused_by_itself_unless_all_or_none_is_asked_for(client: Client) -> None:
    records = [
        record("Contact", LastName="Ada"),
        record("Contact", FirstName="nobody"),
        record("Contact", LastName="Bob", Nope="x"),
        record("Account", Name="Acme"),
        record("Contact", LastName="Cyd", Email="no address"),
    ]
    told = send(client, "POST", SO, records)
    assert [each["success"] for each in told] == [True, False, False, True, False]
    assert "id" not in told[1]
    required = {
        "statusCode": "REQUIRED_FIELD_MISSING",
        "message": "Required fields are missing: [LastName]",
        "fields": ["LastName"],
    }
    assert told[1] == {"success": False, "errors": [required]}
    assert told[2]["errors"][0]["message"] == "No such column 'Nope' on sobject of type Contact"
    assert told[4]["errors"][0]["statusCode"] == "INVALID_EMAIL_ADDRESS"
    assert names(client) == ["Ada"]
    told = send(client, "POST", SO, records, allOrNone=True)
    assert [each["success"] for each in told] == [False] * 5
    rolled_back = "Record rolled back because not all records were valid and the request was using AllOrNone header"
    rolled = {"statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK", "message": rolled_back, "fields": []}
    assert told[0] == told[3] == {"success": False, "errors": [rolled]} and told[1]["errors"] == [required]
    assert names(client) == ["Ada"] and len(client.query("SELECT Id FROM Account")) == 1


def test_an_upsert_matches_by_an_external_id_or_by_id(client: Client) -> None:
    path = f"{SO}/Contact/External_Id__c"
    first = send(client, "PATCH", path, [record("Contact", External_Id__c="k1", LastName="Ada")])
    assert list(first[0]) == ["id", "success", "errors", "created"] and first[0]["created"] is True
    again = send(
        client,
        "PATCH",
        path,
        [
            record("Contact", External_Id__c="K1", Title="Dr"),
            record("Contact", External_Id__c="k2", LastName="Bob"),
            record("Contact", External_Id__c="k3", LastName="Twin"),
            record("Contact", External_Id__c="k3", LastName="Twin"),
            record("Contact", LastName="No key"),
        ],
    )
    assert again[0] == {"id": first[0]["id"], "success": True, "errors": [], "created": False}
    assert [each["success"] for each in again] == [True, True, False, False, False]
    assert "Duplicate external id specified: k3" in again[2]["errors"][0]["message"]
    assert again[4]["errors"][0]["statusCode"] == "MISSING_ARGUMENT"
    by_id = send(
        client,
        "PATCH",
        f"{SO}/Contact/Id",
        [record("Contact", Id=None, LastName="New"), record("Contact", Id=first[0]["id"], LastName="Ada 2")],
    )
    assert [each["created"] for each in by_id] == [True, False]
    assert names(client) == ["Ada 2", "Bob", "New"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", SO, {"records": [record("Contact")] * 201}, 400, "EXCEEDED_ID_LIMIT"),
        (
            "POST",
            SO,
            {"records": [record("Account" if n % 2 else "Contact", Name="x") for n in range(11)]},
            400,
            "LIMIT_EXCEEDED",
        ),
        ("POST", SO, {"records": "x"}, 400, "JSON_PARSER_ERROR"),
        ("POST", SO, {"records": [{"LastName": "x"}]}, 400, "INVALID_INPUT"),
        ("POST", SO, {"records": [record("Nope")]}, 400, "INVALID_TYPE"),
        ("POST", SO, {"records": [record("Contact", LastName="x", Opted_In__c=5)]}, 400, "JSON_PARSER_ERROR"),
        ("PATCH", f"{SO}/Contact/External_Id__c", {"records": [record("Account", Name="x")]}, 400, "INVALID_TYPE"),
        ("PATCH", f"{SO}/Contact/Title", {"records": []}, 404, "NOT_FOUND"),
        ("DELETE", SO, None, 400, "MISSING_ARGUMENT"),
        ("POST", f"{SO}/Contact", {"ids": ["x"] * 2001, "fields": ["Id"]}, 400, "EXCEEDED_ID_LIMIT"),
        ("POST", f"{SO}/Contact", {"ids": ["x"], "fields": ["Nope"]}, 400, "INVALID_FIELD"),
    ],
)
def test_a_request_that_cannot_be_is_refused_whole(
    client: Client, method: str, path: str, body: Any, status: int, code: str
) -> None:
    answer = client.call(method, path, json=body)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (status, code)
    assert names(client) == []


def test_an_id_is_needed_to_change_and_forbidden_to_insert(client: Client) -> None:
    told = send(client, "PATCH", SO, [record("Contact", LastName="x"), record("Contact", id="nonsense", LastName="x")])
    assert [each["errors"][0]["statusCode"] for each in told] == ["MISSING_ARGUMENT", "MALFORMED_ID"]
    told = send(client, "POST", SO, [record("Contact", LastName="x", Id="0035s0000000001AAA")])
    assert told[0]["errors"][0]["message"] == "cannot specify Id in an insert call"
    told = client.call("DELETE", SO, params={"ids": "zzz,0035s"}).json()
    assert [each["errors"][0]["statusCode"] for each in told] == ["MALFORMED_ID", "MALFORMED_ID"]
