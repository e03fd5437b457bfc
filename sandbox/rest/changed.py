"""Which records were changed or deleted in a span of time (REST API guide, "sObject Get Updated", "Get Deleted")."""

from __future__ import annotations

import datetime
from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.rest.describe import find_object
from sandbox.rows.rules import name, visible
from sandbox.wire import SalesforceError

SPAN = datetime.timedelta(days=30)


def updated(org: Org, call: Call) -> Answer:
    """GET sobjects/X/updated?start=&end=: ids of records made or changed."""
    target = find_object(org, call)
    start, end = _span(org, call)
    rows = org.store.rows(
        f"SELECT Id FROM {name(target.name)} WHERE NOT IsDeleted AND SystemModstamp >= ? AND SystemModstamp < ?"
        f" AND {visible(target)} ORDER BY SystemModstamp, Id",
        [start, end],
    )
    return Answer(200, {"ids": [row[0] for row in rows], "latestDateCovered": min(end, org.clock.now())})


def deleted(org: Org, call: Call) -> Answer:
    """GET sobjects/X/deleted?start=&end=: records in the recycle bin, with when they went there."""
    target = find_object(org, call)
    start, end = _span(org, call)
    rows = org.store.rows(
        f"SELECT Id, SystemModstamp FROM {name(target.name)} WHERE IsDeleted AND SystemModstamp >= ?"
        f" AND SystemModstamp < ? AND {visible(target)} ORDER BY SystemModstamp, Id",
        [start, end],
    )
    now = org.clock.now()
    answer: dict[str, Any] = {
        "deletedRecords": [{"deletedDate": row[1], "id": row[0]} for row in rows],
        "earliestDateAvailable": now - SPAN,
        "latestDateCovered": min(end, now),
    }
    return Answer(200, answer)


def _span(org: Org, call: Call) -> tuple[datetime.datetime, datetime.datetime]:
    start, end = (_moment(call, each) for each in ("start", "end"))
    if end - start < datetime.timedelta(minutes=1):
        raise SalesforceError(
            400, "INVALID_REPLICATION_DATE", "endDate must be at least one minute later than startDate"
        )
    if org.clock.now() - start > SPAN:
        raise SalesforceError(400, "INVALID_REPLICATION_DATE", "startDate is more than 30 days ago")
    return start, end


def _moment(call: Call, key: str) -> datetime.datetime:
    given = call.query.get(key, "")
    if not given:
        raise SalesforceError(400, "MISSING_ARGUMENT", f"{key} needs to be specified")
    try:
        # A plus sign that was not encoded arrives as a blank.
        moment = datetime.datetime.fromisoformat(given.replace(" ", "+"))
        return moment.astimezone(datetime.UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        raise SalesforceError(400, "INVALID_FIELD", f"{key} is not a date and time: {given}") from None
