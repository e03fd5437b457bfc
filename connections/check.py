"""Test a connection, step by step; keep what came of it, with its log."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from django.db import transaction
from django.utils import timezone

from connections import kinds
from connections.addresses import AddressRefused
from connections.declare import SettingsError
from connections.discover import TROUBLE
from connections.models import Connection, ConnectionCheck
from connections.redact import redacted
from connections.salesforce.check import check as check_salesforce
from connections.salesforce.errors import SalesforceError, TransientError
from connections.sources.base import TransientSourceError
from orgs import access, audit
from orgs.access import Actor
from orgs.models import Permission

KEPT = 50  # tests per connection
# Somebody sits there and waits.
_TIMEOUT = (10.0, 30.0)

Facts = list[tuple[str, str]]
T = TypeVar("T")


class _Run:
    """One test that is under way."""

    def __init__(self) -> None:
        self.secrets: list[str] = []
        self.step = ""
        self.lines: list[str] = []

    def take(self, step: str, action: Callable[[], T], tell: Callable[[T], Facts] = lambda found: []) -> T:
        """Do one step; its time, its duration and what came of it go into the log."""
        self.step = step
        started = time.monotonic()
        try:
            found = action()
        except TROUBLE as error:
            self._log(step, started, self.redacted(f"failed: {error}"))
            raise
        # Not redacted: a password that is a common word would be cut out of names. No step tells settings.
        self._log(step, started, "; ".join(f"{label}: {value}" for label, value in tell(found)) or "done")
        return found

    def look(self, step: str, action: Callable[[], Facts]) -> Facts:
        """Do one step whose outcome is told."""
        return self.take(step, action, lambda found: found)

    def _log(self, step: str, started: float, outcome: str) -> None:
        seconds = time.monotonic() - started
        begun = timezone.now() - timedelta(seconds=seconds)
        self.lines.append(f"{begun:%Y-%m-%d %H:%M:%S} UTC  {step} ({seconds:.2f} s)  {outcome}")

    def redacted(self, text: str) -> str:
        """The text without any secret of the connection, should a server that refused it have repeated one."""
        return str(redacted(text, self.secrets))


def check_connection(connection: Connection, *, by: Actor) -> ConnectionCheck:
    """Test a connection as it is stored now. Never call it within a transaction: it waits for another system.

    Returns the test, failed or not, with its log. Raises Denied.
    """
    access.require(by, Permission.EXECUTE, connection)
    run = _Run()
    started_at, started = timezone.now(), time.monotonic()
    outcome = ConnectionCheck(
        organization_id=connection.organization_id,
        connection=connection,
        settings_version=connection.settings_version,
        ok=True,
        started_by=by.name[:150],
        started_at=started_at,
    )
    org_id = ""
    try:
        run.secrets = run.take("secrets", lambda: _secrets_of(connection))
        if connection.is_salesforce:
            outcome.facts, org_id = _salesforce(connection, run)
        else:
            outcome.facts = _source(connection, run)
    except TROUBLE as error:
        outcome.ok, outcome.failed_step = False, run.step
        reason, way_out = _explained(error)
        outcome.reason, outcome.way_out = run.redacted(reason), run.redacted(way_out)
    outcome.facts = [list(fact) for fact in outcome.facts]
    outcome.log, outcome.seconds = "\n".join(run.lines), time.monotonic() - started
    _keep(outcome, org_id, by)
    return outcome


def _secrets_of(connection: Connection) -> list[str]:
    values = connection.all_settings()
    return [str(values.get(name, "")) for name in kinds.secret_names(connection.kind)]


def _salesforce(connection: Connection, run: _Run) -> tuple[Facts, str]:
    # A session of its own: one that is logged in already would not try the login.
    with run.take("settings", lambda: kinds.open_salesforce(connection, _TIMEOUT)) as session:
        facts = check_salesforce(session, run.look)
        return facts, session.identity.org_id


def _source(connection: Connection, run: _Run) -> Facts:
    source = run.take("settings", lambda: kinds.open_source(connection))
    return run.look("connect and look", lambda: [("Found", line) for line in source.check()])


def _explained(error: Exception) -> tuple[str, str]:
    """Why it failed, and what to do."""
    if isinstance(error, SalesforceError) and error.advice:
        return error.what_happened, error.advice
    if isinstance(error, (TransientError, TransientSourceError)):
        return str(error), "Check the host and the network, then test again. If it was busy, a later test may succeed."
    if isinstance(error, AddressRefused):
        return str(error), "Correct the address, or ask whoever runs this installation to allow it."
    if isinstance(error, SettingsError):
        return str(error), "Correct the settings of the connection, save them, and test again."
    if isinstance(error, OSError):
        return str(error), "Show this to whoever runs this installation."
    return str(error), "Correct what is named above, and test again."


def _keep(outcome: ConnectionCheck, org_id: str, by: Actor) -> None:
    connection = outcome.connection
    with transaction.atomic():
        outcome.save()
        if org_id:
            # Of the settings that were tested: they may have been changed meanwhile.
            tested = Connection.all_objects.filter(pk=connection.pk, settings_version=outcome.settings_version)
            tested.update(salesforce_org_id=org_id)
        old = ConnectionCheck.all_objects.filter(connection=connection).values_list("pk", flat=True)[KEPT:]
        ConnectionCheck.all_objects.filter(pk__in=list(old)).delete()
        told = "successful" if outcome.ok else f"failed at: {outcome.failed_step}"
        audit.record(by, "tested", connection, {"outcome": [None, told]})
