"""The proxy, and simple-salesforce's logins through it: unmodified, with its hosts wired in."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from simple_salesforce import Salesforce, SalesforceAuthenticationFailed

from sandbox.proxy import Proxy
from tests.sandbox.login.oauth_client import Signer
from tests.sandbox_process import SandboxProcess


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


@pytest.fixture(scope="module")
def proxied(signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    folder = tmp_path_factory.mktemp("flags")
    certificate = folder / "certificate.pem"
    certificate.write_text(signer.certificate)
    users = folder / "users.json"
    users.write_text('{"users": [{"username": "clerk@x.example", "password": "pw", "first_name": "Cleo"}]}')
    apps = folder / "apps.json"
    apps.write_text('[{"client_id": "clerks", "client_secret": "s", "run_as": "clerk@x.example"}]')
    flags = {"proxy_port": 0, "app_certificate": certificate, "users": users, "apps": apps}
    # HTTPS need not be asked for: the proxy brings it along.
    with SandboxProcess(https=False, **flags) as sandbox:
        yield sandbox


@pytest.fixture
def session(proxied: SandboxProcess) -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        made.verify = str(proxied.ca_file)
        made.proxies = {"https": str(proxied.proxy_url)}
        yield made


def _connect(sandbox: SandboxProcess, head: str) -> str:
    port = int(str(sandbox.proxy_url).rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head.encode())
        return connection.recv(4096).decode().partition("\r\n")[0]


def test_only_salesforces_hosts_are_led_here(proxied: SandboxProcess) -> None:
    for target in ("login.salesforce.com:443", "A-B.my.salesforce.com:443", "x.lightning.force.com.:443"):
        assert _connect(proxied, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").split()[1] == "200"
    for target in (
        "example.com:443",
        "127.0.0.1:22",
        "login.salesforce.com:22",
        "login.salesforce.com",
        "salesforce.com.example.com:443",
        "evilsalesforce.com:443",
        "login.salesforce.com:443:443",
        "api.pubsub.salesforce.com:7443",
        ":443",
    ):
        assert _connect(proxied, f"CONNECT {target} HTTP/1.1\r\n\r\n").split()[1] == "403", target
    for head in ("GET http://login.salesforce.com/ HTTP/1.1\r\n\r\n", "CONNECT\r\n\r\n", "\r\n\r\n"):
        assert _connect(proxied, head).split()[1] == "403", head
    assert _connect(proxied, "X" * 100_000) == ""


def _check(salesforce: Any, username: str) -> None:
    found = salesforce.query("SELECT Username FROM User ORDER BY CreatedDate, Id")["records"]
    assert username in [each["Username"] for each in found]
    assert salesforce.oauth2("userinfo")["preferred_username"] == username


def test_simple_salesforce_logs_in_by_soap_with_its_security_token(
    proxied: SandboxProcess, session: requests.Session
) -> None:
    person = {"username": proxied.username, "password": proxied.password}
    salesforce = Salesforce(**person, security_token=proxied.security_token, session=session)
    assert salesforce.sf_instance == "practice.my.salesforce.com"
    _check(salesforce, proxied.username)
    by_org = Salesforce(**person, organizationId="00D5s0000000001", domain="test", session=session)
    _check(by_org, proxied.username)
    with pytest.raises(SalesforceAuthenticationFailed, match="INVALID_LOGIN"):
        Salesforce(username=proxied.username, password="wrong", security_token="", session=session)


def test_simple_salesforce_logs_in_by_oauth_with_a_password(proxied: SandboxProcess, session: requests.Session) -> None:
    app = {"consumer_key": proxied.client_id, "consumer_secret": proxied.client_secret}
    person = {"username": proxied.username, "password": proxied.password}
    _check(Salesforce(**person, **app, session=session), proxied.username)
    _check(Salesforce(**person, **app, domain="acme.my", session=session), proxied.username)
    with pytest.raises(SalesforceAuthenticationFailed, match="authentication failure"):
        Salesforce(username=proxied.username, password="wrong", **app, session=session)


def test_simple_salesforce_logs_in_by_jwt_with_a_key_file(
    proxied: SandboxProcess, session: requests.Session, signer: Signer, tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(signer.pem)
    app = {"consumer_key": proxied.client_id, "privatekey_file": str(key)}
    _check(Salesforce(username="clerk@x.example", **app, session=session), "clerk@x.example")
    by_text = Salesforce(
        username=proxied.username,
        consumer_key=proxied.client_id,
        privatekey=signer.pem.decode(),
        domain="acme.my",
        session=session,
    )
    _check(by_text, proxied.username)
    with pytest.warns(UserWarning), pytest.raises(SalesforceAuthenticationFailed, match="hasn't approved"):
        Salesforce(username="nobody@x.example", **app, session=session)


def test_simple_salesforce_logs_in_by_session_id_and_by_client_credentials(
    proxied: SandboxProcess, session: requests.Session
) -> None:
    by_session = {"session_id": proxied.login(), "session": session}
    _check(Salesforce(instance="acme.my.salesforce.com", **by_session), proxied.username)
    _check(Salesforce(instance_url="https://acme.develop.my.salesforce.com", **by_session), proxied.username)
    app = {"consumer_key": "clerks", "consumer_secret": "s"}
    _check(Salesforce(**app, domain="acme--dev.sandbox.my", session=session), "clerk@x.example")


def test_the_authority_vouches_for_no_other_site(proxied: SandboxProcess) -> None:
    authority = x509.load_pem_x509_certificate(Path(str(proxied.ca_file)).read_bytes())
    permitted = authority.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    assert {str(each.value) for each in permitted or []} == {
        "localhost",
        "salesforce.com",
        "force.com",
    }


def test_the_pubsub_hosts_are_led_to_its_listener_once_there_is_one() -> None:
    ports: list[int | None] = [None]
    proxy = Proxy("127.0.0.1", 8443, lambda: ports[0])
    assert proxy.port_for("api.pubsub.salesforce.com:7443") is None
    ports[0] = 7000
    for target in ("api.pubsub.salesforce.com:7443", "API.deu.pubsub.salesforce.com:443"):
        assert proxy.port_for(target) == 7000
    assert proxy.port_for("login.salesforce.com:443") == 8443
    assert proxy.port_for("login.salesforce.com:7443") is None
