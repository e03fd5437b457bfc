"""/_sandbox/bulk: how long jobs take, how long pages of query results are, and the daily limits."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.wire import SalesforceError

KEYS = ("delay", "result_rows", "limits")


def show(org: Org, call: Call) -> Answer:
    """GET: the settings, and what of the limits is used."""
    bulk = org.bulk
    limits, used = dataclasses.asdict(bulk.limits), dataclasses.asdict(bulk.used())
    return Answer(200, {"delay": bulk.delay, "result_rows": bulk.result_rows, "limits": limits, "used": used})


def change(org: Org, call: Call) -> Answer:
    """POST {"delay": seconds, "result_rows": rows or null, "limits": {batches, records, query_jobs}}, any of them."""
    try:
        given = json.loads(call.body)
    except ValueError as error:
        raise _wrong(f"not JSON: {error}") from None
    if not isinstance(given, dict) or not set(given) <= set(KEYS):
        raise _wrong(f"an object with any of {', '.join(KEYS)} is expected")
    delay = given.get("delay", org.bulk.delay)
    rows = given.get("result_rows", org.bulk.result_rows)
    limits = given.get("limits", {})
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay < 1e9:
        raise _wrong("delay is a number of seconds from 0")
    if rows is not None and not _is_count(rows, 1):
        raise _wrong("result_rows is a whole number from 1, or null")
    known = {each.name for each in dataclasses.fields(org.bulk.limits)}
    if not isinstance(limits, dict) or not set(limits) <= known or not all(_is_count(n, 0) for n in limits.values()):
        raise _wrong(f"limits are whole numbers from 0: {', '.join(sorted(known))}")
    org.bulk.delay, org.bulk.result_rows = float(delay), rows
    org.bulk.limits = dataclasses.replace(org.bulk.limits, **limits)
    return show(org, call)


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _wrong(message: str) -> SalesforceError:
    return SalesforceError(400, "BAD_SETTING", message)
