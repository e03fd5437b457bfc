"""Where the files of jobs and snapshots lie, and the log of each job.

Every attempt writes under a name of its own. A file exists from the moment a manifest in the database names it; any
other is rubbish.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from django.conf import settings
from structlog.contextvars import bound_contextvars

from jobs.models import Job
from syncs.engine.workspace import Workspace
from syncs.models import Sync

_job_of_this_thread: ContextVar[int | None] = ContextVar("sfsync_job", default=None)


@contextlib.contextmanager
def attempt(job: Job, name: str) -> Iterator[Path]:
    """A new empty folder for one attempt at the stage `name` of a job. An attempt that fails leaves nothing behind."""
    folder = job.folder / name / uuid.uuid4().hex[:12]
    folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def snapshot_folder(sync: Sync) -> Path:
    """Where the snapshots of a sync lie."""
    storage: Path = settings.SFSYNC_STORAGE
    return storage / str(sync.organization_id) / "snapshots" / str(sync.pk)


@contextlib.contextmanager
def new_snapshot(sync: Sync) -> Iterator[Path]:
    """A new name for a snapshot of a sync. One that fails leaves nothing behind."""
    folder = snapshot_folder(sync)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid.uuid4().hex[:12]}.parquet"
    try:
        yield path
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def workspace(*, threads: int | None = None) -> Workspace:
    """The row engine's working place in this process. threads: for less work than a job's; else as set."""
    return Workspace(
        settings.SFSYNC_SCRATCH,
        memory_mb=settings.SFSYNC_ENGINE_MEMORY_MB,
        threads=threads or settings.SFSYNC_ENGINE_THREADS,
    )


def remove_rubbish(job: Job) -> None:
    """Delete the attempts of an ended job that no manifest names: those of workers that were killed."""
    named = set(_texts(job.manifests))
    for payload, outcomes in job.batches.values_list("payload", "outcomes"):
        named.update(_texts([payload, outcomes]))
    kept = {Path(text).parent for text in named if text.startswith(str(job.folder))}
    for folder in job.folder.glob("*/*"):
        if folder.is_dir() and folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def _texts(data: Any) -> Iterator[str]:
    """Every text in a piece of JSON."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for item in data.values() if isinstance(data, dict) else data:
            yield from _texts(item)


class _OfThisJob(logging.Filter):
    def __init__(self, job_id: int) -> None:
        super().__init__()
        self._job_id = job_id

    def filter(self, record: logging.LogRecord) -> bool:
        return _job_of_this_thread.get() == self._job_id


@contextlib.contextmanager
def job_log(job: Job) -> Iterator[None]:
    """Within this context, what this thread logs also goes to the job's own log file."""
    job.folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(log_path(job), encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(_OfThisJob(job.pk))
    logger = logging.getLogger("sfsync")
    logger.addHandler(handler)
    reset = _job_of_this_thread.set(job.pk)
    try:
        with bound_contextvars(organization=job.organization_id, sync=job.sync_id, job=job.pk):
            yield
    finally:
        _job_of_this_thread.reset(reset)
        logger.removeHandler(handler)
        handler.close()


def log_path(job: Job) -> Path:
    """The log of a job."""
    return job.folder / "job.log"
