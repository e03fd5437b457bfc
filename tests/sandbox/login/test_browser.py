from __future__ import annotations

import base64
import json

import pytest
import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.sandbox.login.oauth_client import (
    CALLBACK,
    VERIFIER,
    Browser,
    challenge,
    credentials,
    pass_time,
    post_token,
    put,
    refusal,
)
from tests.sandbox_process import SandboxProcess


@pytest.fixture
def browser(sandbox: SandboxProcess) -> Browser:
    return Browser(sandbox)


def _code(browser: Browser, **query: str) -> str:
    browser.authorize(**query)
    if "Log in" in browser.page.text:
        browser.log_in()
    if browser.page.status_code == 200:
        browser.fill_in(decision="allow")
    return browser.brought_back["code"]


def _exchange(sandbox: SandboxProcess, code: str, **form: str) -> requests.Response:
    given = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, **credentials(sandbox)}
    return post_token(sandbox, **{**given, **form})


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "==")


def test_a_browser_logs_in_allows_and_brings_a_code_for_one_token(sandbox: SandboxProcess, browser: Browser) -> None:
    scope = "api refresh_token openid"
    page = browser.authorize(prompt="consent", state="s/1 &", code_challenge=challenge(), scope=scope, nonce="n1")
    assert (page.status_code, page.headers["X-Frame-Options"]) == (200, "DENY")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self' http://localhost:1717" in policy
    assert "HttpOnly" in page.headers["Set-Cookie"]
    assert "Allow" in browser.log_in().text
    browser.fill_in(decision="allow")
    assert browser.brought_back["state"] == "s/1 &"
    code = browser.brought_back["code"]
    # The Salesforce CLI and jsforce send a challenge without a method, and need no secret then.
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    answer = post_token(sandbox, client_id=sandbox.client_id, **form).json()
    assert answer["scope"] == scope
    assert {"access_token", "refresh_token", "signature", "id_token", "issued_at", "instance_url"} <= set(answer)
    again = post_token(sandbox, client_id=sandbox.client_id, **form)
    assert refusal(again) == (400, "invalid_grant", "invalid authorization code")
    head, body, signature = answer["id_token"].split(".")
    claims = json.loads(_decoded(body))
    assert (claims["aud"], claims["sub"], claims["nonce"]) == (sandbox.client_id, answer["id"], "n1")
    keys = requests.get(sandbox.http_url + "/.well-known/openid-configuration", timeout=10).json()["jwks_uri"]
    listed = requests.get(keys, timeout=10).json()["keys"]
    known = next(each for each in listed if each["kid"] == json.loads(_decoded(head))["kid"])
    numbers = (int.from_bytes(_decoded(known[each])) for each in ("e", "n"))
    public = rsa.RSAPublicNumbers(*numbers).public_key()
    public.verify(_decoded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())


def test_a_code_is_refused_without_its_proofs(sandbox: SandboxProcess, browser: Browser) -> None:
    wrong = _exchange(sandbox, _code(browser, code_challenge=challenge()), code_verifier="x" * 43)
    assert refusal(wrong) == (400, "invalid_grant", "invalid code verifier")
    missing = _exchange(sandbox, _code(browser, code_challenge=challenge()))
    assert refusal(missing) == (400, "invalid_request", "missing required parameter: code_verifier")
    elsewhere = _exchange(sandbox, _code(browser), redirect_uri="http://localhost:1/other")
    assert refusal(elsewhere) == (400, "redirect_uri_mismatch", "redirect_uri must match configuration")
    secret = _exchange(sandbox, _code(browser), client_secret="wrong")
    assert refusal(secret) == (400, "invalid_client", "invalid client credentials")
    form = {"grant_type": "authorization_code", "code": _code(browser), "redirect_uri": CALLBACK}
    assert refusal(post_token(sandbox, client_id=sandbox.client_id, **form))[1] == "invalid_client"
    of_another = _exchange(sandbox, _code(browser), client_id="PlatformCLI", client_secret="")
    assert refusal(of_another) == (400, "invalid_grant", "invalid authorization code")
    late = _code(browser)
    assert _exchange(sandbox, _code(browser)).status_code == 200
    pass_time(sandbox, 901)
    assert refusal(_exchange(sandbox, late)) == (400, "invalid_grant", "expired authorization code")


