"""Whose data may be touched right now.

Every tenant model's `objects` manager reads the current organization. Outside a scope it raises: a forgotten scope
is an error at once, never a leak. `all_objects` stands beside it for code that has checked for itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

from django.db import models

from orgs.models import Organization

M = TypeVar("M", bound=models.Model)

_current: ContextVar[Organization | None] = ContextVar("sfsync_organization", default=None)


class NoOrganization(RuntimeError):
    """A tenant's data was asked for outside `organization_scope()`."""


def current_organization() -> Organization:
    """The organization of the current scope. Raises NoOrganization outside one."""
    organization = _current.get()
    if organization is None:
        raise NoOrganization("No organization is set: this code must run inside organization_scope().")
    return organization


@contextlib.contextmanager
def organization_scope(organization: Organization) -> Iterator[Organization]:
    """Within this context, tenant managers see the rows of `organization` and no others."""
    reset = _current.set(organization)
    try:
        yield organization
    finally:
        _current.reset(reset)


def is_reachable(row: TenantModel) -> bool:
    """Whether `row` may be touched: within a scope only what is of its organization, outside of any scope all."""
    organization = _current.get()
    return organization is None or organization.pk == row.organization_id


class TenantManager(models.Manager[M]):
    """Shows the current organization's rows; raises NoOrganization outside a scope, whatever is asked of it."""

    def get_queryset(self) -> models.QuerySet[M]:
        return super().get_queryset().filter(organization=current_organization())


class TenantModel(models.Model):
    """A row that belongs to one organization."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")

    all_objects: models.Manager[Any] = models.Manager()
    objects: TenantManager[Any] = TenantManager()

    class Meta:
        abstract = True
        # Django's own machinery (related objects, unique checks, dumps) works without a scope.
        default_manager_name = "all_objects"
        base_manager_name = "all_objects"
