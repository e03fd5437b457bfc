from __future__ import annotations

import pytest

from tests.sandbox.conftest import Client
from tests.sandbox.login.oauth_client import put

LONG_AGO = "Sat, 1 Jan 2000 00:00:01 GMT"


@pytest.mark.parametrize("path", ["/sobjects", "/sobjects/Account/describe"])
def test_a_describe_is_sent_again_only_when_the_schema_has_changed(client: Client, path: str) -> None:
    first = client.call("GET", path, headers={"If-Modified-Since": LONG_AGO})
    assert first.status_code == 200
    since = {"If-Modified-Since": first.headers["Last-Modified"]}
    again = client.call("GET", path, headers=since)
    assert (again.status_code, again.content) == (304, b"")
    assert client.call("GET", path, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    hidden = {"Account": {"edit": False}}
    put(client.sandbox, "users", username="admin@sandbox.example", permissions={"objects": hidden})
    changed = client.call("GET", path, headers=since)
    assert changed.status_code == 200
    assert changed.json() != first.json()
    assert changed.headers["Last-Modified"] != first.headers["Last-Modified"]


def test_a_composite_tells_the_date_of_a_describe(client: Client) -> None:
    url = "/services/data/v60.0/sobjects/Account/describe"
    dates = {"old": LONG_AGO, "new": "Thu, 1 Jan 2099 00:00:00 GMT"}
    parts = [
        {"method": "GET", "url": url, "referenceId": name, "httpHeaders": {"If-Modified-Since": date}}
        for name, date in dates.items()
    ]
    old, new = client.call("POST", "/composite", json={"compositeRequest": parts}).json()["compositeResponse"]
    assert (old["httpStatusCode"], old["body"]["name"]) == (200, "Account")
    assert (new["httpStatusCode"], new["body"]) == (304, None)
    assert set(new["httpHeaders"]) == {"ETag", "Last-Modified"}
    assert new["httpHeaders"] == old["httpHeaders"]
