"""Who may do what: the whole policy. The admin, the API, the commands and the verbs of jobs ask here.

- A person acts in one organization at a time, as its member. Whoever runs the installation (a superuser, or a shell)
  acts in any organization, as an owner.
- Owners and admins hold every permission on everything of their organization, and only they manage its members,
  teams, grants and tokens; only owners make, change and remove owners. The last owner stays, so somebody with the
  admin permission always remains.
- Members hold what the grants of their teams say. Viewers hold the reading part of that.
- Admin implies all other permissions. Execute and approve imply read; write and hard delete do not.
- To let a sync delete past the recycle bin takes write and hard delete on it; to run such a sync, execute.
- What has no grants of its own follows what it belongs to: a job its sync (`TenantModel.access_path`).
- Who holds admin on an object says which teams may do what with it, and so everybody may see the names of teams.
- Everybody makes and revokes the API tokens that act as themselves; in person, so that no token makes another.
- An API token holds at most the permissions it was made with, of what its member holds at that moment. Whatever says
  who may what (members, teams, grants, tokens) it changes only with admin among them.
- What somebody may not even read does not exist for them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db.models import Exists, OuterRef, Q, QuerySet

from orgs.models import ApiToken, Grant, Membership, Organization, Permission, Role, Team, Via
from orgs.tenancy import TenantModel

IMPLIED_BY: dict[Permission, tuple[Permission, ...]] = {
    Permission.READ: (Permission.READ, Permission.EXECUTE, Permission.APPROVE, Permission.ADMIN),
    Permission.WRITE: (Permission.WRITE, Permission.ADMIN),
    Permission.EXECUTE: (Permission.EXECUTE, Permission.ADMIN),
    Permission.APPROVE: (Permission.APPROVE, Permission.ADMIN),
    Permission.HARD_DELETE: (Permission.HARD_DELETE, Permission.ADMIN),
    Permission.ADMIN: (Permission.ADMIN,),
}
ALL = frozenset(Permission)
MANAGERS = (Role.OWNER, Role.ADMIN)


class Denied(Exception):
    """The actor may not do this. `exists`: whether it may know of the object; if not, say "not found"."""

    def __init__(self, message: str, *, exists: bool) -> None:
        super().__init__(message)
        self.exists = exists


@dataclasses.dataclass(frozen=True)
class Actor:
    """Who is asking, in which organization.

    name: for the record. membership: None for whoever runs the installation, and for the scheduler.
    permissions: the most it may do, whatever its role and grants say (an API token's).
    """

    name: str
    organization: Organization
    role: Role
    via: Via
    membership: Membership | None = None
    permissions: frozenset[Permission] = ALL

    @property
    def cap(self) -> frozenset[Permission]:
        """What its permissions let it do, with all that they imply, whatever its role."""
        return frozenset(each for each in Permission if not self.permissions.isdisjoint(IMPLIED_BY[each]))

    @property
    def ceiling(self) -> frozenset[Permission]:
        """What it may do at most, on anything."""
        return self.cap & {Permission.READ} if self.role == Role.VIEWER else self.cap

    @property
    def manages(self) -> bool:
        """Whether it manages members, teams, grants and tokens."""
        return self.role in MANAGERS and Permission.ADMIN in self.ceiling


def member(membership: Membership, via: Via, permissions: frozenset[Permission] = ALL) -> Actor:
    """The actor that a person is in one organization. Raises Denied for a person whose login is switched off."""
    if not membership.user.is_active:
        raise Denied("This person's login is switched off.", exists=True)
    name, role = membership.user.get_username(), Role(membership.role)
    return Actor(name, membership.organization, role, via, membership, permissions)


def operator(
    organization: Organization, name: str, via: Via = Via.COMMAND, membership: Membership | None = None
) -> Actor:
    """Whoever runs the installation, acting in one organization: from a shell, or as a superuser.

    membership: its own, if it is a member too.
    """
    return Actor(name, organization, Role.OWNER, via, membership)


def scheduler(organization: Organization) -> Actor:
    """Starts what is due."""
    return Actor("the schedule", organization, Role.OWNER, Via.SCHEDULE)


def visible(actor: Actor, rows: QuerySet[Any], permission: Permission = Permission.READ) -> QuerySet[Any]:
    """Those of `rows`, of any tenant model, on which the actor holds the permission."""
    rows = rows.filter(organization=actor.organization)
    path = rows.model.access_path
    needed = permission if path is not None or permission == Permission.READ else Permission.ADMIN
    if rows.model is ApiToken and actor.role not in MANAGERS:
        # One's own, of a viewer too.
        return rows.filter(membership=actor.membership) if needed in actor.cap else rows.none()
    if needed not in actor.ceiling:
        return rows.none()
    if actor.role in MANAGERS or (rows.model is Team and needed == Permission.READ):
        return rows
    if rows.model is Grant:
        mine = _granted(actor, Permission.ADMIN)
        same = {"content_type": OuterRef("content_type"), "object_id": OuterRef("object_id")}
        return rows.filter(Exists(mine.filter(**same)))
    if path is None:
        return rows.none()
    granted = _granted(actor, permission).filter(content_type=ContentType.objects.get_for_model(_owner(rows.model)))
    return rows.filter(**{f"{path or 'pk'}__in": granted.values("object_id")})


def _granted(actor: Actor, permission: Permission) -> QuerySet[Grant]:
    """The grants of the actor's teams that carry the permission."""
    grants = Grant.all_objects.filter(
        organization=actor.organization, team__organization=actor.organization, team__members=actor.membership
    )
    carries = Q()
    for each in IMPLIED_BY[permission]:
        carries |= Q(**{each.value: True})
    return grants.filter(carries)


def _owner(model: type[TenantModel]) -> Any:
    """The model whose grants count for `model`: the one at the end of its access path."""
    found: Any = model
    for part in filter(None, (model.access_path or "").split("__")):
        found = found._meta.get_field(part).related_model
    return found


def may(actor: Actor, permission: Permission, row: TenantModel) -> bool:
    """Whether the actor holds the permission on a row of a tenant model."""
    return visible(actor, type(row).all_objects.filter(pk=row.pk), permission).exists()


def require(actor: Actor, permission: Permission, row: TenantModel) -> None:
    """Raise Denied unless the actor holds the permission on the row."""
    if may(actor, permission, row):
        return
    what = f"{row._meta.verbose_name} {row.pk}"
    if not may(actor, Permission.READ, row):
        raise Denied(f"There is no {what} in this organization.", exists=False)
    raise Denied(f"You may not do this: it needs the permission '{permission}' on {what}.", exists=True)


def may_create(actor: Actor, model: type[TenantModel]) -> bool:
    """Whether the actor may make a row of a tenant model that people make."""
    if model is ApiToken:
        return actor.membership is not None and actor.via == Via.ADMIN
    if model is Grant:
        return Permission.ADMIN in actor.ceiling and (actor.manages or _granted(actor, Permission.ADMIN).exists())
    if model.access_path is None:
        return actor.manages
    return Permission.WRITE in actor.ceiling and (actor.role in MANAGERS or teams_of(actor).exists())


def teams_of(actor: Actor) -> QuerySet[Team]:
    """The teams for which the actor may create: a manager for any, a member for its own."""
    teams = Team.all_objects.filter(organization=actor.organization)
    return teams if actor.role in MANAGERS else teams.filter(members=actor.membership)


def hand_to(team: Team, row: TenantModel) -> None:
    """Give a team every permission on a row that was made for it."""
    grant(team, row, **{permission.value: True for permission in Permission})


def grant(team: Team, row: TenantModel, **permissions: bool) -> None:
    """Let a team do what `permissions` say, by their values such as read=True, on a row with grants of its own."""
    Grant.all_objects.update_or_create(
        team=team,
        content_type=ContentType.objects.get_for_model(type(row)),
        object_id=row.pk,
        defaults={"organization_id": row.organization_id, **permissions},
    )
