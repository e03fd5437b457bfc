from django.contrib import admin

from syncs.models import FieldMapping, Sync


class FieldMappingInline(admin.TabularInline):
    model = FieldMapping
    exclude = ["organization"]
    extra = 0


@admin.register(Sync)
class SyncAdmin(admin.ModelAdmin):
    list_display = ["name", "organization", "object", "mode", "source", "destination"]
    list_filter = ["organization", "mode"]
    search_fields = ["name", "object"]
    inlines = [FieldMappingInline]

    def save_formset(self, request, form, formset, change):
        for line in formset.save(commit=False):
            line.organization = form.instance.organization
            line.save()
        for line in formset.deleted_objects:
            line.delete()
