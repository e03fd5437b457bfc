"""The lines of a sync's form: the mapping, and the parameters."""

from __future__ import annotations

from typing import Any

from django import forms
from django.forms.models import BaseInlineFormSet
from django.forms.utils import ErrorDict, ErrorList

from connections.salesforce.describe import Field
from syncs.engine.validate import Problem
from syncs.models import FieldMapping, Parameter
from syncs.offers import Offers
from syncs.shapes import BadShape, check_replacements
from syncs.widgets import Part, RowsField, RowsWidget, select

COLUMN, CONSTANT, EXPRESSION = "column", "constant", "expression"
VALUES = {COLUMN: "source_column", CONSTANT: "constant", EXPRESSION: "expression"}
_MISSING = {
    COLUMN: "Choose the source column of this line.",
    CONSTANT: "Enter the constant of this line.",
    EXPRESSION: "Enter the expression of this line.",
}
# Options of a line, and the kinds of fields for which each one means something; "" is every kind.
OPTIONS = {
    "lookup_object": "reference",
    "lookup_field": "reference",
    "missing_parent": "reference",
    "when_blank": "",
    "default": "",
    "write_on": "",
    "too_long": "text",
    "unknown_picklist": "picklist",
    "too_precise": "number",
    "trim": "",
    "mandatory": "",
    "validated": "",
    "replacements": "",
}
_KINDS = {
    "reference": "reference",
    **dict.fromkeys(("string", "textarea", "phone", "url", "email", "combobox", "encryptedstring"), "text"),
    **dict.fromkeys(("double", "currency", "percent", "int", "long"), "number"),
}


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


