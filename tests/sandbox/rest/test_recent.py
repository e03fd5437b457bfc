from __future__ import annotations

import datetime

import requests

from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess

PAST, FUTURE = "Sat, 01 Jan 2000 00:00:01 GMT", "Sat, 01 Jan 2050 00:00:01 GMT"


def test_what_a_user_reads_and_writes_is_recent(sandbox: SandboxProcess) -> None:
    client, asking = Client(sandbox, "v59.0"), Client(sandbox, "v60.0")
    acme, ada = client.create("Account", Name="Acme"), client.create("Contact", LastName="Ada")
    quiet = asking.create("Account", Name="Quiet")
    client.call("GET", f"/sobjects/Account/{acme}")
    found = client.call("GET", "/recent").json()
    url = f"/services/data/v59.0/sobjects/Account/{acme}"
    assert found[0] == {"attributes": {"type": "Account", "url": url}, "Id": acme, "Name": "Acme"}
    assert [each["Id"] for each in found] == [acme, ada]
    asking.call("GET", f"/sobjects/Account/{quiet}", headers={"Sforce-Mru": "updateMru=true"})
    items = client.call("GET", "/sobjects/Account").json()["recentItems"]
    assert [each["Name"] for each in items] == ["Quiet", "Acme"]
    assert [each["Id"] for each in client.call("GET", "/recent", params={"limit": 1}).json()] == [quiet]
    client.call("DELETE", f"/sobjects/Account/{quiet}")
    assert [each["Id"] for each in client.call("GET", "/recent").json()] == [acme, ada]
    for wrong in ("many", "0", "\u00b2"):
        assert client.call("GET", "/recent", params={"limit": wrong}).status_code == 400


def test_changes_and_deletes_of_a_span_are_listed(client: Client) -> None:
    ids = [client.create("Account", Name=each) for each in "abc"]
    client.call("DELETE", f"/sobjects/Account/{ids[1]}")
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    minutes = datetime.timedelta(minutes=5)
    span = {"start": (now - minutes).isoformat(), "end": (now + minutes).isoformat()}
    updated = client.call("GET", "/sobjects/Account/updated/", params=span).json()
    assert updated["ids"] == [ids[0], ids[2]] and updated["latestDateCovered"].endswith(".000+0000")
    deleted = client.call("GET", "/sobjects/Account/deleted/", params=span).json()
    assert [each["id"] for each in deleted["deletedRecords"]] == [ids[1]]
    earlier = {"start": (now - 4 * minutes).isoformat(), "end": (now - 3 * minutes).isoformat()}
    assert client.call("GET", "/sobjects/Account/updated/", params=earlier).json()["ids"] == []
    for wrong in (
        {},
        {**span, "end": span["start"]},
        {**span, "start": "2000-01-01T00:00:00Z"},
        {**span, "end": "soon"},
    ):
        assert client.call("GET", "/sobjects/Account/updated/", params=wrong).status_code == 400


def test_a_record_is_sent_or_changed_only_under_the_callers_condition(client: Client) -> None:
    path = f"/sobjects/Account/{client.create('Account', Name='Acme')}"

    def status(method: str, **headers: str) -> int:
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        body = {"Name": "Changed"} if method == "PATCH" else None
        answer: requests.Response = client.call(method, path, json=body, headers=given)
        assert answer.status_code != 304 or answer.content == b""
        return answer.status_code

    tag = client.call("GET", path).headers["ETag"]
    assert (status("GET", If_Modified_Since=PAST), status("GET", If_Modified_Since=FUTURE)) == (200, 304)
    assert (status("GET", If_None_Match=tag), status("GET", If_None_Match='"other"')) == (304, 200)
    assert (status("PATCH", If_Unmodified_Since=PAST), status("PATCH", If_Match='"other"')) == (412, 412)
    assert client.query("SELECT Name FROM Account") == [{"Name": "Acme"}]
    assert (status("GET", If_Modified_Since="whenever"), status("PATCH", If_Match=tag)) == (200, 204)
    assert status("DELETE", If_Unmodified_Since=PAST) == 412
    assert status("DELETE", If_Unmodified_Since=FUTURE) == 204
