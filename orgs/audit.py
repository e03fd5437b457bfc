"""The record of who did what. Every change in the admin and the API, and every verb on a job, writes here."""

from __future__ import annotations

import datetime
from typing import Any

from django.db.models import Model

from orgs.access import Actor
from orgs.models import AuditEvent, Organization
from orgs.tenancy import TenantModel

_LONGEST = 500  # characters of a value that are kept


def values_of(row: Model) -> dict[str, Any]:
    """The values of a row that people set, as JSON; never a secret.

    A model with settings of its own sort tells them by a method `audit_values`.
    """
    values = {field.name: _plain(field.value_from_object(row)) for field in row._meta.concrete_fields if field.editable}
    more = getattr(row, "audit_values", None)
    return values if more is None else {**values, **more()}


def changes_between(before: dict[str, Any], after: dict[str, Any]) -> dict[str, list[Any]]:
    """What differs: field -> [before, after]."""
    names = [*before, *(name for name in after if name not in before)]
    return {name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)}


def record(
    by: Actor, action: str, row: TenantModel | Organization, changes: dict[str, Any] | None = None
) -> AuditEvent:
    """Write down that `by` did `action` (such as "changed") to a row. Call it in the transaction of the change."""
    event: AuditEvent = AuditEvent.all_objects.create(
        organization_id=row.pk if isinstance(row, Organization) else row.organization_id,
        actor=by.name[:150],
        via=by.via,
        action=action,
        object_type=str(row._meta.verbose_name),
        object_id=row.pk,
        object_label=str(row)[:200],
        changes=changes or {},
    )
    return event


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float | None):
        return value
    if isinstance(value, dict | list):
        return value
    text = value.isoformat() if isinstance(value, datetime.datetime) else str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
