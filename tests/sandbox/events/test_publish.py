from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conftest import Client

ORDER = "/sobjects/Order_Event__e"


def test_a_published_event_is_answered_with_its_uuid_as_an_error_that_is_none(client: Client) -> None:
    answer = client.call("POST", ORDER, json={"Order_Number__c": "O1", "Amount__c": 12.5, "Shipped__c": True})
    told = answer.json()
    assert (answer.status_code, told["success"], told["id"][:3]) == (201, True, "e00")
    assert told["errors"][0]["statusCode"] == "OPERATION_ENQUEUED" and len(told["errors"][0]["message"]) == 36
    records: list[dict[str, Any]] = [
        {"attributes": {"type": "Order_Event__e"}, "Order_Number__c": "O2"},
        {"attributes": {"type": "Order_Event__e"}, "Note__c": "no number"},
        {"attributes": {"type": "Account"}, "Name": "Acme"},
    ]
    told = client.call("POST", "/composite/sobjects", json={"records": records}).json()
    assert [each["success"] for each in told] == [True, False, True]
    assert told[0]["errors"][0]["statusCode"] == "OPERATION_ENQUEUED"
    assert told[1]["errors"][0]["message"] == "Required fields are missing: [Order_Number__c]"
    parts = [
        {"method": "POST", "url": f"/services/data/v60.0{ORDER}", "referenceId": "a", "body": {"Order_Number__c": "O3"}}
    ]
    told = client.call("POST", "/composite", json={"compositeRequest": parts}).json()
    assert told["compositeResponse"][0]["body"]["errors"][0]["statusCode"] == "OPERATION_ENQUEUED"


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({}, 400, "REQUIRED_FIELD_MISSING"),
        ({"Order_Number__c": "x" * 41}, 400, "STRING_TOO_LONG"),
        ({"Order_Number__c": "x", "Nope__c": 1}, 400, "INVALID_FIELD"),
        ({"Order_Number__c": "x", "ReplayId": "1"}, 400, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ({"Order_Number__c": "x", "Ship_Date__c": "soon"}, 400, "INVALID_TYPE_ON_FIELD_IN_RECORD"),
        ({"Order_Number__c": "x", "Amount__c": {}}, 400, "JSON_PARSER_ERROR"),
    ],
)
def test_an_event_that_cannot_be_is_refused(client: Client, fields: Any, status: int, code: str) -> None:
    answer = client.call("POST", ORDER, json=fields)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (status, code)


def test_an_event_is_described_and_cannot_be_read_or_changed(client: Client) -> None:
    described = client.call("GET", f"{ORDER}/describe").json()
    facts = ("createable", "queryable", "retrieveable", "updateable", "deletable", "searchable", "undeletable")
    assert [described[each] for each in facts] == [True, *[False] * 6]
    names = [each["name"] for each in described["fields"]]
    assert names[:4] == ["ReplayId", "CreatedDate", "CreatedById", "EventUuid"] and "Id" not in names
    listed = {each["name"]: each for each in client.call("GET", "/sobjects").json()["sobjects"]}
    assert listed["Order_Event__e"]["keyPrefix"] == "e00" and listed["Order_Event__e"]["custom"] is True
    assert client.call("GET", "/query", params={"q": "SELECT Id FROM Order_Event__e"}).status_code == 400
    assert client.call("PATCH", f"{ORDER}/e005s0000000001AAA", json={}).status_code == 404


def test_the_schema_of_an_event_is_found_by_its_name_and_by_its_id(client: Client) -> None:
    schema = client.call("GET", f"{ORDER}/eventSchema").json()
    assert [each["name"] for each in schema["fields"]][:4] == [
        "CreatedDate",
        "CreatedById",
        "Order_Number__c",
        "Amount__c",
    ]
    assert client.call("GET", f"/event/eventSchema/{schema['uuid']}").json() == schema
    changes = client.call("GET", "/sobjects/ContactChangeEvent/eventSchema").json()
    assert changes["fields"][0]["name"] == "ChangeEventHeader"
    assert client.call("GET", "/event/eventSchema/nonsense").status_code == 404
    assert client.call("GET", "/sobjects/Account/eventSchema").status_code == 404
