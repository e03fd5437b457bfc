"""Who may what with one object, on that object's page in the admin."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.contenttypes.admin import GenericTabularInline
from django.contrib.contenttypes.forms import BaseGenericInlineFormSet
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from orgs import access
from orgs.models import Grant, Permission
from orgs.tenant_admin import ScopedChoices, actor_of

WHAT_IT_LETS = {
    Permission.READ: "See it, and its jobs.",
    Permission.WRITE: "Change it. Seeing it takes Read as well.",
    Permission.EXECUTE: "A connection: test it and use it in syncs. A sync: run it, cancel its jobs. Includes Read.",
    Permission.APPROVE: "Let a job go on that waits for approval, or reject it. Includes Read.",
    Permission.HARD_DELETE: "Let a sync delete records past the recycle bin. Takes Write as well.",
    Permission.ADMIN: "Delete it, and say who may what with it. Includes everything.",
}


class GrantForm(forms.ModelForm):
    class Meta:
        model = Grant
        fields = ["team", *(permission.value for permission in Permission)]
        help_texts = {permission.value: text for permission, text in WHAT_IT_LETS.items()}

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if not any(values.get(permission.value) for permission in Permission):
            self.add_error("read", "Tick what the team may do, or delete this line.")
        return values


class GrantFormSet(BaseGenericInlineFormSet):
    def clean(self) -> None:
        """A team stands there once: that is unique with the object, which is not on the form."""
        super().clean()
        seen = set()
        for form in self.forms:
            team = getattr(form, "cleaned_data", {}).get("team")
            if team is None or self._should_delete_form(form):  # type: ignore[attr-defined]
                continue
            if team in seen:
                raise ValidationError(f"The team '{team}' stands here twice. Use one line for each team.")
            seen.add(team)


class GrantInline(ScopedChoices, GenericTabularInline):
    """The grants of a connection or a sync: for whoever holds admin on it, and nobody else."""

    model = Grant
    form = GrantForm
    formset = GrantFormSet  # type: ignore[assignment]  # the stubs know only formsets of foreign keys
    ct_field = "content_type"
    ct_fk_field = "object_id"
    extra = 0
    verbose_name = "team"
    verbose_name_plural = "Who may what: owners and admins of the organization everything, and these teams"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Not by Django's own, which asks for the permission to view without saying of which object.
        organization = actor_of(request).organization
        rows = Grant.all_objects.filter(organization=organization, team__organization=organization)
        return rows.select_related("team").order_by("team__name")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # While it is being made nobody but the team it is made for has anything to do with it.
        return obj is not None and access.may(actor_of(request), Permission.ADMIN, obj)

    has_add_permission = has_change_permission = has_delete_permission = has_view_permission
