"""When the schema last changed for a user, so that describes can answer that nothing is new."""

from __future__ import annotations

import datetime
import threading
from typing import TYPE_CHECKING

from sandbox.call import Call
from sandbox.rest import conditions
from sandbox.schema import ObjectType

if TYPE_CHECKING:
    from sandbox.org import Org


class SchemaDates:
    """Remembers per user the objects he last saw, and since when they have been as they are."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[list[ObjectType], datetime.datetime]] = {}

    def check(self, call: Call, described: str) -> dict[str, str]:
        """The headers Last-Modified and ETag of a describe; `described` is what it describes.

        Raises SalesforceError: 304 when the caller has it already (REST API guide, "Get Object Metadata Changes").
        """
        objects = [*self._org.permissions.schema_of(call.user), *self._org.schema.events.values()]
        with self._lock:
            known = self._seen.get(call.user.id)
            if known is None or list(map(id, known[0])) != list(map(id, objects)):
                # HTTP dates tell seconds: two changes within one must not look like one.
                earliest = known[1] + datetime.timedelta(seconds=1) if known else datetime.datetime.min
                known = self._seen[call.user.id] = (objects, max(self._org.clock.now(), earliest))
        return conditions.check(call, known[1], f"{call.data_url} {call.user.id} {described}")
