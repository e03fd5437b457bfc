"""What the tests of login share: calls of the token endpoint, a key with its certificate, and a bare browser."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import re
import time
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.sandbox_process import SandboxProcess

CALLBACK = "http://localhost:1717/OauthRedirect"
VERIFIER = "a-verifier-of-at-least-forty-three-characters-1"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def post_token(sandbox: SandboxProcess, **form: str) -> requests.Response:
    return requests.post(f"{sandbox.http_url}/services/oauth2/token", data=form, timeout=10)


def refusal(answer: requests.Response) -> tuple[int, str, str]:
    body = answer.json()
    assert set(body) == {"error", "error_description"}
    return answer.status_code, body["error"], body["error_description"]


def put(sandbox: SandboxProcess, what: str, **facts: Any) -> dict[str, Any]:
    """Add or change a user or an app."""
    answer = requests.post(f"{sandbox.http_url}/_sandbox/{what}", json=facts, timeout=10)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def pass_time(sandbox: SandboxProcess, seconds: float) -> None:
    """Move the org's clock on; a reset of the sandbox brings it back."""
    answer = requests.post(f"{sandbox.http_url}/_sandbox/clock", json={"advance": seconds}, timeout=10)
    assert answer.status_code == 200, answer.text


def credentials(sandbox: SandboxProcess) -> dict[str, str]:
    return {"client_id": sandbox.client_id, "client_secret": sandbox.client_secret}


def base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def challenge(verifier: str = VERIFIER) -> str:
    return base64url(hashlib.sha256(verifier.encode()).digest())


class Signer:
    """A private key, its certificate, and assertions signed with it."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a client")])
        now = datetime.datetime.now(datetime.UTC)
        built = x509.CertificateBuilder(name, name, self.key.public_key(), x509.random_serial_number())
        built = built.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        self.certificate = built.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
        self.pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())

    def sign(self, claims: Any, algorithm: str = "RS256") -> str:
        parts = ({"alg": algorithm}, claims)
        text = ".".join(base64url(json.dumps(each).encode()) for each in parts)
        return f"{text}.{base64url(self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def assertion(self, sandbox: SandboxProcess, **changes: Any) -> str:
        claims = {
            "iss": sandbox.client_id,
            "sub": sandbox.username,
            "aud": "https://login.salesforce.com",
            "exp": int(time.time()) + 180,
        }
        return self.sign({**claims, **changes})


class Browser:
    """Fills in the sandbox's forms, with cookies, and follows no redirect."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        self.sandbox = sandbox
        self.http = requests.Session()
        self.http.trust_env = False
        self.page: requests.Response

    def open(self, path: str, **query: str) -> requests.Response:
        return self._to("GET", path, params=query)

    def authorize(self, **query: str) -> requests.Response:
        given = {"response_type": "code", "client_id": self.sandbox.client_id, "redirect_uri": CALLBACK, **query}
        return self.open("/services/oauth2/authorize", **given)

    def fill_in(self, **fields: str) -> requests.Response:
        """Send the form of the page, with what its hidden fields say."""
        action = re.search(r'action="([^"]+)"', self.page.text)
        assert action, self.page.text
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', self.page.text))
        return self._to("POST", unescape(action[1]), data={**hidden, **fields})

    def log_in(self) -> requests.Response:
        return self.fill_in(username=self.sandbox.username, password=self.sandbox.password)

    def _to(self, method: str, path: str, **options: Any) -> requests.Response:
        url = self.sandbox.http_url + path
        self.page = self.http.request(method, url, allow_redirects=False, timeout=10, **options)
        return self.page

    @property
    def brought_back(self) -> dict[str, str]:
        """What the redirect to the app's callback carries."""
        assert self.page.status_code == 302, self.page.text
        target = self.page.headers["Location"]
        assert target.startswith(CALLBACK)
        return dict(parse_qsl(urlsplit(target).query))
