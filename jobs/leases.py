"""One worker at a time: leases on jobs and batches, with tokens, by the database's clock.

A lease is taken by a guarded UPDATE and renewed by a thread of its own. A worker that was too slow to renew, or was
stopped and continued, finds at its next `check()` that it may do nothing more; and every `save()` names the token,
so that a holder who lost the row changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, models
from django.db.models import Q
from django.db.models.functions import Now

from jobs.models import Leased
from jobs.storable import storable

log = logging.getLogger("sfsync.jobs")


class LeaseLost(Exception):
    """Somebody else works on this now, or may soon: stop, and make no further call."""


def free() -> Q:
    """Rows that nobody holds, or whose holder has been silent for too long."""
    return Q(lease_until__isnull=True) | Q(lease_until__lt=Now())


class Lease:
    """The right to work on one row, while it lasts."""

    def __init__(self, model: type[Leased], pk: int, token: str, seconds: float) -> None:
        self.token = token
        self._rows: models.QuerySet[Any] = model._default_manager.filter(pk=pk, token=token)
        self._seconds = seconds
        self._renewed_at = time.monotonic()
        self._ended = threading.Event()
        self._lost = False
        self._at_release: dict[str, Any] = {"holder": "", "token": "", "lease_until": None}
        self.on_lost: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._renew_until_ended, name=f"lease-{pk}", daemon=True)

    def check(self) -> None:
        """Ask this before every call that changes something elsewhere.

        Raises LeaseLost once half the lease has passed unrenewed: from then on another worker may be about to
        take over, and the call could reach Salesforce after that.
        """
        if self._lost or time.monotonic() - self._renewed_at > self._seconds / 2:
            raise LeaseLost

    def save(self, **changes: Any) -> None:
        """Change the row, if it is still ours. Raises LeaseLost, and changes nothing, when it is not."""
        if not self._rows.update(**storable(changes)):
            self._lost = True
            raise LeaseLost

    def poll_in(self, seconds: float | None) -> None:
        """Say when the row is to be looked at again; None: never. Where nothing is said, it stays due."""
        self._at_release["next_poll_at"] = None if seconds is None else Now() + timedelta(seconds=seconds)

    def _renew_until_ended(self) -> None:
        try:
            while not self._ended.wait(self._seconds / 5):
                self._renew()
                if self._lost:
                    self.on_lost()
                    return
        finally:
            connection.close()  # this thread's own

    def _renew(self) -> None:
        asked_at = time.monotonic()
        try:
            mine = self._rows.update(lease_until=Now() + timedelta(seconds=self._seconds))
        except DatabaseError as error:
            log.warning("The lease could not be renewed: %s", error)
            return
        self._lost = not mine
        self._renewed_at = asked_at

    def _start(self) -> None:
        self._thread.start()

    def _release(self) -> None:
        self._ended.set()
        self._thread.join()
        self._rows.update(**self._at_release)


@contextlib.contextmanager
def hold(model: type[Leased], pk: int) -> Iterator[Lease | None]:
    """Take the lease of a row for the length of the context; None when somebody else has it.

    The row stays due while it is held, so that it is found again when its holder dies, and afterwards too, so that
    it is found again after an exception. Only `poll_in()` puts it off.
    """
    token, seconds = uuid.uuid4().hex, settings.SFSYNC_LEASE_SECONDS
    lease = Lease(model, pk, token, seconds)
    taken = (
        model._default_manager.filter(free(), pk=pk)
        .update(holder=_holder(), token=token, lease_until=Now() + timedelta(seconds=seconds), next_poll_at=Now())
    )  # fmt: skip
    if not taken:
        yield None
        return
    lease._start()
    try:
        yield lease
    finally:
        lease._release()


def _holder() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{threading.current_thread().name}"[:120]
