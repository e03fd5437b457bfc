"""What stands below the form of a sync: the lines of its mapping, its parameters, its schedule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest

from orgs import access
from orgs.models import Permission
from orgs.tenant_admin import TenantInline, actor_of
from syncs.asked import BLANK_LINES, is_quiet, offers_of
from syncs.engine.validate import Problem
from syncs.forms import ScheduleForm
from syncs.line_forms import (
    OPTIONS,
    MappingForm,
    MappingFormSet,
    ParameterForm,
    ParameterFormSet,
    QuietFormSet,
)
from syncs.models import FieldMapping, Parameter, Schedule


class QuietInline(TenantInline):
    """Rows that are shown again unchecked while the form is only refreshed."""

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        quiet = is_quiet(request)
        members = {"quiet": quiet, "offers": offers_of(request, obj)}
        kwargs["form"] = type(self.form.__name__, (self.form,), members)
        formset: Any = super().get_formset(request, obj, **kwargs)
        formset.quiet = quiet
        return formset


class FieldMappingInline(QuietInline):
    model = FieldMapping
    form = MappingForm
    formset = MappingFormSet
    template = "syncs/mapping.html"
    fields = ["position", "source_column", "constant", "expression", "target", *OPTIONS]
    ordering = ["position", "pk"]
    verbose_name = "line"
    verbose_name_plural = "Mapping: which field gets what"

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        return BLANK_LINES


class ParameterInline(QuietInline):
    model = Parameter
    form = ParameterForm
    formset = ParameterFormSet
    fields = ["name", "default", "asked", "description"]
    verbose_name_plural = "Parameters: values that filters, queries, paths and expressions use as @name"
    classes = ["collapse"]
    options_follow = True  # on the page, the fieldsets that are called late come next

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        return 1


class ScheduleInline(QuietInline):
    model = Schedule
    form = ScheduleForm
    formset = QuietFormSet
    fields = ["enabled", "every_minutes", "cron", "time_zone", "next_start_at", "last_skip"]
    readonly_fields = ["next_start_at", "last_skip"]
    verbose_name_plural = "Schedule: every so many minutes, or by a cron line"

    # A schedule starts the sync: whoever sets it may do that by hand too.

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may_start = obj is None or access.may(actor_of(request), Permission.EXECUTE, obj)
        return may_start and super().has_add_permission(request, obj)

    has_change_permission = has_delete_permission = has_add_permission

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        return 1 if self.has_add_permission(request, obj) else 0


def show_at_lines(problems: Iterable[Problem], inlines: Iterable[Any]) -> None:
    """Hand each problem to the line of the mapping that it is about, too."""
    for inline in inlines:
        if inline.opts.model is not FieldMapping:
            continue
        for form in inline.formset.initial_forms:
            line = form.instance
            about = {line.target, line.source_column, line.constant, line.expression} - {None, ""}
            form.problems = tuple(each for each in problems if each.value in about)
