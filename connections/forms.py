"""The form of a connection, made from what its kind declares."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from django import forms

from connections import kinds
from connections.declare import SettingsError
from connections.models import Connection

PREFIX = "setting_"
_CLEAR = "clear_"

Declared = dataclasses.Field[Any]


class Text(forms.CharField):
    """Text without the blanks at its edges, unless it is nothing else: a delimiter may be a space or a tab."""

    def __init__(self, **options: Any) -> None:
        super().__init__(strip=False, **options)

    def to_python(self, value: Any) -> str:
        text = super().to_python(value) or ""
        return text.strip() or text


class ConnectionForm(forms.ModelForm):
    """Name, description, and the settings of one kind (`declared`)."""

    kind = ""
    declared: tuple[Declared, ...] = ()

    class Meta:
        model = Connection
        fields = ["name", "description"]
        widgets = {"description": forms.Textarea(attrs={"rows": 2, "cols": 60})}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.instance.kind = self.kind
        stored = {} if self.instance._state.adding else self.instance.all_settings()
        for field in self.declared:
            shown = self.fields[PREFIX + field.name]
            if not field.metadata["secret"]:
                shown.initial = stored.get(field.name, shown.initial)
            elif stored.get(field.name):
                shown.required = False
                shown.help_text = f"{shown.help_text} Stored; leave blank to keep it.".strip()
            else:
                self.fields.pop(_CLEAR + field.name, None)

    def settings_fields(self) -> list[str]:
        """The names of the fields that are settings; what is not stored cannot be forgotten."""
        names = [name for field in self.declared for name in (PREFIX + field.name, _CLEAR + field.name)]
        return [name for name in names if name in self.fields]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                self.instance.change_values(self._entered())
            except SettingsError as error:
                self._place(str(error))
        return cleaned

    def _entered(self) -> dict[str, Any]:
        """The settings as the kind takes them; secrets that are to stay are left out."""
        entered: dict[str, Any] = {}
        for field in self.declared:
            value = self.cleaned_data.get(PREFIX + field.name)
            if field.metadata["secret"]:
                if value or self.cleaned_data.get(_CLEAR + field.name):
                    entered[field.name] = value
            elif value is not None:
                entered[field.name] = value
        return entered

    def _place(self, message: str) -> None:
        """Show what is wrong with the settings at the setting that it is about."""
        at = None
        for field in self.declared:
            words = f"{re.escape(field.name)}|{re.escape(field.metadata['label'])}"
            found = re.search(rf"\b({words})\b", message, re.IGNORECASE)
            if found and (at is None or found.start() < at[0]):
                at = (found.start(), field)
        self.add_error(PREFIX + at[1].name if at else None, message)
        if at and at[1].metadata["address"] and not self.instance._state.adding:
            for field in self.declared:
                if field.metadata["secret"] and re.search(rf"\b{field.name}\b", message):
                    self.add_error(PREFIX + field.name, "Enter it again.")


def form_for(kind: str) -> type[ConnectionForm]:
    """The form for connections of a kind. Raises SettingsError for a kind that does not exist."""
    declared = dataclasses.fields(kinds.settings_class(kind))
    members: dict[str, Any] = {"kind": kind, "declared": declared}
    for field in declared:
        members[PREFIX + field.name] = _form_field(field)
        if field.metadata["secret"] and field.default is not dataclasses.MISSING:
            label = f"Forget the stored {_in_a_sentence(field.metadata['label'])}"
            members[_CLEAR + field.name] = forms.BooleanField(required=False, label=label)
    return type("ConnectionForm", (ConnectionForm,), members)


def names_of(form: type[ConnectionForm], *, clearing: bool) -> list[str]:
    """The form's fields that are settings, in the order in which they are declared.

    clearing: whether something may be stored that can be forgotten.
    """
    names: list[str] = []
    for field in form.declared:
        names.append(PREFIX + field.name)
        if clearing and _CLEAR + field.name in form.base_fields:
            names.append(_CLEAR + field.name)
    return names


def _form_field(field: Declared) -> forms.Field:
    required = field.default is dataclasses.MISSING
    told = {"label": field.metadata["label"], "help_text": field.metadata["help"], "required": required}
    if not required and not field.metadata["secret"]:
        told["initial"] = field.default
    if field.metadata["secret"]:
        widget = forms.PasswordInput(attrs={"autocomplete": "new-password", "class": "vTextField"})
        return forms.CharField(strip=False, widget=widget, **told)
    if field.metadata["choices"]:
        return forms.ChoiceField(choices=field.metadata["choices"], **told)
    if field.type in (int, "int"):
        return forms.IntegerField(widget=forms.NumberInput(attrs={"class": "vIntegerField"}), **told)
    if field.type in (bool, "bool"):
        return forms.BooleanField(**{**told, "required": False})
    return Text(widget=forms.TextInput(attrs={"class": "vTextField"}), **told)


def _in_a_sentence(label: str) -> str:
    return label[0].lower() + label[1:]
