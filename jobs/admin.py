from django.contrib import admin

from jobs.models import Batch, ErrorGroup, Job, JobEvent


class ReadOnly:
    """What happened is looked at, not edited."""

    def has_add_permission(self, request, obj=None):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False


class JobEventInline(ReadOnly, admin.TabularInline):
    model = JobEvent
    fields = ["at", "status", "text"]


class BatchInline(ReadOnly, admin.TabularInline):
    model = Batch
    fields = ["number", "operation", "state", "rows", "attempt", "salesforce_job_id", "counts", "reason"]


class ErrorGroupInline(ReadOnly, admin.TabularInline):
    model = ErrorGroup
    fields = ["source", "code", "field", "rows", "sample_row", "sample_message", "advice"]


@admin.register(Job)
class JobAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["id", "sync", "status", "created_at", "ended_at", "reason"]
    list_filter = ["organization", "status"]
    inlines = [JobEventInline, BatchInline, ErrorGroupInline]
