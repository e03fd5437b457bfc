"""The engine's errors: the class says what happens next.

EngineError
|-- TransientEngineError        the same call can succeed later
|   |-- DiskFull                no room for a file or for spilled data
|   `-- Interrupted             somebody called `Workspace.interrupt`
|-- PermanentEngineError        the job fails
|   `-- OutOfMemory             the step needs more memory than the workspace may use
`-- MisconfiguredEngineError    an administrator has to change something first; nothing was sent
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from syncs.engine.validate import Problem


class EngineError(Exception):
    """Something the row engine could not do."""


class TransientEngineError(EngineError):
    """The same call can succeed later."""


class DiskFull(TransientEngineError):
    """There is no room left for a file of the job, or for the data the engine sets aside while it sorts and joins."""


class Interrupted(TransientEngineError):
    """The work was stopped on request, by `Workspace.interrupt`."""


class PermanentEngineError(EngineError):
    """The job fails, and would fail again."""


class OutOfMemory(PermanentEngineError):
    """A step needs more memory than the workspace may use."""


class MisconfiguredEngineError(EngineError):
    """The sync cannot run as it is; nothing was sent.

    problems: what is wrong, one entry per thing to change.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__(" ".join(str(problem) for problem in problems))


_FULL = ("no space left on device", "max_temp_directory_size", "disk quota exceeded")


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """Turn what DuckDB, Arrow and the system raise for a full disk, a full memory or an interrupt into our errors."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise Interrupted("The work on this job's rows was stopped on request.") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or _speaks_of_a_full_disk(error):
            raise _disk_full(error) from error
        raise
    except duckdb.OutOfMemoryException as error:
        if _speaks_of_a_full_disk(error):
            raise _disk_full(error) from error
        raise OutOfMemory(
            f"The engine's memory limit is too small for this job ({error}). Raise the memory limit of the worker."
        ) from error
    except duckdb.Error as error:
        # A query that feeds on a Python stream reports that stream's error as text only.
        if _speaks_of_a_full_disk(error):
            raise _disk_full(error) from error
        raise


def _speaks_of_a_full_disk(error: Exception) -> bool:
    text = str(error).lower()
    return any(sign in text for sign in _FULL)


def _disk_full(error: Exception) -> DiskFull:
    return DiskFull(f"The disk of this worker is full ({error}). Free some space; the job goes on from its last step.")
