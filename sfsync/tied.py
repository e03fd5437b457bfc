"""Ties a process to the one that started it: `python tied.py PARENT COMMAND ...` becomes COMMAND, and ends with PARENT.

A program of its own instead of code between fork and exec: that must not run in a process with threads, where it can
wait for ever for a lock that a thread held at the fork. It imports nothing of ours, so that it costs some milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def tied(command: list[str]) -> list[str]:
    """The command, made to end with this process even when that is killed by `kill -9` (Linux; elsewhere it stays).

    Start it in a process group of its own (`process_group=0`): Ctrl-C goes to the group that holds the terminal, and is
    the parent's to answer.
    """
    return [sys.executable, os.path.abspath(__file__), str(os.getpid()), *command]


if __name__ == "__main__":
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        # Survives the exec that follows.
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)  # it was gone before we were tied to it
    os.execv(program[0], program)
