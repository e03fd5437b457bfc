"""What the bulk APIs of an org keep beside their jobs: how long jobs take, and the daily limits with what is used."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from sandbox.clock import Clock

DAY = 86_400.0
# Rows of one internal batch: the unit in which the daily limit counts.
BATCH = 10_000
POLL = 0.05


@dataclass
class Limits:
    """Per rolling 24 hours (limits of the Bulk API guide): batches and records of both APIs, query jobs of 2.0."""

    batches: int = 15_000
    records: int = 150_000_000
    query_jobs: int = 10_000


class BulkState:
    """`delay` is how many seconds each job takes at least, on the org's clock.

    `result_rows` is how many rows a page of query results holds where the client names no number; None: all.
    """

    def __init__(self, clock: Clock, delay: float) -> None:
        self._clock = clock
        self._first_delay = delay
        self._lock = threading.Lock()
        self._used: deque[tuple[float, int, int, int]] = deque()
        self.reset()

    def reset(self) -> None:
        """Nothing used, the documented limits, the delay of the command line."""
        self.delay = self._first_delay
        self.result_rows: int | None = None
        self.limits = Limits()
        with self._lock:
            self._used.clear()

    def used(self) -> Limits:
        """What was used within the last 24 hours."""
        with self._lock:
            self._forget()
            columns = list(zip(*self._used, strict=True))[1:] or [(), (), ()]
            return Limits(*(int(sum(column)) for column in columns))

    def take_batch(self, records: int) -> bool:
        """Count one batch of so many records; False, and nothing counted, when the day's limit is reached."""
        return self._take(1, records, 0)

    def take_records(self, records: int) -> bool:
        """Count records of a batch that was counted before they were known; False when the day's limit is reached."""
        return self._take(0, records, 0)

    def take_query_job(self) -> bool:
        """Count one query job of 2.0; False, and nothing counted, when the day's limit is reached."""
        return self._take(0, 0, 1)

    def _take(self, batches: int, records: int, query_jobs: int) -> bool:
        with self._lock:
            self._forget()
            wanted = (batches, records, query_jobs)
            most = (self.limits.batches, self.limits.records, self.limits.query_jobs)
            for place, (more, limit) in enumerate(zip(wanted, most, strict=True), 1):
                if more and sum(entry[place] for entry in self._used) + more > limit:
                    return False
            self._used.append((self._clock.time(), *wanted))
            return True

    def _forget(self) -> None:
        since = self._clock.time() - DAY
        while self._used and self._used[0][0] <= since:
            self._used.popleft()

    def wait(self, stopped: threading.Event, seconds: float) -> None:
        """Let so many seconds of the org's clock pass, or less when `stopped` is set meanwhile."""
        until = self._clock.time() + seconds
        while (left := until - self._clock.time()) > 0 and not stopped.is_set():
            stopped.wait(min(left, POLL))
