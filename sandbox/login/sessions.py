"""Sessions: access tokens, who they belong to, and when they end."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.login.users import User

if TYPE_CHECKING:
    from sandbox.org import Org


@dataclass
class Session:
    """One session; `seen` is when it was last used, in seconds of the org's clock."""

    token: str
    user: User
    seen: float


class Sessions:
    """All sessions of the org, kept in its database so that a token outlives a restart."""

    def __init__(self, org: Org) -> None:
        self._org = org
        users = {user.id: user for user in org.users}
        self._sessions = {
            entry["token"]: Session(entry["token"], users[entry["user"]], entry["seen"])
            for entry in org.store.documents("token")
            if entry["user"] in users
        }

    def open(self, user: User) -> Session:
        """A new session. Its token: the 15-character org id, `!`, and an opaque part."""
        token = f"{self._org.org_id[:15]}!AQ.{secrets.token_urlsafe(48).replace('-', '_')}"
        session = Session(token, user, self._org.clock.time())
        with self._org.store.writing() as cursor:
            document = {"token": token, "user": user.id, "seen": session.seen}
            self._org.store.put_document(cursor, "token", token, document)
        self._sessions[token] = session
        return session

    def find(self, token: str | None) -> Session | None:
        """The session of a token that was used within its lifetime, which each use starts anew; else None."""
        session = self._sessions.get(token or "")
        now = self._org.clock.time()
        if session is None or now - session.seen > self._org.settings.token_lifetime:
            return None
        session.seen = now
        return session

    def end(self, token: str) -> bool:
        """Make a token invalid for good; whether it was known."""
        if self._sessions.pop(token, None) is None:
            return False
        with self._org.store.writing() as cursor:
            self._org.store.delete_document(cursor, "token", token)
        return True
