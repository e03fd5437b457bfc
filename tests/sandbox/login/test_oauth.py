from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time

import pytest
import requests

from tests.sandbox.conftest import Client
from tests.sandbox.login.oauth_client import JWT_BEARER, Signer, credentials, pass_time, post_token, put, refusal
from tests.sandbox_process import SandboxProcess


def _password_form(sandbox: SandboxProcess) -> dict[str, str]:
    return {
        "grant_type": "password",
        **credentials(sandbox),
        "username": sandbox.username,
        "password": sandbox.password + sandbox.security_token,
    }


def test_a_password_login_answers_what_clients_read(sandbox: SandboxProcess) -> None:
    answer = post_token(sandbox, **_password_form(sandbox))
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"access_token", "instance_url", "id", "token_type", "issued_at", "signature"}
    assert re.fullmatch(r"00D\w{12}![.\w]+", body["access_token"])
    assert body["token_type"] == "Bearer"
    assert body["issued_at"].isdigit()
    assert body["instance_url"] == sandbox.http_url
    assert re.fullmatch(re.escape(sandbox.http_url) + r"/id/00D\w{15}/005\w{15}", body["id"])
    digest = hmac.new(sandbox.client_secret.encode(), (body["id"] + body["issued_at"]).encode(), hashlib.sha256)
    assert body["signature"] == base64.b64encode(digest.digest()).decode()


def test_the_instance_url_is_the_address_by_which_the_client_came(sandbox: SandboxProcess) -> None:
    assert sandbox.https_url is not None
    by_name = sandbox.https_url.replace("127.0.0.1", "localhost")
    url = by_name + "/services/oauth2/token"
    answer = requests.post(url, data=_password_form(sandbox), timeout=10, verify=str(sandbox.ca_file))
    assert answer.json()["instance_url"] == by_name


def test_client_credentials_come_in_the_form_or_as_basic(sandbox: SandboxProcess) -> None:
    assert post_token(sandbox, grant_type="client_credentials", **credentials(sandbox)).json()["scope"] == "api"
    url = sandbox.http_url + "/services/oauth2/token"
    form = {"grant_type": "client_credentials"}
    basic = requests.post(url, data=form, auth=(sandbox.client_id, sandbox.client_secret), timeout=10)
    assert basic.status_code == 200
    for header in ("Basic ???", "Basic " + base64.b64encode(b"sandbox-client:no").decode()):
        wrong = requests.post(url, data=form, headers={"Authorization": header}, timeout=10)
        assert refusal(wrong) == (400, "invalid_client", "invalid client credentials")


def test_client_credentials_need_a_user_to_run_as_and_the_orgs_own_host(sandbox: SandboxProcess) -> None:
    form = {"grant_type": "client_credentials", **credentials(sandbox)}
    clerk = put(sandbox, "users", username="clerk@x.example", password="pw")
    put(sandbox, "apps", client_id=sandbox.client_id, run_as="clerk@x.example")
    assert post_token(sandbox, **form).json()["id"].endswith(clerk["id"])
    put(sandbox, "apps", client_id=sandbox.client_id, run_as=None)
    assert refusal(post_token(sandbox, **form)) == (400, "invalid_grant", "no client credentials user enabled")
    for host in ("login.salesforce.com", "TEST.salesforce.com:443"):
        url = sandbox.http_url + "/services/oauth2/token"
        answer = requests.post(url, data=form, headers={"Host": host}, timeout=10)
        assert refusal(answer) == (400, "invalid_grant", "request not supported on this domain")


