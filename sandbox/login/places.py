"""The addresses of the org, as seen by a caller: login hosts, the instance, identity URLs, and what forms bring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from sandbox.wire import SalesforceError

if TYPE_CHECKING:
    from sandbox.call import Call
    from sandbox.login.users import User
    from sandbox.org import Org

LOGIN_HOSTS = ("login.salesforce.com", "test.salesforce.com")
MY_DOMAIN = "practice.my.salesforce.com"


def host_of(call: Call) -> tuple[str, str]:
    """The host name by which the caller came, and `:port` if one was given."""
    host = call.base_url.partition("://")[2].lower()
    if host.endswith("]"):
        return host, ""
    name, colon, port = host.rpartition(":")
    return (name, colon + port) if colon else (host, "")


def at_login_host(call: Call) -> bool:
    """Whether the caller came by a login host, which is no org's own."""
    return host_of(call)[0] in LOGIN_HOSTS


def instance_url(call: Call) -> str:
    """Where the caller finds the org: by the address he used, or by its My Domain if that was a login host."""
    if not at_login_host(call):
        return call.base_url
    return f"{call.base_url.partition('://')[0]}://{MY_DOMAIN}{host_of(call)[1]}"


def identity_url(org: Org, call: Call, user: User) -> str:
    """The identity URL of a user."""
    return f"{call.base_url}/id/{org.org_id}/{user.id}"


def form_of(call: Call) -> dict[str, str]:
    """The fields of a form, from the body and the query string."""
    text = call.body.decode("utf-8", "replace")
    return {**call.query, **dict(parse_qsl(text, keep_blank_values=True))}


def is_text(value: Any) -> bool:
    """Whether a JSON value is text that can be written; half a surrogate pair cannot."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def oauth_error(error: str, description: str, status: int = 400) -> SalesforceError:
    """A refusal in the form of the OAuth endpoints."""
    return SalesforceError(status, error, description, body={"error": error, "error_description": description})
