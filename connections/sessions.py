"""One Salesforce session per connection and process, so that a worker does not log in for every call."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from connections import kinds
from connections.budget import OrgBudget
from connections.models import Connection

if TYPE_CHECKING:
    from connections.salesforce.session import SalesforceSession

_MOST = 50
_sessions: dict[tuple[int, int], SalesforceSession] = {}
_lock = threading.Lock()


def salesforce_session(connection: Connection) -> SalesforceSession:
    """The session of a connection as it is configured now; it logs in on its first call."""
    key = (connection.pk, connection.settings_version)
    with _lock:
        if key not in _sessions or _sessions[key].has_moved:
            for old in [known for known in _sessions if known[0] == connection.pk]:
                _sessions.pop(old).close()
            while len(_sessions) >= _MOST:
                _sessions.pop(next(iter(_sessions))).close()
            _sessions[key] = kinds.open_salesforce(connection, budget=OrgBudget())
        return _sessions[key]


def forget_all() -> None:
    """Close every session of this process; the next call logs in anew."""
    with _lock:
        while _sessions:
            _sessions.popitem()[1].close()
