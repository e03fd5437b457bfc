"""What makes a job stop, beyond the errors of sources, Salesforce and the row engine."""

from __future__ import annotations


class Misconfigured(Exception):
    """A person has to change something first. The message says what."""


class NotYet(Exception):
    """A stage waits for somebody else's work; look again in `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"look again in {seconds} s")
        self.seconds = seconds


class JobRefused(Exception):
    """What was asked of a job is not possible now. The message says why and what to do."""
