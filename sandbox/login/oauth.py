"""Login: the OAuth token endpoint, userinfo and the identity URL (help article "OAuth Authorization Flows")."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qsl

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.wire import SalesforceError


def token(org: Org, call: Call) -> Answer:
    """POST /services/oauth2/token: the password and client credentials flows."""
    form = dict(parse_qsl(call.body.decode("utf-8", "replace"), keep_blank_values=True))
    client_id, client_secret = _client(call, form)
    grant = form.get("grant_type")
    if grant is None:
        raise oauth_error("invalid_request", "missing required parameter: grant_type")
    if grant not in ("password", "client_credentials"):
        raise oauth_error("unsupported_grant_type", "grant type not supported")
    _check_client(org, client_id, client_secret)
    if grant == "password":
        _check_user(org, form)
    access_token = org.sessions.open(org.admin).token
    identity = f"{call.base_url}/id/{org.org_id}/{org.admin.id}"
    issued_at = str(int(org.clock.time() * 1000))
    answer: dict[str, Any] = {
        "access_token": access_token,
        "signature": _sign(org, identity + issued_at),
        "instance_url": call.base_url,
        "id": identity,
        "token_type": "Bearer",
        "issued_at": issued_at,
    }
    if grant == "client_credentials":
        answer["scope"] = "api"
    return Answer(200, answer, headers={"Cache-Control": "no-cache, no-store"})


def oauth_error(error: str, description: str) -> SalesforceError:
    """A refusal in the form of the OAuth endpoints."""
    return SalesforceError(400, error, description, body={"error": error, "error_description": description})


def _client(call: Call, form: dict[str, str]) -> tuple[str | None, str | None]:
    scheme, _, rest = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(rest.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise oauth_error("invalid_client", "invalid client credentials") from None
        client_id, _, secret = pair.partition(":")
        return client_id, secret
    return form.get("client_id"), form.get("client_secret")


def _check_client(org: Org, client_id: str | None, client_secret: str | None) -> None:
    if not client_id:
        raise oauth_error("invalid_request", "missing required parameter: client_id")
    if client_id != org.settings.client_id:
        raise oauth_error("invalid_client_id", "client identifier invalid")
    if client_secret is None or not _same(client_secret, org.settings.client_secret):
        raise oauth_error("invalid_client", "invalid client credentials")


def _check_user(org: Org, form: dict[str, str]) -> None:
    """Username, and the password with the security token behind it (or without: a trusted network)."""
    for key in ("username", "password"):
        if not form.get(key):
            raise oauth_error("invalid_request", f"missing required parameter: {key}")
    settings = org.settings
    accepted = (settings.password + settings.security_token, settings.password)
    right_user = form["username"].lower() == settings.username.lower()
    if not right_user or True not in {_same(form["password"], each) for each in accepted}:
        raise oauth_error("invalid_grant", "authentication failure")


def _sign(org: Org, text: str) -> str:
    digest = hmac.new(org.settings.client_secret.encode(), text.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def revoke(org: Org, call: Call) -> Answer:
    """POST /services/oauth2/revoke: end a session."""
    form = dict(parse_qsl(call.body.decode("utf-8", "replace")))
    given = form.get("token") or call.query.get("token", "")
    if org.sessions.find(given) is None:
        raise oauth_error("invalid_token", "invalid token: token not found")
    org.sessions.end(given)
    return Answer(200)


def userinfo(org: Org, call: Call) -> Answer:
    """GET /services/oauth2/userinfo."""
    _require_token(org, call)
    return Answer(
        200,
        {
            "sub": f"{call.base_url}/id/{org.org_id}/{org.admin.id}",
            "user_id": org.admin.id,
            "organization_id": org.org_id,
            "preferred_username": org.settings.username,
            "nickname": "sandybox",
            "name": "Sandy Box",
            "email": org.settings.username,
            "email_verified": True,
            "given_name": "Sandy",
            "family_name": "Box",
            "zoneinfo": "America/Los_Angeles",
            "urls": _urls(call),
            "active": True,
            "user_type": "STANDARD",
            "language": "en_US",
            "locale": "en_US",
            "utcOffset": -28800000,
            "is_app_installed": True,
        },
    )


def identity(org: Org, call: Call) -> Answer:
    """GET /id/ORG/USER: who the token belongs to."""
    _require_token(org, call)
    if call.arguments["org"][:15] != org.org_id[:15]:
        raise SalesforceError(403, "Wrong_Org", "Wrong_Org", body="Wrong_Org")
    return Answer(
        200,
        {
            "id": f"{call.base_url}/id/{org.org_id}/{org.admin.id}",
            "asserted_user": True,
            "user_id": org.admin.id,
            "organization_id": org.org_id,
            "username": org.settings.username,
            "nick_name": "sandybox",
            "display_name": "Sandy Box",
            "email": org.settings.username,
            "email_verified": True,
            "first_name": "Sandy",
            "last_name": "Box",
            "timezone": "America/Los_Angeles",
            "urls": _urls(call),
            "active": True,
            "user_type": "STANDARD",
            "language": "en_US",
            "locale": "en_US",
            "utcOffset": -28800000,
        },
    )


def _urls(call: Call) -> dict[str, str]:
    rest = f"{call.base_url}/services/data/v{{version}}/"
    return {"rest": rest, "sobjects": f"{rest}sobjects/", "query": f"{rest}query/", "custom_domain": call.base_url}


def _require_token(org: Org, call: Call) -> None:
    """These endpoints answer a bad token with plain text, not with an error array."""
    given = call.token or call.query.get("oauth_token")
    if not given:
        raise SalesforceError(403, "Missing_OAuth_Token", "Missing_OAuth_Token", body="Missing_OAuth_Token")
    if org.sessions.find(given) is None:
        raise SalesforceError(403, "Bad_OAuth_Token", "Bad_OAuth_Token", body="Bad_OAuth_Token")
