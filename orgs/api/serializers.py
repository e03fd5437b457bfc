from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from rest_framework import serializers

from orgs import access
from orgs.api.base import TenantSerializer
from orgs.models import Grant, Membership, Organization, Permission, Role, Team

GRANTABLE = {"connection": "connections", "sync": "syncs"}  # type of object -> its app


class OrganizationSerializer(serializers.ModelSerializer):
    class Meta:
        model = Organization
        fields = ["id", "name", "slug", "created_at"]


class MemberSerializer(TenantSerializer):
    username = serializers.CharField(source="user.username", read_only=True)

    class Meta:
        model = Membership
        fields = ["id", "username", "role"]


class NewMemberSerializer(serializers.Serializer):
    username = serializers.SlugRelatedField(
        slug_field="username",
        queryset=User.objects.filter(is_active=True),
        help_text="Of a login that exists, exactly as it is written.",
    )
    role = serializers.ChoiceField(choices=Role.choices, default=Role.MEMBER)

    def validate_username(self, user: User) -> User:
        """Raises ValidationError for somebody who is a member already."""
        view = self.context["view"]
        if Membership.all_objects.filter(organization=view.actor.organization, user=user).exists():
            raise serializers.ValidationError("This person is a member already.", code="unique")
        return user


class RoleSerializer(serializers.Serializer):
    role = serializers.ChoiceField(choices=Role.choices)


class TeamSerializer(TenantSerializer):
    class Meta:
        model = Team
        fields = ["id", "name", "description", "members", "created_at"]
        extra_kwargs = {"members": {"help_text": "Ids of members.", "required": False}}


class ObjectReferenceSerializer(serializers.Serializer):
    type = serializers.ChoiceField(choices=sorted(GRANTABLE))
    id = serializers.IntegerField(min_value=1, max_value=2**63 - 1)


class GrantSerializer(TenantSerializer):
    object = ObjectReferenceSerializer(help_text="A connection or a sync on which you hold `admin`.")
    unique_field = "team"

    class Meta:
        model = Grant
        fields = ["id", "team", "object", "read", "write", "execute", "approve", "hard_delete", "admin"]

    def to_representation(self, instance: Grant) -> dict[str, Any]:
        """The grant, with the object that it is about as type and id."""
        flags = {permission.value: getattr(instance, permission.value) for permission in Permission}
        types = {ContentType.objects.get_by_natural_key(app, name).pk: name for name, app in GRANTABLE.items()}
        about = {"type": types[instance.content_type_id], "id": instance.object_id}
        return {"id": instance.pk, "team": instance.team_id, "object": about, **flags}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Find the object among those that the actor administers. Raises ValidationError."""
        about = attrs.pop("object", None)
        if self.instance is None:
            assert about is not None and self.actor is not None
            content_type = ContentType.objects.get_by_natural_key(GRANTABLE[about["type"]], about["type"])
            model: Any = content_type.model_class()
            rows = model.all_objects.filter(pk=about["id"])
            if not access.visible(self.actor, rows, Permission.ADMIN).exists():
                raise serializers.ValidationError(
                    {"object": f"There is no {about['type']} {about['id']} that you administer."}, code="does_not_exist"
                )
            attrs |= {"content_type": content_type, "object_id": about["id"]}
        else:
            self._stays(about, attrs.pop("team", None))
        flags = {each.value: attrs.get(each.value, getattr(self.instance, each.value, False)) for each in Permission}
        if not any(flags.values()):
            raise serializers.ValidationError("A grant has to grant something: set at least one permission to true.")
        return super().validate(attrs)

    def _stays(self, about: dict[str, Any] | None, team: Team | None) -> None:
        now = self.to_representation(self.instance)  # type: ignore[arg-type]  # only called when there is one
        for name, given in (("object", about), ("team", None if team is None else team.pk)):
            if given is not None and given != now[name]:
                raise serializers.ValidationError({name: "This cannot be changed. Make a new grant, and delete this."})
