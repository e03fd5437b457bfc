"""Recently used records: what a user has read or written by itself (REST API guide, "Recently Viewed Items")."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from sandbox.call import Answer, Call
from sandbox.rows.rules import literal, name
from sandbox.schema import ObjectType
from sandbox.wire import SalesforceError

if TYPE_CHECKING:
    from sandbox.org import Org

KEPT = 200
IN_BASIC = 5
# From this version on, a call counts as a use only where it asks for that.
ASKED_FROM = 60


class Recent:
    """The records each user has used, the latest first; not kept over a restart."""

    def __init__(self) -> None:
        self._used: dict[str, deque[tuple[str, str]]] = {}

    def note(self, call: Call, target: ObjectType, record_id: str) -> None:
        """Remember that the caller has used a record."""
        asked = call.headers.get("sforce-mru", "").replace(" ", "").lower() == "updatemru=true"
        if call.version < ASKED_FROM or asked:
            used = self._used.setdefault(call.user.id, deque(maxlen=KEPT))
            if (target.name, record_id) in used:
                used.remove((target.name, record_id))
            used.appendleft((target.name, record_id))

    def of(self, user_id: str) -> list[tuple[str, str]]:
        """Object and id of the records a user has used."""
        return list(self._used.get(user_id, ()))

    def clear(self) -> None:
        self._used.clear()


def recent(org: Org, call: Call) -> Answer:
    """GET recent[?limit=]."""
    given = call.query.get("limit", str(KEPT))
    if not given.isdecimal() or not 1 <= int(given) <= KEPT:
        raise SalesforceError(400, "INVALID_INPUT", f"limit must be a whole number from 1 to {KEPT}, not {given!r}")
    return Answer(200, _shown(org, call, org.recent.of(call.user.id))[: int(given)])


def recent_of(org: Org, call: Call, target: ObjectType) -> list[dict[str, Any]]:
    """The latest records of one object, for GET sobjects/X."""
    used = [each for each in org.recent.of(call.user.id) if each[0] == target.name]
    return _shown(org, call, used)[:IN_BASIC]


def _shown(org: Org, call: Call, used: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """The records with their names. Deleted ones, and those the user no longer may see, are left out."""
    schema = org.permissions.schema_of(call.user)
    shown = []
    for object_name, record_id in used:
        target = schema.object_named(object_name)
        titles = [each.name for each in target.fields.values() if each.flag("nameField")] if target else []
        column = name(titles[0]) if titles else "NULL"
        source = f"{name('v_' + object_name)} WHERE NOT IsDeleted AND Id = {literal(record_id)}"
        rows = org.store.rows(f"SELECT {column} FROM {source}") if target else []
        if rows:
            url = f"{call.data_url}/sobjects/{object_name}/{record_id}"
            shown.append({"attributes": {"type": object_name, "url": url}, "Id": record_id, "Name": rows[0][0]})
    return shown
