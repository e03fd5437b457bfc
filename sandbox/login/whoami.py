"""Who is logged in: userinfo, the identity URL, OpenID Connect discovery, and the way from a token into a browser.

Help articles "Identity URLs", "Query for User Information" and "Generate a Frontdoor URL to Bridge into UI Sessions".
"""

from __future__ import annotations

import json
from html import escape
from typing import Any
from urllib.parse import urlencode

from sandbox.call import Answer, Call
from sandbox.login import pages
from sandbox.login.apps import SCOPES
from sandbox.login.assertion import public_keys
from sandbox.login.places import form_of, identity_url, instance_url
from sandbox.login.users import User
from sandbox.org import LAST_VERSION, Org
from sandbox.wire import SalesforceError, timestamp

FRONTDOOR = "/secur/frontdoor.jsp"
# Pacific time without daylight saving, in milliseconds.
UTC_OFFSET = -28_800_000


def userinfo(org: Org, call: Call) -> Answer:
    """GET or POST /services/oauth2/userinfo."""
    user = _user_of_token(org, call)
    record = org.users.record(user)
    url = identity_url(org, call, user)
    shown = {
        "sub": url,
        "user_id": user.id,
        "organization_id": org.org_id,
        "preferred_username": record["Username"],
        "nickname": record["CommunityNickname"],
        "name": _full_name(record),
        "email": record["Email"],
        "email_verified": True,
        "given_name": record["FirstName"],
        "family_name": record["LastName"],
        "zoneinfo": record["TimeZoneSidKey"],
        "photos": _photos(call),
        "profile": f"{instance_url(call)}/{user.id}",
        "picture": _photos(call)["picture"],
        "address": {"country": record["Country"]} if record["Country"] else {},
        "urls": _urls(org, call, user),
        "active": bool(record["IsActive"]),
        "user_type": "STANDARD",
        "language": record["LanguageLocaleKey"],
        "locale": record["LocaleSidKey"],
        "utcOffset": UTC_OFFSET,
        "updated_at": timestamp(record["LastModifiedDate"]),
        "is_app_installed": True,
    }
    return Answer(200, shown)


def identity(org: Org, call: Call) -> Answer:
    """GET or POST /id/ORG/USER: who the token belongs to."""
    user = _user_of_token(org, call)
    if call.arguments["org"][:15] != org.org_id[:15]:
        raise _refused("Wrong_Org")
    if call.arguments["user"][:15] != user.id[:15]:
        raise _refused("Bad_Id")
    given = form_of(call)
    if given.get("format", "json").lower() != "json":
        raise SalesforceError(406, "NOT_ACCEPTABLE", "The format must be json")
    record = org.users.record(user)
    shown = {
        "id": identity_url(org, call, user),
        "asserted_user": True,
        "user_id": user.id,
        "organization_id": org.org_id,
        "username": record["Username"],
        "nick_name": record["CommunityNickname"],
        "display_name": _full_name(record),
        "email": record["Email"],
        "email_verified": True,
        "first_name": record["FirstName"],
        "last_name": record["LastName"],
        "timezone": record["TimeZoneSidKey"],
        "photos": _photos(call),
        "addr_street": record["Street"],
        "addr_city": record["City"],
        "addr_state": record["State"],
        "addr_country": record["Country"],
        "addr_zip": record["PostalCode"],
        "mobile_phone": record["MobilePhone"],
        "mobile_phone_verified": False,
        "is_lightning_login_user": False,
        "status": {"created_date": None, "body": None},
        "urls": _urls(org, call, user, given.get("version")),
        "active": bool(record["IsActive"]),
        "user_type": "STANDARD",
        "language": record["LanguageLocaleKey"],
        "locale": record["LocaleSidKey"],
        "utcOffset": UTC_OFFSET,
        "last_modified_date": timestamp(record["LastModifiedDate"]),
        "is_app_installed": True,
    }
    if "callback" in given:
        return _with_padding(given["callback"], shown)
    return Answer(200, shown)


def _with_padding(callback: str, shown: dict[str, Any]) -> Answer:
    """The identity as a call of a JavaScript function, for pages of other origins."""
    if not callback.replace("_", "a").replace(".", "a").isalnum() or not callback.isascii():
        raise SalesforceError(400, "INVALID_REQUEST", "callback must be the name of a function")
    text = f"{callback}({json.dumps(shown)});"
    return Answer(200, text, {"X-Content-Type-Options": "nosniff"}, content_type="application/javascript;charset=UTF-8")


