"""Try a Salesforce connection, step by step."""

from __future__ import annotations

from collections.abc import Callable

from connections.salesforce import limits
from connections.salesforce.errors import MisconfiguredError, TransientError
from connections.salesforce.query import rows
from connections.salesforce.session import SalesforceSession


def check(
    session: SalesforceSession, report: Callable[[str, str], None] = lambda step, outcome: None
) -> list[tuple[str, str]]:
    """Log in, and see whether what a sync needs is there: four calls.

    report: called with (step, outcome) as each step ends. Returns the same pairs. Raises SalesforceError at the first
    step that fails.
    """
    done: list[tuple[str, str]] = []
    for step, take in (("login", _login), ("version", _version), ("limits", _limits), ("organization", _organization)):
        outcome = take(session)
        done.append((step, outcome))
        report(step, outcome)
    return done


def _login(session: SalesforceSession) -> str:
    identity = session.identity
    return f"logged in to {identity.instance_url}, Salesforce org {identity.org_id}, as user {identity.user_id}"


def _version(session: SalesforceSession) -> str:
    try:
        versions = [str(entry["version"]) for entry in session.request("GET", "/services/data").json()]
    except (ValueError, TypeError, KeyError):
        raise TransientError("Salesforce's list of API versions was not JSON. A proxy may have answered.") from None
    used = session.data_path.rpartition("/v")[2]
    if used not in versions:
        newest = versions[-1] if versions else "none"
        raise MisconfiguredError(
            f"This Salesforce org has no API version {used}; its newest is {newest}. Set that one."
        )
    return f"API version {used} is there"


def _limits(session: SalesforceSession) -> str:
    used = limits.daily_calls(limits.limits(session))
    return "no daily limit told" if used is None else f"{used.used:,} of {used.max:,} API requests used in 24 hours"


def _organization(session: SalesforceSession) -> str:
    record = next(rows(session, "SELECT Id, Name, IsSandbox FROM Organization LIMIT 1"), None)
    if record is None:
        raise MisconfiguredError("The connected user may not read the Organization record. Give it 'View Setup'.")
    return f"{record.get('Name')}, {'a sandbox' if record.get('IsSandbox') else 'a production org'}"
