"""The form of a sync and of its mapping and schedule. What is offered comes from its connections, or is typed in."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable
from typing import Any

from django import forms
from django.forms.models import BaseInlineFormSet
from django.forms.utils import ErrorDict, ErrorList

from connections.salesforce.describe import Field
from orgs import access
from orgs.access import Actor
from orgs.models import Permission
from syncs.engine.families import family_of
from syncs.models import FieldMapping, Schedule, Sync
from syncs.offers import Offers

SELECTIONS = ("source_table", "source_query", "source_path")

Choices = list[tuple[str, str]]


class Quiet:
    """A form that is shown again as it was entered, unchecked and unsaved, while `quiet` is set."""

    quiet = False

    def full_clean(self) -> None:
        if not self.quiet:
            super().full_clean()  # type: ignore[misc]
            return
        self._errors: Any = ErrorDict()
        self.cleaned_data: dict[str, Any] = {}

    def is_valid(self) -> bool:
        return not self.quiet and super().is_valid()  # type: ignore[misc]


class NamesField(forms.Field):
    """Names, chosen from a list or typed in with commas between them."""

    def prepare_value(self, value: Any) -> Any:
        chosen = isinstance(self.widget, forms.SelectMultiple)
        return value if chosen or not isinstance(value, list | tuple) else ", ".join(value)

    def to_python(self, value: Any) -> list[str]:
        """The names, each once."""
        names = value if isinstance(value, list | tuple) else str(value or "").split(",")
        return list(dict.fromkeys(name.strip() for name in names if name.strip()))


class SyncForm(Quiet, forms.ModelForm):
    """A sync; `offers` and `actor` are set by the admin for each request."""

    offers: Offers
    actor: Actor
    key_fields = NamesField(
        label="Sync key",
        required=False,
        help_text="The mapped field, or fields, by which a row and a record are the same thing; best an external id. "
        "None only for mode insert with compare = nothing.",
    )

    class Meta:
        model = Sync
        fields: list[str] = []
        widgets = {
            "description": forms.Textarea(attrs={"rows": 2, "cols": 60}),
            "source_query": forms.Textarea(attrs={"rows": 5, "cols": 80, "spellcheck": "false"}),
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "source" not in self.fields:  # shown as text, to somebody who may not change it
            return
        for name in ("source", "destination"):
            self._limit(name)
        tables, offered = self.offers.tables, self.offers.objects
        for name in ("source_table", "source_path"):
            if tables is not None:
                self._choose(name, [(table.name, table.name) for table in tables], "---------")
        if offered is not None:
            self._choose("object", [(each.name, f"{each.label} ({each.name})") for each in offered], "---------")
        self._offer_keys()
        self._choose("time_zone", [(zone, zone) for zone in sorted(zoneinfo.available_timezones())])

    def _limit(self, name: str) -> None:
        """Connections that the person may execute on, and the present one, which may stay."""
        field: Any = self.fields[name]
        rows = access.visible(self.actor, field.queryset.model.all_objects.all(), Permission.EXECUTE)
        rows = rows.filter(kind="salesforce") if name == "destination" else rows.exclude(kind="salesforce")
        present = field.queryset.model.all_objects.filter(pk=getattr(self.instance, f"{name}_id") or 0)
        field.queryset = field.queryset.model.all_objects.filter(pk__in=[*_ids(rows), *_ids(present)])
        for link in ("can_add_related", "can_change_related", "can_delete_related", "can_view_related"):
            setattr(field.widget, link, False)
        chosen = getattr(self.offers, name)
        if chosen is None and not self.instance._state.adding:
            field.help_text = (
                "You do not hold the permission 'execute' on this connection, so nothing can be listed from it: "
                "what it holds is typed in below."
            )

    def _offer_keys(self) -> None:
        describe = self.offers.describe
        if describe is None or "key_fields" not in self.fields:
            return
        fields = sorted(describe.fields.values(), key=lambda each: (not each.external_id, each.label.lower()))
        keys = [each for each in fields if family_of(each.type) is not None]
        shown = [(each.name, f"{each.label} ({each.name}){', external id' * each.external_id}") for each in keys]
        self.fields["key_fields"].widget = forms.SelectMultiple(choices=shown, attrs={"size": 6})

    def _choose(self, name: str, choices: Choices, blank: str | None = None) -> None:
        if name in self.fields:
            self.fields[name].widget = _select(choices, self[name].value(), blank)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name in SELECTIONS:
            # Another kind of source has other fields; what was chosen in the old one is void.
            if name not in self.fields:
                setattr(self.instance, name, "")
        return cleaned


class MappingForm(Quiet, forms.ModelForm):
    """One line of the mapping."""

    offers: Offers

    class Meta:
        model = FieldMapping
        fields = ["position", "source_column", "constant", "target", "when_blank", "too_precise"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "target" not in self.fields:
            return
        self.fields["position"].required = False
        if self.instance._state.adding:
            self.initial["position"] = None
        columns, fields = self.offers.columns, self.offers.fields()
        if columns is not None:
            shown = self["source_column"].value()
            self.fields["source_column"].widget = _select([(each, each) for each in columns], shown, "(a constant)")
        if fields is not None:
            targets = [(each.name, described(each)) for each in fields]
            self.fields["target"].widget = _select(targets, self["target"].value(), "---------")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if (cleaned.get("source_column") is None) == (cleaned.get("constant") is None):
            raise forms.ValidationError("Give this line either a source column or a constant, not both.")
        return cleaned


class QuietFormSet(BaseInlineFormSet):
    """Lines below a sync, which may be shown again unchecked."""

    quiet = False

    def full_clean(self) -> None:
        if not self.quiet:
            super().full_clean()
            return
        self._errors = [ErrorDict() for _ in self.forms]
        self._non_form_errors = ErrorList()

    def is_valid(self) -> bool:
        return not self.quiet and super().is_valid()


class MappingFormSet(QuietFormSet):
    def clean(self) -> None:
        """Lines without a position come last, in the order in which they stand."""
        super().clean()
        lines = [form for form in self.forms if form.has_changed() and form not in self.deleted_forms]
        last = max((form.cleaned_data.get("position") or 0 for form in self.forms if form.is_valid()), default=0)
        for form in lines:
            if form.is_valid() and form.cleaned_data.get("position") is None:
                last += 1
                form.cleaned_data["position"] = form.instance.position = last


class ScheduleForm(Quiet, forms.ModelForm):
    class Meta:
        model = Schedule
        fields = ["enabled", "every_minutes", "cron", "time_zone"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "time_zone" in self.fields:
            zones = [(zone, zone) for zone in sorted(zoneinfo.available_timezones())]
            self.fields["time_zone"].widget = _select(zones, self["time_zone"].value())


def described(field: Field) -> str:
    """A field, as a person chooses it: label, API name, type, length, and whether a new record needs it."""
    size = f" {field.length}" if field.length else ""
    required = ", required" if field.required_on_insert else ""
    return f"{field.label} ({field.name}) - {field.type}{size}{required}"


def _select(choices: Choices, value: Any, blank: str | None = None) -> forms.Select:
    """A dropdown. What is stored and not offered any more stays, and says so."""
    shown = list(choices) if blank is None else [("", blank), *choices]
    if value and value not in {each for each, _ in choices}:
        shown.append((value, f"{value} (not found)"))
    return forms.Select(choices=shown)


def _ids(rows: Any) -> Iterable[int]:
    found: Iterable[int] = rows.values_list("pk", flat=True)
    return found
