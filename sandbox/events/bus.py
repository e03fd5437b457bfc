"""The org's events: kept for 72 hours, read by whoever subscribes (Platform Events guide, "Event Bus").

Events are rows of one table, so that they are kept as the org's records are, and so that an event that a write made is
there exactly when the write is. Replay ids rise and are not consecutive.
"""

from __future__ import annotations

import datetime
import json
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from sandbox.rows.rules import literals

if TYPE_CHECKING:
    from sandbox.org import Org

RETENTION = 72 * 3600
# Neighbouring events lie this far apart, as no client may count on the next number.
STEP = 3
NEW, ALL = -1, -2


@dataclass(frozen=True)
class Event:
    """One event. `topic` is the name of its object, `at` seconds of the org's clock, `body` what JSON holds."""

    replay_id: int
    topic: str
    at: float
    uuid: str
    user_id: str
    body: dict[str, Any]

    @property
    def created_date(self) -> str:
        """When it was published: 2026-01-31T12:00:00.000Z."""
        return datetime.datetime.fromtimestamp(self.at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class UnknownReplay(ValueError):
    """A replay id that the org never gave, or whose events it no longer keeps."""


class Bus:
    """All events of an org."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        with org.store.writing() as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS _events"
                " (replay BIGINT, topic VARCHAR, moment DOUBLE, uuid VARCHAR, author VARCHAR, body VARCHAR)"
            )
        self._last = 0
        self._dropped = 0
        self._reload()

    def _reload(self) -> None:
        lowest, highest = self._org.store.rows("SELECT min(replay), max(replay) FROM _events")[0]
        self._last = max(self._last, highest or 0)
        self._dropped = (lowest or self._last + 1) - 1

    def publish(
        self, cursor: duckdb.DuckDBPyConnection, topic: str, user_id: str, bodies: Sequence[dict[str, Any]]
    ) -> list[Event]:
        """Add events in the transaction of `cursor`; subscribers see them once it commits."""
        if not bodies:
            return []
        self._expire(cursor)
        first = self._org.store.reserve(cursor, "replay", len(bodies))
        now = self._org.clock.time()
        events = [
            Event((first + place) * STEP, topic, now, str(uuid.uuid4()), user_id, body)
            for place, body in enumerate(bodies)
        ]
        cursor.execute(
            "INSERT INTO _events SELECT unnest(?::BIGINT[]), ?, ?, unnest(?::VARCHAR[]), ?, unnest(?::VARCHAR[])",
            [
                [each.replay_id for each in events],
                topic,
                now,
                [each.uuid for each in events],
                user_id,
                [json.dumps(each.body) for each in events],
            ],
        )
        self._org.store.after_commit(lambda: self._published(events[-1].replay_id))
        return events

    def _published(self, replay_id: int) -> None:
        with self._lock:
            self._last = max(self._last, replay_id)
            listeners = list(self._listeners)
        for tell in listeners:
            tell()

    def _expire(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Drop what is older than 72 hours."""
        limit = self._org.clock.time() - RETENTION
        found = cursor.execute("SELECT max(replay) FROM _events WHERE moment <= ?", [limit]).fetchone()
        if found and found[0] is not None:
            cursor.execute("DELETE FROM _events WHERE moment <= ?", [limit])
            self._dropped = max(self._dropped, found[0])

    def start_of(self, replay_id: int) -> int:
        """The replay id after which a subscription starts: NEW, ALL, or one that was given.

        Raises UnknownReplay for one that never was, or whose followers may be gone already.
        """
        if replay_id == NEW:
            return self._last
        if replay_id == ALL:
            return 0
        with self._org.store.writing() as cursor:
            self._expire(cursor)
        if not self._dropped <= replay_id <= self._last or replay_id % STEP:
            raise UnknownReplay(str(replay_id))
        return replay_id

    def read(self, topics: Sequence[str], after: int, limit: int) -> list[Event]:
        """The next events of some topics, in order."""
        rows = self._org.store.rows(
            f"SELECT replay, topic, moment, uuid, author, body FROM _events WHERE topic IN {literals(topics)}"
            " AND replay > ? AND moment > ? ORDER BY replay LIMIT ?",
            [after, self._org.clock.time() - RETENTION, limit],
        )
        return [Event(row[0], row[1], row[2], row[3], row[4], json.loads(row[5])) for row in rows]

    def newest(self, limit: int, topic: str | None = None) -> list[Event]:
        """The latest events of one topic, or of all, newest first."""
        rows = self._org.store.rows(
            "SELECT replay, topic, moment, uuid, author, body FROM _events WHERE topic = coalesce(?, topic)"
            " ORDER BY replay DESC LIMIT ?",
            [topic, limit],
        )
        return [Event(row[0], row[1], row[2], row[3], row[4], json.loads(row[5])) for row in rows]

    def topics(self) -> dict[str, int]:
        """How many events are kept of each topic."""
        return dict(self._org.store.rows("SELECT topic, count(*) FROM _events GROUP BY topic ORDER BY topic"))

    def count(self, seconds: float, topics: str = "%") -> int:
        """How many events of topics LIKE `topics` were published within the last `seconds`."""
        found = self._org.store.rows(
            "SELECT count(*) FROM _events WHERE topic LIKE ? ESCAPE '\\' AND moment > ?",
            [topics, self._org.clock.time() - seconds],
        )
        return int(found[0][0])

    def listen(self, tell: Callable[[], None]) -> None:
        """Call `tell`, in whatever thread published, whenever there are new events."""
        with self._lock:
            self._listeners.append(tell)

    def leave(self, tell: Callable[[], None]) -> None:
        """Stop calling `tell`."""
        with self._lock:
            self._listeners.remove(tell)

    def clear(self) -> None:
        """Forget all events; their ids are never given again."""
        with self._org.store.writing() as cursor:
            cursor.execute("DELETE FROM _events")
        self._dropped = self._last
