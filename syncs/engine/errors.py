"""The engine's errors: the class says what happens next.

EngineError
|-- TransientEngineError        the same call can succeed later
|   |-- DiskFull                no room for a file or for spilled data
|   `-- Interrupted             somebody called `Workspace.interrupt`
|-- PermanentEngineError        the job fails
|   |-- OutOfMemory             the step needs more memory than the workspace may use
|   `-- ExpressionTooSlow       the expressions of the mapping, or the filter, take too long
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


class ExpressionTooSlow(PermanentEngineError):
    """The expressions of a mapping, or a filter, take longer than they may."""


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
    except (duckdb.Error, OSError) as error:
        translated = _translated(error)
        if translated is None:
            raise
        raise translated from error


def _translated(error: Exception) -> EngineError | None:
    # While a result is streamed, DuckDB's errors come through Arrow as OSErrors, with the class in the text; and those
    # of a Python stream that a query reads from come as DuckDB's, with the text inside theirs.
    text = str(error)
    if isinstance(error, duckdb.InterruptException) or text.startswith("INTERRUPT Error"):
        return Interrupted("The work on this job's rows was stopped on request.")
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(sign in text.lower() for sign in _FULL):
        return DiskFull(
            f"The disk of this worker is full ({error}). Free some space; the job goes on from its last step."
        )
    if isinstance(error, duckdb.OutOfMemoryException) or text.startswith("Out of Memory Error"):
        first, *_ = text.splitlines()
        return OutOfMemory(
            f"The engine's memory limit is too small for this job ({first}). Raise the memory limit of the worker."
        )
    return None
