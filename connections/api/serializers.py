from __future__ import annotations

from typing import Any

from django.db.models import BinaryField, ExpressionWrapper, F, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from connections.budget import Standing
from connections.declare import SettingsError
from connections.models import Connection, ConnectionCheck
from connections.secrets import SecretsUnreadable
from orgs import access
from orgs.api.base import ForTeam, TenantSerializer


class ConnectionSerializer(TenantSerializer):
    settings = serializers.DictField(
        required=False,
        help_text="What the kind declares, secrets included when you send it; answers never hold a secret. Replaced "
        "as a whole; secrets that you leave out stay as they are.",
    )
    secrets = serializers.SerializerMethodField(
        help_text="The names of the secrets that are stored; null when they were encrypted with a key that is gone."
    )
    for_team = ForTeam(required=False)

    class Meta:
        model = Connection
        fields = [
            "id",
            "name",
            "description",
            "kind",
            "settings",
            "secrets",
            "settings_version",
            "salesforce_org_id",
            "created_at",
            "for_team",
        ]
        read_only_fields = ["settings_version", "salesforce_org_id"]

    @extend_schema_field(serializers.ListField(child=serializers.CharField(), allow_null=True))
    def get_secrets(self, connection: Connection) -> list[str] | None:
        """The names of those that are set; None when no key opens them."""
        try:
            found: list[str] = stored_secrets(connection)
        except SecretsUnreadable:
            return None
        return found

    def validate_kind(self, kind: str) -> str:
        """Raises ValidationError when an existing connection would become one of another kind."""
        if self.instance is not None and kind != self.instance.kind:  # type: ignore[union-attr]
            raise serializers.ValidationError("The kind of a connection cannot be changed. Make a new connection.")
        return kind

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Try the settings. Raises ValidationError."""
        team, entered = attrs.pop("for_team", None), attrs.pop("settings", None)
        attrs = super().validate(attrs)
        if self.instance is None and team is None:
            team_needed(self)
        if self.instance is None or entered is not None:
            trial = Connection(kind=attrs.get("kind", getattr(self.instance, "kind", "")))
            if self.instance is not None:
                trial = Connection.all_objects.get(pk=self.instance.pk)
            try:
                trial.change_values(entered or {})
            except SettingsError as error:
                raise serializers.ValidationError({"settings": str(error)}) from None
            attrs["settings"] = entered or {}
        return attrs if team is None or self.instance is not None else {**attrs, "for_team": team}

    def create(self, validated_data: dict[str, Any]) -> Connection:
        """Save a new connection."""
        return self._saved(Connection(), validated_data)

    def update(self, instance: Connection, validated_data: dict[str, Any]) -> Connection:
        """Save a changed connection."""
        return self._saved(instance, validated_data)

    def _saved(self, connection: Connection, values: dict[str, Any]) -> Connection:
        entered = values.pop("settings", None)
        if connection.pk:
            # As it is now: a change of the settings at this moment must not be undone by one of the name.
            connection = Connection.all_objects.select_for_update().get(pk=connection.pk)
        for name, value in values.items():
            setattr(connection, name, value)
        if entered is not None:
            connection.change_values(entered)
        connection.save()
        return connection


def with_stored_secrets(connections: QuerySet[Connection]) -> QuerySet[Connection]:
    """The connections with their secrets still encrypted, so that those of one that no key opens spoil no list."""
    encrypted = ExpressionWrapper(F("secrets"), output_field=BinaryField())
    return connections.annotate(encrypted_secrets=encrypted).defer("secrets")


def stored_secrets(connection: Connection) -> list[str]:
    """The names of the secrets of a connection. Raises SecretsUnreadable."""
    secrets: Any = connection.__dict__.get("secrets")
    if secrets is None:
        field: Any = Connection._meta.get_field("secrets")
        secrets = field.from_db_value(connection.encrypted_secrets, None, None)  # type: ignore[attr-defined]
    return sorted(name for name, value in secrets.items() if value)


def team_needed(serializer: TenantSerializer) -> None:
    """Raise ValidationError when who is asking creates for its teams only, and named none."""
    actor = serializer.actor
    if actor is not None and actor.role not in access.MANAGERS:
        raise serializers.ValidationError(
            {"for_team": "Name the team, one of yours, that this is made for."}, code="required"
        )


class CheckSerializer(serializers.ModelSerializer):
    facts = serializers.ListField(
        child=serializers.ListField(child=serializers.CharField()), help_text="What was found: [label, value] each."
    )

    class Meta:
        model = ConnectionCheck
        fields = [
            "id",
            "ok",
            "settings_version",
            "facts",
            "failed_step",
            "reason",
            "way_out",
            "started_by",
            "started_at",
            "seconds",
        ]


class CheckWithLogSerializer(CheckSerializer):
    class Meta(CheckSerializer.Meta):
        fields = [*CheckSerializer.Meta.fields, "log"]


class ObjectSerializer(serializers.Serializer):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # DRF takes it out of the class
    createable = serializers.BooleanField()
    updateable = serializers.BooleanField()
    deletable = serializers.BooleanField()
    queryable = serializers.BooleanField()
    key_prefix = serializers.CharField(allow_null=True)


class ObjectsSerializer(serializers.Serializer):
    fetched_at = serializers.DateTimeField(allow_null=True, help_text="When Salesforce said so.")
    results = ObjectSerializer(many=True)


class FieldSerializer(serializers.Serializer):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # DRF takes it out of the class
    type = serializers.CharField()
    length = serializers.IntegerField()
    createable = serializers.BooleanField()
    updateable = serializers.BooleanField()
    nillable = serializers.BooleanField()
    external_id = serializers.BooleanField()
    unique = serializers.BooleanField()


class FieldsSerializer(serializers.Serializer):
    fetched_at = serializers.DateTimeField(allow_null=True, help_text="When Salesforce said so.")
    results = FieldSerializer(many=True)


class TableSerializer(serializers.Serializer):
    name = serializers.CharField(help_text="Of the table, or the path of the file.")
    columns = serializers.ListField(child=serializers.CharField())


class TablesSerializer(serializers.Serializer):
    fetched_at = serializers.DateTimeField(allow_null=True, help_text="When the source said so.")
    results = TableSerializer(many=True)


class SelectionSerializer(serializers.Serializer):
    table = serializers.CharField(required=False, max_length=200)
    query = serializers.CharField(required=False, max_length=20_000)
    path = serializers.CharField(required=False, max_length=500)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raises ValidationError unless exactly one is given."""
        if len(attrs) != 1:
            raise serializers.ValidationError("Give exactly one of: table, query, path.")
        return attrs


