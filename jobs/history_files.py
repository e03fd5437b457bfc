"""The files of history of a sync: written at the end of each job, merged as they grow many, deleted when they are old.

A file exists from the moment a row names it; any other is rubbish. Whoever reads takes the rows first, so that a file
which is merged meanwhile is missed, and looked for again in the rows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Min
from django.utils import timezone

from jobs.models import LIVE, HistoryFile, Job
from orgs.models import Organization
from syncs.engine import history
from syncs.engine.before import Before
from syncs.engine.plan import Plan
from syncs.engine.workspace import Workspace
from syncs.models import Sync

log = logging.getLogger("sfsync.jobs")

# So many files of one level become one of the next.
MERGED_AT_ONCE = 16
# A larger file is left as it is: there is little to win, and its rows go all at once when they are old.
MOST_ROWS = 2_000_000
# What nobody has named for so long, nobody will.
RUBBISH_SECONDS = 86_400


def folder_of(sync: Sync) -> Path:
    """Where the history of a sync lies."""
    storage: Path = settings.SFSYNC_STORAGE
    return storage / str(sync.organization_id) / "history" / str(sync.pk)


def kept_since(organization: Organization) -> datetime | None:
    """What ended before is past its retention; None where history is kept for ever."""
    days = organization.history_days
    return timezone.now() - timedelta(days=days) if days else None


def write(
    workspace: Workspace, sync: Sync, plan: Plan, outcomes_file: Path, before: Before | None, job: int, at: datetime
) -> HistoryFile | None:
    """Write what a job did to records. Returns the row to save when the job ends; None when nothing was sent.

    For the arguments, and what is raised, see `syncs.engine.history.write`. A failed attempt leaves nothing behind.
    """
    folder = folder_of(sync)
    folder.mkdir(parents=True, exist_ok=True)
    path = history.new_name(folder)
    try:
        rows = history.write(workspace, plan, outcomes_file, before, job, at, path)
    except BaseException:
        history.remove(path)
        raise
    if not rows:
        return None
    return HistoryFile(
        organization_id=sync.organization_id,
        sync=sync,
        path=str(path),
        first_job=job,
        last_job=job,
        rows=rows,
        newest=at,
    )


def merge(workspace: Workspace, sync: Sync) -> int:
    """Merge files of the sync where there are many of one level; returns how many merges this took.

    Several workers may do so at once: one of them wins, and the others' work is thrown away. Raises what
    `syncs.engine.history.merge` raises.
    """
    merges = 0
    while due := _due(sync):
        if not _merge(workspace, sync, due):
            break
        merges += 1
    return merges


def _due(sync: Sync) -> list[HistoryFile]:
    """The oldest files of a level that has enough of them to merge; none when no level has."""
    files: dict[int, list[HistoryFile]] = {}
    for file in HistoryFile.all_objects.filter(sync=sync, rows__lte=MOST_ROWS).order_by("first_job", "pk"):
        files.setdefault(file.level, []).append(file)
    return next((found[:MERGED_AT_ONCE] for found in files.values() if len(found) >= MERGED_AT_ONCE), [])


def _merge(workspace: Workspace, sync: Sync, due: list[HistoryFile]) -> bool:
    """Put one file in the place of several. False when somebody else did meanwhile."""
    path = history.new_name(folder_of(sync))
    try:
        rows = history.merge(workspace, [Path(file.path) for file in due], kept_since(sync.organization), path)
    except BaseException:
        history.remove(path)
        raise
    replaced = HistoryFile.all_objects.filter(pk__in=[file.pk for file in due])
    with transaction.atomic():
        range_of = replaced.aggregate(first=Min("first_job"), last=Max("last_job"), newest=Max("newest"))
        won = replaced.delete()[0] == len(due)
        if won and rows:
            HistoryFile.all_objects.create(
                organization_id=sync.organization_id,
                sync=sync,
                path=str(path),
                level=due[0].level + 1,
                first_job=range_of["first"],
                last_job=range_of["last"],
                rows=rows,
                newest=range_of["newest"],
            )
        transaction.set_rollback(not won)
    # From here on, and not before, the old files are rubbish. Of a commit that failed nobody knows whether it did.
    for old in [Path(file.path) for file in due] if won else [path]:
        history.remove(old)
    log.info("%s: history of jobs %s to %s merged: %d rows.", sync, due[0].first_job, due[-1].last_job, rows)
    return won


def remove_old_history() -> int:
    """Delete the files whose newest job ended longer ago than its organization keeps history, and rubbish.

    Any number of workers may call it. Returns how many files were past their retention.
    """
    removed = 0
    for organization in Organization.objects.exclude(history_days=0):
        for file in HistoryFile.all_objects.filter(organization=organization, newest__lt=kept_since(organization)):
            # The row first: a reader that finds it gone knows why there is no file.
            if HistoryFile.all_objects.filter(pk=file.pk).delete()[0]:
                history.remove(Path(file.path))
                removed += 1
    for path in list(_rubbish()):
        path.unlink(missing_ok=True)
    return removed


def _rubbish() -> Iterator[Path]:
    """Files of attempts that nobody named: their workers were killed."""
    storage: Path = settings.SFSYNC_STORAGE
    for folder in storage.glob("*/history/*"):
        old = [path for path in folder.iterdir() if time.time() - path.stat().st_mtime > RUBBISH_SECONDS]
        # A live job may have written one that its end will name. It is asked for before the rows, which it adds to.
        if not old or Job.all_objects.filter(sync_id=int(folder.name), preview=False, status__in=LIVE).exists():
            continue
        named = {Path(path).stem for path in HistoryFile.all_objects.values_list("path", flat=True)}
        yield from (path for path in old if path.name.partition(".")[0] not in named)
