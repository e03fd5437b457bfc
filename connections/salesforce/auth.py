"""Logging in to a Salesforce org: username and password, or client credentials (OAuth 2.0)."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit

import requests

from connections.declare import SettingsError, setting
from connections.redact import redacted
from connections.salesforce.errors import LimitReached, LoginRefused, MisconfiguredError, SalesforceError, request_error
from connections.salesforce.ids import id18
from connections.salesforce.wire import DEFAULT_TIMEOUT, network_error

AddressPolicy = Callable[[str, int], None]

FLOWS = ("password", "client_credentials")
_TOKEN_PATH = "/services/oauth2/token"
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclasses.dataclass(frozen=True)
class SalesforceSettings:
    """How to reach one Salesforce org."""

    auth_url: str = setting(
        "Auth URL",
        help="Host or full token URL: login.salesforce.com, test.salesforce.com (sandboxes) or your My Domain host.",
        address=True,
    )
    client_id: str = setting("Client id", help="Consumer key of the connected app or external client app.")
    client_secret: str = setting("Client secret", help="Consumer secret of the app.", secret=True)
    username: str = setting("Username", help="Only for the flow 'password'.", default="")
    password: str = setting("Password", help="Only for the flow 'password'.", secret=True, default="")
    security_token: str = setting(
        "Security token", help="Appended to the password when the address is not trusted.", secret=True, default=""
    )
    flow: str = setting(
        "Login flow",
        help="Client credentials are recommended; they need a My Domain host.",
        choices=[("password", "Username and password"), ("client_credentials", "Client credentials")],
        default="password",
    )
    api_version: str = setting("API version", help="For example 62.0.", default="62.0")
    ca_file: str = setting(
        "CA file",
        help="PEM file with certificates to trust besides the public ones, for example of a proxy.",
        address=True,
        default="",
    )

    def __post_init__(self) -> None:
        token_url(self.auth_url)
        if self.flow not in FLOWS:
            raise SettingsError(f"The login flow '{self.flow}' is unknown. Use 'password' or 'client_credentials'.")
        if self.flow == "password" and not (self.username and self.password):
            raise SettingsError("The login flow 'password' needs a username and a password. Fill in both.")
        if not re.fullmatch(r"\d{2,3}\.0", self.api_version):
            raise SettingsError(f"The API version '{self.api_version}' is not of the form '62.0'.")


@dataclasses.dataclass(frozen=True)
class Token:
    """What a login brings: where to go, and who we are there. `org_id` and `user_id` have 18 characters."""

    access_token: str = dataclasses.field(repr=False)
    instance_url: str
    org_id: str
    user_id: str


def token_url(auth_url: str) -> str:
    """The URL of the token endpoint for a host, a base URL or a full token URL.

    Plain http is for loopback addresses only (a practice org on this computer). Raises SettingsError otherwise.
    """
    text = auth_url.strip()
    parts = _split(text if "://" in text else f"https://{text}", "auth URL", auth_url)
    path = parts.path.rstrip("/")
    if path not in ("", _TOKEN_PATH):
        raise SettingsError(
            f"The auth URL '{_shown(auth_url)}' ends in '{path}'. Give the host, or a URL ending in {_TOKEN_PATH}."
        )
    return f"{parts.scheme}://{parts.netloc}{_TOKEN_PATH}"


def host_and_port(url: str) -> tuple[str, int]:
    """Host and port of a URL, for the address policy."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme]


def login(
    settings: SalesforceSettings,
    http: requests.Session,
    policy: AddressPolicy,
    timeout: tuple[float, float] = DEFAULT_TIMEOUT,
) -> Token:
    """Log in, by one HTTP call.

    policy: is asked with (host, port) before the call, and with those of the instance that Salesforce names; it
    raises to forbid. timeout: seconds to connect, and to wait for the next byte. Raises LoginRefused when Salesforce
    says no, TransientError when it could not be asked.
    """
    url = token_url(settings.auth_url)
    host, port = host_and_port(url)
    policy(host, port)
    try:
        answer = http.post(url, data=_form(settings), timeout=timeout, allow_redirects=False)
    except requests.RequestException as error:
        # `from None`: the request inside the exception holds the password.
        raise network_error(error, f"the login at {host}", changes=False) from None
    body = _json(answer)
    secrets = (settings.client_secret, settings.password, settings.security_token)
    if answer.status_code != 200:
        raise _refusal(settings, host, answer, redacted(body, secrets))
    token = _token(body, host, secrets)
    policy(*host_and_port(token.instance_url))
    return token


def _form(settings: SalesforceSettings) -> dict[str, str]:
    app = {"client_id": settings.client_id, "client_secret": settings.client_secret}
    if settings.flow == "client_credentials":
        return {"grant_type": "client_credentials", **app}
    user = {"username": settings.username, "password": settings.password + settings.security_token}
    return {"grant_type": "password", **app, **user}


