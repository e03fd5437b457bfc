from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError as ModelError
from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.serializers import as_serializer_error

from connections.api.serializers import team_needed
from orgs import access
from orgs.api.base import ForTeam, TenantSerializer
from orgs.api.paging import LARGEST_PAGE
from orgs.models import Permission
from syncs.choices import ColumnType
from syncs.models import FieldMapping, Parameter, Schedule, Sync

_MOST_LINES = 1000
_MOST_KEYS = 10_000
_MOST_PARAMETERS = 100


class LookupSerializer(serializers.Serializer):
    object = serializers.CharField(max_length=100, help_text="API name of the parent object.")
    field = serializers.CharField(max_length=100, help_text="API name of the parent's field that holds the value.")


class ReplacementSerializer(serializers.Serializer):
    pattern = serializers.CharField(max_length=1000, trim_whitespace=False, help_text="A regular expression (RE2).")
    replacement = serializers.CharField(max_length=1000, allow_blank=True, trim_whitespace=False)


class MappingSerializer(serializers.ModelSerializer):
    lookup = LookupSerializer(
        required=False, allow_null=True, help_text="Of a reference field: find the parent record by one of its fields."
    )
    replacements = ReplacementSerializer(many=True, required=False, help_text="Made in this order.")

    class Meta:
        model = FieldMapping
        fields = [
            "target",
            "source_column",
            "constant",
            "expression",
            "lookup",
            "when_blank",
            "default",
            "write_on",
            "too_long",
            "unknown_picklist",
            "too_precise",
            "missing_parent",
            "trim",
            "replacements",
            "mandatory",
            "validated",
        ]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask the model. Raises ValidationError."""
        lookup = attrs.pop("lookup", None) or {"object": "", "field": ""}
        attrs |= {"lookup_object": lookup["object"], "lookup_field": lookup["field"]}
        try:
            FieldMapping(**attrs).clean()
        except ModelError as error:
            told = as_serializer_error(error)
            raise serializers.ValidationError(
                {name.replace("lookup_", "lookup."): texts for name, texts in told.items()}
            ) from None
        return attrs


class ParameterSerializer(serializers.ModelSerializer):
    class Meta:
        model = Parameter
        fields = ["name", "default", "description"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask the model. Raises ValidationError."""
        try:
            Parameter(**attrs).clean()
        except ModelError as error:
            raise serializers.ValidationError(as_serializer_error(error)) from None
        return attrs


class ColumnTypeSerializer(serializers.Serializer):
    name = serializers.CharField(max_length=200, trim_whitespace=False, help_text="As the source has it.")
    type = serializers.ChoiceField(choices=ColumnType.choices)
    format = serializers.CharField(
        max_length=100,
        required=False,
        allow_blank=True,
        default="",
        help_text="How its dates are written, such as %d.%m.%Y; blank: YYYY-MM-DD.",
    )


