"""What every line of the log says besides its text: the organization, the sync, the job, the request it is about.

`structlog.contextvars.bound_contextvars(job=7)` puts such a name beside all lines that are logged within it, by
whatever code.
"""

from __future__ import annotations

import logging
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

_SHOWN_FIRST = ("organization", "sync", "job", "batch", "request", "user")


def _plain(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """One line for people."""
    about = " ".join(f"{name}={event[name]}" for name in _SHOWN_FIRST if name in event)
    text = f"{event['timestamp']} {event['level'].upper()} {event['logger']} {event['event']}"
    trace = event.get("exception")
    return "".join([text, f" [{about}]" if about else "", f"\n{trace}" if trace else ""])


def formatter(style: str) -> logging.Formatter:
    """A formatter for `logging`. style: `plain`, or `json` with one object in each line."""
    render: Any = structlog.processors.JSONRenderer() if style == "json" else _plain
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    )