def test_what_the_app_asks_wrongly_goes_to_its_callback_or_to_a_page(sandbox: SandboxProcess, browser: Browser) -> None:
    put(sandbox, "apps", client_id="strict", pkce_required=True, scopes=["api"], callbacks=["https://a.example/back"])
    for query, error in (
        ({"client_id": "nobody"}, "invalid_client_id"),
        ({"redirect_uri": "https://evil.example/"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "javascript:alert(1)"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "http://localhost:99999/"}, "redirect_uri_mismatch"),
        ({"client_id": "strict", "redirect_uri": "https://a.example/back/more"}, "redirect_uri_mismatch"),
    ):
        page = browser.authorize(**query)
        assert (page.status_code, f"error={error}" in page.text) == (400, True), query
    for query, error in (
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "api everything"}, "invalid_scope"),
        ({"code_challenge": "x", "code_challenge_method": "plain"}, "invalid_request"),
        ({"prompt": "dance"}, "invalid_request"),
        ({"client_id": "strict"}, "invalid_request"),
        ({"client_id": "strict", "scope": "web", "code_challenge": "x"}, "invalid_scope"),
    ):
        browser.authorize(state="kept", **query)
        assert (browser.brought_back["error"], browser.brought_back["state"]) == (error, "kept"), query


def test_a_wrong_password_asks_again_and_a_denial_goes_back(sandbox: SandboxProcess, browser: Browser) -> None:
    browser.authorize(prompt="consent", login_hint='<b>"me"', state="x")
    assert "&lt;b&gt;&quot;me&quot;" in browser.page.text
    page = browser.fill_in(username="<i>who", password="wrong")
    assert page.status_code == 200
    assert "Check your username and password" in page.text
    assert "&lt;i&gt;who" in page.text
    browser.log_in()
    browser.fill_in(decision="deny")
    assert browser.brought_back == {
        "error": "access_denied",
        "error_description": "end-user denied authorization",
        "state": "x",
    }


def test_a_form_counts_only_in_the_browser_that_opened_it(sandbox: SandboxProcess, browser: Browser) -> None:
    browser.authorize(prompt="consent")
    other = Browser(sandbox)
    other.authorize()
    other.page = browser.page
    assert "another browser" in other.log_in().text
    browser.log_in()
    other.page = browser.page
    assert other.fill_in(decision="allow").status_code == 400
    pass_time(sandbox, 901)
    assert "too long ago" in browser.fill_in(decision="allow").text


def test_who_is_logged_in_and_has_allowed_is_asked_only_when_the_app_wants_it(
    sandbox: SandboxProcess, browser: Browser
) -> None:
    code = _code(browser)
    assert _exchange(sandbox, code).status_code == 200
    browser.authorize()
    assert "code" in browser.brought_back
    assert "Allow access?" in browser.authorize(prompt="consent").text
    assert "Password" in browser.authorize(prompt="login").text
    put(sandbox, "apps", client_id=sandbox.client_id, users=["somebody@else.example"])
    browser.authorize()
    assert browser.brought_back["error"] == "invalid_app_access"


def test_a_refresh_token_gives_new_sessions_and_takes_them_along(sandbox: SandboxProcess, browser: Browser) -> None:
    first = _exchange(sandbox, _code(browser)).json()
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], **credentials(sandbox)}
    second = post_token(sandbox, **form).json()
    assert "refresh_token" not in second
    assert second["access_token"] != first["access_token"]
    assert {"scope", "signature", "issued_at", "id", "instance_url", "token_type"} <= set(second)
    without = {key: value for key, value in form.items() if key != "client_secret"}
    assert refusal(post_token(sandbox, **without))[1] == "invalid_client"
    assert refusal(post_token(sandbox, **{**form, "refresh_token": "5Aep"})) == (
        400,
        "invalid_grant",
        "expired access/refresh token",
    )
    introspect = {**credentials(sandbox), "token": form["refresh_token"]}
    asked = requests.post(sandbox.http_url + "/services/oauth2/introspect", data=introspect, timeout=10).json()
    assert (asked["active"], asked["token_type"], asked["client_id"]) == (True, "refresh_token", sandbox.client_id)
    revoke = sandbox.http_url + "/services/oauth2/revoke"
    assert requests.get(revoke, params={"token": form["refresh_token"]}, timeout=10).status_code == 200
    for answer in (first, second):
        headers = {"Authorization": f"Bearer {answer['access_token']}"}
        assert requests.get(sandbox.http_url + "/services/data/v60.0/limits", headers=headers).status_code == 401


