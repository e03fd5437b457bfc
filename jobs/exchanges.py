"""The requests that a job makes while it sends one row, and Salesforce's answers, kept for whoever may read the job.

Each is written the moment it is about to go out, and again with its answer: a worker that dies meanwhile leaves what
was asked. The file is named by the job's manifests from its plan on, so nothing of this is saved with the ledger.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connections.salesforce.exchanges import Exchange, recording
from jobs import files
from jobs.errors import JobRefused
from jobs.models import Job

log = logging.getLogger("sfsync.jobs")

# A Salesforce job that takes hours is asked about again and again; what matters stands at the beginning.
_MOST_BYTES = 5_000_000


def new_file(job: Job) -> dict[str, Any]:
    """The manifest of a new, empty file for the exchanges of a job."""
    with files.attempt(job, "exchanges") as folder:
        path = folder / "exchanges.jsonl"
        path.touch()
    return {"path": str(path)}


@contextlib.contextmanager
def kept(job: Job) -> Iterator[None]:
    """Within this context the exchanges of this thread with Salesforce are kept, if the job is a test of one row."""
    manifest = job.manifests.get("exchanges")
    if manifest is None:
        yield
        return
    path, run = Path(manifest["path"]), uuid.uuid4().hex[:12]

    def keep(exchange: Exchange) -> None:
        line = json.dumps({**dataclasses.asdict(exchange), "id": f"{run}-{exchange.number}"})
        try:
            if path.stat().st_size < _MOST_BYTES:
                with path.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:  # the sending itself goes on: its ledger does not depend on this
            log.warning("%s: an exchange with Salesforce could not be kept: %s", job, error)

    with recording(keep):
        yield


def exchanges_of(job: Job) -> list[dict[str, Any]]:
    """What a test of one row sent, and what was answered, in the order it went out; each as `Exchange` says.

    Raises JobRefused for any other job, and when its files are gone.
    """
    if job.test_row is None:
        raise JobRefused(f"Job {job.pk} is no test of one row; only those keep their requests and answers.")
    if job.files_removed_at is not None:
        raise JobRefused(
            f"The files of job {job.pk} were deleted on {job.files_removed_at:%Y-%m-%d}, because they were past their "
            "retention."
        )
    manifest = job.manifests.get("exchanges")
    if manifest is None:
        return []  # it did not come so far
    try:
        lines = Path(manifest["path"]).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise JobRefused(f"The files of job {job.pk} are missing or damaged.") from None
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        with contextlib.suppress(ValueError):  # the last one, of a worker that died while it wrote
            exchange = json.loads(line)
            found[exchange.pop("id")] = exchange
    return list(found.values())
