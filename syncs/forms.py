"""The form of a sync and of its mapping and schedule. What is offered comes from its connections, or is typed in."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable
from typing import Any

from django import forms

from orgs import access
from orgs.access import Actor
from orgs.models import Permission
from syncs.choices import ColumnType, Mode
from syncs.engine.families import family_of
from syncs.line_forms import Quiet
from syncs.models import Schedule, Sync
from syncs.offers import Offers
from syncs.widgets import Part, RowsField, RowsWidget, RuleField, TryWidget, select

SELECTIONS = ("source_table", "source_query", "source_path")

Choices = list[tuple[str, str]]


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
    """A sync; `offers`, `actor` and `tried` (of the target filter) are set by the admin for each request."""

    offers: Offers
    actor: Actor
    tried: tuple[bool, str] | None = None
    key_fields = NamesField(
        label="Sync key",
        required=False,
        help_text="The mapped field, or fields, by which a row and a record are the same thing; best an external id. "
        "None only for mode insert with compare = nothing.",
    )
    source_rules = RuleField(
        label="Or rules", help_text="Instead of the source filter: only rows for which they hold are read."
    )
    changed_rule = RuleField(
        label="Where", help_text="A changed record is updated where this holds, over values of the row and the record."
    )
    columns = RowsField(
        label="Column types",
        required=False,
        says=lambda row: bool(row.get("name")) and (row.get("type", "text") != "text" or bool(row.get("format"))),
        widget=RowsWidget(
            [
                Part("name", "Column"),
                Part("type", "holds", ColumnType.choices),
                Part("format", "Dates are written as"),
            ],
            spare=3,
            title="More than text",
        ),
        help_text="For columns whose dates are not written as YYYY-MM-DD (give the format, such as %d.%m.%Y), and for "
        "expressions and rules, which compare numbers and dates as such.",
    )

    class Meta:
        model = Sync
        fields: list[str] = []
        widgets = {
            "description": forms.Textarea(attrs={"rows": 2, "cols": 60}),
            "source_query": forms.Textarea(attrs={"rows": 5, "cols": 80, "spellcheck": "false"}),
            "source_filter": forms.Textarea(attrs={"rows": 2, "cols": 80, "spellcheck": "false"}),
            "target_filter": TryWidget(attrs={"rows": 2, "cols": 80, "spellcheck": "false"}),
        }
        labels = {
            "keep_before": "Keep before-images",
            "on_new": "New records",
            "on_changed": "Changed records",
            "on_dropped": "Dropped records",
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
        self._offer_columns()
        self._offer_fields()
        self._choose("time_zone", [(zone, zone) for zone in sorted(zoneinfo.available_timezones())])
        for name, usual in (("on_new", "insert"), ("on_changed", "update"), ("on_dropped", "ignore")):
            # A custom sync says all three; they begin as those of an upsert.
            self.fields[name].choices = [each for each in self.fields[name].choices if each[0]]  # type: ignore[attr-defined]
            self.initial[name] = self.initial.get(name) or usual
        self._guard_hard_delete()

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

    def _offer_columns(self) -> None:
        columns = self.offers.columns
        parameters = () if self.instance._state.adding else self.instance.parameters.values_list("name", flat=True)
        for name in ("source_rules", "changed_rule"):
            widget: Any = self.fields[name].widget
            widget.attrs.update({"rows": 3, "cols": 80, "spellcheck": "false"})
            widget.columns, widget.parameters = columns or (), tuple(parameters)
        if columns is not None:
            types: Any = self.fields["columns"].widget
            types.fixed = columns
            self._choose("action_column", [(each, each) for each in columns], "---------")

    def _offer_fields(self) -> None:
        target_filter: Any = self.fields["target_filter"].widget
        target_filter.tried, target_filter.may_try = self.tried, self.offers.destination is not None
        rule: Any = self.fields["changed_rule"].widget
        describe = self.offers.describe
        rule.fields = []
        if describe is None:
            return
        fields = sorted(describe.fields.values(), key=lambda each: each.label.lower())
        rule.fields = [(each.name, f"{each.label} ({each.name})") for each in fields if family_of(each.type)]
        dates = [each for each in fields if each.type in ("date", "datetime") and each.updateable]
        self._choose("expire_field", [(each.name, f"{each.label} ({each.name})") for each in dates], "---------")

    @property
    def may_hard_delete(self) -> bool:
        """Whether the person may switch hard delete on; of a new sync its maker gets every grant."""
        if self.instance._state.adding:
            return Permission.HARD_DELETE in self.actor.ceiling
        return access.may(self.actor, Permission.HARD_DELETE, self.instance)

    def _guard_hard_delete(self) -> None:
        field = self.fields["hard_delete"]
        if not self.instance.hard_delete and not self.may_hard_delete:
            field.widget.attrs["disabled"] = True
            field.help_text = f"{field.help_text} You do not hold it on this sync."

    def clean_hard_delete(self) -> bool:
        wanted: bool = self.cleaned_data["hard_delete"]
        if wanted and not self.instance.hard_delete and not self.may_hard_delete:
            raise forms.ValidationError("Switching this on takes the permission 'hard delete' on the sync.")
        return wanted

    def _choose(self, name: str, choices: Choices, blank: str | None = None) -> None:
        if name in self.fields:
            self.fields[name].widget = select(choices, self[name].value(), blank)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name in SELECTIONS:
            # Another kind of source has other fields; what was chosen in the old one is void.
            if name not in self.fields:
                setattr(self.instance, name, "")
        if cleaned.get("mode") != Mode.CUSTOM:
            # Shown for the mode custom only; what stands there without anybody having seen it is no change.
            for name in ("on_new", "on_changed", "on_dropped"):
                cleaned[name] = getattr(self.instance, name)
        return cleaned


class ScheduleForm(Quiet, forms.ModelForm):
    class Meta:
        model = Schedule
        fields = ["enabled", "every_minutes", "cron", "time_zone"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "time_zone" in self.fields:
            zones = [(zone, zone) for zone in sorted(zoneinfo.available_timezones())]
            self.fields["time_zone"].widget = select(zones, self["time_zone"].value())


def _ids(rows: Any) -> Iterable[int]:
    found: Iterable[int] = rows.values_list("pk", flat=True)
    return found
