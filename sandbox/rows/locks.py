"""Row locks between batches that run at the same time: who holds which record.

Salesforce locks the parents of every row a batch writes until the batch ends; a batch that needs a record another one
holds is refused UNABLE_TO_LOCK_ROW for those rows (Bulk API guide, "General guidelines for data loads"). Here writes
follow each other in truth, so a batch keeps what it locked until its runner says it has ended:

    with org.policy.locks.batch(batch_id):
        write = new_write(..., batch=batch_id)
        apply_rows(...)          # rows of parents held by other batches are refused, the others' are now held
        ...                      # for as long as the batch is said to take
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Locks:
    """Held records by id (18 characters), and by whom. While `enabled` is false batches hold nothing."""

    def __init__(self) -> None:
        self.enabled = False
        self._held: dict[str, str] = {}
        self._guard = threading.Lock()

    @contextmanager
    def batch(self, owner: str) -> Iterator[None]:
        """Let go of everything `owner` holds when the batch has ended."""
        try:
            yield
        finally:
            self.release(owner)

    def hold(self, owner: str, ids: Iterable[str]) -> list[str]:
        """Hold those records that are free for `owner`; the ids that somebody else holds."""
        with self._guard:
            return [each for each in ids if self._held.setdefault(each, owner) != owner]

    def release(self, owner: str) -> int:
        """Let go of all records `owner` holds; how many they were."""
        with self._guard:
            mine = [each for each, holder in self._held.items() if holder == owner]
            for each in mine:
                del self._held[each]
        return len(mine)

    def held_by_others(self, owner: str | None) -> list[str]:
        """The records that a write of `owner` (None: a single call) cannot have."""
        with self._guard:
            return [each for each, holder in self._held.items() if holder != owner]

    def clear(self) -> None:
        """Nobody holds anything, and batches do not lock."""
        with self._guard:
            self._held.clear()
            self.enabled = False
