"""What every page of the admin about tenant data derives from: it shows and permits what orgs/access.py says."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.filters import RelatedFieldListFilter
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import ProtectedError, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from orgs import access, audit
from orgs.access import Actor
from orgs.models import AuditEvent, Grant, Organization, Permission, Team
from orgs.tenancy import TenantModel


class ScopedFilter(RelatedFieldListFilter):
    """A filter by a related row, offering only rows that the actor may read."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[Any]:
        rows = access.visible(actor_of(request), field.remote_field.model.all_objects.all())
        return [(row.pk, str(row)) for row in rows]


def actor_of(request: HttpRequest) -> Actor:
    """Who is asking, as the site found out."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return actor


class ScopedChoices:
    """Dropdowns of foreign keys offer what the actor may use, of its own organization."""

    # Which permission a row must carry to be offered, by the name of the field; reading is the default.
    offered_with: dict[str, Permission] = {}

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        self._scope(db_field, request, kwargs)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        self._scope(db_field, request, kwargs)
        return super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]

    def _scope(self, db_field: Any, request: HttpRequest, kwargs: dict[str, Any]) -> None:
        model = db_field.remote_field.model
        if issubclass(model, TenantModel):
            needed = self.offered_with.get(db_field.name, Permission.READ)
            kwargs["queryset"] = access.visible(actor_of(request), model.all_objects.all(), needed)


_LOOKUPS = ("exact", "in", "isnull", "id__exact", "gte", "lt")  # of Django's filters


class TenantInline(ScopedChoices, admin.TabularInline):
    """Rows that are edited on the page of what they belong to, by whoever may change that."""

    exclude = ["organization"]
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(organization=actor_of(request).organization)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True  # whoever sees the page

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None or access.may(actor_of(request), Permission.WRITE, obj)

    has_change_permission = has_delete_permission = has_add_permission


class TenantAdmin(ScopedChoices, admin.ModelAdmin):
    """The admin of one tenant model."""

    exclude = ["organization"]
    list_per_page = 50
    show_full_result_count = False
    # Who makes a row without managing the organization makes it for a team; its grants then are the team's.
    made_for_a_team = False

    # --- what is there ---

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """What the actor may read. What it may not read does not exist, whosever it is."""
        ordering = self.get_ordering(request)
        rows = access.visible(actor_of(request), self.model.all_objects.all())
        return rows.order_by(*ordering) if ordering else rows

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """What the filters of the list ask for, and nothing else: Django would take any condition on any field."""
        names = [each[0] if isinstance(each, tuple) else each for each in self.get_list_filter(request)]  # type: ignore[arg-type]
        return any(lookup == name or lookup in {f"{name}__{how}" for how in _LOOKUPS} for name in names)

    # --- who may ---

    def has_module_permission(self, request: HttpRequest) -> bool:
        return getattr(request, "actor", None) is not None

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request) and self._may(request, Permission.READ, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # A form shows what it changes, so it takes both.
        return self.has_view_permission(request, obj) and self._may(request, Permission.WRITE, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request, obj) and self._may(request, Permission.ADMIN, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_module_permission(request) and access.may_create(actor_of(request), self.model)

    def _may(self, request: HttpRequest, permission: Permission, obj: Any) -> bool:
        actor = actor_of(request)
        return permission in actor.ceiling if obj is None else access.may(actor, permission, obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """None for many rows at once: what one may do differs from row to row."""
        return {}

    # --- changes, and their record ---

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The form; of a new row it knows the organization before it checks, and may ask for a team."""
        actor = actor_of(request)
        base: Any = super().get_form(request, obj, change, **kwargs)
        adding = obj is None

        class Scoped(base):
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                if adding:
                    self.instance.organization = actor.organization

            # Uniqueness within the organization is checked although its field is not on the form.
            def _get_validation_exclusions(self) -> set[str]:
                return set(super()._get_validation_exclusions()) - {"organization"}

        if adding and self.made_for_a_team:
            teams = access.teams_of(actor)
            only = teams.first() if teams.count() == 1 else None
            Scoped.base_fields["for_team"] = forms.ModelChoiceField(
                teams,
                required=not actor.manages,
                initial=None if actor.manages else only,
                label="For the team",
                help_text="It gets every permission on this. Owners and admins of the organization have them anyway.",
            )
        return Scoped

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        request.before = audit.values_of(type(form.instance).all_objects.get(pk=form.instance.pk)) if change else {}  # type: ignore[attr-defined]
        return super().save_form(request, form, change)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.organization = actor_of(request).organization
        super().save_model(request, obj, form, change)
        team: Team | None = form.cleaned_data.get("for_team")
        if not change and team is not None:
            access.hand_to(team, obj)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        rows, model, actor = formset.save(commit=False), formset.model, actor_of(request)
        # What no grants rule, such as a grant, is no part of the row of this page: it has a record of its own.
        recorded = model.access_path is None
        for row in rows:
            row.organization = form.instance.organization
            stored = model.all_objects.filter(pk=row.pk).first() if recorded and row.pk else None
            before = audit.values_of(stored) if stored else {}
            row.save()
            if recorded:
                changes = audit.changes_between(before, audit.values_of(row))
                audit.record(actor, "changed" if stored else "created", row, changes)
        for row in formset.deleted_objects:
            if recorded:
                audit.record(actor, "deleted", row)
            row.delete()
        formset.save_m2m()

    # Django calls these once everything is saved; its own log knows no organizations, so ours takes their place.

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        audit.record(actor_of(request), "created", obj, audit.changes_between({}, audit.values_of(obj)))

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        changes = {
            **audit.changes_between(request.before, audit.values_of(obj)),  # type: ignore[attr-defined]
            **_inline_changes(message),
        }
        if changes:
            audit.record(actor_of(request), "changed", obj, changes)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            audit.record(actor_of(request), "deleted", obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What hangs on a row goes with it: whoever may delete the row needs no further permission."""
        deleted, counts, _, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, set(), protected

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        try:
            with transaction.atomic():
                super().delete_model(request, obj)
        except ProtectedError as error:
            names = ", ".join(sorted(f"{row._meta.verbose_name} '{row}'" for row in error.protected_objects)[:5])
            raise access.Denied(f"'{obj}' is in use: {names}. Delete or change these first.", exists=True) from None

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        return history_page(self, request, object_id, extra_context)


def history_page(model_admin: Any, request: HttpRequest, object_id: str, more: Any = None) -> HttpResponse:
    """Who did what to one row: from our own record, for whoever may see the row."""
    opts = model_admin.opts
    obj = model_admin.get_object(request, object_id)
    if obj is None:
        missing: HttpResponse = model_admin._get_obj_does_not_exist_redirect(request, opts, object_id)
        return missing
    if not model_admin.has_view_permission(request, obj):
        raise PermissionDenied
    events = AuditEvent.all_objects.filter(
        organization=obj if isinstance(obj, Organization) else obj.organization,
        object_type=str(opts.verbose_name),
        object_id=obj.pk,
    )
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"History of {obj}",
        "opts": opts,
        "object": obj,
        "events": events[:200],
        **(more or {}),
    }
    return TemplateResponse(request, "admin/history.html", context)


def _inline_changes(message: Any) -> dict[str, Any]:
    """What Django's message says of the rows that were edited on the same page."""
    told = [(verb, entry[verb]) for entry in message if isinstance(entry, dict) for verb in entry]
    own_record = str(Grant._meta.verbose_name)
    rows = [
        (verb, what) for verb, what in told if isinstance(what, dict) and what.get("name") not in (None, own_record)
    ]
    return {f"{what['name']} '{what['object']}'": [None, verb] for verb, what in rows}
