"""The OAuth endpoints for tokens: get, look at and revoke them (help article "OAuth Authorization Flows")."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any

from sandbox.call import Answer, Call
from sandbox.login.apps import App
from sandbox.login.assertion import Assertion, sign, to_text
from sandbox.login.places import (
    LOGIN_HOSTS,
    MY_DOMAIN,
    at_login_host,
    form_of,
    identity_url,
    instance_url,
    oauth_error,
)
from sandbox.login.sessions import Session
from sandbox.login.users import User
from sandbox.org import Org

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
DEFAULT_SCOPE = "api web refresh_token"
NO_STORE = {"Cache-Control": "no-cache, no-store", "Pragma": "no-cache"}
ID_TOKEN_SECONDS = 120


def token(org: Org, call: Call) -> Answer:
    """POST /services/oauth2/token: a token for what the form proves, by the flow of its `grant_type`.

    The token exchange flow is not offered: like any unknown grant type it is refused as unsupported.
    """
    form = form_of(call)
    if form.get("response_type") == "device_code" and "grant_type" not in form:
        return _begin_device(org, call, form)
    grant = form.get("grant_type")
    if grant is None:
        raise oauth_error("invalid_request", "missing required parameter: grant_type")
    flow = _FLOWS.get(grant)
    if flow is None:
        raise oauth_error("unsupported_grant_type", "grant type not supported")
    return Answer(200, flow(org, call, form), dict(NO_STORE))


def token_by_get(org: Org, call: Call) -> Answer:
    """GET /services/oauth2/token: refused, since secrets do not belong into addresses."""
    raise oauth_error("invalid_request", "must use HTTP POST")


# The flows


def _password(org: Org, call: Call, form: dict[str, str]) -> dict[str, Any]:
    app = _app(org, call, form, "password")
    username, password = _need(form, "username"), _need(form, "password")
    user = org.users.named(username)
    right = user is not None and org.users.check_password(user, password)
    if user is None or not right:
        raise oauth_error("invalid_grant", "authentication failure")
    check_user(org, app, user)
    if user.password_expired:
        raise oauth_error("invalid_grant", "expired password")
    return _answer(org, call, app, org.sessions.open(user, app.client_id, "api"))


def _client_credentials(org: Org, call: Call, form: dict[str, str]) -> dict[str, Any]:
    if at_login_host(call):
        raise oauth_error("invalid_grant", "request not supported on this domain")
    app = _app(org, call, form, "client_credentials")
    user = org.users.named(app.run_as) if app.run_as else None
    if user is None:
        raise oauth_error("invalid_grant", "no client credentials user enabled")
    check_user(org, app, user)
    session = org.sessions.open(user, app.client_id, "api")
    return {**_answer(org, call, app, session), "scope": session.scope}


def _jwt_bearer(org: Org, call: Call, form: dict[str, str]) -> dict[str, Any]:
    assertion = Assertion(_need(form, "assertion"))
    app = org.apps.find(assertion.claim("iss"))
    if app is None:
        raise oauth_error("invalid_client_id", "client identifier invalid")
    _require_flow(app, "jwt_bearer")
    assertion.check_signature(app.public_key)
    accepted = {f"https://{host}" for host in (*LOGIN_HOSTS, MY_DOMAIN)} | {call.base_url.lower()}
    assertion.check_audience(accepted)
    assertion.check_time(org.clock.time())
    user = org.users.named(assertion.claim("sub"))
    if user is None or not (app.pre_approved or org.sessions.has_approved(user, app.client_id)):
        raise oauth_error("invalid_grant", "user hasn't approved this consumer")
    check_user(org, app, user)
    session = org.sessions.open(user, app.client_id, "api web")
    shown = {**_answer(org, call, app, session), "scope": session.scope}
    return {key: shown[key] for key in ("access_token", "scope", "instance_url", "id", "token_type")}


def _authorization_code(org: Org, call: Call, form: dict[str, str]) -> dict[str, Any]:
    given = _need(form, "code")
    app = _app(org, call, form, "authorization_code", needs_secret=False)
    code, too_late = org.grants.take_code(given)
    if code is None or code.pending.app.client_id != app.client_id:
        raise oauth_error("invalid_grant", "invalid authorization code")
    if too_late:
        raise oauth_error("invalid_grant", "expired authorization code")
    pending = code.pending
    if _need(form, "redirect_uri") != pending.redirect_uri:
        raise oauth_error("redirect_uri_mismatch", "redirect_uri must match configuration")
    if pending.challenge is None:
        # Without a challenge the secret is the only proof that the code came to the app.
        if app.client_secret and "client_secret" not in form and not call.headers.get("authorization"):
            raise oauth_error("invalid_client", "invalid client credentials")
    elif not hmac.compare_digest(_challenge_of(_need(form, "code_verifier")), pending.challenge.rstrip("=")):
        raise oauth_error("invalid_grant", "invalid code verifier")
    check_user(org, app, code.user)
    return _with_refresh(org, call, app, code.user, pending.scope, pending.nonce)


def _challenge_of(verifier: str) -> str:
    """The S256 challenge of a PKCE code verifier (RFC 7636)."""
    return to_text(hashlib.sha256(verifier.encode("utf-8", "replace")).digest())


def _refresh_token(org: Org, call: Call, form: dict[str, str]) -> dict[str, Any]:
    given = _need(form, "refresh_token")
    app = _app(org, call, form, "refresh_token", needs_secret=False)
    secret_given = "client_secret" in form or call.headers.get("authorization")
    if app.client_secret and app.secret_required_for_refresh and not secret_given:
        raise oauth_error("invalid_client", "invalid client credentials")
    refresh = org.sessions.find_refresh(given)
    if refresh is None or refresh.client_id != app.client_id:
        raise oauth_error("invalid_grant", "expired access/refresh token")
    check_user(org, app, refresh.user)
    if app.rotate_refresh_tokens:
        org.sessions.end(refresh.token)
        return _with_refresh(org, call, app, refresh.user, refresh.scope)
    session = org.sessions.open(refresh.user, app.client_id, refresh.scope, refresh.token)
    return {**_answer(org, call, app, session), "scope": refresh.scope}


def _begin_device(org: Org, call: Call, form: dict[str, str]) -> Answer:
    app = _app(org, call, form, "device", needs_secret=False)
    device = org.grants.begin_device(app, scope_of(app, form.get("scope")))
    shown = {
        "device_code": device.device_code,
        "user_code": device.user_code,
        "verification_uri": f"{call.base_url}/setup/connect",
        "interval": 5,
    }
    return Answer(200, shown, dict(NO_STORE))


def _device(org: Org, call: Call, form: dict[str, str]) -> dict[str, Any]:
    app = _app(org, call, form, "device", needs_secret=False)
    device = org.grants.device(_need(form, "code"))
    if device is None or device.app.client_id != app.client_id:
        raise oauth_error("invalid_grant", "invalid device code")
    if org.grants.is_over(device):
        org.grants.end_device(device)
        raise oauth_error("invalid_grant", "expired device code")
    if device.denied:
        org.grants.end_device(device)
        raise oauth_error("access_denied", "end-user denied authorization")
    if device.user is None:
        if org.grants.polls_too_fast(device):
            raise oauth_error("slow_down", "polling too frequently")
        raise oauth_error("authorization_pending", "User has not yet been redirected to Salesforce or authorized")
    org.grants.end_device(device)
    check_user(org, app, device.user)
    return _with_refresh(org, call, app, device.user, device.scope)


_FLOWS = {
    "password": _password,
    "client_credentials": _client_credentials,
    JWT_BEARER: _jwt_bearer,
    "authorization_code": _authorization_code,
    "refresh_token": _refresh_token,
    "device": _device,
    "urn:ietf:params:oauth:grant-type:device_code": _device,
}


# What the flows share


def _need(form: dict[str, str], name: str) -> str:
    if not form.get(name):
        raise oauth_error("invalid_request", f"missing required parameter: {name}")
    return form[name]


def _app(org: Org, call: Call, form: dict[str, str], flow: str, *, needs_secret: bool = True) -> App:
    """The app that asks, by form or by HTTP Basic; a secret that is given must be right even where none is needed."""
    client_id, secret = client_of(call, form)
    if not client_id:
        raise oauth_error("invalid_request", "missing required parameter: client_id")
    app = org.apps.find(client_id)
    if app is None:
        raise oauth_error("invalid_client_id", "client identifier invalid")
    proven = app.knows_secret(secret) and (bool(app.client_secret) or not needs_secret)
    if (needs_secret or secret is not None) and not proven:
        raise oauth_error("invalid_client", "invalid client credentials")
    _require_flow(app, flow)
    return app


def client_of(call: Call, form: dict[str, str]) -> tuple[str | None, str | None]:
    """The client id and secret of a form, or of its Authorization header."""
    scheme, _, rest = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id"), form.get("client_secret")
    try:
        pair = base64.b64decode(rest.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise oauth_error("invalid_client", "invalid client credentials") from None
    client_id, _, secret = pair.partition(":")
    return client_id, secret


def _require_flow(app: App, flow: str) -> None:
    if flow not in app.flows:
        raise oauth_error("unsupported_grant_type", "grant type not supported")


def check_user(org: Org, app: App, user: User) -> None:
    """Raise the OAuth error unless the user may be logged in to the app."""
    if not org.users.is_active(user):
        raise oauth_error("invalid_grant", "inactive user")
    if org.users.is_locked(user):
        raise oauth_error("invalid_grant", "authentication failure")
    if not app.admits(user.username):
        raise oauth_error("invalid_app_access", "user is not admin approved to access this app")


def scope_of(app: App, asked: str | None) -> str:
    """The scopes a consent gives; raises the OAuth error `invalid_scope` for what the app may not have."""
    wanted = (asked or "").split() or [each for each in DEFAULT_SCOPE.split() if each in app.scopes]
    if not set(wanted) <= set(app.scopes):
        raise oauth_error("invalid_scope", "the requested scope is not allowed")
    return " ".join(dict.fromkeys(wanted))


def _with_refresh(org: Org, call: Call, app: App, user: User, scope: str, nonce: str | None = None) -> dict[str, Any]:
    """The answer after a consent: with a refresh token and an id token where the scope has them."""
    scopes = scope.split()
    refresh = None
    if "refresh_token" in scopes or "offline_access" in scopes:
        refresh = org.sessions.open_refresh(user, app.client_id, scope).token
    session = org.sessions.open(user, app.client_id, scope, refresh)
    shown = _answer(org, call, app, session)
    if refresh:
        shown["refresh_token"] = refresh
    shown["scope"] = scope
    if "openid" in scopes:
        shown["id_token"] = _id_token(org, call, app, session, nonce)
    return shown


def _answer(org: Org, call: Call, app: App, session: Session) -> dict[str, Any]:
    identity = identity_url(org, call, session.user)
    issued_at = str(int(session.began * 1000))
    digest = hmac.new((app.client_secret or "").encode(), (identity + issued_at).encode(), hashlib.sha256).digest()
    return {
        "access_token": session.token,
        "signature": base64.b64encode(digest).decode(),
        "instance_url": instance_url(call),
        "id": identity,
        "token_type": "Bearer",
        "issued_at": issued_at,
    }


def _id_token(org: Org, call: Call, app: App, session: Session, nonce: str | None) -> str:
    """An id token (OpenID Connect Core, section 2)."""
    half = hashlib.sha256(session.token.encode()).digest()[:16]
    claims = {
        "at_hash": to_text(half),
        "sub": identity_url(org, call, session.user),
        "aud": app.client_id,
        "iss": call.base_url,
        "exp": int(session.began) + ID_TOKEN_SECONDS,
        "iat": int(session.began),
    }
    return sign(org, {**claims, "nonce": nonce} if nonce else claims)


def introspect(org: Org, call: Call) -> Answer:
    """POST /services/oauth2/introspect: what an app may know of one of its tokens (RFC 7662)."""
    form = form_of(call)
    client_id, secret = client_of(call, form)
    app = org.apps.find(client_id or "")
    if app is None or not app.knows_secret(secret):
        raise oauth_error("invalid_client", "invalid client credentials", 401)
    given = _need(form, "token")
    if session := org.sessions.peek(given):
        own = session.client_id == app.client_id
        times = {"exp": int(org.sessions.ends_at(session)), "iat": int(session.began), "nbf": int(session.began)}
        facts = (session.user, session.scope, "access_token")
    elif refresh := org.sessions.find_refresh(given):
        own, times = refresh.client_id == app.client_id, {}
        facts = (refresh.user, refresh.scope, "refresh_token")
    else:
        own = False
    if not own:
        return Answer(200, {"active": False}, dict(NO_STORE))
    user, scope, kind = facts
    shown = {"active": True, "scope": scope, "client_id": app.client_id, "username": user.username}
    return Answer(200, {**shown, "sub": identity_url(org, call, user), "token_type": kind, **times}, dict(NO_STORE))


def revoke(org: Org, call: Call) -> Answer:
    """GET or POST /services/oauth2/revoke: end an access token, or a refresh token and all that came of it."""
    given = form_of(call).get("token", "")
    if not given:
        raise oauth_error("invalid_request", "missing required parameter: token")
    known = org.sessions.peek(given) is not None or org.sessions.find_refresh(given) is not None
    if not known:
        raise oauth_error("invalid_token", "invalid token: token not found")
    org.sessions.end(given)
    return Answer(200)