def _json(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return answer.text[:500]


def _token(body: Any, host: str, secrets: tuple[str, ...]) -> Token:
    if not isinstance(body, dict) or not all(
        isinstance(body.get(key), str) for key in ("access_token", "instance_url", "id")
    ):
        raise MisconfiguredError(f"{host} did not answer the login as Salesforce does. Check the auth URL.")
    instance = urlsplit(body["instance_url"])
    try:
        _split(body["instance_url"], "instance URL", body["instance_url"])
        org_id, user_id = (id18(part) for part in urlsplit(body["id"]).path.rstrip("/").split("/")[-2:])
    except ValueError as error:
        raise MisconfiguredError(
            f"{host} did not answer the login as Salesforce does: {redacted(str(error), secrets)}"
        ) from None
    return Token(body["access_token"], f"{instance.scheme}://{instance.netloc}", org_id, user_id)


def _split(url: str, name: str, shown: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        raise SettingsError(f"The {name} '{_shown(shown)}' is not a URL.") from None
    if parts.scheme not in _DEFAULT_PORTS or not host or any(character.isspace() for character in url):
        raise SettingsError(f"The {name} '{_shown(shown)}' is not a host name or an https URL.")
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingsError(f"The {name} '{_shown(shown)}' may hold a host and a port only, no user name and no '?'.")
    if parts.scheme == "http" and not _is_loopback(host):
        raise SettingsError(
            f"The {name} '{_shown(shown)}' is plain http, which would send secrets unencrypted. Use https; "
            "http is allowed for this computer only (127.0.0.1, localhost)."
        )
    return parts


def _shown(url: str) -> str:
    # Somebody may paste a URL with credentials or with a token in it: those parts are not repeated.
    return re.sub(r"//[^/@]*@", "//***@", url.split("?")[0].split("#")[0])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refusal(settings: SalesforceSettings, host: str, answer: requests.Response, body: Any) -> SalesforceError:
    code = str(body.get("error", "")) if isinstance(body, dict) else ""
    said = str(body.get("error_description", "")) if isinstance(body, dict) else ""
    if code in _RATE_LIMITS or (code, said) in _RATE_LIMITS:
        return LimitReached(
            f"Salesforce takes no more logins of this user for now ({said or code}). It allows 3,600 an hour.",
            code=code,
        )
    if answer.status_code in (408, 420, 429) or answer.status_code >= 500:
        return request_error(answer.status_code, body, answer.headers, doing=f"the login at {host}", changes=False)
    advice = _ADVICE.get((code, settings.flow)) or _ADVICE.get((code, ""))
    if advice is None:
        advice = "Check the auth URL, the app and the user."
    what = f"{code}: {said}" if code and said else code or f"HTTP status {answer.status_code}"
    return LoginRefused(
        f"Salesforce refused the login at {host} ({what}).",
        advice=advice,
        code=code,
        http_status=answer.status_code,
    )


_RATE_LIMITS: frozenset[str | tuple[str, str]] = frozenset(
    {"rate_limit_exceeded", ("invalid_grant", "login rate exceeded"), ("invalid_grant", "rate limit exceeded")}
)

# By (error, flow), or (error, "") where the flow makes no difference. Source: Salesforce Help, "OAuth 2.0 Error Codes".
_ADVICE = {
    ("invalid_grant", "password"): (
        "The username, the password or the security token is wrong, the user is locked or inactive, or its IP address "
        "is not allowed. Many Salesforce orgs also block this flow by default: allow it in Setup under 'OAuth and "
        "OpenID Connect Settings', or better use the flow 'client_credentials'."
    ),
    ("invalid_grant", "client_credentials"): (
        "Client credentials work on the My Domain host only (not on login or test.salesforce.com), and the app needs "
        "a user set under 'Run As'. Check both."
    ),
    ("invalid_client_id", ""): (
        "The client id is not known there. Copy the consumer key again, and check that it belongs to this Salesforce "
        "org; an app that was just made takes up to ten minutes to be known."
    ),
    ("invalid_client", ""): "The client secret is wrong. Copy the consumer secret of the app again.",
    ("unsupported_grant_type", "password"): (
        "This Salesforce org or app does not allow the username-password flow (external client apps never do). Use "
        "the flow 'client_credentials', or allow the flow in Setup."
    ),
    ("unsupported_grant_type", "client_credentials"): "Enable the client credentials flow in the settings of the app.",
    ("invalid_app_access", ""): "Give the user access to the app: a profile or permission set must allow it.",
    ("inactive_user", ""): "Activate the user, or connect with another one.",
    ("inactive_org", ""): "The Salesforce org is locked or closed. Ask its administrator.",
    ("invalid_scope", ""): "Give the app the OAuth scope 'api'.",
    ("invalid_request", ""): "A login setting is blank or malformed. Check client id, client secret and username.",
    ("redirect_uri_mismatch", ""): "Check the settings of the app.",
}
