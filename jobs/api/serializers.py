from __future__ import annotations

from typing import Any

from rest_framework import serializers

from jobs.history import RECORD_ID
from jobs.models import Batch, ErrorGroup, Job, JobEvent
from jobs.plans import ACTIONS
from orgs.api.paging import LARGEST_PAGE
from orgs.api.parsers import LARGEST_NUMBER


class JobSerializer(serializers.ModelSerializer):
    counts = serializers.DictField(help_text="Rows per outcome.")
    progress = serializers.DictField(help_text="How far it is.")
    parameters = serializers.DictField(help_text="Values by name, fixed when it was started.")
    forecast = serializers.DictField(help_text="Calls and seconds that its plan will cost, about.")

    class Meta:
        model = Job
        fields = [
            "id",
            "sync",
            "source",
            "destination",
            "status",
            "reason",
            "full_resync",
            "baseline",
            "replay_of",
            "preview",
            "undo_of",
            "test_row",
            "canary_rows",
            "canary_done",
            "forecast",
            "parameters",
            "salesforce_org_id",
            "counts",
            "progress",
            "api_calls",
            "started_by",
            "approved_by",
            "scheduled_for",
            "files_removed_at",
            "created_at",
            "started_at",
            "planned_at",
            "ended_at",
        ]


class EventSerializer(serializers.ModelSerializer):
    class Meta:
        model = JobEvent
        fields = ["id", "at", "status", "text"]


class BatchSerializer(serializers.ModelSerializer):
    counts = serializers.DictField(help_text="Rows per outcome.")

    class Meta:
        model = Batch
        fields = [
            "id",
            "number",
            "lane",
            "operation",
            "state",
            "attempt",
            "salesforce_job_id",
            "rows",
            "records_processed",
            "counts",
            "unresolved",
            "reason",
            "api_calls",
        ]


class ErrorGroupSerializer(serializers.ModelSerializer):
    class Meta:
        model = ErrorGroup
        fields = ["id", "source", "code", "field", "rows", "sample_row", "sample_message", "advice"]


class RejectSerializer(serializers.Serializer):
    reason = serializers.CharField(
        default="", allow_blank=True, max_length=500, help_text="Why; it stands in the record of the job."
    )


class TestSerializer(serializers.Serializer):
    row = serializers.IntegerField(
        min_value=1, max_value=LARGEST_NUMBER, help_text="Number of the row in the source, as the job read it."
    )


class ExchangeSerializer(serializers.Serializer):
    number = serializers.IntegerField(help_text="From 1, in each look at the batch.")
    at = serializers.DateTimeField(help_text="When it went out.")
    method = serializers.CharField()
    path = serializers.CharField(help_text="With its query.")
    request_headers = serializers.DictField(child=serializers.CharField(), help_text="Without those that are secret.")
    request_body = serializers.CharField(help_text="At most 100 kB.")
    status = serializers.IntegerField(allow_null=True, help_text="Of the answer; null when there is none.")
    answer_headers = serializers.DictField(child=serializers.CharField())
    answer_body = serializers.CharField(help_text="At most 100 kB.")
    error = serializers.CharField(help_text="Why there is no answer.")


class ExchangesSerializer(serializers.Serializer):
    results = ExchangeSerializer(many=True)


class UndoSerializer(serializers.Serializer):
    preview = serializers.BooleanField(default=False, help_text="Plan it, and send nothing.")


class RowErrorSerializer(serializers.Serializer):
    row = serializers.IntegerField(help_text="Of the source, from 1.")
    # DRF takes fields out of the class, so the names are free.
    source = serializers.CharField(  # type: ignore[assignment]
        help_text="Who refused: sfsync's `rule`, or `salesforce`; `violation`: a rule was broken, but the row went on."
    )
    code = serializers.CharField()
    field = serializers.CharField()
    column = serializers.CharField()
    value = serializers.CharField()
    message = serializers.CharField()
    operation = serializers.CharField()
    key = serializers.CharField()
    record_id = serializers.CharField()


class RowErrorsSerializer(serializers.Serializer):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True, help_text="Always null: these pages go forward only.")
    results = RowErrorSerializer(many=True)


class RowErrorsQuery(serializers.Serializer):
    code = serializers.CharField(default="", allow_blank=True, max_length=200, help_text="Exactly this code.")
    field = serializers.CharField(default="", allow_blank=True, max_length=255, help_text="Exactly this field.")
    search = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=200,
        help_text="Text in the value, the message, the key or a cell of the row, in whatever case.",
    )
    after = serializers.IntegerField(
        default=0, min_value=0, max_value=LARGEST_NUMBER, help_text="Only rows behind this one."
    )
    page_size = serializers.IntegerField(default=50, min_value=1, max_value=LARGEST_PAGE, help_text="Rows per page.")


