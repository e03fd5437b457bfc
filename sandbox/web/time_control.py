"""/_sandbox/clock: the org's time, which tests may set, move on, speed up and slow down."""

from __future__ import annotations

import datetime
import json
from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.wire import SalesforceError, timestamp

KEYS = ("time", "advance", "speed")
LAST = 253_000_000_000.0


def show_clock(org: Org, call: Call) -> Answer:
    """GET: the time, also in seconds since 1970, and how many of its seconds pass in one."""
    seconds = org.clock.time()
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return Answer(200, {"time": timestamp(moment), "seconds": seconds, "speed": org.clock.speed})


def set_clock(org: Org, call: Call) -> Answer:
    """POST {"time": text or seconds, "advance": seconds, "speed": seconds in one}, any of them."""
    try:
        given = json.loads(call.body)
    except ValueError as error:
        raise _wrong(f"not JSON: {error}") from None
    change_clock(org, given)
    return show_clock(org, call)


def change_clock(org: Org, given: Any) -> None:
    """Set the clock as `set_clock` takes it.

    Raises SalesforceError for anything else, and then changes nothing.
    """
    if not isinstance(given, dict) or not set(given) <= set(KEYS):
        raise _wrong(f"an object with any of {', '.join(KEYS)} is expected")
    seconds = _seconds(given["time"]) if "time" in given else org.clock.time()
    seconds += _number(given.get("advance", 0), "advance")
    speed = _number(given.get("speed", org.clock.speed), "speed")
    if not 0 <= seconds <= LAST or not 0 <= speed <= 1e6:
        raise _wrong("the time lies in the years 1970 to 9987, and speed between 0 and 1000000")
    org.clock.set(seconds, speed)


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(f"{key} is a number")
    return float(value)


def _seconds(value: Any) -> float:
    if not isinstance(value, str):
        return _number(value, "time")
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        raise _wrong(f"time {value!r} is no date and time such as 2026-01-31T12:00:00Z") from None
    return moment.replace(tzinfo=moment.tzinfo or datetime.UTC).timestamp()


def _wrong(message: str) -> SalesforceError:
    return SalesforceError(400, "BAD_CLOCK", message)
