"""A sign of life for whoever watches a process from outside, such as a container's health check."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from django.conf import settings

_LONGEST_SILENCE = 60.0  # seconds


def tell() -> None:
    """Say that this process lives, where SFSYNC_ALIVE_FILE says so."""
    if settings.SFSYNC_ALIVE_FILE:
        Path(settings.SFSYNC_ALIVE_FILE).touch()


def silence(path: Path) -> float:
    """Seconds since the last sign of life in `path`; infinite when there was none."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")


if __name__ == "__main__":
    # python -m sfsync.alive FILE: 0 when the process that tells there lives.
    sys.exit(0 if silence(Path(sys.argv[1])) < _LONGEST_SILENCE else 1)
