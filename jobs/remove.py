"""Deletes what is past its time: a sync with all its jobs, and the files of old jobs."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from jobs import files, history_files
from jobs.errors import JobRefused
from jobs.models import ENDED, LIVE, Job
from jobs.start import hold
from orgs import access, audit
from orgs.access import Actor
from orgs.models import Permission
from syncs.models import Sync

log = logging.getLogger("sfsync.jobs")

_JOBS_AT_ONCE = 100


def delete_sync(sync: Sync, *, by: Actor) -> None:
    """Delete a sync, its mapping and schedule, its jobs with their files, and what is known of Salesforce.

    Nothing changes in Salesforce. by: needs the permission to administer. Raises Denied, and JobRefused while a job
    is live, or when somebody else deleted it meanwhile.
    """
    access.require(by, Permission.ADMIN, sync)
    with transaction.atomic():
        hold(sync)
        live = Job.all_objects.filter(sync=sync, status__in=LIVE).first()
        if live is not None:
            raise JobRefused(f"The sync '{sync.name}' has a live job: job {live.pk}. Cancel it, or wait for its end.")
        folders = [job.folder for job in Job.all_objects.filter(sync=sync).only("pk", "organization_id")]
        audit.record(by, "deleted", sync)
        Job.all_objects.filter(sync=sync).delete()
        snapshots, history = files.snapshot_folder(sync), history_files.folder_of(sync)
        sync.delete()
        # Not before it is certain: a page may do all this within a transaction of its own.
        transaction.on_commit(partial(_remove_folders, [*folders, snapshots, history]))


def _remove_folders(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def remove_old_files() -> int:
    """Delete the files of jobs that ended longer ago than they are kept; counts and error groups stay.

    Any number of workers may call it. Returns the number of jobs whose files this call deleted.
    """
    days: float = settings.SFSYNC_RETENTION_DAYS
    if not days:
        return 0
    old = Job.all_objects.filter(
        status__in=ENDED, files_removed_at=None, ended_at__lt=timezone.now() - timedelta(days=days)
    )
    removed = 0
    while found := list(old.only("pk", "organization_id")[:_JOBS_AT_ONCE]):
        for job in found:
            # Said before it is done: a page that finds the files half gone then knows why.
            if Job.all_objects.filter(pk=job.pk, files_removed_at=None).update(files_removed_at=Now()):
                shutil.rmtree(job.folder, ignore_errors=True)
                removed += 1
    if removed:
        log.info("Removed the files of %d jobs that ended more than %g days ago.", removed, days)
    return removed
