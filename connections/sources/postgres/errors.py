"""What PostgreSQL's errors mean. The only place that knows its codes (PostgreSQL manual, appendix A)."""

from __future__ import annotations

import psycopg

from connections.sources.base import (
    MisconfiguredSourceError,
    PermanentSourceError,
    SourceError,
    TransientSourceError,
)
from connections.sources.postgres.bind import Statement

_QUERY_CANCELED = "57014"
_READ_ONLY = "25006"
# Whole classes of codes, by their first two characters.
_TRANSIENT = frozenset({"08", "40", "53", "55", "57", "58", "XX"})
_MISCONFIGURED = frozenset({"0A", "28", "3D", "3F", "42", "54"})

# A failed login comes without a code, so here the text has to do.
_REFUSED = (
    "authentication failed",
    "does not exist",
    "pg_hba.conf",
    "no password supplied",
    "not permitted",
    "sslmode",
)
_BUSY = ("starting up", "shutting down", "recovery mode", "too many", "connection slots")


def login_error(error: psycopg.Error, where: str, secrets: tuple[str, ...]) -> SourceError:
    """What a failed connection means. where: host, port and database, in words."""
    text = _clean(str(error), secrets)
    refused = any(part in text for part in _REFUSED) or "SSL" in text or "certificate" in text
    # A server may say it in another language, but not before it has seen the password.
    asked_for_password = error.pgconn is not None and error.pgconn.used_password
    if refused or (asked_for_password and not any(part in text for part in _BUSY)):
        return MisconfiguredSourceError(f"PostgreSQL at {where} refused the login: {text}. Correct the connection.")
    return TransientSourceError(f"PostgreSQL at {where} cannot be reached: {text}.")


def query_error(
    error: psycopg.Error,
    what: str,
    secrets: tuple[str, ...],
    *,
    statement: Statement | None = None,
    before: int = 0,
    timed_out_after: int | None = None,
) -> SourceError:
    """What a failed query means.

    what: is read, in words. statement: in which the position in the error counts, with `before` characters before it.
    timed_out_after: seconds, when the time limit has passed.
    """
    code = error.sqlstate or ""
    if code == _QUERY_CANCELED and timed_out_after is not None:
        return PermanentSourceError(
            f"Reading {what} took longer than the time limit of {timed_out_after} seconds and was stopped. Make the "
            "query faster, or raise the connection's time limit."
        )
    text = _clean(error.diag.message_primary or str(error), secrets)
    if code == _READ_ONLY:
        return MisconfiguredSourceError(f"The query changes data ({text}). A source may only be read.")
    message = f"PostgreSQL cannot read {what}: {text}{_place(error, statement, before)}."
    if error.diag.message_hint:
        message += f" {_clean(error.diag.message_hint, secrets)}."
    if not code or code[:2] in _TRANSIENT:
        return TransientSourceError(message)
    return MisconfiguredSourceError(message) if code[:2] in _MISCONFIGURED else PermanentSourceError(message)


def _place(error: psycopg.Error, statement: Statement | None, before: int) -> str:
    position = error.diag.statement_position
    if statement is None or position is None or not position.isdigit():
        return ""
    return statement.place(int(position) - 1 - before)


def _clean(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return " ".join(text.split()).rstrip(".")
