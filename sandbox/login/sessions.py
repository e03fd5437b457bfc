"""Sessions: access tokens, who they belong to, and when they end; and the refresh tokens behind them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.login.users import User

if TYPE_CHECKING:
    from sandbox.org import Org

# A user may approve an app five times; the next approval ends the oldest (help article "Manage OAuth Access Policies").
MAX_APPROVALS = 5


@dataclass
class Session:
    """One session; `seen` is when it was last used, in seconds of the org's clock; `refresh` the token behind it."""

    token: str
    user: User
    seen: float
    client_id: str = ""
    scope: str = ""
    refresh: str | None = None
    began: float = 0.0

    def as_document(self) -> dict[str, Any]:
        document = {key: value for key, value in vars(self).items() if key != "user"}
        return {**document, "user": self.user.username}


@dataclass
class Refresh:
    """One refresh token: what a user approved for an app."""

    token: str
    user: User
    client_id: str
    scope: str

    def as_document(self) -> dict[str, Any]:
        return {"token": self.token, "user": self.user.username, "client_id": self.client_id, "scope": self.scope}


class Sessions:
    """All sessions and refresh tokens of the org, kept in its database so that they outlive a restart."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._sessions: dict[str, Session] = {}
        self._refreshes: dict[str, Refresh] = {}
        for entry in org.store.documents("token"):
            if user := org.users.named(entry["user"]):
                self._sessions[entry["token"]] = Session(**{**entry, "user": user})
        for entry in org.store.documents("refresh"):
            if user := org.users.named(entry["user"]):
                self._refreshes[entry["token"]] = Refresh(**{**entry, "user": user})

    def rebind(self) -> None:
        """Follow users who were made anew; the sessions of those who are gone end."""
        for each in self._all():
            user = self._org.users.named(each.user.username)
            if user is None:
                self.end(each.token)
            else:
                each.user = user

    def open(self, user: User, client_id: str = "", scope: str = "", refresh: str | None = None) -> Session:
        """A new session. Its token: the 15-character org id, `!`, and an opaque part."""
        token = f"{self._org.org_id[:15]}!AQ.{secrets.token_urlsafe(48).replace('-', '_')}"
        now = self._org.clock.time()
        session = Session(token, user, now, client_id, scope, refresh, now)
        self._save("token", token, session.as_document())
        self._sessions[token] = session
        return session

    def find(self, token: str | None) -> Session | None:
        """The session of a token that was used within its lifetime, which each use starts anew; else None."""
        session = self.peek(token)
        if session is not None:
            session.seen = self._org.clock.time()
        return session

    def peek(self, token: str | None) -> Session | None:
        """The session of a token, without counting this as its use."""
        session = self._sessions.get(token or "")
        if session is None or self._org.clock.time() > self.ends_at(session):
            return None
        return session

    def ends_at(self, session: Session) -> float:
        """When a session ends unless it is used before, in seconds since 1970."""
        return session.seen + self._org.settings.token_lifetime

    def open_refresh(self, user: User, client_id: str, scope: str) -> Refresh:
        """A new refresh token; the oldest of more than five of one user and app ends."""
        refresh = Refresh(f"5Aep861{secrets.token_urlsafe(54).replace('-', '_')}", user, client_id, scope)
        own = [each for each in list(self._refreshes.values()) if each.user is user and each.client_id == client_id]
        for old in own[: max(0, len(own) + 1 - MAX_APPROVALS)]:
            self.end(old.token)
        self._save("refresh", refresh.token, refresh.as_document())
        self._refreshes[refresh.token] = refresh
        return refresh

    def find_refresh(self, token: str) -> Refresh | None:
        return self._refreshes.get(token)

    def has_approved(self, user: User, client_id: str) -> bool:
        """Whether the user consented to the app, and did not take it back."""
        return any(each.user is user and each.client_id == client_id for each in list(self._refreshes.values()))

    def end(self, token: str) -> bool:
        """Make an access or refresh token invalid for good; whether it was known. A refresh token takes along its
        access tokens."""
        if self._refreshes.pop(token, None) is not None:
            self._forget("refresh", token)
            for session in [each for each in list(self._sessions.values()) if each.refresh == token]:
                self.end(session.token)
            return True
        if self._sessions.pop(token, None) is None:
            return False
        self._forget("token", token)
        return True

    def end_all(self, user: User) -> None:
        """End everything of a user."""
        for each in self._all():
            if each.user is user:
                self.end(each.token)

    def _all(self) -> list[Session | Refresh]:
        return [*self._refreshes.values(), *self._sessions.values()]

    def _save(self, kind: str, token: str, document: dict[str, Any]) -> None:
        with self._org.store.writing() as cursor:
            self._org.store.put_document(cursor, kind, token, document)

    def _forget(self, kind: str, token: str) -> None:
        with self._org.store.writing() as cursor:
            self._org.store.delete_document(cursor, kind, token)
