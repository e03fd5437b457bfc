"""Logging in, and what is said when it fails."""

from __future__ import annotations

import json
import logging
import traceback
from typing import Any

import pytest

from connections import declare
from connections.declare import SettingsError
from connections.salesforce.auth import SalesforceSettings, token_url
from connections.salesforce.errors import (
    LimitReached,
    LoginRefused,
    MisconfiguredError,
    SalesforceError,
    TransientError,
)
from connections.salesforce.session import SalesforceSession
from tests.connections.salesforce.scripted import ORG_ID, USER_ID, ScriptedServer, answer
from tests.connections.salesforce.sessions import PLANTED, sandbox_session, scripted_session
from tests.sandbox_process import SandboxProcess


@pytest.mark.parametrize(
    ("auth_url", "url"),
    [
        ("login.salesforce.com", "https://login.salesforce.com/services/oauth2/token"),
        ("https://test.salesforce.com/", "https://test.salesforce.com/services/oauth2/token"),
        ("https://test.salesforce.com/services/oauth2/token", "https://test.salesforce.com/services/oauth2/token"),
        (" my.my.salesforce.com/services/oauth2/token/ ", "https://my.my.salesforce.com/services/oauth2/token"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/services/oauth2/token"),
        ("http://localhost:8080", "http://localhost:8080/services/oauth2/token"),
        ("http://[::1]:8080", "http://[::1]:8080/services/oauth2/token"),
        ("HTTPS://Login.Salesforce.com", "https://Login.Salesforce.com/services/oauth2/token"),
    ],
)
def test_an_auth_url_may_be_a_host_or_a_whole_token_url(auth_url: str, url: str) -> None:
    assert token_url(auth_url) == url


@pytest.mark.parametrize(
    ("auth_url", "message"),
    [
        ("http://login.salesforce.com", "'http://login.salesforce.com' is plain http"),
        ("http://127.0.0.1.evil.example", "plain http"),
        ("ftp://login.salesforce.com", "not a host name"),
        ("https://login.salesforce.com/services/Soap/u/60", "ends in '/services/Soap/u/60'"),
        ("https://user:pw-planted@login.salesforce.com", "no user name"),
        ("https://login.salesforce.com?x=pw-planted", "no '\\?'"),
        ("https://login.salesforce.com:port", "not a URL"),
        ("two words", "not a host name"),
        ("", "not a host name"),
    ],
)
def test_an_auth_url_that_cannot_be_used_is_named(auth_url: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        token_url(auth_url)
    assert "pw-planted" not in str(caught.value)


def test_settings_are_built_from_plain_values_and_keep_their_secrets() -> None:
    values = {"auth_url": "login.salesforce.com", "client_id": "id", "username": "u", **PLANTED}
    settings = declare.build(SalesforceSettings, values)
    assert declare.secret_names(SalesforceSettings) == {"client_secret", "password", "security_token"}
    assert not any(secret in repr(settings) for secret in PLANTED.values())
    for change, message in (
        ({"flow": "magic"}, "login flow 'magic'"),
        ({"password": ""}, "needs a username and a password"),
        ({"api_version": "62"}, "API version '62'"),
    ):
        with pytest.raises(SettingsError, match=message):
            declare.build(SalesforceSettings, {**values, **change})
    declare.build(SalesforceSettings, {**values, "flow": "client_credentials", "password": "", "username": ""})


@pytest.mark.parametrize("flow", ["password", "client_credentials"])
def test_both_flows_log_in_and_tell_which_org_it_is(sandbox: SandboxProcess, flow: str) -> None:
    with sandbox_session(sandbox, flow=flow) as session:
        assert session.calls == 0
        identity = session.identity
        assert identity.org_id == sandbox.state()["org_id"]
        assert len(identity.org_id) == len(identity.user_id) == 18
        assert identity.instance_url == sandbox.http_url
        assert session.calls == 1


def test_https_with_the_sandbox_s_own_ca_needs_the_ca_file(sandbox: SandboxProcess, tmp_path: Any) -> None:
    with sandbox_session(sandbox, auth_url=sandbox.https_url, ca_file=sandbox.ca_file) as session:
        assert session.identity.instance_url == sandbox.https_url
        assert session.rest.limits()["DailyApiRequests"]["Max"] > 0
    with (
        sandbox_session(sandbox, auth_url=sandbox.https_url) as session,
        pytest.raises(MisconfiguredError, match="certificate is not trusted.*ca_file"),
    ):
        _ = session.identity
    for name, content in (("missing.pem", None), ("empty.pem", "no certificate")):
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(MisconfiguredError, match=f"{name}' cannot be used"):
            sandbox_session(sandbox, ca_file=str(tmp_path / name))


@pytest.mark.parametrize(
    ("change", "code", "advice"),
    [
        ({"password": "wrong"}, "invalid_grant", "security token is wrong.*client_credentials"),
        ({"client_secret": "wrong"}, "invalid_client", "client secret is wrong"),
        ({"client_id": "wrong"}, "invalid_client_id", "client id is not known"),
    ],
)
def test_a_wrong_setting_is_told_apart(sandbox: SandboxProcess, change: dict[str, str], code: str, advice: str) -> None:
    with sandbox_session(sandbox, **change) as session, pytest.raises(LoginRefused, match=advice) as caught:
        _ = session.identity
    assert caught.value.code == code
    assert code in str(caught.value)


def refused(error: str, description: str, status: str = "400 Bad Request") -> bytes:
    body = json.dumps({"error": error, "error_description": description})
    return answer(status, body, "Content-Type: application/json")


@pytest.mark.parametrize(
    ("reply", "flow", "kind", "message"),
    [
        (refused("unsupported_grant_type", "grant type not supported"), "password", LoginRefused, "does not allow the"),
        (refused("invalid_grant", "no client credentials user enabled"), "client_credentials", LoginRefused, "Run As"),
        (refused("invalid_app_access", "not approved"), "password", LoginRefused, "profile or permission set"),
        (refused("brand_new", "something"), "password", LoginRefused, r"brand_new: something.*Check the auth URL"),
        (refused("invalid_grant", "login rate exceeded"), "password", LimitReached, "no more logins"),
        (answer("503 Unavailable", "<html>", "Retry-After: 9"), "password", TransientError, "503"),
        (answer("404 Not Found", "<html>"), "password", LoginRefused, "HTTP status 404"),
        (answer("302 Found", "", "Location: https://evil.example/"), "password", LoginRefused, "302"),
        (answer("200 OK", "<html>"), "password", MisconfiguredError, "not answer the login as Salesforce does"),
        (answer("200 OK", "{}"), "password", MisconfiguredError, "not answer the login as Salesforce does"),
    ],
)
def test_each_refusal_says_what_to_do(reply: bytes, flow: str, kind: type[SalesforceError], message: str) -> None:
    with ScriptedServer() as server:
        server.login = reply
        with scripted_session(server.url, flow=flow) as session, pytest.raises(kind, match=message) as caught:
            _ = session.identity
        assert type(caught.value) is kind
        assert server.logins == 1


def token_body(**changes: str) -> bytes:
    body = {
        "access_token": "00D!x",
        "instance_url": "http://127.0.0.1:1",
        "id": f"https://login.salesforce.com/id/{ORG_ID}/{USER_ID}",
        **changes,
    }
    return answer("200 OK", json.dumps(body), "Content-Type: application/json")


def test_a_token_is_never_taken_to_an_instance_without_encryption() -> None:
    with ScriptedServer() as server:
        server.login = token_body(instance_url="http://my.salesforce.com")
        with scripted_session(server.url) as session, pytest.raises(MisconfiguredError, match="plain http"):
            session.request("GET", "limits")
        server.login = token_body(id="https://login.salesforce.com/id/nonsense")
        with scripted_session(server.url) as session, pytest.raises(MisconfiguredError, match="not a Salesforce id"):
            session.request("GET", "limits")
        assert len(server.seen) == 2


def test_the_address_policy_is_asked_before_a_login_and_about_the_instance() -> None:
    class Forbidden(Exception):
        pass

    asked: list[tuple[str, int]] = []

    def only_first(host: str, port: int) -> None:
        asked.append((host, port))
        if len(asked) > 1:
            raise Forbidden

    with ScriptedServer() as server:
        server.login = token_body(instance_url="https://inner.example:8443")
        settings = SalesforceSettings(auth_url=server.url, client_id="c", username="u", **PLANTED)
        with SalesforceSession(settings, address_policy=only_first) as session, pytest.raises(Forbidden):
            session.request("GET", "limits")
        assert asked == [("127.0.0.1", int(server.url.rpartition(":")[2])), ("inner.example", 8443)]
        with SalesforceSession(settings, address_policy=only_first) as session, pytest.raises(Forbidden):
            session.request("GET", "limits")
        assert server.logins == 1


@pytest.mark.parametrize(
    "reply", [None, refused("invalid_grant", "authentication failure"), answer("500 Oh", "planted?")]
)
def test_no_secret_is_in_what_a_failed_login_leaves_behind(
    reply: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with ScriptedServer() as server:
        server.login = reply or answer("200 OK", "{", length=5000)
        session = scripted_session(server.url)
        with pytest.raises(SalesforceError) as caught:
            _ = session.identity
    left = "".join(traceback.format_exception(caught.value)) + repr(session) + repr(vars(caught.value)) + caplog.text
    assert not any(secret in left for secret in PLANTED.values())
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_host_that_is_not_there_is_transient() -> None:
    with scripted_session("http://127.0.0.1:1") as session, pytest.raises(TransientError, match="refused") as caught:
        _ = session.identity
    assert caught.value.effect_unknown is False
    with scripted_session("https://host.invalid") as session, pytest.raises(TransientError, match="No connection"):
        _ = session.identity


def test_netrc_does_not_replace_our_credentials(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with ScriptedServer(answer("200 OK", "{}")) as server, scripted_session(server.url) as session:
        session.request("GET", "limits")
        assert "Authorization: Bearer 00D5s0000000001!token1" in server.seen[-1]
        assert "Authorization" not in server.seen[0]
