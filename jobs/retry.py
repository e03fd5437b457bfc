"""How long to wait after a failed call, how refused rows are sent again, and when to stop trying."""

from __future__ import annotations

import dataclasses
import random

from django.conf import settings

from connections.salesforce.errors import Trouble

LONGEST = 60.0  # seconds between two tries

# Tries in a row. With the pauses above, the first is about ten minutes and the second about a day: before anything
# is at Salesforce a person had better hear of it soon, but what was sent is worth waiting for.
TRIES_BEFORE_SENDING = 15
TRIES_AFTER_SENDING = 1500


def delay(tries: int, asked_for: float | None = None) -> float:
    """Seconds to wait before the next try.

    tries: failed ones in a row so far, at least 1. asked_for: the server's own `Retry-After`, in seconds.
    """
    pause = min(LONGEST, settings.SFSYNC_RETRY_SECONDS * 2 ** min(tries - 1, 10))
    return max(asked_for or 0.0, pause * random.uniform(0.75, 1.25))


@dataclasses.dataclass(frozen=True)
class Step:
    """How rows that were refused are sent again.

    rows: the most to send at once, in one Salesforce job or one call; None for as many as before. grouped: those of one
    parent together. serial: one batch of the job at a time.
    """

    rows: int | None = None
    grouped: bool = False
    serial: bool = False


# Salesforce processes 10,000 rows of a Salesforce job at a time, several such portions in parallel, and 200 in one
# transaction (Bulk API 2.0 guide, "How Requests Are Processed").
_STEPS: dict[Trouble, tuple[Step, ...]] = {
    "lock": (
        Step(),
        Step(rows=10_000, grouped=True),
        Step(rows=10_000, grouped=True, serial=True),
        Step(rows=2_000, grouped=True, serial=True),
        *(Step(rows=200, grouped=True, serial=True),) * 4,
    ),
    # The same limits again for as many rows would be no use.
    "heavy": (Step(rows=200), Step(rows=50), Step(rows=10), Step(rows=1)),
    "busy": (Step(),) * 5,
}


def step(trouble: Trouble, tries: int) -> Step | None:
    """How to send rows again that were refused, or None to give up.

    trouble: what kept them from being taken. tries: times that they were sent so far, at least 1.
    """
    steps = _STEPS[trouble]
    return steps[tries - 1] if tries <= len(steps) else None
