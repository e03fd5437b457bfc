"""Publishing platform events: up to 200 in one call, a result for each.

Source: Platform Events guide, "Publish Event Messages with Salesforce APIs".
"""

from __future__ import annotations

from collections.abc import Sequence

from connections.salesforce import collections
from connections.salesforce.session import SalesforceSession

MOST_EVENTS = collections.MOST_RECORDS


def publish(session: SalesforceSession, events: Sequence[bytes]) -> list[collections.Result]:
    """Publish events of one kind.

    events: each the JSON of one, with its `attributes`. One result per event, in their order; a success says that the
    event is queued (OPERATION_ENQUEUED), not that it was delivered. Raises SalesforceError.
    """
    return collections.create(session, events, collections.WriteOptions())
