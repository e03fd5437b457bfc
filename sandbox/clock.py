"""The org's clock: the machine's time, which tests may set, move on and speed up."""

from __future__ import annotations

import datetime
import threading
import time


class Clock:
    """Seconds and datetimes of the org. Everything that Salesforce would date or let expire asks here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at = time.time()
        self._since = time.monotonic()
        self.speed = 1.0

    def time(self) -> float:
        """Seconds since 1970."""
        with self._lock:
            return self._time()

    def _time(self) -> float:
        return self._at + (time.monotonic() - self._since) * self.speed

    def now(self) -> datetime.datetime:
        """Now in UTC to the second and without a zone, as datetimes are stored."""
        moment = datetime.datetime.fromtimestamp(self.time(), datetime.UTC)
        return moment.replace(microsecond=0, tzinfo=None)

    def set(self, seconds: float | None = None, speed: float | None = None) -> None:
        """Set the time (seconds since 1970), and how many seconds pass in one; None leaves either as it is."""
        with self._lock:
            self._at = self._time() if seconds is None else seconds
            self._since = time.monotonic()
            self.speed = self.speed if speed is None else speed

    def reset(self) -> None:
        """Back to the machine's time."""
        self.set(time.time(), 1.0)
