"""Conditional requests: If-Modified-Since and its relatives (REST API guide, "Conditional Request Headers")."""

from __future__ import annotations

import datetime
import hashlib
from email.utils import format_datetime, parsedate_to_datetime

from sandbox.call import Call
from sandbox.wire import SalesforceError


def validators(modified: datetime.datetime, of: str) -> dict[str, str]:
    """The headers by which a client can ask later whether something has changed. of: what is dated, such as an id."""
    tag = hashlib.sha256(f"{of} {modified.isoformat()}".encode()).hexdigest()[:24]
    stamp = format_datetime(modified.replace(tzinfo=datetime.UTC), usegmt=True)
    return {"Last-Modified": stamp, "ETag": f'"{tag}"'}


def check(call: Call, modified: datetime.datetime, of: str) -> dict[str, str]:
    """The validators of something that was last changed at `modified` (UTC, to the second).

    Raises SalesforceError: 304 when a reading call has it already, 412 when the caller's condition does not hold.
    Dates that are none count as not given, as RFC 9110 has it.
    """
    own = validators(modified, of)
    tags, other_tags = _tags(call, "if-match"), _tags(call, "if-none-match")
    until, since = _date(call, "if-unmodified-since"), _date(call, "if-modified-since")
    failed = tags is not None and own["ETag"] not in tags and "*" not in tags
    if failed or (tags is None and until is not None and modified > until):
        raise SalesforceError(412, "PRECONDITION_FAILED", "The record has been changed meanwhile")
    known = other_tags is not None and (own["ETag"] in other_tags or "*" in other_tags)
    if known and call.method not in ("GET", "HEAD"):
        raise SalesforceError(412, "PRECONDITION_FAILED", "The record is there already")
    if known or (other_tags is None and since is not None and modified <= since and call.method in ("GET", "HEAD")):
        raise NotModified(own)
    return own


class NotModified(SalesforceError):
    """304, without a body."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(304, "NOT_MODIFIED", "")
        self.body = None
        self.headers = headers


def _tags(call: Call, header: str) -> set[str] | None:
    given = call.headers.get(header)
    return {each.strip().removeprefix("W/") for each in given.split(",")} if given else None


def _date(call: Call, header: str) -> datetime.datetime | None:
    try:
        moment = parsedate_to_datetime(call.headers.get(header, ""))
        return moment.astimezone(datetime.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
