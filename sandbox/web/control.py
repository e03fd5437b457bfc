"""The sandbox's own endpoints below /_sandbox: faults, request log, state, reset. They need no session."""

from __future__ import annotations

import json
from typing import Any

from sandbox.call import Answer, Call
from sandbox.faults import FaultError
from sandbox.org import Org
from sandbox.wire import SalesforceError, not_found


def add_fault(org: Org, call: Call) -> Answer:
    """POST /_sandbox/faults: one rule, or a list of rules."""
    try:
        # Plain JSON numbers: `Call.json` would make decimals of seconds.
        given = json.loads(call.body)
    except ValueError as error:
        raise SalesforceError(400, "BAD_RULE", str(error)) from None
    return Answer(201, add_rules(org, given))


def add_rules(org: Org, given: Any) -> Any:
    """Add one rule, or a list of rules; as they stand.

    Raises SalesforceError for a rule that cannot be.
    """
    listed = given if isinstance(given, list) else [given]
    try:
        for each in listed:
            _check_field(org, each)
        rules = [org.faults.add(each) for each in listed]
    except (ValueError, TypeError, AttributeError) as error:
        raise SalesforceError(400, "BAD_RULE", str(error)) from None
    added = [rule.as_json() for rule in rules]
    return added if isinstance(given, list) else added[0]


def _check_field(org: Org, rule: dict[str, Any]) -> None:
    """Refuse a rule about a field that no object of the org has."""
    if not rule.get("field"):
        return
    target = org.schema.object_named(str(rule.get("object")))
    if target is None:
        raise FaultError(f"there is no object {rule.get('object')!r}")
    if target.field_named(str(rule["field"])) is None:
        raise FaultError(f"{target.name} has no field {rule['field']!r}")


def list_faults(org: Org, call: Call) -> Answer:
    return Answer(200, {"rules": org.faults.as_json()})


def clear_faults(org: Org, call: Call) -> Answer:
    org.faults.clear()
    return Answer(204)


def remove_fault(org: Org, call: Call) -> Answer:
    if not org.faults.remove(call.arguments["id"]):
        raise not_found(f"There is no fault rule {call.arguments['id']!r}")
    return Answer(204)


def release(org: Org, call: Call) -> Answer:
    """POST /_sandbox/release {"id"}: let held calls go on; without an id, all of them."""
    rule_id = call.json_object().get("id") if call.body else None
    return Answer(200, {"released": org.faults.release(rule_id)})


def requests(org: Org, call: Call) -> Answer:
    """GET /_sandbox/requests: the latest calls and totals per method and path template."""
    given = call.query.get("limit", "200")
    if not given.isdecimal():
        raise SalesforceError(400, "BAD_LIMIT", f"limit must be a whole number, not {given!r}")
    limit = max(1, int(given))
    return Answer(
        200,
        {"total": sum(org.call_counts.values()), "counts": dict(org.call_counts), "requests": list(org.log)[-limit:]},
    )


def state(org: Org, call: Call) -> Answer:
    """GET /_sandbox/state: records per object, live and deleted, and the bulk jobs."""
    counts = org.store.counts()
    objects: dict[str, Any] = {key: {"live": live, "deleted": deleted} for key, (live, deleted) in counts.items()}
    jobs = [{**job.public(), "errors": job.inner.get("errors", {})} for job in list(org.jobs.values())]
    return Answer(200, {"org_id": org.org_id, "objects": objects, "jobs": jobs, "api_requests": org.usage.used()})


def reset(org: Org, call: Call) -> Answer:
    """POST /_sandbox/reset: empty the org."""
    org.reset()
    return Answer(204)
