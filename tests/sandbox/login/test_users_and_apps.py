from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from tests.sandbox.conftest import Client
from tests.sandbox.login.oauth_client import CALLBACK, Browser, credentials, post_token, put, refusal
from tests.sandbox_process import SandboxProcess


def _control(sandbox: SandboxProcess, method: str, path: str, **options: Any) -> requests.Response:
    return requests.request(method, f"{sandbox.http_url}/_sandbox/{path}", timeout=10, **options)


def test_each_user_stands_as_a_record_with_an_id_of_its_own(sandbox: SandboxProcess, client: Client) -> None:
    given = [{"username": f"u{n}@x.example", "password": "pw", "last_name": f"Lee {n}"} for n in range(2)]
    made = _control(sandbox, "POST", "users", json=given).json()
    assert "password" not in made[0]
    found = client.query("SELECT Id, Username, LastName, IsActive, CommunityNickname FROM User ORDER BY Username")
    assert [each["Username"] for each in found] == [sandbox.username, "u0@x.example", "u1@x.example"]
    assert [each["Id"] for each in found[1:]] == [each["id"] for each in made]
    assert [each["LastName"] for each in found[1:]] == ["Lee 0", "Lee 1"]
    # A change is told by what it names, and keeps the rest.
    assert put(sandbox, "users", username="U0@x.example", first_name="Ann")["id"] == made[0]["id"]
    assert _control(sandbox, "DELETE", "users/u1%40x.example").status_code == 204
    assert [each["username"] for each in _control(sandbox, "GET", "users").json()["users"]] == [
        sandbox.username,
        "u0@x.example",
    ]
    form = {"grant_type": "password", **credentials(sandbox), "password": "pw"}
    assert refusal(post_token(sandbox, **form, username="u1@x.example"))[1] == "invalid_grant"
    token = post_token(sandbox, **form, username="u0@x.example").json()["access_token"]
    sandbox.reset()
    headers = {"Authorization": f"Bearer {token}"}
    assert requests.get(client.base + "/limits", headers=headers, timeout=10).status_code == 401
    assert client.query("SELECT Username FROM User") == [{"Username": sandbox.username}]


@pytest.mark.parametrize(
    ("what", "given", "reason"),
    [
        ("users", {}, "a user is an object with at least a username"),
        ("users", {"username": "u@x.example"}, "a new user needs a password"),
        ("users", {"username": "u"}, "the form of an email address"),
        ("users", {"username": "u@x.example", "password": ""}, "may not be empty"),
        ("users", {"username": "u@x.example", "password": 1}, "password is text"),
        ("users", {"username": "u@x.example", "password": "\ud800"}, "password is text"),
        ("users", {"username": "u@x.example", "password": "p", "first_name": "x" * 41}, "at most 40 characters"),
        ("users", {"username": "u@x.example", "active": "yes"}, "active is true or false"),
        ("users", {"username": "u@x.example", "role": "x"}, "unknown key 'role'"),
        ("apps", {}, "an app is an object with at least a client_id"),
        ("apps", {"client_id": "a", "secret": "x"}, "unknown key 'secret'"),
        ("apps", {"client_id": "a", "flows": ["magic"]}, "unknown flows magic"),
        ("apps", {"client_id": "a", "scopes": "api"}, "scopes is of the wrong kind"),
        ("apps", {"client_id": "a", "pkce_required": 1}, "pkce_required is of the wrong kind"),
        ("apps", {"client_id": {}}, "an app is an object with at least a client_id"),
        ("apps", {"client_id": "a", "client_secret": "\ud800"}, "client_secret is of the wrong kind"),
        ("apps", {"client_id": "a", "name": None}, "name is of the wrong kind"),
        ("apps", {"client_id": "a", "certificate": "x"}, "neither an X.509 certificate nor a public key"),
    ],
)
def test_users_and_apps_that_cannot_be_are_refused_with_the_reason(
    sandbox: SandboxProcess, what: str, given: dict[str, Any], reason: str
) -> None:
    answer = _control(sandbox, "POST", what, json=given)
    assert answer.status_code == 400
    assert reason in answer.json()[0]["message"]
    # Of a list all are taken, or none.
    good = {"users": {"username": "good@x.example", "password": "p"}, "apps": {"client_id": "good"}}[what]
    assert _control(sandbox, "POST", what, json=[good, given]).status_code == 400
    assert "good" not in _control(sandbox, "GET", what).text
    assert _control(sandbox, "POST", what, data=b"{").status_code == 400


def test_apps_come_and_go(sandbox: SandboxProcess) -> None:
    put(sandbox, "apps", client_id="a", client_secret="hush", run_as=sandbox.username)
    form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "hush"}
    assert post_token(sandbox, **form).status_code == 200
    listed = _control(sandbox, "GET", "apps")
    assert {each["client_id"] for each in listed.json()["apps"]} == {"PlatformCLI", sandbox.client_id, "a"}
    assert "hush" not in listed.text
    assert _control(sandbox, "DELETE", "apps/a").status_code == 204
    assert refusal(post_token(sandbox, **form))[1] == "invalid_client_id"
    for path in ("apps/a", "users/nobody@x.example"):
        assert _control(sandbox, "DELETE", path).status_code == 404
    assert _control(sandbox, "DELETE", f"users/{sandbox.username}").status_code == 400


def test_users_apps_and_refresh_tokens_outlive_a_restart(tmp_path: Path) -> None:
    with SandboxProcess(https=False, data=tmp_path / "org") as sandbox:
        made = put(sandbox, "users", username="u@x.example", password="pw", permissions={"objects": {"*": {}}})
        put(sandbox, "apps", client_id="a", client_secret="s")
        browser = Browser(sandbox)
        browser.authorize(client_id="a")
        browser.fill_in(username="u@x.example", password="pw")
        browser.fill_in(decision="allow")
        app = {"client_id": "a", "client_secret": "s"}
        form = {"grant_type": "authorization_code", "code": browser.brought_back["code"], "redirect_uri": CALLBACK}
        refresh = post_token(sandbox, **form, **app).json()["refresh_token"]
        sandbox.kill()
        sandbox.start()
        answer = post_token(sandbox, grant_type="refresh_token", refresh_token=refresh, **app).json()
        assert answer["id"].endswith(made["id"])
