"""The kinds of connection there are, and how each is opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.module_loading import import_string

from connections import declare
from connections.addresses import address_policy
from connections.declare import SettingsError

if TYPE_CHECKING:
    from connections.models import Connection
    from connections.salesforce.session import CallBudget, SalesforceSession
    from connections.sources.base import Source
    from orgs.models import Organization

SALESFORCE = "salesforce"

# kind -> (label, dotted path of its settings, dotted path of what opens it)
KINDS: dict[str, tuple[str, str, str]] = {
    SALESFORCE: (
        "Salesforce",
        "connections.salesforce.auth.SalesforceSettings",
        "connections.salesforce.session.SalesforceSession",
    ),
    "delimited_file": (
        "Delimited file",
        "connections.sources.delimited_file.source.Settings",
        "connections.sources.delimited_file.source.DelimitedFileSource",
    ),
    "postgres": (
        "PostgreSQL",
        "connections.sources.postgres.source.Settings",
        "connections.sources.postgres.source.PostgresSource",
    ),
}

# What each kind is, for whoever has to choose one.
ABOUT: dict[str, str] = {
    SALESFORCE: "A Salesforce org, production or sandbox. Syncs write to it.",
    "delimited_file": "CSV, TSV and similar files that are uploaded here or copied into the organization's folder. "
    "Syncs read from them.",
    "postgres": "A PostgreSQL database. Syncs read from its tables and queries, and never write to it.",
}


def choices() -> list[tuple[str, str]]:
    """Each kind and its label, for forms."""
    return [(kind, label) for kind, (label, _, _) in KINDS.items()]


def settings_class(kind: str) -> type:
    """The dataclass that declares the settings of `kind`. Raises SettingsError for a kind that does not exist."""
    if kind not in KINDS:
        raise SettingsError(f"There is no connection kind '{kind}'. Kinds: {', '.join(KINDS)}.")
    found: type = import_string(KINDS[kind][1])
    return found


def build_settings(kind: str, values: dict[str, Any]) -> Any:
    """The settings of `kind` made from plain values. Raises SettingsError with the reason."""
    return declare.build(settings_class(kind), values)


def secret_names(kind: str) -> set[str]:
    """The names of the settings of `kind` that are secret."""
    return declare.secret_names(settings_class(kind))


def address_names(kind: str) -> set[str]:
    """The names of the settings of `kind` that say where its secrets are sent."""
    return declare.address_names(settings_class(kind))


def defaults(kind: str) -> dict[str, Any]:
    """The values that stand for settings of `kind` that are not given."""
    return declare.defaults(settings_class(kind))


def files_folder(organization: Organization) -> Path:
    """The folder below which an organization's source files lie; made when it is not there yet."""
    folder: Path = settings.SFSYNC_FILES / organization.slug
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def open_source(connection: Connection) -> Source:
    """The source behind a connection. Raises SettingsError when its settings cannot be used."""
    if connection.is_salesforce:
        raise SettingsError(f"The connection '{connection.name}' is a Salesforce org and cannot be a source.")
    built = build_settings(connection.kind, connection.all_settings())
    opened = import_string(KINDS[connection.kind][2])
    if connection.kind == "delimited_file":
        source: Source = opened(built, files_folder(connection.organization))
    else:
        source = opened(built, address_policy=address_policy())
    return source


def open_salesforce(
    connection: Connection, timeout: tuple[float, float] | None = None, budget: CallBudget | None = None
) -> SalesforceSession:
    """A session with the Salesforce org of a connection; it logs in on its first call.

    timeout: seconds to connect, and to wait for the next byte; None for those that suit large loads. budget: asked
    before each call; None for calls without limit.
    """
    if not connection.is_salesforce:
        raise SettingsError(f"The connection '{connection.name}' is no Salesforce org.")
    from connections.salesforce.session import SalesforceSession
    from connections.salesforce.wire import DEFAULT_TIMEOUT

    return SalesforceSession(
        build_settings(connection.kind, connection.all_settings()),
        address_policy=address_policy(),
        timeout=timeout or DEFAULT_TIMEOUT,
        budget=budget,
    )
