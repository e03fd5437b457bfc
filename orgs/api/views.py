from __future__ import annotations

from typing import Any

from django.db import IntegrityError
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins
from rest_framework.request import Request
from rest_framework.response import Response

from orgs import members
from orgs.api.base import Editable, Readable
from orgs.api.errors import Conflict
from orgs.api.filters import GrantFilter, MemberFilter, TeamFilter
from orgs.api.serializers import (
    GrantSerializer,
    MemberSerializer,
    NewMemberSerializer,
    OrganizationSerializer,
    RoleSerializer,
    TeamSerializer,
)
from orgs.models import Grant, Membership, Organization, Permission, Role, Team

_MANAGED = {"update": Permission.ADMIN, "partial_update": Permission.ADMIN, "destroy": Permission.ADMIN}


class OrganizationView(Readable):
    """The organization in which you act."""

    model = Organization
    serializer_class = OrganizationSerializer
    queryset = Organization.objects.none()

    def get_queryset(self) -> QuerySet[Organization]:
        if getattr(self, "swagger_fake_view", False):
            return Organization.objects.none()
        return Organization.objects.filter(pk=self.actor.organization.pk)

    def get_object(self) -> Organization:
        """Everybody may read its own."""
        return get_object_or_404(self.get_queryset(), pk=self.kwargs["pk"])


@extend_schema_view(
    create=extend_schema(request=NewMemberSerializer, responses={201: MemberSerializer}),
    update=extend_schema(request=RoleSerializer, responses={200: MemberSerializer}),
    partial_update=extend_schema(request=RoleSerializer, responses={200: MemberSerializer}),
)
class MemberView(mixins.DestroyModelMixin, Readable):
    """People of the organization. Only owners and admins see and change them."""

    model = Membership
    serializer_class = MemberSerializer
    filterset_class = MemberFilter
    needs = _MANAGED

    def get_queryset(self) -> QuerySet[Membership]:
        return super().get_queryset().select_related("user", "organization")

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Make a person a member who can log in already."""
        if not self.actor.manages:
            self.permission_denied(request, message="Only an owner or admin of the organization may do this.")
        entered = self.input(NewMemberSerializer)
        try:
            membership = members.add_member(self.actor, entered["username"], Role(entered["role"]))
        except IntegrityError:
            raise Conflict from None
        return Response(MemberSerializer(membership).data, status=201)

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Give a member another role."""
        membership = self.get_object()
        members.change_role(self.actor, membership, Role(self.input(RoleSerializer)["role"]))
        return Response(MemberSerializer(membership).data)

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Give a member another role."""
        return self.update(request, *args, **kwargs)

    def perform_destroy(self, instance: Membership) -> None:
        members.remove_member(self.actor, instance)


class TeamView(Editable):
    """Teams. Everybody sees them; owners and admins change them."""

    model = Team
    serializer_class = TeamSerializer
    filterset_class = TeamFilter
    needs = _MANAGED

    def get_queryset(self) -> QuerySet[Team]:
        return super().get_queryset().prefetch_related("members")


class GrantView(Editable):
    """What teams may do with connections and syncs. You see and change those of objects that you administer."""

    model = Grant
    serializer_class = GrantSerializer
    filterset_class = GrantFilter
    needs = _MANAGED
