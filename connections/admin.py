from django.contrib import admin

from connections.models import Connection


@admin.register(Connection)
class ConnectionAdmin(admin.ModelAdmin):
    list_display = ["name", "kind", "organization", "salesforce_org_id"]
    list_filter = ["kind", "organization"]
    # Secrets are entered among the settings; saving takes them out and encrypts them, and they are never shown again.
    readonly_fields = ["settings_version", "salesforce_org_id", "created_at"]

    def save_model(self, request, obj, form, change):
        obj.set_values(obj.entered_values())
        super().save_model(request, obj, form, change)
