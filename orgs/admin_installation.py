"""Organizations, and the logins of people: mostly for whoever runs the installation."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from orgs import access, audit, current, members
from orgs.access import Actor
from orgs.models import Organization, Role, Via
from orgs.tenant_admin import history_page


class NewOrganization(forms.ModelForm):
    owner = forms.CharField(
        label="First owner", max_length=150, help_text="User name of a login that exists. It may add the others."
    )

    class Meta:
        model = Organization
        fields = ["name", "slug"]

    def clean_owner(self) -> User:
        name = self.cleaned_data["owner"].strip()
        user = User.objects.filter(username=name, is_active=True).first()
        if user is None:
            raise forms.ValidationError(f"There is no login '{name}'. Create it under Users first.")
        return user


@admin.register(Organization)
class OrganizationAdmin(admin.ModelAdmin):
    """Its managers rename it; whoever runs the installation makes new ones."""

    list_display = ["name", "slug", "people", "created_at"]
    search_fields = ["name", "slug"]
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        if not _runs_the_installation(request):
            actor = _actor(request)
            rows = rows.filter(pk=actor.organization.pk if actor and actor.manages else 0)
        return rows.annotate(count=Count("memberships"))

    @admin.display(description="Members", ordering="count")
    def people(self, organization: Any) -> int:
        count: int = organization.count
        return count

    # --- who may ---

    def has_module_permission(self, request: HttpRequest) -> bool:
        actor = _actor(request)
        return _runs_the_installation(request) or bool(actor and actor.manages)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        actor = _actor(request)
        own = obj is None or bool(actor and actor.organization == obj)
        return _runs_the_installation(request) or (own and self.has_module_permission(request))

    has_change_permission = has_view_permission

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _runs_the_installation(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    # --- the form ---

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        more = {} if obj else {"form": NewOrganization, "fields": ["name", "slug", "owner"]}
        return super().get_form(request, obj, change, **{**kwargs, **more})

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["name", "slug", "history_days", "created_at"] if obj else ["name", "slug", "owner"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        # The folder of its files is named by the slug.
        return ["slug", "created_at"] if obj else []

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return {} if obj else {"slug": ["name"]}

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"owner": request.user.get_username()}

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        before = audit.values_of(Organization.objects.get(pk=obj.pk)) if change else {}
        super().save_model(request, obj, form, change)
        by = access.operator(obj, request.user.get_username(), Via.ADMIN)
        changes = audit.changes_between(before, audit.values_of(obj))
        if changes:
            audit.record(by, "changed" if change else "created", obj, changes)
        if not change:
            members.add_member(by, form.cleaned_data["owner"], Role.OWNER)
            current.choose(request, obj.pk)

    # Its record is written above.
    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return None

    log_change = log_addition

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        self.message_user(request, f"The organization '{obj}' was created, and you are acting in it now.")
        return redirect("admin:index")

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        return history_page(self, request, object_id)


def _actor(request: HttpRequest) -> Actor | None:
    actor: Actor | None = getattr(request, "actor", None)
    return actor


def _runs_the_installation(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)


class UserForm(UserChangeForm):
    def clean_is_active(self) -> bool:
        """An organization keeps an owner who can log in."""
        active: bool = self.cleaned_data["is_active"]
        needed = [] if active else members.organizations_that_need(self.instance)
        if needed:
            names = ", ".join(str(each) for each in needed)
            raise forms.ValidationError(
                f"This is the only owner who can log in of: {names}. Make somebody else an owner there first."
            )
        return active


admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class PeopleAdmin(UserAdmin):
    """Logins. What a person may do follows from its memberships, not from Django's own permissions."""

    form = UserForm
    list_display = ["username", "email", "is_active", "is_superuser", "last_login"]
    list_filter = ["is_active", "is_superuser"]
    actions = None
    filter_horizontal = []
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        ("The person", {"fields": ["first_name", "last_name", "email"]}),
        ("May", {"fields": ["is_active", "is_superuser"]}),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    ]
    readonly_fields = ["last_login", "date_joined"]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _runs_the_installation(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _runs_the_installation(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _runs_the_installation(request)

    has_change_permission = has_delete_permission = has_view_permission

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        # Before anything is looked up: whether a login exists is nobody else's business.
        if not self.has_view_permission(request):
            raise PermissionDenied
        return super().history_view(request, object_id, extra_context)
