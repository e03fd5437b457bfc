"""When a Salesforce job is looked at: seldom, since each look is a call, and often enough for people who watch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

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
    """How long Salesforce jobs took, newest first.

    seen: of each its rows, its seconds, and whether somebody watched it for them: else it took no longer than that.
    """

    seen: tuple[tuple[int, float, bool], ...] = ()

    @classmethod
    def from_json(cls, data: Sequence[Sequence[Any]]) -> Speed:
        """What a job's forecast holds as "speed"."""
        return cls(tuple((int(rows), float(seconds), all(watched)) for rows, seconds, *watched in data))

    def expected(self, rows: int) -> Expected:
        """How long a Salesforce job of so many rows will take.

        A guess where none of about that size was seen, and where the last one may have taken far less.
        """
        near = [each for each in self.seen if each[0] and 1 / 4 <= rows / each[0] <= 4]
        if not near:
            return Expected(_START_SECONDS + rows / _ROWS_PER_SECOND, is_guess=True)
        closest = min(abs(math.log(rows / took)) for took, _, _ in near)
        like = [each for each in near if abs(math.log(rows / each[0])) <= closest + 0.05]
        seconds = sorted(seconds * rows / took for took, seconds, _ in like)
        return Expected(seconds[len(seconds) // 2], is_guess=not like[0][2])


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


def took(looked: float, found: float, expected: float) -> tuple[float, bool]:
    """Seconds that a Salesforce job took, about, and whether that is more than what was expected anyway.

    looked, found: seconds from its begin to the look before, and to the one that found it ended, between which it did.
    expected: as of the look before.
    """
    if expected <= _WORTH_A_LOOK:
        return (looked + found) / 2, True
    return min(max(expected, looked), found), looked > 0
