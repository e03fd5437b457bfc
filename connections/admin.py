from django.contrib import admin

from connections.models import Connection


@admin.register(Connection)
class ConnectionAdmin(admin.ModelAdmin):
    list_display = ["name", "kind", "organization", "salesforce_org_id"]
    list_filter = ["kind", "organization"]
    readonly_fields = ["settings_version", "salesforce_org_id", "created_at"]