@pytest.mark.parametrize(
    ("change", "error", "description"),
    [
        ({"password": "wrong"}, "invalid_grant", "authentication failure"),
        ({"username": "nobody@nowhere.example"}, "invalid_grant", "authentication failure"),
        ({"username": ""}, "invalid_request", "missing required parameter: username"),
        ({"client_id": ""}, "invalid_request", "missing required parameter: client_id"),
        ({"client_id": "unknown"}, "invalid_client_id", "client identifier invalid"),
        ({"client_id": "PlatformCLI", "client_secret": ""}, "invalid_client", "invalid client credentials"),
        ({"client_secret": "wrong"}, "invalid_client", "invalid client credentials"),
        ({"grant_type": "magic"}, "unsupported_grant_type", "grant type not supported"),
        ({"grant_type": ""}, "unsupported_grant_type", "grant type not supported"),
        (
            {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": "x"},
            "unsupported_grant_type",
            "grant type not supported",
        ),
    ],
)
def test_a_refused_login_names_the_reason(
    sandbox: SandboxProcess, change: dict[str, str], error: str, description: str
) -> None:
    assert refusal(post_token(sandbox, **{**_password_form(sandbox), **change})) == (400, error, description)


def test_a_form_that_is_none_and_a_get_are_refused(sandbox: SandboxProcess) -> None:
    url = sandbox.http_url + "/services/oauth2/token"
    assert refusal(requests.get(url, params=_password_form(sandbox), timeout=10))[1:] == (
        "invalid_request",
        "must use HTTP POST",
    )
    for body in (b"", b"\xff\xfe=&&&", b'{"grant_type": "password"}'):
        assert refusal(requests.post(url, data=body, timeout=10))[1] == "invalid_request"


def test_an_app_lets_in_by_its_flows_and_its_approved_users_only(sandbox: SandboxProcess) -> None:
    form = _password_form(sandbox)
    put(sandbox, "apps", client_id=sandbox.client_id, users=["other@x.example"])
    approved = "user is not admin approved to access this app"
    assert refusal(post_token(sandbox, **form)) == (400, "invalid_app_access", approved)
    put(sandbox, "apps", client_id=sandbox.client_id, users=None, flows=["jwt_bearer"])
    assert refusal(post_token(sandbox, **form))[1] == "unsupported_grant_type"


def test_users_who_are_inactive_or_locked_out_are_refused(sandbox: SandboxProcess, client: Client) -> None:
    user = {"username": "u@x.example", "password": "right"}
    form = {"grant_type": "password", **credentials(sandbox), **user}
    made = put(sandbox, "users", **user)
    token = post_token(sandbox, **form).json()["access_token"]
    for _ in range(10):
        assert refusal(post_token(sandbox, **{**form, "password": "no"}))[2] == "authentication failure"
    assert refusal(post_token(sandbox, **form)) == (400, "invalid_grant", "authentication failure")
    pass_time(sandbox, 901)
    assert post_token(sandbox, **form).status_code == 200
    put(sandbox, "users", username="u@x.example", locked=True)
    assert refusal(post_token(sandbox, **form))[2] == "authentication failure"
    put(sandbox, "users", username="u@x.example", locked=False)
    assert post_token(sandbox, **form).status_code == 200
    put(sandbox, "users", username="u@x.example", token_required=True, security_token="T")
    assert refusal(post_token(sandbox, **form))[1] == "invalid_grant"
    assert post_token(sandbox, **{**form, "password": "rightT"}).status_code == 200
    put(sandbox, "users", username="u@x.example", password_expired=True)
    assert refusal(post_token(sandbox, **{**form, "password": "rightT"}))[2] == "expired password"
    put(sandbox, "users", username="u@x.example", active=False)
    assert refusal(post_token(sandbox, **{**form, "password": "rightT"}))[2] == "inactive user"
    headers = {"Authorization": f"Bearer {token}"}
    assert requests.get(client.base + "/limits", headers=headers, timeout=10).status_code == 401
    assert client.query(f"SELECT IsActive FROM User WHERE Id = '{made['id']}'") == [{"IsActive": False}]


def test_who_is_deactivated_by_his_record_cannot_log_in(sandbox: SandboxProcess, client: Client) -> None:
    made = put(sandbox, "users", username="u@x.example", password="right")
    assert client.call("PATCH", f"/sobjects/User/{made['id']}", json={"IsActive": False}).status_code == 204
    form = {"grant_type": "password", **credentials(sandbox), "username": "u@x.example", "password": "right"}
    assert refusal(post_token(sandbox, **form)) == (400, "invalid_grant", "inactive user")


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


@pytest.fixture
def jwt(sandbox: SandboxProcess, signer: Signer) -> SandboxProcess:
    """The sandbox with the certificate of `signer` uploaded."""
    put(sandbox, "apps", client_id=sandbox.client_id, certificate=signer.certificate)
    return sandbox


def test_assertions_are_taken_as_clients_write_them(jwt: SandboxProcess, signer: Signer) -> None:
    now = time.time()
    for claims in (
        {},
        {"exp": str(int(now) + 180)},
        {"exp": int(now * 1000) + 300},
        {"exp": int(now)},
        {"aud": "https://test.salesforce.com/"},
        {"aud": jwt.http_url + "/"},
        {"aud": [jwt.http_url]},
        {"alg": "RS256", "iat": int(now), "sub": jwt.username.upper()},
    ):
        answer = post_token(jwt, grant_type=JWT_BEARER, assertion=signer.assertion(jwt, **claims))
        assert answer.status_code == 200, (claims, answer.text)
        assert set(answer.json()) == {"access_token", "scope", "instance_url", "id", "token_type"}


def test_assertions_that_prove_nothing_are_refused(jwt: SandboxProcess, signer: Signer) -> None:
    now, none = time.time(), None
    for claims, error, description in (
        ({"exp": int(now) - 120}, "invalid_grant", "assertion expired"),
        ({"exp": int(now) + 3600}, "invalid_grant", "invalid assertion"),
        ({"exp": "soon"}, "invalid_grant", "invalid assertion"),
        ({"exp": "nan"}, "invalid_grant", "invalid assertion"),
        ({"exp": none}, "invalid_grant", "invalid assertion"),
        ({"exp": True}, "invalid_grant", "invalid assertion"),
        ({"aud": "https://elsewhere.example"}, "invalid_grant", "Audience validation failed"),
        ({"aud": none}, "invalid_grant", "Audience validation failed"),
        ({"iss": "nobody"}, "invalid_client_id", "client identifier invalid"),
        ({"iss": 7}, "invalid_grant", "invalid assertion"),
        ({"sub": "nobody@x.example"}, "invalid_grant", "user hasn't approved this consumer"),
    ):
        answer = post_token(jwt, grant_type=JWT_BEARER, assertion=signer.assertion(jwt, **claims))
        assert refusal(answer) == (400, error, description), claims
    good = signer.assertion(jwt)
    head, body, signature = good.split(".")
    for assertion in (
        "x",
        "a.b.c",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-8]}AAAAAAAA",
        signer.sign({}, "none"),
        signer.sign([]),
        Signer().assertion(jwt),
        "é.é.é",
    ):
        answer = post_token(jwt, grant_type=JWT_BEARER, assertion=assertion)
        assert refusal(answer) == (400, "invalid_grant", "invalid assertion"), assertion
    put(jwt, "apps", client_id=jwt.client_id, pre_approved=False)
    put(jwt, "users", username="new@x.example", password="pw")
    answer = post_token(jwt, grant_type=JWT_BEARER, assertion=signer.assertion(jwt, sub="new@x.example"))
    assert refusal(answer)[2] == "user hasn't approved this consumer"
    put(jwt, "apps", client_id=jwt.client_id, certificate=None)
    assert refusal(post_token(jwt, grant_type=JWT_BEARER, assertion=good))[2] == "invalid assertion"


