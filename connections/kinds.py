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
    from connections.salesforce.session import SalesforceSession
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


def choices() -> list[tuple[str, str]]:
    """Each kind and its label, for forms."""
    return [(kind, label) for kind, (label, _, _) in KINDS.items()]


def _settings_class(kind: str) -> type:
    if kind not in KINDS:
        raise SettingsError(f"There is no connection kind '{kind}'. Kinds: {', '.join(KINDS)}.")
    found: type = import_string(KINDS[kind][1])
    return found


def build_settings(kind: str, values: dict[str, Any]) -> Any:
    """The settings of `kind` made from plain values. Raises SettingsError with the reason."""
    return declare.build(_settings_class(kind), values)


def secret_names(kind: str) -> set[str]:
    """The names of the settings of `kind` that are secret."""
    return declare.secret_names(_settings_class(kind))


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


def open_salesforce(connection: Connection) -> SalesforceSession:
    """A session with the Salesforce org of a connection; it logs in on its first call."""
    if not connection.is_salesforce:
        raise SettingsError(f"The connection '{connection.name}' is no Salesforce org.")
    from connections.salesforce.session import SalesforceSession

    return SalesforceSession(
        build_settings(connection.kind, connection.all_settings()), address_policy=address_policy()
    )