@extend_schema_field({"type": "object", "nullable": True, "additionalProperties": {}})
class RuleField(serializers.JSONField):
    """A condition built from rules."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise serializers.ValidationError('Give {"all": [...]} or {"any": [...]}, or null.')
        return super().to_internal_value(data)


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
    parameters = ParameterSerializer(many=True, required=False, help_text="Replaced as a whole when given.")
    columns = ColumnTypeSerializer(many=True, required=False, help_text="Columns of the source that are not just text.")
    source_rules = RuleField(required=False, allow_null=True, help_text="The source filter, built from rules.")
    changed_rule = RuleField(required=False, allow_null=True, help_text="Of `conditional`: where it holds, update.")
    give_up_snapshot = serializers.BooleanField(
        required=False,
        write_only=True,
        help_text="Needed to change `object` or `key_fields` of a sync that has a snapshot, which is lost by that.",
    )
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
            "source_filter",
            "source_rules",
            "columns",
            "destination",
            "object",
            "key_fields",
            "target_filter",
            "mode",
            "compare",
            "on_new",
            "on_changed",
            "on_dropped",
            "changed_rule",
            "expire_field",
            "action_column",
            "time_zone",
            "auto_assign",
            "duplicate_rules",
            "bulk_serial",
            "park_after",
            "hard_delete",
            "guard_rows",
            "guard_percent",
            "guard_rejected_percent",
            "guard_count_percent",
            "guard_budget_percent",
            "approval",
            "approver_differs",
            "keep_before",
            "when_over_budget",
            "priority",
            "batch_rows",
            "batch_bytes",
            "paused",
            "mappings",
            "parameters",
            "schedule",
            "created_at",
            "give_up_snapshot",
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

    def validate_parameters(self, parameters: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Raises ValidationError when two have one name, or for too many."""
        names = [parameter["name"].lower() for parameter in parameters]
        twice = sorted({name for name in names if names.count(name) > 1})
        if len(names) > _MOST_PARAMETERS:
            raise serializers.ValidationError(f"There are {len(names)} parameters, more than {_MOST_PARAMETERS}.")
        if twice:
            raise serializers.ValidationError(f"Two parameters are called '{twice[0]}'. Rename one of them.")
        return parameters

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask the model. Raises ValidationError."""
        team = attrs.pop("for_team", None)
        if self.instance is None and team is None:
            team_needed(self)
        self._keep_snapshot(attrs)
        if attrs.get("hard_delete") and not self._may_hard_delete():
            raise serializers.ValidationError(
                {"hard_delete": "Switching this on takes the permission 'hard_delete' on the sync."}
            )
        if "schedule" in attrs and not self._may_execute():
            raise serializers.ValidationError(
                {"schedule": "A schedule starts the sync, so setting it takes the permission 'execute' on it."}
            )
        attrs = super().validate(attrs)
        return attrs if team is None or self.instance is not None else {**attrs, "for_team": team}

    def _keep_snapshot(self, attrs: dict[str, Any]) -> None:
        """Raises ValidationError for a change that makes the snapshot useless, unless it may be lost."""
        may_go, sync = attrs.pop("give_up_snapshot", False), self.instance
        self._lost = isinstance(sync, Sync) and sync.cost_of_change(
            attrs.get("object", sync.object), attrs.get("key_fields", sync.key_fields)
        )
        if self._lost and not may_go:
            name = "object" if "object" in attrs and attrs["object"] != sync.object else "key_fields"  # type: ignore[union-attr]
            told = " ".join([*self._lost, "Send give_up_snapshot = true with the change to do it."])
            raise serializers.ValidationError({name: told})

    def _may_hard_delete(self) -> bool:
        stands = isinstance(self.instance, Sync) and self.instance.hard_delete
        return stands or self._may(Permission.HARD_DELETE)

    def _may_execute(self) -> bool:
        return self._may(Permission.EXECUTE)

    def _may(self, permission: Permission) -> bool:
        if self.actor is None:
            return True
        if self.instance is None:
            return permission in self.actor.ceiling  # whoever makes a sync gets its grants
        return access.may(self.actor, permission, self.instance)  # type: ignore[arg-type]

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
        parameters = values.pop("parameters", None)
        for name, value in values.items():
            setattr(sync, name, value)
        sync.save()
        if self._lost:
            sync.give_up_snapshot()
        own = {"organization_id": sync.organization_id, "sync": sync}
        if parameters is not None:
            Parameter.all_objects.filter(sync=sync).delete()
            Parameter.all_objects.bulk_create([Parameter(**own, **each) for each in parameters])
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
    """The syncs, with their schedules, mappings and parameters read along."""
    lines = Prefetch("mappings", FieldMapping.all_objects.order_by("position", "pk"))
    parameters = Prefetch("parameters", Parameter.all_objects.order_by("name"))
    return syncs.select_related("schedule").prefetch_related(lines, parameters)


class RunSerializer(serializers.Serializer):
    full_resync = serializers.BooleanField(
        default=False, help_text="Send every row, whatever Salesforce is known to hold."
    )
    baseline = serializers.BooleanField(
        default=False, help_text="Record what the source holds as known in Salesforce, and send nothing."
    )
    preview = serializers.BooleanField(
        default=False, help_text="Plan only, and send nothing: its plan can be looked at when the job is `planned`."
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