class ColumnsSerializer(serializers.Serializer):
    results = serializers.ListField(child=serializers.CharField())


class StoredFileSerializer(serializers.Serializer):
    path = serializers.CharField(help_text="As a sync names it, in `source_path`.")
    size = serializers.IntegerField(help_text="Bytes.")
    modified_at = serializers.DateTimeField()


class StoredFilesSerializer(serializers.Serializer):
    results = StoredFileSerializer(many=True)


class UploadSerializer(serializers.Serializer):
    file = serializers.FileField(allow_empty_file=True, max_length=255)
    replace = serializers.BooleanField(default=False, help_text="Whether a file of this name may be replaced.")


class UploadedSerializer(serializers.Serializer):
    path = serializers.CharField(help_text="As a sync names it, in `source_path`.")


class FilterSerializer(serializers.Serializer):
    object = serializers.CharField(max_length=100, help_text="API name of an object.")
    filter = serializers.CharField(
        max_length=10_000, allow_blank=True, help_text="A SOQL condition, without WHERE; blank counts all records."
    )
    parameters = serializers.DictField(
        child=serializers.CharField(max_length=10_000, allow_blank=True),
        default=dict,
        help_text="Values of the parameters in the filter, by name.",
    )
    time_zone = serializers.CharField(
        max_length=60, default="UTC", help_text="Of parameters' date-times without an offset, such as Europe/Berlin."
    )


class CountSerializer(serializers.Serializer):
    records = serializers.IntegerField(help_text="How many records meet the filter.")


class UsedOnDaySerializer(serializers.Serializer):
    day = serializers.DateField(help_text="In UTC.")
    used = serializers.IntegerField()


class StandingSerializer(serializers.Serializer):
    name = serializers.CharField(help_text="As Salesforce calls the limit.")
    max = serializers.IntegerField(allow_null=True, help_text="Null when Salesforce has not told.")
    share = serializers.IntegerField(allow_null=True, help_text="How much of it is for sfsync.")
    used = serializers.IntegerField(help_text="By everybody, as Salesforce last told, and by sfsync since.")
    reserved = serializers.IntegerField(help_text="For calls that are under way.")
    left = serializers.IntegerField(allow_null=True, help_text="Of the share.")
    told_at = serializers.DateTimeField(allow_null=True)
    by_us = serializers.SerializerMethodField(help_text="What sfsync used on each of the last days, newest first.")

    @extend_schema_field(UsedOnDaySerializer(many=True))
    def get_by_us(self, standing: Standing) -> list[dict[str, Any]]:
        """Per day, what was used."""
        return [{"day": day.isoformat(), "used": used} for day, used in standing.by_us]


class BudgetSerializer(serializers.Serializer):
    results = StandingSerializer(many=True)
