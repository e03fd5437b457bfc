from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import Q
from django.utils import timezone

from orgs.tenancy import TenantModel


class Organization(models.Model):
    """A tenant. Everything else belongs to one."""

    name = models.CharField(max_length=100, unique=True)
    slug = models.SlugField(max_length=50, unique=True, help_text="Names the folder that holds its source files.")
    history_days = models.PositiveIntegerField(
        default=365, help_text="How long the history of records is kept. 0: for ever."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Permission(models.TextChoices):
    """What somebody may do with a connection or a sync. What implies what stands in orgs/access.py."""

    READ = "read", "Read"  # see it, and its jobs
    WRITE = "write", "Write"  # change it
    EXECUTE = "execute", "Execute"  # a connection: test it, use it in syncs; a sync: run it, cancel its jobs
    APPROVE = "approve", "Approve"  # let a job go on that waits for approval, or reject it
    HARD_DELETE = "hard_delete", "Hard delete"  # let a sync delete records past the recycle bin
    ADMIN = "admin", "Admin"  # delete it, and say who may do what with it


class Role(models.TextChoices):
    OWNER = "owner", "Owner"  # everything, and says who is an owner
    ADMIN = "admin", "Admin"  # everything with connections and syncs; members, teams, grants, tokens
    MEMBER = "member", "Member"  # what the grants of its teams say; creates for its teams
    VIEWER = "viewer", "Viewer"  # reads what the grants of its teams let it read


class Membership(TenantModel):
    """A person in an organization."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    # A person is not deleted while a member somewhere: an organization could be left without an owner.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)

    class Meta(TenantModel.Meta):
        abstract = False
        verbose_name = "member"
        ordering = ["user__username"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="one_membership_per_person"),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.get_role_display()})"


class Team(TenantModel):
    """People of one organization who share permissions."""

    name = models.CharField(max_length=100)
    description = models.TextField(blank=True, default="")
    members = models.ManyToManyField(Membership, related_name="teams", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        abstract = False
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="team_name_once_per_organization"),
        ]

    def __str__(self) -> str:
        return self.name

    def audit_values(self) -> dict[str, Any]:
        """Who is in it, which is no column of its own."""
        return {"members": sorted(member.user.get_username() for member in self.members.select_related("user"))}


class Grant(TenantModel):
    """What a team may do with one object: a connection or a sync."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="grants")
    content_type = models.ForeignKey(ContentType, on_delete=models.CASCADE, related_name="+")
    object_id = models.PositiveBigIntegerField()
    object = GenericForeignKey("content_type", "object_id")
    read = models.BooleanField(default=False)
    write = models.BooleanField(default=False)
    execute = models.BooleanField(default=False)
    approve = models.BooleanField(default=False)
    hard_delete = models.BooleanField(default=False)
    admin = models.BooleanField(default=False)

    class Meta(TenantModel.Meta):
        abstract = False
        constraints = [
            models.UniqueConstraint(fields=["team", "content_type", "object_id"], name="one_grant_per_team_and_object"),
            models.CheckConstraint(
                condition=Q(read=True)
                | Q(write=True)
                | Q(execute=True)
                | Q(approve=True)
                | Q(hard_delete=True)
                | Q(admin=True),
                name="a_grant_grants_something",
            ),
        ]

    def __str__(self) -> str:
        granted = ", ".join(permission.value for permission in Permission if getattr(self, permission.value))
        return f"{self.team}: {granted} on {self.content_type.name} '{self.object}'"


def in_ninety_days() -> datetime:
    """When a token ends unless its maker says otherwise."""
    return timezone.now() + timedelta(days=90)


class ApiToken(TenantModel):
    """Lets a program act as a member, within some permissions, for some time. Only its digest is stored."""

    membership = models.ForeignKey(Membership, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100, help_text="What it is for, such as 'nightly loader'.")
    permissions = models.JSONField(default=list, help_text="What it may do at most, of what its member may do.")
    prefix = models.CharField(max_length=12, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    expires_at = models.DateTimeField(default=in_ninety_days)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        abstract = False
        verbose_name = "API token"
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}...)"


class Via(models.TextChoices):
    ADMIN = "admin", "Admin"
    API = "api", "API"
    COMMAND = "command", "Command"
    SCHEDULE = "schedule", "Schedule"


class AuditEvent(TenantModel):
    """Who changed, started or decided what. Written by orgs/audit.py, never changed."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor = models.CharField(max_length=150)
    via = models.CharField(max_length=10, choices=Via.choices)
    action = models.CharField(max_length=40, help_text="Such as created, changed, deleted, started, approved.")
    object_type = models.CharField(max_length=40)
    object_id = models.PositiveBigIntegerField()
    object_label = models.CharField(max_length=200)
    changes: Any = models.JSONField(default=dict, blank=True, help_text="Field: [before, after]. Never a secret.")

    class Meta(TenantModel.Meta):
        abstract = False
        verbose_name = "audit event"
        verbose_name_plural = "audit"
        ordering = ["-pk"]
        indexes = [models.Index(fields=["organization", "object_type", "object_id"], name="audit_of_one_object")]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.object_type} '{self.object_label}'"
