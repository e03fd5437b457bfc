"""What a user may not do is refused row by row, in every channel; and the limit of calls, which refuses all."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.sandbox.conftest import Client
from tests.sandbox.rows.channels import CHANNELS, Error, control
from tests.sandbox_process import SandboxProcess

PERMISSIONS: dict[str, Any] = {
    "objects": {
        "Lead": {"create": False},
        "Account": {"edit": False},
        "Contact": {"delete": False},
        "Campaign": {"read": False},
    },
    "fields": {"Contact.Title": {"edit": False}},
}
NO_RIGHT: Error = ("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id", [])
NOT_WRITABLE = (
    "Unable to create/update fields: Title. Please check the security settings of this field and verify that it is"
    " read/write for your profile or permission set."
)


def _limited(client: Client) -> Client:
    """A client that is logged in as a user with fewer rights."""
    user = {"username": "small@sandbox.example", "password": "small", "permissions": PERMISSIONS}
    answer = requests.post(f"{client.sandbox.http_url}/_sandbox/users", json=user, timeout=30)
    assert answer.status_code in (200, 201), answer.text
    form = {"grant_type": "password", "username": user["username"], "password": user["password"]}
    form |= {"client_id": client.sandbox.client_id, "client_secret": client.sandbox.client_secret}
    token = requests.post(f"{client.sandbox.http_url}/services/oauth2/token", data=form, timeout=30).json()
    limited = Client(client.sandbox)
    limited.http.headers["Authorization"] = f"Bearer {token['access_token']}"
    return limited


@pytest.mark.parametrize("channel", CHANNELS)
def test_what_a_user_may_not_do_is_refused(ruled: Client, channel: str) -> None:
    account = ruled.create("Account", Name="A")
    contact = ruled.create("Contact", LastName="C")
    campaign = ruled.create("Campaign", Name="Hidden")
    limited, send = _limited(ruled), CHANNELS[channel]
    lead = [{"LastName": "L", "Company": "C"}]
    not_insertable: Error = ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "entity type cannot be inserted: Lead", [])
    # A bulk job for such an object cannot even be made.
    assert channel.startswith("bulk") or send(limited, "insert", "Lead", lead, "") == [not_insertable]
    assert send(limited, "update", "Account", [{"Id": account, "Site": "x"}], "") == [NO_RIGHT]
    assert send(limited, "delete", "Contact", [{"Id": contact}], "") == [NO_RIGHT]
    unwritable: Error = ("INVALID_FIELD_FOR_INSERT_UPDATE", NOT_WRITABLE, ["Title"])
    assert send(limited, "update", "Contact", [{"Id": contact, "Title": "x"}], "") == [unwritable]
    deal = {"Name": "D", "StageName": "Prospecting", "CloseDate": "2030-01-01", "CampaignId": campaign}
    text = f"insufficient access rights on cross-reference id: {campaign[:15]}"
    hidden: Error = ("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", text, [])
    assert send(limited, "insert", "Opportunity", [deal], "") == [hidden]
    del deal["CampaignId"]
    assert send(limited, "insert", "Opportunity", [deal], "") == [None]


def test_batches_that_run_together_lock_the_parents_of_their_rows(ruled: Client) -> None:
    account, other = (ruled.create("Account", Name=name) for name in ("Shared", "Own"))
    control(ruled, "rules", {"row_locks": True})
    base = ruled.base.replace("/services/data/v", "/services/async/")
    session = {"X-SFDC-Session": ruled.http.headers["Authorization"].split()[1], "Content-Type": "application/json"}
    job = {"operation": "insert", "object": "Contact", "contentType": "JSON"}
    made = requests.post(f"{base}/job", json=job, headers=session, timeout=30).json()["id"]
    path = f"{base}/job/{made}/batch"
    rows = [[{"LastName": "A", "AccountId": account}], [{"LastName": "B", "AccountId": account}]]
    rows[1].append({"LastName": "C", "AccountId": other})
    # While the clock stands still, batches keep what they hold.
    control(ruled, "clock", {"speed": 0})
    batches = [requests.post(path, json=rows[0], headers=session, timeout=30).json()["id"]]
    while account not in control(ruled, "rules", method="GET")["held"]:
        pass
    batches.append(requests.post(path, json=rows[1], headers=session, timeout=30).json()["id"])
    while other not in control(ruled, "rules", method="GET")["held"]:
        pass
    control(ruled, "clock", {"speed": 1_000})
    results = []
    for batch in batches:
        while requests.get(f"{path}/{batch}", headers=session, timeout=30).json()["state"] != "Completed":
            pass
        results.append(requests.get(f"{path}/{batch}/result", headers=session, timeout=30).json())
    refused = [each for result in results for each in result if not each["success"]]
    text = f"unable to obtain exclusive access to this record or 1 records: {account}"
    assert [(each["errors"][0]["statusCode"], each["errors"][0]["message"]) for each in refused] == [
        ("UNABLE_TO_LOCK_ROW", text)
    ]
    assert control(ruled, "rules", method="GET")["held"] == []
    assert len(ruled.query("SELECT Id FROM Contact")) == 2


def test_a_column_that_is_no_field_is_refused_as_each_channel_does(ruled: Client) -> None:
    rows = [{"LastName": "A"}, {"LastName": "B", "Nothing__c": "x"}]
    refused: Error = ("INVALID_FIELD", "No such column 'Nothing__c' on sobject of type Contact", [])
    assert CHANNELS["collections"](ruled, "insert", "Contact", rows, "") == [None, refused]
    answer = ruled.call("POST", "/sobjects/Contact", json=rows[1])
    assert (answer.status_code, answer.json()) == (400, [{"message": refused[1], "errorCode": refused[0]}])
    job = ruled.start_job("insert", "LastName,Nothing__c\nA,x\n")
    assert ruled.wait(job)["errorMessage"] == "InvalidBatch : Field name not found : Nothing__c"
    assert len(ruled.query("SELECT Id FROM Contact")) == 1


def test_what_is_not_there_is_not_found(ruled: Client) -> None:
    missing = {"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}
    no_key = "Provided external ID field does not exist or is not accessible: {0}"
    for method, path, message in (
        ("POST", "/sobjects/Nothing__c", missing["message"]),
        ("PATCH", "/sobjects/Contact/nonsense", no_key.format("nonsense")),
        ("PATCH", "/sobjects/Contact/Title/x", no_key.format("Title")),
        ("DELETE", "/sobjects/Contact/External_Id__c/x", missing["message"]),
    ):
        answer = ruled.call(method, path, json={"LastName": "A"})
        assert (answer.status_code, answer.json()) == (404, [{**missing, "message": message}]), path


def test_half_a_character_is_no_text(ruled: Client) -> None:
    for text in (b'"\\ud800"', b'"\xed\xa0\x80"'):
        body = b'{"LastName": ' + text + b"}"
        answer = ruled.call("POST", "/sobjects/Contact", data=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")
    whole = ruled.call("POST", "/sobjects/Contact", json={"LastName": "\U0001f600"})
    assert whole.status_code == 201
    assert ruled.query("SELECT LastName FROM Contact") == [{"LastName": "\U0001f600"}]


def test_beyond_the_limit_of_calls_nothing_is_taken() -> None:
    with SandboxProcess(daily_api_requests=2, https=False) as sandbox:
        client = Client(sandbox)
        job = client.open_job("insert")
        client.call("POST", "/sobjects/Contact", json={"LastName": "A"})
        refused = [
            client.call("POST", "/sobjects/Contact", json={"LastName": "B"}),
            client.call("POST", "/composite/sobjects", json={"records": []}),
            client.call("POST", "/jobs/ingest", json={"object": "Contact", "operation": "insert"}),
            client.upload(job, "LastName\nC\n"),
        ]
        limit = [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
        assert [(each.status_code, each.json()) for each in refused] == [(403, limit)] * 4
        assert sandbox.state()["objects"]["Contact"]["live"] == 1
