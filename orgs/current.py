"""In which organization a person is acting, in the admin and in an API session."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest

from orgs import access
from orgs.access import Actor
from orgs.models import Membership, Organization, Via

SESSION_KEY = "organization"


def organizations_of(user: User | AnonymousUser) -> list[Organization]:
    """Where a person may act, by name; a superuser everywhere."""
    if not isinstance(user, User) or not user.is_active:
        return []
    organizations = Organization.objects.order_by("name")
    return list(organizations if user.is_superuser else organizations.filter(memberships__user=user))


def actor_of(request: HttpRequest, via: Via) -> Actor | None:
    """Who is asking: the person who is logged in, in the organization of the session, or else in the first one.

    None for somebody who is logged in nowhere, or is a member of nothing.
    """
    user: Any = request.user
    if not user.is_authenticated or not user.is_active:
        return None
    chosen = request.session.get(SESSION_KEY) or 0
    # The oldest membership: one that somebody adds must not lead this person elsewhere.
    mine = Membership.all_objects.select_related("organization", "user").filter(user=user).order_by("pk")
    actor: Actor | None = None
    if user.is_superuser:
        everywhere = Organization.objects.order_by("name")
        organization = everywhere.filter(pk=chosen).first() or everywhere.first()
        if organization is not None:
            membership = mine.filter(organization=organization).first()
            actor = access.operator(organization, user.get_username(), via, membership)
    else:
        membership = mine.filter(organization=chosen).first() or mine.first()
        actor = None if membership is None else access.member(membership, via)
    if actor is not None and actor.organization.pk != chosen:
        # From now on this session stays there, whatever else changes.
        request.session[SESSION_KEY] = actor.organization.pk
    return actor


def choose(request: HttpRequest, organization_id: int) -> bool:
    """Act in another organization from now on. False, and nothing changes, when the person may not."""
    if organization_id not in {each.pk for each in organizations_of(request.user)}:  # type: ignore[arg-type]
        return False
    request.session[SESSION_KEY] = organization_id
    return True
