"""Whose data may be touched right now.

Every tenant model's `objects` manager reads the current organization. Outside a scope it raises: a forgotten scope
is an error at once, never a leak. `all_objects` stands beside it for code that has checked for itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django.db import models
from django.http import HttpResponseBase, StreamingHttpResponse

if TYPE_CHECKING:
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


def scoped_to_the_end(response: HttpResponseBase, organization: Organization) -> HttpResponseBase:
    """The response, made to see `organization` when it is sent: pages are rendered now, streams keep the scope."""
    if isinstance(response, StreamingHttpResponse):
        response.streaming_content = _scoped(iter(response.streaming_content), organization)  # type: ignore[arg-type]  # we serve by WSGI
    elif hasattr(response, "render") and not getattr(response, "is_rendered", True):
        with organization_scope(organization):
            response.render()
    return response


def _scoped(parts: Iterator[bytes], organization: Organization) -> Iterator[bytes]:
    """The parts of a stream. The server takes them one by one, long after the view has returned."""
    try:
        while True:
            with organization_scope(organization):
                part = next(parts, None)
            if part is None:
                return
            yield part
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()


class TenantManager(models.Manager[M]):
    """Shows the current organization's rows; raises NoOrganization outside a scope, whatever is asked of it."""

    def get_queryset(self) -> models.QuerySet[M]:
        return super().get_queryset().filter(organization=current_organization())


class TenantModel(models.Model):
    """A row that belongs to one organization."""

    # Whose grants say who may touch a row of this model: "" its own, "sync" those of its sync (any path of foreign
    # keys), None nobody's, which leaves it to the organization's owners and admins. See orgs/access.py.
    access_path: ClassVar[str | None] = None

    organization = models.ForeignKey("orgs.Organization", on_delete=models.PROTECT, related_name="+")

    all_objects: models.Manager[Any] = models.Manager()
    objects: TenantManager[Any] = TenantManager()

    class Meta:
        abstract = True
        # Django's own machinery (related objects, unique checks, dumps) works without a scope.
        default_manager_name = "all_objects"
        base_manager_name = "all_objects"