class MappingForm(Quiet, forms.ModelForm):
    """One line of the mapping. problems: what keeps it from running, as far as that was asked."""

    offers: Offers
    problems: tuple[Problem, ...] = ()
    takes = forms.ChoiceField(
        choices=[(COLUMN, "Column"), (CONSTANT, "Constant"), (EXPRESSION, "Expression")], required=False, label="From"
    )
    replacements = RowsField(
        says=lambda row: bool(row.get("pattern")),
        required=False,
        widget=RowsWidget(
            [Part("pattern", "Regular expression"), Part("replacement", "becomes")], spare=2, title="Replacements"
        ),
    )

    class Meta:
        model = FieldMapping
        fields = ["position", "source_column", "constant", "expression", "target", *OPTIONS]
        widgets = {
            "expression": forms.Textarea(attrs={"rows": 1, "cols": 24, "spellcheck": "false"}),
            "constant": forms.TextInput(),
            "default": forms.TextInput(),
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "target" not in self.fields:
            return
        line = self.instance
        self.initial["takes"] = next((kind for kind, name in VALUES.items() if getattr(line, name) is not None), COLUMN)
        self.fields["position"].required = False
        if line._state.adding:
            self.initial["position"] = None
        for name in ("when_blank", "write_on", "too_long", "unknown_picklist", "too_precise", "missing_parent"):
            self.fields[name].required = False  # whatever does not come is as it usually is
        columns, fields = self.offers.columns, self.offers.fields()
        if columns is not None:
            shown = self["source_column"].value()
            self.fields["source_column"].widget = select([(each, each) for each in columns], shown, "---------")
        self.kinds_known = fields is not None
        if fields is not None:
            targets = [(each.name, described(each)) for each in fields]
            kinds = {each.name: kind_of(each) for each in fields}
            self.fields["target"].widget = select(targets, self["target"].value(), "---------", kinds)
            self._offer_parents()

    def _offer_parents(self) -> None:
        describe, target = self.offers.describe, str(self["target"].value() or "")
        field = None if describe is None or not target else describe.field(target)
        if field is None or field.type != "reference":
            return
        chosen = str(self["lookup_object"].value() or "")
        self.fields["lookup_object"].widget = select([(name, name) for name in field.reference_to], chosen, "---------")
        parent = chosen or (field.reference_to[0] if len(field.reference_to) == 1 else "")
        known = self.offers.parents.get(parent)
        if known:
            offered = [(each.name, _as_key(each)) for each in known if each.type != "id"]
            self.fields["lookup_field"].widget = select(
                offered, self["lookup_field"].value(), "(the value is the record id)"
            )

    @property
    def option_fields(self) -> list[tuple[Any, str, bool]]:
        """Each option, the kind of fields that it is for, and whether it is set to something unusual."""
        usual = FieldMapping()
        return [
            (self[name], kind, not _same(self[name].value(), getattr(usual, name))) for name, kind in OPTIONS.items()
        ]

    @property
    def options_in_short(self) -> str:
        """What is unusual about the line, in a few words."""
        values = {name: self[name].value() for name in OPTIONS}
        rows = [row for row in values.pop("replacements") or [] if row.get("pattern")]
        return ", ".join(FieldMapping(**values, replacements=rows).options())

    @property
    def options_in_error(self) -> bool:
        return any(name in self.errors for name in OPTIONS)

    def clean(self) -> dict[str, Any]:
        """Keep the value of the chosen kind, and drop those of the others."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        cleaned["expression"] = cleaned.get("expression") or None
        given = [kind for kind, name in VALUES.items() if cleaned.get(name) is not None]
        takes = cleaned.get("takes") or (given[0] if len(given) == 1 else "")
        if not takes:
            raise forms.ValidationError("Give this line exactly one of: a source column, a constant, an expression.")
        for kind, name in VALUES.items():
            if kind != takes:
                cleaned[name] = None
        if cleaned.get(VALUES[takes]) is None:
            self.add_error(VALUES[takes], _MISSING[takes])
        self._complete_lookup(cleaned)
        return cleaned

    def _complete_lookup(self, cleaned: dict[str, Any]) -> None:
        """Where a field refers to one object only, that is the parent; without a field of it there is no lookup."""
        describe = self.offers.describe
        field = None if describe is None else describe.field(cleaned.get("target") or "")
        one = field.reference_to[0] if field is not None and len(field.reference_to) == 1 else ""
        if cleaned.get("lookup_field") and not cleaned.get("lookup_object") and one:
            cleaned["lookup_object"] = one
        if not cleaned.get("lookup_field") and cleaned.get("lookup_object") == one:
            cleaned["lookup_object"] = ""

    def clean_replacements(self) -> Any:
        try:
            check_replacements(self.cleaned_data["replacements"])
        except BadShape as error:
            raise forms.ValidationError(str(error)) from None
        return self.cleaned_data["replacements"]

    def _post_clean(self) -> None:
        if not self.errors:
            super()._post_clean()  # type: ignore[misc]


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


class ParameterForm(Quiet, forms.ModelForm):
    """A parameter: with a default, or asked for when a job starts."""

    asked = forms.BooleanField(
        label="Asked for", required=False, help_text="When a job starts. A schedule cannot answer."
    )

    class Meta:
        model = Parameter
        fields = ["name", "default", "asked", "description"]
        widgets = {"default": forms.TextInput(), "description": forms.TextInput()}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.initial["asked"] = not self.instance._state.adding and self.instance.default is None

    def clean(self) -> dict[str, Any]:
        """No default means to ask; a default that is left blank is an empty text."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("asked") and cleaned.get("default"):
            self.add_error("default", "A parameter that is asked for has no default. Clear it, or do not ask.")
        cleaned["default"] = None if cleaned.get("asked") else cleaned.get("default") or ""
        return cleaned


class ParameterFormSet(QuietFormSet):
    def clean(self) -> None:
        """Names differ, whatever their case. Raises ValidationError."""
        super().clean()
        seen = set()
        for form in self.forms:
            name = getattr(form, "cleaned_data", {}).get("name", "").lower()
            if not name or form in self.deleted_forms:
                continue
            if name in seen:
                raise forms.ValidationError(f"Two parameters are called '{name}'. Rename one of them.")
            seen.add(name)


def described(field: Field) -> str:
    """A field, as a person chooses it: label, API name, type, length, and whether a new record needs it."""
    size = f" {field.length}" if field.length and field.type != "reference" else ""
    to = f" to {', '.join(field.reference_to[:3])}" if field.reference_to else ""
    required = ", required" if field.required_on_insert else ""
    return f"{field.label} ({field.name}) - {field.type}{size}{to}{required}"


def kind_of(field: Field) -> str:
    """Of which kind a field is, as far as options of a line go: text, number, picklist, reference, or another one."""
    if field.restricted_picklist:
        return "picklist"
    return _KINDS.get(field.type, "other")


def _as_key(field: Field) -> str:
    return f"{field.label} ({field.name}){', external id' * field.external_id}"


def _same(entered: Any, usual: Any) -> bool:
    if isinstance(usual, list):
        return not [row for row in entered or [] if row.get("pattern")]
    return entered in (usual, None, "") if isinstance(usual, str) else bool(entered) == usual
