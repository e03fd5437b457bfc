"""Connected apps: who may ask for tokens, by which flows, and where browsers are sent back to."""

from __future__ import annotations

import dataclasses
import hmac
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sandbox.login.places import is_text

if TYPE_CHECKING:
    from sandbox.org import Org

FLOWS = ("password", "authorization_code", "refresh_token", "jwt_bearer", "client_credentials", "device")
SCOPES = (
    "api",
    "web",
    "refresh_token",
    "offline_access",
    "full",
    "openid",
    "id",
    "profile",
    "email",
    "address",
    "phone",
    "visualforce",
    "chatter_api",
    "custom_permissions",
    "cdp_ingest_api",
    "pardot_api",
    "eclair_api",
    "lightning",
    "content",
)
# Callback addresses that any app may use: they lead nowhere but to the person's own machine.
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class AppError(ValueError):
    """An app that cannot be; the message names what is wrong."""


@dataclass(frozen=True)
class App:
    """One connected app.

    `callbacks` are matched as a whole; addresses of the person's own machine are always taken. `run_as` is the user of
    the client credentials flow. `pre_approved` lets the JWT flow in without a consent; `users` names the only users an
    administrator approved.
    """

    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    name: str = "Connected app"
    callbacks: tuple[str, ...] = ()
    flows: tuple[str, ...] = FLOWS
    scopes: tuple[str, ...] = SCOPES
    certificate: str | None = None
    run_as: str | None = None
    pre_approved: bool = True
    users: tuple[str, ...] | None = None
    rotate_refresh_tokens: bool = False
    pkce_required: bool = False
    secret_required_for_refresh: bool = True

    def knows_secret(self, given: str | None) -> bool:
        """Whether `given` is the app's secret."""
        return given is not None and hmac.compare_digest(given.encode(), (self.client_secret or "").encode())

    def takes_callback(self, address: str) -> bool:
        """Whether a browser may be sent to an address."""
        try:
            parts = urlsplit(address)
            own_machine = parts.scheme == "http" and parts.hostname in _LOOPBACK and parts.port != 0
        except ValueError:
            return False
        return address in self.callbacks or (own_machine and not parts.fragment)

    def admits(self, username: str) -> bool:
        """Whether an administrator approved the user for this app."""
        return self.users is None or username.lower() in {each.lower() for each in self.users}

    @property
    def public_key(self) -> RSAPublicKey | None:
        """The key that signs the app's assertions."""
        return _public_key(self.certificate) if self.certificate else None

    def as_json(self) -> dict[str, Any]:
        """The app without its secret."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key != "client_secret"}


_FIELDS = {each.name: each for each in dataclasses.fields(App)}
_LISTS = ("callbacks", "flows", "scopes", "users")
_SWITCHES = ("pre_approved", "rotate_refresh_tokens", "pkce_required", "secret_required_for_refresh")


def _public_key(text: str) -> RSAPublicKey:
    try:
        pem = text.encode()
        is_certificate = b"BEGIN CERTIFICATE" in pem
        key = x509.load_pem_x509_certificate(pem).public_key() if is_certificate else load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise AppError("certificate: neither an X.509 certificate nor a public key in PEM form") from None
    if not isinstance(key, RSAPublicKey):
        raise AppError("certificate: the JWT bearer flow takes RSA keys only")
    return key


def read_app(given: Any, before: App | None = None) -> App:
    """An app from JSON; what it does not name is as in `before`.

    Raises AppError.
    """
    if not isinstance(given, dict) or not is_text(given.get("client_id")) or not given["client_id"]:
        raise AppError("an app is an object with at least a client_id")
    place = given["client_id"]
    if unknown := set(given) - set(_FIELDS):
        raise AppError(f"{place}: unknown key {min(unknown)!r}; known are {', '.join(_FIELDS)}")
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key in _SWITCHES:
            fits = isinstance(value, bool)
        elif key in _LISTS:
            is_list = isinstance(value, list) and all(is_text(each) for each in value)
            fits = is_list or (key == "users" and value is None)
            value = tuple(value) if is_list else value
        else:
            fits = is_text(value) or (value is None and key in ("client_secret", "certificate", "run_as"))
        if not fits:
            raise AppError(f"{place}: {key} is of the wrong kind")
        values[key] = value
    for key, known in (("flows", FLOWS), ("scopes", SCOPES)):
        if unknown := set(values.get(key, ())) - set(known):
            raise AppError(f"{place}: unknown {key} {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    app = dataclasses.replace(before, **values) if before else App(**values)
    try:
        _ = app.public_key
    except AppError as error:
        raise AppError(f"{place}: {error}") from None
    return app


class Apps:
    """The apps of the org: that of the command line, the one the Salesforce CLI brings, listed and added ones."""

    def __init__(self, org: Org, file: Path | None, certificate: Path | None) -> None:
        self._org = org
        self._listed = _read_file(file) if file else []
        self._certificate = _read_certificate(certificate) if certificate else None
        self._apps: dict[str, App] = {}
        self.clear()
        self._change_all(org.store.documents("app"))

    def clear(self) -> None:
        """Back to the apps of the command line and the apps file."""
        settings = self._org.settings
        own = App(
            settings.client_id,
            settings.client_secret,
            name="Sandbox client",
            callbacks=("https://login.salesforce.com/services/oauth2/success",),
            certificate=self._certificate,
            run_as=settings.username,
        )
        cli = App(
            "PlatformCLI",
            name="Salesforce CLI",
            flows=("authorization_code", "refresh_token", "device"),
            secret_required_for_refresh=False,
        )
        self._apps = {each.client_id: each for each in (cli, own)}
        self._change_all(self._listed)

    def __iter__(self) -> Any:
        return iter(list(self._apps.values()))

    def find(self, client_id: str) -> App | None:
        return self._apps.get(client_id)

    def _change_all(self, listed: list[Any]) -> list[App]:
        """Add or change apps, after all of them were found good."""
        apps = dict(self._apps)
        changed = []
        for given in listed:
            before = apps.get(str(given.get("client_id"))) if isinstance(given, dict) else None
            changed.append(read_app(given, before))
            apps[changed[-1].client_id] = changed[-1]
        self._apps = apps
        return changed

    def put(self, listed: list[Any]) -> list[App]:
        """Add apps, or change those of these client ids; all or none.

        Raises AppError.
        """
        changed = self._change_all(listed)
        for app in changed:
            with self._org.store.writing() as cursor:
                self._org.store.put_document(cursor, "app", app.client_id, dataclasses.asdict(app))
        return changed

    def remove(self, client_id: str) -> bool:
        """Take an app away; whether it was known."""
        if self._apps.pop(client_id, None) is None:
            return False
        with self._org.store.writing() as cursor:
            self._org.store.delete_document(cursor, "app", client_id)
        return True


def _read_certificate(file: Path) -> str:
    try:
        text = file.read_text(encoding="ascii")
        _public_key(text)
    except (OSError, ValueError) as error:
        raise AppError(f"{file}: {error}") from None
    return text


def _read_file(file: Path) -> list[Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AppError(f"{file}: not a readable JSON file ({error})") from error
    listed = content.get("apps") if isinstance(content, dict) else content
    if not isinstance(listed, list):
        raise AppError(f"{file}: a list of apps is expected")
    return listed
