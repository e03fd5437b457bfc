"""Adding, changing and removing members. An organization always keeps an owner who can log in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.models import User
from django.db import transaction

from orgs import access, audit
from orgs.access import Actor, Denied
from orgs.models import Membership, Organization, Permission, Role


def add_member(by: Actor, user: User, role: Role) -> Membership:
    """Make a person a member of the actor's organization. Raises Denied."""
    _must_manage(by, role)
    with transaction.atomic():
        membership = Membership.all_objects.create(organization=by.organization, user=user, role=role)
        audit.record(by, "created", membership, {"role": [None, role]})
    return membership


def change_role(by: Actor, membership: Membership, role: Role) -> None:
    """Give a member another role. Raises Denied, also when no owner would be left."""
    _must_manage(by, role)
    with _keeping_an_owner(by, membership) as before:
        Membership.all_objects.filter(pk=membership.pk).update(role=role)
        membership.role = role
        audit.record(by, "changed", membership, {"role": [before, role]})


def remove_member(by: Actor, membership: Membership) -> None:
    """Take a member out of the organization, and with it its place in teams and its tokens. Raises Denied."""
    with _keeping_an_owner(by, membership):
        audit.record(by, "deleted", membership)
        membership.delete()


def organizations_that_need(user: User) -> list[Organization]:
    """The organizations of which a person is the only owner who can log in."""
    others = Membership.all_objects.filter(role=Role.OWNER, user__is_active=True).exclude(user=user)
    mine = Organization.objects.filter(memberships__user=user, memberships__role=Role.OWNER)
    return list(mine.exclude(pk__in=others.values("organization")).order_by("name"))


def _must_manage(by: Actor, role: str) -> None:
    if not by.manages or (role == Role.OWNER and by.role != Role.OWNER):
        who = "an owner" if role == Role.OWNER else "an owner or admin of the organization"
        raise Denied(f"Only {who} may do this.", exists=True)


@contextmanager
def _keeping_an_owner(by: Actor, membership: Membership) -> Iterator[str]:
    """A transaction in which a member is changed; undone when no owner is left. Yields the role it had."""
    access.require(by, Permission.ADMIN, membership)
    with transaction.atomic():
        # Of two owners who remove each other at once, one has to wait here, and is then refused.
        Organization.objects.select_for_update().get(pk=membership.organization_id)
        before = Membership.all_objects.get(pk=membership.pk).role
        _must_manage(by, before)
        yield before
        owners = Membership.all_objects.filter(organization_id=membership.organization_id, role=Role.OWNER)
        if not owners.filter(user__is_active=True).exists():
            raise Denied("This is the last owner of the organization. Make somebody else an owner first.", exists=True)
