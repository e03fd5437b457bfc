"""The sandbox's own addresses for users and apps, below /_sandbox; and the passwords of users."""

from __future__ import annotations

import json
import secrets
from typing import Any

from sandbox.call import Answer, Call
from sandbox.login.apps import AppError
from sandbox.login.places import is_text
from sandbox.login.users import User, UserError
from sandbox.org import Org
from sandbox.wire import SalesforceError, not_found


def list_users(org: Org, call: Call) -> Answer:
    """GET /_sandbox/users: everybody who may log in, without passwords."""
    return Answer(200, {"users": [each.as_json() for each in org.users]})


def put_users(org: Org, call: Call) -> Answer:
    """POST /_sandbox/users: add a user or a list of them, or change those of these usernames."""
    given = _json(call)
    try:
        users = [each.as_json() for each in org.users.put(given if isinstance(given, list) else [given])]
    except UserError as error:
        raise SalesforceError(400, "BAD_USER", str(error)) from None
    return Answer(201, users if isinstance(given, list) else users[0])


def remove_user(org: Org, call: Call) -> Answer:
    """DELETE /_sandbox/users/USERNAME: end a user's login. The user of the command line stays."""
    user = org.users.named(call.arguments["username"])
    if user is None:
        raise not_found(f"There is no user {call.arguments['username']!r}")
    if user is org.users.admin:
        raise SalesforceError(400, "BAD_USER", "The user of the command line cannot be removed")
    org.users.remove(user)
    return Answer(204)


def list_apps(org: Org, call: Call) -> Answer:
    """GET /_sandbox/apps: all connected apps, without secrets."""
    return Answer(200, {"apps": [each.as_json() for each in org.apps]})


def put_apps(org: Org, call: Call) -> Answer:
    """POST /_sandbox/apps: add an app or a list of them, or change those of these client ids."""
    given = _json(call)
    try:
        apps = [each.as_json() for each in org.apps.put(given if isinstance(given, list) else [given])]
    except AppError as error:
        raise SalesforceError(400, "BAD_APP", str(error)) from None
    return Answer(201, apps if isinstance(given, list) else apps[0])


def remove_app(org: Org, call: Call) -> Answer:
    """DELETE /_sandbox/apps/CLIENT_ID."""
    if not org.apps.remove(call.arguments["client_id"]):
        raise not_found(f"There is no app {call.arguments['client_id']!r}")
    return Answer(204)


def _json(call: Call) -> Any:
    try:
        return json.loads(call.body)
    except (ValueError, RecursionError) as error:
        raise SalesforceError(400, "JSON_PARSER_ERROR", f"The body is not valid JSON: {error}") from None


# Passwords (REST API guide, "sObject User Password")


def _user_of(org: Org, call: Call) -> User:
    user = org.users.with_id(call.arguments["id"])
    if user is None or len(call.arguments["id"]) not in (15, 18):
        raise not_found()
    if user is not call.user and not org.permissions.has(call.user, "ModifyAllData"):
        raise SalesforceError(403, "INSUFFICIENT_ACCESS", "insufficient access rights on object id")
    return user


def password_state(org: Org, call: Call) -> Answer:
    """GET sobjects/User/ID/password."""
    return Answer(200, {"isExpired": _user_of(org, call).password_expired})


def set_password(org: Org, call: Call) -> Answer:
    """POST sobjects/User/ID/password {"NewPassword"}."""
    user, given = _user_of(org, call), call.json_object().get("NewPassword")
    if not is_text(given) or not given:
        raise SalesforceError(400, "REQUIRED_FIELD_MISSING", "Required fields are missing: [NewPassword]")
    if len(given) < 8 or given.isalpha() or given.isdecimal():
        message = "Your password must be at least 8 characters long, and have letters and numbers"
        raise SalesforceError(400, "INVALID_NEW_PASSWORD", message)
    org.users.set_password(user, given)
    return Answer(204)


def reset_password(org: Org, call: Call) -> Answer:
    """DELETE sobjects/User/ID/password: a new password, which the answer tells."""
    user, made = _user_of(org, call), secrets.token_urlsafe(6) + "a1"
    org.users.set_password(user, made)
    return Answer(200, {"NewPassword": made})