def test_rotation_gives_a_new_refresh_token_each_time(sandbox: SandboxProcess, browser: Browser) -> None:
    put(sandbox, "apps", client_id=sandbox.client_id, rotate_refresh_tokens=True, secret_required_for_refresh=False)
    old = _exchange(sandbox, _code(browser)).json()["refresh_token"]
    form = {"grant_type": "refresh_token", "client_id": sandbox.client_id}
    new = post_token(sandbox, refresh_token=old, **form).json()["refresh_token"]
    assert new != old
    assert refusal(post_token(sandbox, refresh_token=old, **form))[1] == "invalid_grant"
    assert post_token(sandbox, refresh_token=new, **form).status_code == 200


def test_the_sixth_approval_of_an_app_ends_the_first(sandbox: SandboxProcess, browser: Browser) -> None:
    app = {"client_id": "six", "client_secret": "times"}
    put(sandbox, "apps", **app)
    codes = (_code(browser, client_id="six") for _ in range(6))
    tokens = [_exchange(sandbox, code, **app).json()["refresh_token"] for code in codes]
    form = {"grant_type": "refresh_token", **app}
    statuses = [post_token(sandbox, refresh_token=each, **form).status_code for each in tokens]
    assert statuses == [400, 200, 200, 200, 200, 200]


def test_a_device_waits_until_somebody_enters_its_code(sandbox: SandboxProcess, browser: Browser) -> None:
    begun = post_token(sandbox, response_type="device_code", client_id="PlatformCLI", scope="api").json()
    assert set(begun) == {"device_code", "user_code", "verification_uri", "interval"}
    poll = {"grant_type": "device", "client_id": "PlatformCLI", "code": begun["device_code"]}
    assert refusal(post_token(sandbox, **poll))[:2] == (400, "authorization_pending")
    assert refusal(post_token(sandbox, **poll))[:2] == (400, "slow_down")
    browser.open(begun["verification_uri"].removeprefix(sandbox.http_url))
    assert "not known" in browser.fill_in(user_code="NONSENSE").text
    pass_time(sandbox, 5)
    assert refusal(post_token(sandbox, **poll))[:2] == (400, "authorization_pending")
    browser.fill_in(user_code=begun["user_code"].lower())
    browser.log_in()
    assert "connected" in browser.fill_in(decision="allow").text
    answer = post_token(sandbox, **poll).json()
    assert answer["scope"] == "api"
    assert "refresh_token" not in answer
    assert refusal(post_token(sandbox, **poll)) == (400, "invalid_grant", "invalid device code")


def test_a_device_that_is_denied_hears_so(sandbox: SandboxProcess, browser: Browser) -> None:
    begun = post_token(sandbox, response_type="device_code", client_id=sandbox.client_id).json()
    browser.open("/setup/connect", user_code=begun["user_code"])
    assert f'value="{begun["user_code"]}"' in browser.page.text
    browser.fill_in(user_code=begun["user_code"])
    browser.log_in()
    assert browser.fill_in(decision="deny").status_code == 400
    poll = {"grant_type": "device", "client_id": sandbox.client_id, "code": begun["device_code"]}
    assert refusal(post_token(sandbox, **poll)) == (400, "access_denied", "end-user denied authorization")
    late = post_token(sandbox, response_type="device_code", client_id=sandbox.client_id).json()
    pass_time(sandbox, 601)
    assert browser.open("/setup/connect").status_code == 200
    assert browser.fill_in(user_code=late["user_code"]).status_code == 400
    expired = post_token(sandbox, **{**poll, "code": late["device_code"]})
    assert refusal(expired) == (400, "invalid_grant", "expired device code")