class FieldChangeSerializer(serializers.Serializer):
    name = serializers.CharField(help_text="As it was sent: a field, or a relationship and a field of the parent.")
    before = serializers.CharField(allow_null=True, help_text="Null for nothing, and where it is not known.")
    after = serializers.CharField(allow_null=True, help_text="What was sent; null for nothing.")
    basis = serializers.ChoiceField(
        choices=["read", "sent", "new", "unknown"],
        help_text="How `before` is known: read before the job, sent by an earlier job, a new record, or not at all.",
    )
    changed = serializers.BooleanField(allow_null=True, help_text="Null where `before` is not known.")


class ChangeSerializer(serializers.Serializer):
    at = serializers.DateTimeField(help_text="When the job ended.")
    sync = serializers.IntegerField()
    sync_name = serializers.CharField()
    job = serializers.IntegerField()
    row = serializers.IntegerField(allow_null=True, help_text="Of the source; null for a record that left it.")
    action = serializers.CharField()
    outcome = serializers.CharField()
    error = serializers.CharField(help_text="Salesforce's answer to a refused row, or why its fate is not known.")
    key = serializers.CharField()
    record_id = serializers.CharField()
    fields = FieldChangeSerializer(many=True)  # type: ignore[assignment]


class HistorySerializer(serializers.Serializer):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True, help_text="Always null: these pages go forward only.")
    results = ChangeSerializer(many=True)


class HistoryQuery(serializers.Serializer):
    key = serializers.CharField(
        default="", allow_blank=True, max_length=1000, help_text="Of the record, as it reads, in whatever case."
    )
    record_id = serializers.RegexField(
        f"^({RECORD_ID.pattern})?$", default="", allow_blank=True, help_text="15 or 18 characters."
    )
    sync = serializers.IntegerField(
        default=None, allow_null=True, min_value=0, max_value=LARGEST_NUMBER, help_text="Only changes by this sync."
    )
    after = serializers.RegexField(
        r"^([0-9]{1,18}-[0-9]{1,18}-[0-9]{1,18}-[A-Za-z0-9]{0,18})?$",
        default="",
        allow_blank=True,
        help_text="Where the page begins: take the whole address from `next`.",
    )
    page_size = serializers.IntegerField(default=50, min_value=1, max_value=LARGEST_PAGE, help_text="Changes per page.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if bool(attrs["key"].strip()) == bool(attrs["record_id"]):
            raise serializers.ValidationError("Ask for a key or for a record id, one of them.")
        return attrs


class RowSerializer(serializers.Serializer):
    row = serializers.IntegerField(help_text="Of the source, from 1.")
    errors = RowErrorSerializer(many=True)  # type: ignore[assignment]
    cells = serializers.DictField(
        child=serializers.CharField(allow_null=True), allow_null=True, help_text="By column; null for what is no row."
    )


class PlannedChangeSerializer(serializers.Serializer):
    field = serializers.CharField(help_text="As it is sent, such as Name or Account.External_Id__c.")
    known = serializers.BooleanField(help_text="Whether it was read what the record holds.")
    before = serializers.CharField(allow_null=True, help_text="What the record holds; null for nothing.")
    after = serializers.CharField(allow_null=True, help_text="What is sent; null clears the field.")


class PlannedRowSerializer(serializers.Serializer):
    line = serializers.IntegerField(help_text="Its place in the plan, from 0.")
    row = serializers.IntegerField(
        allow_null=True, help_text="Of the source, from 1; null: its record left the source."
    )
    action = serializers.CharField()
    key = serializers.CharField()
    record_id = serializers.CharField()
    is_new = serializers.BooleanField(allow_null=True, help_text="Whether the record is not there yet; null: not read.")
    changes = PlannedChangeSerializer(many=True)


class PlannedRowsSerializer(serializers.Serializer):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True, help_text="Always null: these pages go forward only.")
    results = PlannedRowSerializer(many=True)


class PlanQuery(serializers.Serializer):
    action = serializers.ChoiceField(default="changes", choices=list(ACTIONS), help_text="Only rows with this action.")
    search = serializers.CharField(
        default="", allow_blank=True, max_length=200, help_text="Text in the key, the id or a value, in whatever case."
    )
    after = serializers.IntegerField(
        default=-1, min_value=-1, max_value=LARGEST_NUMBER, help_text="Only lines of the plan behind this one."
    )
    page_size = serializers.IntegerField(default=50, min_value=1, max_value=LARGEST_PAGE, help_text="Rows per page.")
