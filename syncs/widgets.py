"""What a sync's form is entered with, beside plain inputs. All of it works without JavaScript, and better with it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django import forms
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

Choices = list[tuple[str, str]]
Row = dict[str, str]

_MOST_ROWS = 2000


@dataclasses.dataclass(frozen=True)
class Part:
    """One cell of a row: its name, its label, and what can be chosen there; without choices it is typed in."""

    name: str
    label: str
    choices: Sequence[tuple[str, str]] = ()


class RowsWidget(forms.Widget):
    """Rows of a few cells each.

    parts: the cells. fixed: values of the first cell for which there is a row in any case; that cell is only shown
    there. spare: empty rows at the end. title: what is said while it is closed, before the rows in short.
    """

    def __init__(self, parts: Sequence[Part], *, fixed: Sequence[str] = (), spare: int = 1, title: str = "") -> None:
        super().__init__()
        self.parts, self.fixed, self.spare, self.title = parts, fixed, spare, title

    def id_for_label(self, id_: str) -> str:
        return ""  # a label leads to one input, and these are many

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[Row] | None:
        """The rows as they were entered; None when the page did not have them."""
        told = str(data.get(f"{name}-rows", ""))
        if not told.isdecimal() or len(told) > 4:
            return None
        rows = range(min(int(told), _MOST_ROWS))
        return [{part.name: str(data.get(f"{name}-{row}-{part.name}", "")) for part in self.parts} for row in rows]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return f"{name}-rows" not in data

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """A table within something that opens, which says in short what it holds."""
        first = self.parts[0].name
        given = [row for row in value or [] if isinstance(row, dict) and row.get(first)]
        by_name = {row[first]: row for row in given}
        rows = [by_name.pop(each, {first: each}) for each in self.fixed]
        rows += [*by_name.values()] if self.fixed else given
        shown = [(row, place < len(self.fixed)) for place, row in enumerate(rows)]
        shown += [({}, False)] * (0 if self.fixed else self.spare)
        cells = [
            [
                {
                    "name": f"{name}-{place}-{part.name}",
                    "label": part.label,
                    "value": row.get(part.name, ""),
                    "choices": part.choices,
                    "fixed": fixed and part.name == first,
                }
                for part in self.parts
            ]
            for place, (row, fixed) in enumerate(shown)
        ]
        told = [" ".join(row[part.name] for part in self.parts if row.get(part.name)) for row in given]
        context = {"rows": cells, "parts": self.parts, "title": self.title, "in_short": told, "name": name}
        return render_to_string("syncs/widgets/rows.html", context)


class RowsField(forms.Field):
    """A list of rows; those that say nothing are left out. says: whether a row says something."""

    def __init__(self, *, says: Callable[[Row], bool], **options: Any) -> None:
        super().__init__(**options)
        self.says = says

    def to_python(self, value: Any) -> list[Row]:
        """The rows that say something."""
        return [row for row in value or [] if self.says(row)]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return [*(initial or [])] != self.to_python(data)


class RuleWidget(forms.Textarea):
    """A condition as JSON, and, with JavaScript, built from dropdowns.

    columns, fields, parameters: what can be chosen; fields are pairs of API name and label, None for a rule that may
    not look at Salesforce.
    """

    columns: Sequence[str] = ()
    fields: Choices | None = None
    parameters: Sequence[str] = ()

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """The text, within what a script finds."""
        text = super().render(name, value, attrs, renderer)
        offers = {"columns": [*self.columns], "fields": self.fields, "parameters": [*self.parameters]}
        return render_to_string("syncs/widgets/rule.html", {"text": text, "offers": json.dumps(offers)})


class RuleField(forms.JSONField):
    """A condition built from rules, or None. What it has to look like is the model's to say."""

    widget = RuleWidget

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, **options})
        self.error_messages["invalid"] = "This is no JSON. Use the buttons, or write it as in the reference."

    def prepare_value(self, value: Any) -> Any:
        if value is None:
            return ""
        return value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)

    def bound_data(self, data: Any, initial: Any) -> Any:
        return data if isinstance(data, str) else super().bound_data(data, initial)


class TryWidget(forms.Textarea):
    """A condition with a button that tries it. tried: what came out last, as (worked, words); may_try: whether to."""

    tried: tuple[bool, str] | None = None
    may_try = False

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """The text, the button, and what came out."""
        text = super().render(name, value, attrs, renderer)
        context = {"text": text, "tried": self.tried, "may_try": self.may_try}
        return render_to_string("syncs/widgets/try.html", context)


class KindSelect(forms.Select):
    """A dropdown whose options say of which kind they are, so that the page can show what goes with it."""

    def __init__(self, choices: Choices, kinds: Mapping[str, str]) -> None:
        super().__init__(choices=choices)
        self.kinds = kinds

    def create_option(self, name: str, value: Any, *args: Any, **options: Any) -> dict[str, Any]:
        """An option, with its kind."""
        option: dict[str, Any] = super().create_option(name, value, *args, **options)
        if str(value) in self.kinds:
            option["attrs"]["data-kind"] = self.kinds[str(value)]
        return option


def select(choices: Choices, value: Any, blank: str | None = None, kinds: Mapping[str, str] | None = None) -> Any:
    """A dropdown. What is stored and not offered any more stays, and says so."""
    shown = list(choices) if blank is None else [("", blank), *choices]
    if value and value not in {each for each, _ in choices}:
        shown.append((value, f"{value} (not found)"))
    return forms.Select(choices=shown) if kinds is None else KindSelect(shown, kinds)
