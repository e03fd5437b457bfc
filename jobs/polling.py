"""When a Salesforce job is looked at: seldom, since each look is a call, and often enough for people who watch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

LONGEST = 60.0  # seconds between two looks
# Jobs of the same size do not take the same time; the first look comes so much later than expected, as a factor and in
# seconds.
_LATER, _LATER_SECONDS = 1.15, 0.4
# A guess, where nothing is known of earlier jobs.
_START_SECONDS, _ROWS_PER_SECOND = 0.2, 30_000
# Of a guess of more seconds, a look after that part of them tells how good it is.
_WORTH_A_LOOK, _EARLY = 5.0, 0.25


@dataclasses.dataclass(frozen=True)
class Speed:
    """How long Salesforce jobs took. seen: (rows, seconds) of each."""

    seen: tuple[tuple[int, float], ...] = ()

    @classmethod
    def from_json(cls, data: Sequence[Sequence[float]]) -> Speed:
        """What a job's forecast holds as "speed"."""
        return cls(tuple((int(rows), float(seconds)) for rows, seconds in data))

    def expected(self, rows: int) -> Expected:
        """How long a Salesforce job of so many rows will take; a guess where none of about that size was seen."""
        near = [(took, seconds) for took, seconds in self.seen if took and 1 / 4 <= rows / took <= 4]
        if not near:
            return Expected(_START_SECONDS + rows / _ROWS_PER_SECOND, is_guess=True)
        closest = min(abs(math.log(rows / took)) for took, _ in near)
        each = sorted(s * rows / took for took, s in near if abs(math.log(rows / took)) <= closest + 0.05)
        return Expected(each[len(each) // 2])


@dataclasses.dataclass(frozen=True)
class Expected:
    """Seconds that a Salesforce job will take. is_guess: nothing tells so yet."""

    seconds: float
    is_guess: bool = False

    def corrected(self, elapsed: float, processed: int, rows: int) -> Expected:
        """What is expected once it has told that it had processed so many of its rows. elapsed: seconds by then."""
        return Expected(elapsed * rows / processed) if processed else self

    def next_look(self, elapsed: float, tick: float) -> float:
        """Seconds until the next look. elapsed: since Salesforce was told to begin. tick: the shortest pause."""
        until = self.seconds * _LATER + _LATER_SECONDS
        early = self.seconds * _EARLY
        if self.is_guess and self.seconds > _WORTH_A_LOOK and elapsed < early:
            until = early
        return min(LONGEST, max(tick, until - elapsed if elapsed < until else elapsed / 4))

    def looks(self, tick: float) -> int:
        """How many looks it takes until one finds that a Salesforce job has ended which takes as long as expected."""
        elapsed, count, expected = 0.0, 0, self
        while elapsed < self.seconds or not count:
            # Somebody finds that it is time, on average, half a tick later.
            elapsed += expected.next_look(elapsed, tick) + tick / 2
            expected, count = Expected(self.seconds), count + 1
        return count


def took(looked: float, found: float, expected: float, processing: float) -> float:
    """Seconds that a Salesforce job took, about: it ended between the last two looks.

    looked, found: seconds from its begin to the look before, and to the one that found it ended. expected: as of the
    look before. processing: seconds that Salesforce says it worked on it, perhaps in several threads at once, or 0.
    Where that is less than expected, the next expectation comes down half-way: it holds no time in Salesforce's queue.
    """
    seconds = min(max(expected, looked), found)
    return (seconds + processing) / 2 if looked < processing < seconds else seconds
