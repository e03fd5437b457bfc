"""How many API requests an org has used within the last 24 hours, and how many of them by which connected app."""

from __future__ import annotations

import threading
from collections import Counter, deque

from sandbox.clock import Clock

DAY = 86_400.0
# Calls are forgotten by whole minutes of the org's clock: a rolling day need not be finer.
STEP = 60.0


class ApiUsage:
    """`most` is the limit of requests per rolling 24 hours ("API Request Limits and Allocations")."""

    def __init__(self, clock: Clock, most: int) -> None:
        self._clock = clock
        self._first_most = most
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Nothing used, and the limit of the command line."""
        with self._lock:
            self.most = self._first_most
            self._steps: deque[tuple[float, Counter[str]]] = deque()
            self._by_app: Counter[str] = Counter()
            self._total = 0

    def set(self, most: int | None, used: int | None) -> None:
        """Change the limit, or what counts as used at this moment (by no app); None leaves either as it is."""
        with self._lock:
            self.most = self.most if most is None else most
            if used is not None:
                self._steps = deque([(self._clock.time() // STEP * STEP, Counter({"": used}))])
                self._by_app = Counter({"": used})
                self._total = used

    def take(self, app: str = "", count: int = 1) -> bool:
        """Count requests of an app (a client id; empty for none); False, and nothing counted, beyond the limit."""
        with self._lock:
            self._forget()
            if self._total + count > self.most:
                return False
            step = self._clock.time() // STEP * STEP
            if not self._steps or self._steps[-1][0] != step:
                self._steps.append((step, Counter()))
            self._steps[-1][1][app] += count
            self._by_app[app] += count
            self._total += count
            return True

    def used(self) -> int:
        """The requests of the last 24 hours."""
        with self._lock:
            self._forget()
            return self._total

    def used_by(self, app: str) -> int:
        """The requests of the last 24 hours that came by an app."""
        with self._lock:
            self._forget()
            return self._by_app[app]

    def _forget(self) -> None:
        since = self._clock.time() - DAY
        while self._steps and self._steps[0][0] + STEP <= since:
            _, gone = self._steps.popleft()
            self._by_app -= gone
            self._total -= gone.total()
