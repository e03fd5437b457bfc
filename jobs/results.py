"""What became of each row of a job, from its columnar files."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import duckdb
from django.conf import settings

from jobs import files
from jobs.errors import JobRefused
from jobs.models import Job, Status
from syncs.engine import row_errors as engine
from syncs.engine.errors import EngineError
from syncs.engine.refused import refused_rows_csv
from syncs.engine.row_errors import RowError, RowErrors
from syncs.engine.stage import Staged


def row_errors(
    job: Job, *, code: str = "", field: str = "", search: str = "", after: int = 0, limit: int = 50
) -> RowErrors:
    """A page of the row errors of a job: those of the first `limit` rows behind row `after`.

    code, field, search: see `syncs.engine.row_errors.page`. Of a job that has not ended, these are the errors of its
    plan. Raises JobRefused when there are no results, not yet or no more.
    """
    staged, errors_file = results_of(job)
    with _readable(job):
        return engine.page(
            files.workspace(), staged, errors_file, code=code, field=field, search=search, after=after, limit=limit
        )


def row_error(job: Job, row: int) -> tuple[tuple[RowError, ...], dict[str, str | None] | None]:
    """All errors of one row of a job, and its cells by column; None for the cells of a record that is no row.

    Raises JobRefused when there are no results, or none of this row.
    """
    errors, cells = row_of(job, row)
    if not errors:
        raise JobRefused(f"Row {row} of job {job.pk} has no errors.")
    return errors, cells


def row_of(job: Job, row: int) -> tuple[tuple[RowError, ...], dict[str, str | None] | None]:
    """The same for any row that a job read; no errors for one that has none, None for one that it did not read.

    Raises JobRefused when there are no results.
    """
    staged, errors_file = results_of(job)
    with _readable(job):
        return engine.one_row(files.workspace(), staged, errors_file, row)


def has_refused_rows(job: Job) -> bool:
    """Whether the refused rows of a job can be looked at: of one that has ended, or of a preview."""
    return ("final" in job.manifests or job.status == Status.PLANNED) and job.files_removed_at is None


def write_refused_rows(job: Job, to: Path) -> int:
    """Write the refused rows of an ended job, or of a preview, as CSV: the source's own columns, and behind them why.

    Returns how many rows were written. Raises JobRefused when the job has no results, or its files are
    damaged.
    """
    if "final" not in job.manifests and job.status != Status.PLANNED:
        raise JobRefused(f"Job {job.pk} is {job.get_status_display().lower()} and has no row errors to show.")
    staged, errors_file = results_of(job)
    with _readable(job):
        return refused_rows_csv(files.workspace(), staged, errors_file, to)


def open_refused_rows_csv(job: Job) -> BinaryIO:
    """What `write_refused_rows` writes, open for reading; it is gone from the disk once it is closed."""
    settings.SFSYNC_SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.SFSYNC_SCRATCH) as folder:
        path = Path(folder) / "refused.csv"
        write_refused_rows(job, path)
        return path.open("rb")


@contextlib.contextmanager
def _readable(job: Job) -> Iterator[None]:
    """Tell in plain words what keeps the files of a job from being read."""
    try:
        yield
    except EngineError as error:  # a full disk, or too little memory: its message says so
        raise JobRefused(f"The row errors of job {job.pk} cannot be shown now. {error}") from None
    except duckdb.Error:
        raise _damaged(job) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(job) from None  # while a result is streamed, DuckDB's errors come through Arrow as these


def results_of(job: Job) -> tuple[Staged, Path]:
    """What the job read, and its row errors: those of its end, or of its plan before.

    Raises JobRefused when there are none, not yet or no more.
    """
    if job.files_removed_at is not None:
        raise JobRefused(
            f"The files of job {job.pk} were deleted on {job.files_removed_at:%Y-%m-%d}, because they were past their "
            "retention. Start the sync again to see its row errors."
        )
    manifest = job.manifests.get("final") or job.manifests.get("plan")
    if manifest is None:
        raise JobRefused(f"Job {job.pk} is {job.get_status_display().lower()} and has no row errors to show.")
    staged, errors_file = Staged.from_json(job.manifests["staged"]), Path(manifest["errors_file"])
    if not (staged.path.is_file() and errors_file.is_file()):
        raise _damaged(job)
    return staged, errors_file


def _damaged(job: Job) -> JobRefused:
    return JobRefused(
        f"The files of job {job.pk} are missing or damaged, so its row errors cannot be shown. Start the sync again."
    )
