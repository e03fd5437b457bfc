"""Parked rows of a sync: looked at, and released."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from django.db import transaction

from jobs import files
from jobs.errors import JobRefused
from jobs.models import LIVE, Job
from jobs.start import hold
from orgs import access, audit
from orgs.access import Actor
from orgs.models import Permission
from syncs.engine import refusals as engine
from syncs.engine.errors import EngineError
from syncs.engine.refusals import Left, ParkedRows
from syncs.models import Sync

log = logging.getLogger("sfsync.jobs")

MOST_KEYS = 10_000
_NAMED = 10  # keys in a message, or in the record of who did what


def parked_count(sync: Sync) -> int:
    """How many rows of a sync are parked."""
    pointer = _pointer(sync)
    return pointer["parked"] if pointer else 0


def parked_rows(sync: Sync, *, search: str = "", after: str = "", limit: int = 50) -> ParkedRows:
    """A page of the parked rows of a sync; see `syncs.engine.refusals.page`. Raises JobRefused."""
    pointer = _pointer(sync)
    if pointer is None:
        return ParkedRows((), None)
    with _readable(sync):
        return engine.page(files.workspace(), Path(pointer["path"]), search=search, after=after, limit=limit)


def release_parked(sync: Sync, *, by: Actor, keys: Sequence[str] | None = None) -> int:
    """Let the next job send parked rows again: those with these keys, or all of them. Returns how many.

    by: needs the permission to execute. keys: as they are written in Salesforce. Raises Denied, and JobRefused while
    the sync has a live job, for a key that is not parked, and when there is nothing to release.
    """
    access.require(by, Permission.EXECUTE, sync)
    sync = Sync.all_objects.get(pk=sync.pk)
    pointer = _pointer(sync)
    _must_be_at_rest(sync)
    if pointer is None or not pointer["parked"]:
        raise JobRefused(f"No row of the sync '{sync.name}' is parked.")
    if keys is not None and not 0 < len(keys) <= MOST_KEYS:
        raise JobRefused(f"Name 1 to {MOST_KEYS:,} keys, or none to release all parked rows.")
    old = Path(pointer["path"])
    new = old.with_name(f"refusals-{uuid.uuid4().hex[:12]}.parquet")
    try:
        left = _write(sync, old, new, keys)
        _swap(sync, by, pointer, new, left, keys)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    released: int = pointer["parked"] - left.parked
    log.info("%s: %d parked rows were released by %s.", sync, released, by.name)
    return released


def _pointer(sync: Sync) -> dict[str, Any] | None:
    found: dict[str, Any] | None = (sync.snapshot or {}).get("refusals")
    return found


def _must_be_at_rest(sync: Sync) -> None:
    live = Job.all_objects.filter(sync=sync, status__in=LIVE).first()
    if live is not None:
        raise JobRefused(
            f"The sync '{sync.name}' has a live job: job {live.pk}, {live.get_status_display().lower()}. Its end "
            "decides anew what is parked. Wait for it, or cancel it; then release rows."
        )


def _write(sync: Sync, old: Path, new: Path, keys: Sequence[str] | None) -> Left:
    workspace = files.workspace()
    with _readable(sync):
        if keys is not None:
            unknown = engine.unknown(workspace, old, keys)
            if unknown:
                named = ", ".join(f"'{key}'" for key in unknown[:_NAMED])
                more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
                raise JobRefused(
                    f"No row of the sync '{sync.name}' is parked under {named}{more}. Nothing is released."
                )
        return engine.release(workspace, old, new, keys)


def _swap(sync: Sync, by: Actor, pointer: dict[str, Any], new: Path, left: Left, keys: Sequence[str] | None) -> None:
    """Let the file count from now on, unless a job was started or has ended since the old one was read."""
    with transaction.atomic():
        held = hold(sync)
        _must_be_at_rest(held)
        snapshot = {**(held.snapshot or {}), "refusals": {"path": str(new), "rows": left.rows, "parked": left.parked}}
        if not left.rows:
            del snapshot["refusals"]
            transaction.on_commit(partial(new.unlink, missing_ok=True))
        same = Sync.all_objects.filter(pk=sync.pk, snapshot__refusals__path=pointer["path"])
        if not same.update(snapshot=snapshot):
            raise JobRefused(f"What is parked of the sync '{sync.name}' has just changed. Look at it again.")
        changes: dict[str, Any] = {"parked": [pointer["parked"], left.parked]}
        if keys is not None:
            changes["keys"] = [None, list(keys[:_NAMED])]
        audit.record(by, "released parked rows", held, changes)
        transaction.on_commit(partial(Path(pointer["path"]).unlink, missing_ok=True))


@contextlib.contextmanager
def _readable(sync: Sync) -> Iterator[None]:
    """Tell in plain words what keeps the parked rows from being read."""
    try:
        yield
    except EngineError as error:  # a full disk, or too little memory: its message says so
        raise JobRefused(f"The parked rows of '{sync.name}' cannot be shown now. {error}") from None
    except (duckdb.Error, pa.ArrowInvalid, OSError):
        raise JobRefused(
            f"The list of parked rows of '{sync.name}' was changed just now, or its file is damaged. Look again."
        ) from None
