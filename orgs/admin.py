"""The organization's own pages: members, teams, grants, audit. Its managers see them, and nobody else but teams."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join

from orgs import access, admin_installation, admin_tokens, members  # noqa: F401  # they register their pages
from orgs.access import Denied
from orgs.models import AuditEvent, Grant, Membership, Permission, Role, Team
from orgs.tenant_admin import ScopedFilter, TenantAdmin, actor_of


class ManagersAdmin(TenantAdmin):
    """A page for whoever manages the organization. For anybody else it is not there."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return super().has_module_permission(request) and actor_of(request).manages


class ReadOnly:
    """A list to look at. What it tells is changed elsewhere, or never."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_delete_permission = has_change_permission


class NewMember(forms.ModelForm):
    username = forms.CharField(
        label="User name", max_length=150, help_text="Of a login that exists, exactly as it is written."
    )

    class Meta:
        model = Membership
        fields = ["role"]

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"].strip()
        self.user = User.objects.filter(username=name, is_active=True).first()
        if self.user is None:
            raise forms.ValidationError(
                f"There is no login '{name}'. Ask whoever runs this installation to create the login, then add it here."
            )
        if Membership.all_objects.filter(organization=self.instance.organization, user=self.user).exists():
            raise forms.ValidationError(f"'{name}' is a member already.")
        return name


@admin.register(Membership)
class MembershipAdmin(ManagersAdmin):
    list_display = ["user", "role", "in_teams"]
    list_filter = ["role"]
    search_fields = ["user__username"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("user").prefetch_related("teams")

    @admin.display(description="Teams")
    def in_teams(self, membership: Membership) -> str:
        return ", ".join(team.name for team in membership.teams.all())

    # --- the form ---

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        more = {} if obj else {"form": NewMember, "fields": ["username", "role"]}
        return super().get_form(request, obj, change, **{**kwargs, **more})

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["person", "role"] if obj else ["username", "role"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["person"] if obj else []

    @admin.display(description="User")
    def person(self, membership: Membership) -> str:
        # Not the field itself: Django would link to the login, which only whoever runs the installation may open.
        return membership.user.get_username()

    def formfield_for_choice_field(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "role" and actor_of(request).role != Role.OWNER:
            kwargs["choices"] = [choice for choice in Role.choices if choice[0] != Role.OWNER]
        return super().formfield_for_choice_field(db_field, request, **kwargs)

    # --- who may ---

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and self._not_above(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and self._not_above(request, obj)

    def _not_above(self, request: HttpRequest, obj: Membership | None) -> bool:
        return obj is None or obj.role != Role.OWNER or actor_of(request).role == Role.OWNER

    # --- changes: orgs/members.py makes them, and their record ---

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        by, role = actor_of(request), Role(form.cleaned_data["role"])
        if not change:
            obj.__dict__.update(members.add_member(by, form.user, role).__dict__)
        elif "role" in form.changed_data:
            members.change_role(by, obj, role)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        members.remove_member(actor_of(request), obj)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return None

    log_change = log_addition

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        return None

    def changeform_view(self, request: HttpRequest, object_id: Any = None, *args: Any, **kwargs: Any) -> HttpResponse:
        return _told(request, lambda: super(MembershipAdmin, self).changeform_view(request, object_id, *args, **kwargs))

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        return _told(request, lambda: super(MembershipAdmin, self).delete_view(request, object_id, extra_context))


def _told(request: HttpRequest, view: Any) -> HttpResponse:
    """The answer of a view; what it refuses is said on the list."""
    try:
        answer: HttpResponse = view()
    except Denied as denied:
        messages.error(request, str(denied))
        return redirect("admin:orgs_membership_changelist")
    return answer


@admin.register(Team)
class TeamAdmin(TenantAdmin):
    list_display = ["name", "description", "people"]
    search_fields = ["name"]
    filter_horizontal = ["members"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).annotate(count=Count("members"))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Everybody sees the names of teams; who is in them is the managers' to know.
        return ["name", "description", *(["members"] if actor_of(request).manages else [])]

    @admin.display(description="Members", ordering="count")
    def people(self, team: Any) -> int:
        count: int = team.count
        return count


class KindOfObject(admin.SimpleListFilter):
    title = "kind of object"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        used = model_admin.get_queryset(request).order_by().values("content_type").distinct()
        return [(str(each.pk), each.name) for each in ContentType.objects.filter(pk__in=used)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value() or ""
        return queryset.filter(content_type=value) if value.isdecimal() else queryset


@admin.register(Grant)
class GrantAdmin(ReadOnly, ManagersAdmin):
    """Who may what, in one list. It is changed on the page of each connection and sync."""

    list_display = ["team", "kind", "on", *(permission.value for permission in Permission)]
    list_filter = [("team", ScopedFilter), KindOfObject]
    list_select_related = ["team", "content_type"]
    search_fields = ["team__name"]
    ordering = ["team__name", "content_type", "object_id"]
    fields = ["team", "kind", "on", *(permission.value for permission in Permission)]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("object")

    @admin.display(description="Kind")
    def kind(self, grant: Grant) -> str:
        return grant.content_type.name

    @admin.display(description="On")
    def on(self, grant: Grant) -> str:
        row: Any = grant.object
        if row is None or row.organization_id != grant.organization_id:
            return "nothing that exists"
        try:
            url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
        except NoReverseMatch:
            return str(row)
        return format_html('<a href="{}">{}</a>', url, row)


class When(admin.DateFieldListFilter):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.title = "date"


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnly, ManagersAdmin):
    list_display = ["at", "actor", "via", "action", "object_type", "object_label"]
    list_filter = [("at", When), "action", "object_type", "via", "actor"]
    search_fields = ["actor", "object_label", "action"]
    fields = ["at", "actor", "via", "action", "object_type", "object_id", "object_label", "what_changed"]

    @admin.display(description="Changes")
    def what_changed(self, event: AuditEvent) -> str:
        rows = ((name, *(_shown(value) for value in change)) for name, change in event.changes.items())
        return format_html_join("", "<div>{}: {} → {}</div>", rows) or "-"


def _shown(value: Any) -> str:
    return "nothing" if value in (None, "", [], {}) else str(value)
