"""Objects, fields, tables and columns of a connection, as it last answered.

Answers are kept in the database per connection and version of its settings, so that a form opens without a network
call. What Salesforce describes is kept for a day, what may change under our hands (files, tables) for minutes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from connections import kinds
from connections.addresses import AddressRefused
from connections.declare import SettingsError
from connections.models import Connection, Discovered
from connections.salesforce import discover as salesforce
from connections.salesforce import query
from connections.salesforce.bind import bind
from connections.salesforce.describe import ObjectDescribe
from connections.salesforce.discover import ObjectSummary
from connections.salesforce.errors import SalesforceError
from connections.secrets import SecretsUnreadable
from connections.sessions import salesforce_session
from connections.sources.base import Selection, SourceError, Table

OF_SALESFORCE = timedelta(days=1)
OF_A_SOURCE = timedelta(minutes=5)

# What a person can do something about: shown as it is.
TROUBLE = (AddressRefused, SalesforceError, SecretsUnreadable, SettingsError, SourceError, OSError)


class DiscoveryFailed(Exception):
    """A connection did not tell what it has. The message says why and what to do.

    position: of a filter that is wrong, the character, from 1; else None.
    """

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


def objects(connection: Connection, *, refresh: bool = False) -> list[ObjectSummary]:
    """The objects of a Salesforce org that the connected user may see. Raises DiscoveryFailed."""

    def ask() -> list[dict[str, Any]]:
        return [dataclasses.asdict(each) for each in salesforce.list_objects(salesforce_session(connection))]

    return [ObjectSummary(**each) for each in _answer(connection, "objects", OF_SALESFORCE, ask, refresh)]


def describe(connection: Connection, name: str, *, refresh: bool = False) -> ObjectDescribe:
    """An object with its fields. Raises DiscoveryFailed, also when there is no such object."""

    def ask() -> dict[str, Any]:
        return salesforce.describe_object(salesforce_session(connection), name).to_json()

    return ObjectDescribe.from_json(_answer(connection, f"fields {name}", OF_SALESFORCE, ask, refresh))


def tables(connection: Connection, *, refresh: bool = False) -> list[Table]:
    """The tables or files of a source, with their columns. Raises DiscoveryFailed."""

    def ask() -> list[list[Any]]:
        return [[table.name, list(table.columns)] for table in kinds.open_source(connection).tables()]

    return [Table(name, tuple(columns)) for name, columns in _answer(connection, "tables", OF_A_SOURCE, ask, refresh)]


def columns(connection: Connection, selection: Selection, *, refresh: bool = False) -> tuple[str, ...]:
    """The columns of what would be read. Raises DiscoveryFailed."""

    def ask() -> list[str]:
        with kinds.open_source(connection).read(selection) as reading:
            return list(reading.columns)

    chosen = selection.table or selection.path or selection.query
    if selection.filter or selection.parameters:
        chosen = json.dumps([chosen, selection.filter, dict(selection.parameters)])
    if len(chosen) > 200:
        return tuple(_asked(connection, ask))  # a long query is asked each time
    return tuple(_answer(connection, f"columns {chosen}", OF_A_SOURCE, ask, refresh))


def count(connection: Connection, object: str, where: str, parameters: Mapping[str, str], time_zone: str) -> int:
    """How many records of a Salesforce object meet a SOQL condition (without WHERE), asked now.

    parameters: values by name, of those that stand as @name in the condition. time_zone: of their date-times without an
    offset. Raises DiscoveryFailed, with the position of the mistake when it is known.
    """

    def ask() -> int:
        bound = bind(where, parameters, object, lambda name: describe(connection, name), time_zone)
        return query.count(salesforce_session(connection), object, bound.text, bound.written)

    return int(_asked(connection, ask))


def fetched_at(connection: Connection, what: str) -> datetime | None:
    """When the kept answer to `what` ("objects", "tables", "fields Contact") was given; None when there is none."""
    kept = Discovered.all_objects.filter(connection=connection, settings_version=connection.settings_version, what=what)
    found: datetime | None = kept.values_list("fetched_at", flat=True).first()
    return found


def forget(connection: Connection) -> None:
    """Drop all kept answers of a connection, so that the next question is asked anew."""
    Discovered.all_objects.filter(connection=connection).delete()


def _answer(connection: Connection, what: str, keep: timedelta, ask: Callable[[], Any], refresh: bool) -> Any:
    version = connection.settings_version
    kept = Discovered.all_objects.filter(connection=connection, settings_version=version, what=what[:300])
    found = None if refresh else kept.filter(fetched_at__gt=timezone.now() - keep).first()
    if found is not None:
        return found.data
    data = _asked(connection, ask)
    Discovered.all_objects.filter(connection=connection).exclude(settings_version=version).delete()
    Discovered.all_objects.update_or_create(
        connection=connection,
        settings_version=version,
        what=what[:300],
        defaults={"organization_id": connection.organization_id, "data": data, "fetched_at": timezone.now()},
    )
    return data


def _asked(connection: Connection, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except TROUBLE as error:
        raise DiscoveryFailed(f"{connection.name}: {error}", getattr(error, "position", None)) from None
