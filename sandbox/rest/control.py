"""/_sandbox/limits: how many API requests the org takes a day, and how many it counts as used already."""

from __future__ import annotations

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.wire import SalesforceError

KEYS = ("daily_api_requests", "used_api_requests")


def show_limits(org: Org, call: Call) -> Answer:
    """GET: the limit, and what is used of it."""
    return Answer(200, dict(zip(KEYS, (org.usage.most, org.usage.used()), strict=True)))


def set_limits(org: Org, call: Call) -> Answer:
    """POST {"daily_api_requests": n, "used_api_requests": n}, either or both; what was used is used as of now."""
    given = call.json_object()
    if not given or not set(given) <= set(KEYS):
        raise _wrong(f"an object with any of {', '.join(KEYS)} is expected")
    for key, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**12:
            raise _wrong(f"{key} is a whole number from 0")
    org.usage.set(*(given.get(key) for key in KEYS))
    return show_limits(org, call)


def _wrong(message: str) -> SalesforceError:
    return SalesforceError(400, "BAD_LIMITS", message)
