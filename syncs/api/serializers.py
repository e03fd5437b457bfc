from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError as ModelError
from django.db.models import Prefetch, QuerySet
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.serializers import as_serializer_error

from connections.api.serializers import team_needed
from orgs import access
from orgs.api.base import ForTeam, TenantSerializer
from orgs.api.paging import LARGEST_PAGE
from orgs.models import Permission
from syncs.models import FieldMapping, Schedule, Sync

_MOST_LINES = 1000
_MOST_KEYS = 10_000


class MappingSerializer(serializers.ModelSerializer):
    class Meta:
        model = FieldMapping
        fields = ["target", "source_column", "constant", "when_blank", "too_precise"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raises ValidationError unless there is either a column or a constant."""
        if (attrs.get("source_column") is None) == (attrs.get("constant") is None):
            raise serializers.ValidationError("Give either a source_column or a constant.")
        return attrs


class ScheduleSerializer(serializers.ModelSerializer):
    class Meta:
        model = Schedule
        fields = ["enabled", "every_minutes", "cron", "time_zone", "next_start_at", "last_start_at", "last_skip"]
        read_only_fields = ["next_start_at", "last_start_at", "last_skip"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask the model. Raises ValidationError."""
        try:
            Schedule(**attrs).clean()
        except ModelError as error:
            raise serializers.ValidationError(as_serializer_error(error)) from None
        return attrs


class SyncSerializer(TenantSerializer):
    mappings = MappingSerializer(many=True, required=False, help_text="In order. Replaced as a whole when given.")
    schedule = ScheduleSerializer(required=False, allow_null=True, help_text="null: it only starts when asked to.")
    for_team = ForTeam(required=False)
    refers_with = {"source": Permission.EXECUTE, "destination": Permission.EXECUTE}

    class Meta:
        model = Sync
        fields = [
            "id",
            "name",
            "description",
            "source",
            "source_table",
            "source_query",
            "source_path",
            "destination",
            "object",
            "key_fields",
            "mode",
            "compare",
            "time_zone",
            "guard_rows",
            "guard_percent",
            "batch_rows",
            "batch_bytes",
            "paused",
            "mappings",
            "schedule",
            "created_at",
            "for_team",
        ]
        read_only_fields = ["paused"]

    def validate_source(self, source: Any) -> Any:
        """Raises ValidationError for a Salesforce org."""
        if source.is_salesforce:
            raise serializers.ValidationError("This is a Salesforce org. Take a connection that is a source.")
        return source

    def validate_destination(self, destination: Any) -> Any:
        """Raises ValidationError for anything but a Salesforce org."""
        if not destination.is_salesforce:
            raise serializers.ValidationError("This is no Salesforce org. Take a connection of the kind 'salesforce'.")
        return destination

    def validate_mappings(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Raises ValidationError when a field is the target of two lines, or for too many lines."""
        targets = [line["target"].lower() for line in lines]
        twice = sorted({target for target in targets if targets.count(target) > 1})
        if len(lines) > _MOST_LINES:
            raise serializers.ValidationError(f"There are {len(lines)} lines, more than {_MOST_LINES}.")
        if twice:
            raise serializers.ValidationError(f"Two lines lead to the field '{twice[0]}'. Leave one of them out.")
        return lines

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask the model. Raises ValidationError."""
        team = attrs.pop("for_team", None)
        if self.instance is None and team is None:
            team_needed(self)
        if "schedule" in attrs and not self._may_execute():
            raise serializers.ValidationError(
                {"schedule": "A schedule starts the sync, so setting it takes the permission 'execute' on it."}
            )
        attrs = super().validate(attrs)
        return attrs if team is None or self.instance is not None else {**attrs, "for_team": team}

    def _may_execute(self) -> bool:
        if self.actor is None:
            return True
        if self.instance is None:
            return Permission.EXECUTE in self.actor.ceiling  # whoever makes a sync gets its grants
        return access.may(self.actor, Permission.EXECUTE, self.instance)  # type: ignore[arg-type]

    def to_representation(self, instance: Sync) -> dict[str, Any]:
        """The sync; without a schedule, that is null."""
        return {"schedule": None, **super().to_representation(instance)}

    def create(self, validated_data: dict[str, Any]) -> Sync:
        """Save a new sync with its mapping and schedule."""
        return self._saved(Sync(), validated_data)

    def update(self, instance: Sync, validated_data: dict[str, Any]) -> Sync:
        """Save a changed sync; mapping and schedule only when they are given."""
        return self._saved(instance, validated_data)

    def _saved(self, sync: Sync, values: dict[str, Any]) -> Sync:
        lines, plan = values.pop("mappings", None), values.pop("schedule", empty)
        for name, value in values.items():
            setattr(sync, name, value)
        sync.save()
        own = {"organization_id": sync.organization_id, "sync": sync}
        if lines is not None:
            FieldMapping.all_objects.filter(sync=sync).delete()
            FieldMapping.all_objects.bulk_create(
                [FieldMapping(position=position, **own, **line) for position, line in enumerate(lines)]
            )
        if plan is None:
            Schedule.all_objects.filter(sync=sync).delete()
        elif plan is not empty:
            schedule = Schedule.all_objects.filter(sync=sync).first() or Schedule(**own)
            given = {"enabled": True, "every_minutes": None, "cron": "", "time_zone": "UTC", **plan}
            for name, value in given.items():
                setattr(schedule, name, value)
            schedule.save()
        found: Sync = with_parts(Sync.all_objects.all()).get(pk=sync.pk)
        return found


def with_parts(syncs: QuerySet[Sync]) -> QuerySet[Sync]:
    """The syncs, with their schedules and mappings read along."""
    lines = Prefetch("mappings", FieldMapping.all_objects.order_by("position", "pk"))
    return syncs.select_related("schedule").prefetch_related(lines)


class RunSerializer(serializers.Serializer):
    full_resync = serializers.BooleanField(
        default=False, help_text="Send every row, whatever Salesforce is known to hold."
    )
    baseline = serializers.BooleanField(
        default=False, help_text="Record what the source holds as known in Salesforce, and send nothing."
    )
    parameters = serializers.DictField(
        child=serializers.CharField(max_length=1000, allow_blank=True, trim_whitespace=False),
        default=dict,
        help_text="Values by name; those that are not given have their defaults.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Raises ValidationError when both a full resync and a baseline are asked for."""
        if attrs["full_resync"] and attrs["baseline"]:
            raise serializers.ValidationError("Ask for a full resync or for a baseline, not for both.")
        return attrs


class ProblemSerializer(serializers.Serializer):
    place = serializers.CharField()
    value = serializers.CharField()
    reason = serializers.CharField()
    way_out = serializers.CharField()


class ProblemsSerializer(serializers.Serializer):
    results = ProblemSerializer(many=True)


class ParkedRowSerializer(serializers.Serializer):
    key = serializers.CharField(help_text="The sync key, as it is written.")
    failures = serializers.IntegerField(help_text="Jobs in a row in which Salesforce refused the row for good.")
    code = serializers.CharField()
    message = serializers.CharField(help_text="Salesforce's last answer.")


class ParkedRowsSerializer(serializers.Serializer):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True, help_text="Always null: these pages go forward only.")
    results = ParkedRowSerializer(many=True)


class ParkedRowsQuery(serializers.Serializer):
    search = serializers.CharField(
        default="", allow_blank=True, max_length=200, help_text="Text in the key, the code or the message."
    )
    after = serializers.CharField(
        default="", allow_blank=True, trim_whitespace=False, max_length=4000, help_text="As `next` says."
    )
    page_size = serializers.IntegerField(default=50, min_value=1, max_value=LARGEST_PAGE, help_text="Rows per page.")


class ReleaseSerializer(serializers.Serializer):
    keys = serializers.ListField(
        child=serializers.CharField(max_length=4000, trim_whitespace=False),
        default=None,
        allow_null=True,
        allow_empty=False,
        max_length=_MOST_KEYS,
        help_text="Sync keys of the rows to release; null, or left out: all that are parked.",
    )


class ReleasedSerializer(serializers.Serializer):
    released = serializers.IntegerField(help_text="Rows that the next job sends again.")
    parked = serializers.IntegerField(help_text="Rows that are still parked.")
