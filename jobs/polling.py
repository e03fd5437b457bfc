"""When a Salesforce job is looked at: seldom, since each look is a call, and often enough for people who watch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

LONGEST = 30.0  # seconds between two looks
# Jobs of the same size do not take the same time; the first look comes so much later than expected, as a factor and in
# seconds.
_LATER, _LATER_SECONDS = 1.15, 0.4
# A guess, where nothing is known of earlier jobs.
_START_SECONDS, _ROWS_PER_SECOND = 0.2, 15_000


@dataclasses.dataclass(frozen=True)
class Speed:
    """How long Salesforce jobs took. seen: (rows, seconds) of each."""

    seen: tuple[tuple[int, float], ...] = ()

    @classmethod
    def from_json(cls, data: Sequence[Sequence[float]]) -> Speed:
        """What a job's forecast holds as "speed"."""
        return cls(tuple((int(rows), float(seconds)) for rows, seconds in data))

    def expected(self, rows: int) -> float:
        """Seconds that a Salesforce job of so many rows will take; a guess where none of about that size was seen."""
        near = [(took, seconds) for took, seconds in self.seen if took and 1 / 4 <= rows / took <= 4]
        if not near:
            return _START_SECONDS + rows / _ROWS_PER_SECOND
        closest = min(abs(math.log(rows / took)) for took, _ in near)
        each = sorted(s * rows / took for took, s in near if abs(math.log(rows / took)) <= closest + 0.05)
        return each[len(each) // 2]


def corrected(expected: float, elapsed: float, processed: int, rows: int) -> float:
    """Seconds that a Salesforce job will take, by what it has told so far.

    expected: before it began. elapsed: since then, when it said that it had processed so many of its rows.
    """
    return elapsed * rows / processed if processed else expected


def next_look(elapsed: float, expected: float, tick: float) -> float:
    """Seconds until the next look.

    elapsed: since Salesforce was told to begin. expected: how long it will take. tick: the shortest pause.
    """
    until = expected * _LATER + _LATER_SECONDS
    return min(LONGEST, max(tick, until - elapsed if elapsed < until else elapsed / 4))


def looks(seconds: float, tick: float) -> int:
    """How many looks it takes until one finds that a Salesforce job has ended which takes as long as expected."""
    elapsed, count = 0.0, 0
    while elapsed < seconds or not count:
        # Somebody finds that it is time, on average, half a tick later.
        elapsed += next_look(elapsed, seconds, tick) + tick / 2
        count += 1
    return count
