"""Try a Salesforce connection, step by step."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TypeVar

from connections.salesforce import limits
from connections.salesforce.errors import MisconfiguredError, TransientError
from connections.salesforce.query import rows, soql_text
from connections.salesforce.session import SalesforceSession

Facts = list[tuple[str, str]]

T = TypeVar("T")


def check(session: SalesforceSession, run: Callable[[str, Callable[[], Facts]], Facts] | None = None) -> Facts:
    """Log in, and see whether what a sync needs is there: five calls.

    run: called with the name of a step and the step itself, so that a caller can time it and know where a failure
    happened. Returns what was found, as (label, value) pairs. Raises SalesforceError at the first step that fails.
    """
    found: Facts = []
    for name, take in (
        ("login", _login),
        ("API version", _version),
        ("limits", _limits),
        ("organization", _organization),
        ("user", _user),
    ):
        found += run(name, _bound(take, session)) if run else take(session)
    return found


def _bound(take: Callable[[SalesforceSession], T], session: SalesforceSession) -> Callable[[], T]:
    return lambda: take(session)


def _login(session: SalesforceSession) -> Facts:
    return [("Instance", session.identity.instance_url)]


def _version(session: SalesforceSession) -> Facts:
    asked = time.time()
    answer = session.request("GET", "/services/data")
    clock = (asked + time.time()) / 2
    try:
        versions = [str(entry["version"]) for entry in answer.json()]
    except (ValueError, TypeError, KeyError):
        raise TransientError("Salesforce's list of API versions was not JSON. A proxy may have answered.") from None
    used = session.data_path.rpartition("/v")[2]
    if used not in versions:
        newest = versions[-1] if versions else "none"
        raise MisconfiguredError(
            f"This Salesforce org has no API version {used}; its newest is {newest}.",
            advice="Set that one as the API version of the connection.",
        )
    return [("API version", used), ("Clock skew", _skew(answer.headers.get("Date", ""), clock))]


def _skew(date: str, clock: float) -> str:
    """How far this server's clock is from Salesforce's, in seconds; the Date header has no fractions of them."""
    try:
        seconds = round(clock - parsedate_to_datetime(date).timestamp() - 0.5)
    except (TypeError, ValueError):
        return "not told"
    if abs(seconds) <= 1:  # servers that are busy send a Date that is a second old
        return "less than 2 seconds"
    return f"{abs(seconds):,} seconds ({'ahead of' if seconds > 0 else 'behind'} Salesforce)"


def _limits(session: SalesforceSession) -> Facts:
    used = limits.daily_calls(limits.limits(session))
    told = "no daily limit told" if used is None else f"{used.max - used.used:,} of {used.max:,} in 24 hours"
    return [("API requests left", told)]


def _organization(session: SalesforceSession) -> Facts:
    record = next(rows(session, "SELECT Id, Name, IsSandbox FROM Organization LIMIT 1"), None)
    if record is None:
        raise MisconfiguredError(
            "The connected user may not read the Organization record.", advice="Give it 'View Setup'."
        )
    return [
        ("Salesforce org", f"{record.get('Name')} ({session.identity.org_id})"),
        ("Environment", "sandbox" if record.get("IsSandbox") else "production"),
    ]


def _user(session: SalesforceSession) -> Facts:
    user_id = session.identity.user_id
    record = next(rows(session, f"SELECT Name, Username FROM User WHERE Id = {soql_text(user_id)}"), None)
    # Who may not read even its own user may still load records.
    return [("Logged in as", f"{record.get('Name')} ({record.get('Username')})" if record else user_id)]
