"""How long to wait after a failed call, and when to stop trying."""

from __future__ import annotations

import random

from django.conf import settings

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
