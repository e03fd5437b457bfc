"""What became of each row of a job, from its columnar files."""

from __future__ import annotations

from pathlib import Path

from jobs import files
from jobs.errors import JobRefused
from jobs.models import Job
from syncs.engine.refused import refused_rows_csv
from syncs.engine.stage import Staged


def write_refused_rows(job: Job, to: Path) -> int:
    """Write the refused rows of an ended job as CSV: the source's own columns, and behind them why.

    Returns how many rows were written. Raises JobRefused when the job has no results.
    """
    final = job.manifests.get("final")
    if final is None:
        raise JobRefused(f"Job {job.pk} is {job.get_status_display().lower()} and has no row errors to show.")
    staged = Staged.from_json(job.manifests["staged"])
    return refused_rows_csv(files.workspace(), staged, Path(final["errors_file"]), to)