def _full_name(record: dict[str, Any]) -> str:
    return f"{record['FirstName'] or ''} {record['LastName']}".strip()


def _photos(call: Call) -> dict[str, str]:
    base = f"{instance_url(call)}/profilephoto/005"
    return {"picture": f"{base}/F", "thumbnail": f"{base}/T"}


def _urls(org: Org, call: Call, user: User, version: str | None = None) -> dict[str, str]:
    """Addresses of the APIs; the version stays a literal `{version}` unless the caller names one."""
    shown = {"latest": f"{LAST_VERSION}.0", None: "{version}"}.get(version, str(version).removeprefix("v"))
    base = instance_url(call)
    rest = f"{base}/services/data/v{shown}/"
    soap = f"{base}/services/Soap"
    return {
        "enterprise": f"{soap}/c/{shown}/{org.org_id[:15]}",
        "metadata": f"{soap}/m/{shown}/{org.org_id[:15]}",
        "partner": f"{soap}/u/{shown}/{org.org_id[:15]}",
        "rest": rest,
        "sobjects": f"{rest}sobjects/",
        "search": f"{rest}search/",
        "query": f"{rest}query/",
        "recent": f"{rest}recent/",
        "tooling_soap": f"{soap}/T/{shown}/{org.org_id[:15]}",
        "tooling_rest": f"{rest}tooling/",
        "profile": f"{base}/{user.id}",
        "feeds": f"{rest}chatter/feeds",
        "groups": f"{rest}chatter/groups",
        "users": f"{rest}chatter/users",
        "feed_items": f"{rest}chatter/feed-items",
        "feed_elements": f"{rest}chatter/feed-elements",
        "custom_domain": base,
    }


def _user_of_token(org: Org, call: Call) -> User:
    """These endpoints answer a bad token with plain text, not with an error array."""
    given = form_of(call)
    token = call.token or given.get("oauth_token") or given.get("access_token")
    if not token:
        raise _refused("Missing_OAuth_Token")
    session = org.sessions.find(token)
    if session is None:
        raise _refused("Bad_OAuth_Token")
    return session.user


def _refused(text: str) -> SalesforceError:
    return SalesforceError(403, text, text, body=text)


def discovery(org: Org, call: Call) -> Answer:
    """GET /.well-known/openid-configuration (OpenID Connect Discovery)."""
    base = call.base_url
    shown = {
        "issuer": base,
        "authorization_endpoint": f"{base}/services/oauth2/authorize",
        "token_endpoint": f"{base}/services/oauth2/token",
        "revocation_endpoint": f"{base}/services/oauth2/revoke",
        "introspection_endpoint": f"{base}/services/oauth2/introspect",
        "userinfo_endpoint": f"{base}/services/oauth2/userinfo",
        "jwks_uri": f"{base}/id/keys",
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "display_values_supported": ["page", "popup", "touch"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nonce", "at_hash"],
    }
    return Answer(200, shown)


def keys(org: Org, call: Call) -> Answer:
    """GET /id/keys: the key that signs id tokens."""
    return Answer(200, public_keys(org))


def single_access(org: Org, call: Call) -> Answer:
    """GET or POST /services/oauth2/singleaccess[?redirect_uri=]: an address that opens the org in a browser, once."""
    user = _user_of_token(org, call)
    target = form_of(call).get("redirect_uri", "")
    query = {"otp": org.grants.open_frontdoor(user), **({"startURL": target} if target else {})}
    return Answer(200, {"frontdoor_uri": f"{instance_url(call)}{FRONTDOOR}?{urlencode(query)}"})


def frontdoor(org: Org, call: Call) -> Answer:
    """GET or POST /secur/frontdoor.jsp?sid=|otp=[&retURL=]: log a browser in with a token, and go on within the org."""
    given = form_of(call)
    user = org.grants.pass_frontdoor(given.get("otp", ""))
    if user is None and (session := org.sessions.find(given.get("sid"))):
        user = session.user
    if user is None:
        return pages.problem(call, "Bad_OAuth_Token", "This address was used before, or its session has ended.")
    browser = pages.new_browser()
    org.grants.remember(browser, user)
    target = _inside(given.get("retURL") or given.get("startURL") or "/")
    link = f'<p>You are {escape(user.username)}.</p><p><a href="{escape(target)}">Go on to the org</a></p>'
    return pages.page("You are logged in", link, call=call, browser=browser)


def _inside(target: str) -> str:
    """A path of this org; any other address becomes its start page."""
    is_path = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_path else "/"
