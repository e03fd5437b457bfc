"""JSON Web Tokens (RFC 7515, RFC 7523): assertions of the JWT bearer flow, and the id tokens the org signs itself."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import threading
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sandbox.login.places import oauth_error

if TYPE_CHECKING:
    from sandbox.org import Org

# Beyond this a number of seconds is one of milliseconds, as the Salesforce CLI sends it.
_MILLISECONDS = 100_000_000_000
# How far ahead `exp` may lie, and how late it may arrive (some clients send the very second of signing).
MOST_AHEAD = 300
CLOCK_DRIFT = 60
MAX_ASSERTION = 20_000
_MAKING_KEY = threading.Lock()


def to_text(content: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def to_bytes(text: str) -> bytes:
    """The bytes of base64url text; raises ValueError."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from None


class Assertion:
    """A signed assertion: its claims, and whether a key signed it.

    Raises the OAuth error `invalid assertion` for what is no RS256 token.
    """

    def __init__(self, text: str) -> None:
        try:
            head, body, signature = text[:MAX_ASSERTION].split(".")
            header, claims = json.loads(to_bytes(head)), json.loads(to_bytes(body))
            self._signature = to_bytes(signature)
        except (ValueError, RecursionError):
            raise _invalid() from None
        if not isinstance(header, dict) or header.get("alg") != "RS256" or not isinstance(claims, dict):
            raise _invalid()
        self._signed = f"{head}.{body}".encode()
        self.claims: dict[str, Any] = claims

    def claim(self, name: str) -> str:
        """A claim that must be there and be text."""
        value = self.claims.get(name)
        if not isinstance(value, str) or not value:
            raise _invalid()
        return value

    def check_signature(self, key: rsa.RSAPublicKey | None) -> None:
        """Raise the OAuth error unless `key` signed it."""
        if key is None:
            raise _invalid()
        try:
            key.verify(self._signature, self._signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise _invalid() from None

    def check_audience(self, accepted: set[str]) -> None:
        """Raise the OAuth error unless it is meant for one of the addresses; a slash at their end does not matter."""
        given = self.claims.get("aud")
        audiences = given if isinstance(given, list) else [given]
        if not any(isinstance(each, str) and each.rstrip("/").lower() in accepted for each in audiences):
            raise oauth_error("invalid_grant", "Audience validation failed")

    def check_time(self, now: float) -> None:
        """Raise the OAuth error unless it ends soon and has not ended: `exp` may be a number or text, in seconds or
        milliseconds, as clients send all of these."""
        given = self.claims.get("exp")
        try:
            ends = float(given) if isinstance(given, int | float | str) and not isinstance(given, bool) else math.nan
        except (ValueError, OverflowError):
            ends = math.nan
        if not math.isfinite(ends):
            raise _invalid()
        ends = ends / 1000 if ends > _MILLISECONDS else ends
        if ends < now - CLOCK_DRIFT:
            raise oauth_error("invalid_grant", "assertion expired")
        if ends > now + MOST_AHEAD + CLOCK_DRIFT:
            raise _invalid()


def _invalid() -> Exception:
    return oauth_error("invalid_grant", "invalid assertion")


def _key(org: Org) -> rsa.RSAPrivateKey:
    """The org's own key, made when it is first needed."""
    with _MAKING_KEY:
        if kept := org.store.get_document("key", "rsa"):
            found = load_pem_private_key(kept["pem"].encode(), None)
            assert isinstance(found, rsa.RSAPrivateKey)
            return found
        made = rsa.generate_private_key(65537, 2048)
        pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        with org.store.writing() as cursor:
            org.store.put_document(cursor, "key", "rsa", {"pem": pem})
        return made


def public_keys(org: Org) -> dict[str, Any]:
    """The org's keys as a JSON Web Key Set (RFC 7517)."""
    numbers = _key(org).public_key().public_numbers()
    parts = {"n": numbers.n, "e": numbers.e}
    shown = {key: to_text(value.to_bytes((value.bit_length() + 7) // 8)) for key, value in parts.items()}
    return {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": _key_id(shown), **shown}]}


def _key_id(shown: dict[str, str]) -> str:
    return to_text(hashlib.sha256(shown["n"].encode()).digest())[:12]


def sign(org: Org, claims: dict[str, Any]) -> str:
    """A token with these claims, signed with the org's key."""
    header = {"alg": "RS256", "typ": "JWT", "kid": public_keys(org)["keys"][0]["kid"]}
    signed = ".".join(to_text(json.dumps(each, separators=(",", ":")).encode()) for each in (header, claims))
    signature = _key(org).sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{to_text(signature)}"
