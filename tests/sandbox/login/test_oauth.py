from __future__ import annotations

import re
import time

import pytest
import requests

from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess


def _token(sandbox: SandboxProcess, base: str | None = None, **form: str) -> requests.Response:
    verify = sandbox.ca_file or True
    return requests.post(f"{base or sandbox.http_url}/services/oauth2/token", data=form, timeout=10, verify=verify)


def _password_form(sandbox: SandboxProcess) -> dict[str, str]:
    return {
        "grant_type": "password",
        "client_id": sandbox.client_id,
        "client_secret": sandbox.client_secret,
        "username": sandbox.username,
        "password": sandbox.password + sandbox.security_token,
    }


def test_a_password_login_answers_what_clients_read(sandbox: SandboxProcess) -> None:
    answer = _token(sandbox, **_password_form(sandbox))
    assert answer.status_code == 200
    body = answer.json()
    assert re.fullmatch(r"00D\w{12}![.\w]+", body["access_token"])
    assert body["token_type"] == "Bearer"
    assert body["issued_at"].isdigit()
    assert body["instance_url"] == sandbox.http_url
    assert re.fullmatch(re.escape(sandbox.http_url) + r"/id/00D\w{15}/005\w{15}", body["id"])
    assert "refresh_token" not in body
    assert "expires_in" not in body


def test_the_instance_url_is_the_address_by_which_the_client_came(sandbox: SandboxProcess) -> None:
    assert sandbox.https_url is not None
    by_name = sandbox.https_url.replace("127.0.0.1", "localhost")
    assert _token(sandbox, by_name, **_password_form(sandbox)).json()["instance_url"] == by_name


def test_client_credentials_come_in_the_form_or_as_basic(sandbox: SandboxProcess) -> None:
    credentials = {"client_id": sandbox.client_id, "client_secret": sandbox.client_secret}
    assert _token(sandbox, grant_type="client_credentials", **credentials).json()["scope"] == "api"
    basic = requests.post(
        sandbox.http_url + "/services/oauth2/token",
        data={"grant_type": "client_credentials"},
        auth=(sandbox.client_id, sandbox.client_secret),
        timeout=10,
    )
    assert basic.status_code == 200


@pytest.mark.parametrize(
    ("change", "error", "description"),
    [
        ({"password": "wrong"}, "invalid_grant", "authentication failure"),
        ({"username": "nobody@nowhere.example"}, "invalid_grant", "authentication failure"),
        ({"client_id": "unknown"}, "invalid_client_id", "client identifier invalid"),
        ({"client_secret": "wrong"}, "invalid_client", "invalid client credentials"),
        ({"grant_type": "magic"}, "unsupported_grant_type", "grant type not supported"),
        ({"grant_type": ""}, "unsupported_grant_type", "grant type not supported"),
    ],
)
def test_a_refused_login_names_the_reason(
    sandbox: SandboxProcess, change: dict[str, str], error: str, description: str
) -> None:
    answer = _token(sandbox, **{**_password_form(sandbox), **change})
    assert answer.status_code == 400
    assert answer.json() == {"error": error, "error_description": description}


def test_a_call_without_a_good_session_is_401_with_an_array(sandbox: SandboxProcess) -> None:
    for headers in ({}, {"Authorization": "Bearer 00Dnonsense"}):
        answer = requests.get(sandbox.http_url + "/services/data/v60.0/limits", headers=headers, timeout=10)
        assert answer.status_code == 401
        assert answer.json() == [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]


def test_a_session_ends_when_it_was_not_used_for_its_lifetime() -> None:
    with SandboxProcess(https=False, token_lifetime=0.3) as sandbox:
        client = Client(sandbox)
        for _ in range(3):
            time.sleep(0.15)
            assert client.call("GET", "/limits").status_code == 200
        time.sleep(0.5)
        assert client.call("GET", "/limits").status_code == 401


def test_a_revoked_session_is_dead(sandbox: SandboxProcess, client: Client) -> None:
    token = str(client.http.headers["Authorization"]).removeprefix("Bearer ")
    revoke = sandbox.http_url + "/services/oauth2/revoke"
    assert requests.post(revoke, data={"token": token}, timeout=10).status_code == 200
    assert client.call("GET", "/limits").status_code == 401
    assert requests.post(revoke, data={"token": token}, timeout=10).json()["error"] == "invalid_token"


def test_userinfo_and_identity_name_user_and_org(sandbox: SandboxProcess, client: Client) -> None:
    info = client.http.get(sandbox.http_url + "/services/oauth2/userinfo", timeout=10).json()
    identity = client.http.get(info["sub"], timeout=10).json()
    assert identity["user_id"] == info["user_id"]
    assert identity["organization_id"] == info["organization_id"] == sandbox.state()["org_id"]
    refused = requests.get(info["sub"], timeout=10)
    assert (refused.status_code, refused.text) == (403, "Missing_OAuth_Token")


def test_secrets_stay_out_of_log_and_request_list(sandbox: SandboxProcess, client: Client) -> None:
    _token(sandbox, **_password_form(sandbox))
    client.call("GET", "/limits")
    token = str(client.http.headers["Authorization"]).removeprefix("Bearer ")
    listed = str(sandbox.requests())
    assert token not in listed
    assert sandbox.password not in listed
    assert token not in sandbox.log
