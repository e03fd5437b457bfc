"""How much of its daily allowance a Salesforce org has used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from connections.salesforce.errors import TransientError
from connections.salesforce.session import LimitInfo, SalesforceSession


def limits(session: SalesforceSession) -> dict[str, Any]:
    """All limits by name, each with "Max" and "Remaining" (one call; some minutes old). Raises SalesforceError."""
    try:
        answer = session.rest.limits()
    except requests.exceptions.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise TransientError("Salesforce's answer to the limits call was not JSON. A proxy may have answered instead.")
    return answer


def daily_calls(answer: Mapping[str, Any]) -> LimitInfo | None:
    """API requests used in the last 24 hours and the most allowed, from what `limits` returned; None if not told."""
    entry = answer.get("DailyApiRequests")
    if not isinstance(entry, Mapping) or "Max" not in entry or "Remaining" not in entry:
        return None
    return LimitInfo(used=int(entry["Max"]) - int(entry["Remaining"]), max=int(entry["Max"]))