def test_a_call_without_a_good_session_is_401_with_an_array(sandbox: SandboxProcess) -> None:
    for headers in ({}, {"Authorization": "Bearer 00Dnonsense"}):
        answer = requests.get(sandbox.http_url + "/services/data/v60.0/limits", headers=headers, timeout=10)
        assert answer.status_code == 401
        assert answer.json() == [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]


def test_a_session_ends_when_it_was_not_used_for_its_lifetime(sandbox: SandboxProcess, client: Client) -> None:
    for _ in range(3):
        pass_time(sandbox, 7100)
        assert client.call("GET", "/limits").status_code == 200
    pass_time(sandbox, 7300)
    assert client.call("GET", "/limits").status_code == 401


def test_a_revoked_session_is_dead(sandbox: SandboxProcess, client: Client) -> None:
    token = str(client.http.headers["Authorization"]).removeprefix("Bearer ")
    revoke = sandbox.http_url + "/services/oauth2/revoke"
    introspect = {"url": sandbox.http_url + "/services/oauth2/introspect", "timeout": 10}
    asked = requests.post(**introspect, data={**credentials(sandbox), "token": token}).json()
    assert (asked["active"], asked["username"], asked["token_type"]) == (True, sandbox.username, "access_token")
    assert asked["iat"] <= asked["nbf"] < asked["exp"]
    answer = requests.post(revoke, data={"token": token}, timeout=10)
    assert (answer.status_code, answer.content) == (200, b"")
    assert client.call("GET", "/limits").status_code == 401
    assert requests.post(revoke, data={"token": token}, timeout=10).json()["error"] == "invalid_token"
    assert requests.get(revoke, timeout=10).json()["error"] == "invalid_request"
    assert requests.post(**introspect, data={**credentials(sandbox), "token": token}).json() == {"active": False}
    refused = requests.post(**introspect, data={"client_id": sandbox.client_id, "client_secret": "no", "token": "x"})
    assert refusal(refused)[:2] == (401, "invalid_client")


def test_secrets_stay_out_of_log_and_request_list(sandbox: SandboxProcess, client: Client) -> None:
    post_token(sandbox, **_password_form(sandbox))
    client.call("GET", "/limits")
    token = str(client.http.headers["Authorization"]).removeprefix("Bearer ")
    listed = str(sandbox.requests())
    assert token not in listed
    assert sandbox.password not in listed
    assert token not in sandbox.log
