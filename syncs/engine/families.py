"""Which rules a Salesforce field type follows: its family."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Literal

from connections.salesforce.describe import Field, ObjectDescribe
from syncs.spec import MappingSpec, SyncSpec

# What a line may do to a value that does not fit, and how people are told of it.
Adjustment = Literal["rounded", "truncated", "picklist"]
ADJUSTMENTS: dict[str, str] = {
    "rounded": "Rounded",
    "truncated": "Cut to the field's length",
    "picklist": "Unknown picklist value replaced",
}

Family = Literal["text", "email", "picklist", "multipicklist", "number", "date", "datetime", "time", "boolean", "id"]

# SOAP API guide, "Field Types". Types that are missing here (base64, address, location, anyType, complexvalue)
# are not offered: they are no single text value, or no value that can be written.
_FAMILIES: dict[str, Family] = {
    "string": "text",
    "textarea": "text",
    "phone": "text",
    "url": "text",
    "combobox": "text",
    "encryptedstring": "text",
    "email": "email",
    "picklist": "picklist",
    "multipicklist": "multipicklist",
    "int": "number",
    "long": "number",
    "double": "number",
    "currency": "number",
    "percent": "number",
    "date": "date",
    "datetime": "datetime",
    "time": "time",
    "boolean": "boolean",
    "reference": "id",
    "id": "id",
}

# A Number field holds 18 digits in all (Salesforce help, "Custom Field Types").
MOST_DIGITS = 18


def family_of(field_type: str) -> Family | None:
    """The family of a Salesforce field type, or None for a type that cannot be mapped."""
    return _FAMILIES.get(field_type)


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the mapping with the field it feeds.

    index: its place in the mapping, from 0.
    column: the place of its source column in the staged table, or None for a constant.
    is_key: it feeds the sync key.
    """

    index: int
    mapping: MappingSpec
    field: Field
    family: Family
    column: int | None
    is_key: bool = False

    @property
    def sent_as(self) -> str:
        """What the line's column is called in a payload."""
        return self.field.name

    @property
    def selected(self) -> str:
        """The SOQL path that reads what the field holds, in the form in which the line sends it."""
        return self.field.name

    @property
    def digits_before_point(self) -> int:
        """How many digits a number of this field may have before its decimal point."""
        if self.field.type in ("int", "long"):
            return self.field.digits or MOST_DIGITS
        return (self.field.precision or MOST_DIGITS) - self.scale

    @property
    def scale(self) -> int:
        """How many decimals a number of this field may have."""
        return 0 if self.field.type in ("int", "long") else self.field.scale

    @property
    def clears(self) -> bool:
        """A blank cell sets the field to null instead of leaving it alone."""
        return self.mapping.when_blank == "clear"

    @property
    def is_soft(self) -> bool:
        """A row that breaks a rule of the line goes through all the same. What finds the record is always checked."""
        return not self.mapping.validated and not self.is_key

    @property
    def is_mandatory(self) -> bool:
        """A blank breaks a rule. Of a blank key another rule speaks."""
        return self.mapping.mandatory and not self.is_key

    @property
    def is_restricted(self) -> bool:
        """Only listed values go into the field."""
        return self.field.restricted_picklist and bool(self.field.picklist_values) and "picklist" in self.family

    @property
    def adjustment(self) -> Adjustment | None:
        """How a value that does not fit is changed, where the line allows that; every such cell is counted."""
        if self.family == "number" and self.mapping.too_precise == "round":
            return "rounded"
        if self.family == "text" and self.mapping.too_long == "truncate" and self.field.length:
            return "truncated"
        if self.is_restricted and self.mapping.unknown_picklist != "reject":
            return "picklist"
        return None


def lines_of(spec: SyncSpec, describe: ObjectDescribe, columns: tuple[str, ...]) -> tuple[Line, ...]:
    """The lines of a mapping that `problems` found nothing wrong with.

    columns: names of the staged table's columns, in order.
    Raises KeyError or ValueError for a mapping that has problems.
    """
    keys = {name.lower() for name in spec.key_fields}
    return tuple(_line(index, mapping, describe, columns, keys) for index, mapping in enumerate(spec.mappings))


def _line(
    index: int, mapping: MappingSpec, describe: ObjectDescribe, columns: tuple[str, ...], keys: Collection[str]
) -> Line:
    field = describe.field(mapping.target)
    if field is None:
        raise KeyError(mapping.target)
    family = family_of(field.type)
    if family is None:
        raise ValueError(f"a field of type {field.type} cannot be mapped")
    column = None if mapping.source_column is None else columns.index(mapping.source_column)
    return Line(index, mapping, field, family, column, field.name.lower() in keys)
