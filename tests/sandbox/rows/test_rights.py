"""What a user may not do is refused row by row, in every channel; and the limit of calls, which refuses all."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.sandbox.conftest import Client
from tests.sandbox.rows.channels import CHANNELS, Error, control

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
    not_insertable = ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "entity type cannot be inserted: Lead", [])
    # A bulk job for such an object cannot even be made.
    assert channel.startswith("bulk") or send(limited, "insert", "Lead", lead, "") == [not_insertable]
    assert send(limited, "update", "Account", [{"Id": account, "Site": "x"}], "") == [NO_RIGHT]
    assert send(limited, "delete", "Contact", [{"Id": contact}], "") == [NO_RIGHT]
    unwritable = ("INVALID_FIELD_FOR_INSERT_UPDATE", NOT_WRITABLE, ["Title"])
    assert send(limited, "update", "Contact", [{"Id": contact, "Title": "x"}], "") == [unwritable]
    deal = {"Name": "D", "StageName": "Prospecting", "CloseDate": "2030-01-01", "CampaignId": campaign}
    text = f"insufficient access rights on cross-reference id: {campaign[:15]}"
    hidden = ("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", text, [])
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
    batches = [requests.post(path, json=each, headers=session, timeout=30).json()["id"] for each in rows]
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
