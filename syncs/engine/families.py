"""Which rules a Salesforce field type follows: its family."""

from __future__ import annotations

import dataclasses
from typing import Literal

from connections.salesforce.describe import Field, ObjectDescribe
from syncs.spec import MappingSpec, SyncSpec

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
    column: the place of its source column in the staged table, or None for a constant or an expression.
    computed: its text is worked out by `prepare`, and stands in the column x_<index>.
    """

    index: int
    mapping: MappingSpec
    field: Field
    family: Family
    column: int | None
    computed: bool = False

    @property
    def sent_as(self) -> str:
        """What the line's column is called in a payload."""
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


def lines_of(spec: SyncSpec, describe: ObjectDescribe, columns: tuple[str, ...]) -> tuple[Line, ...]:
    """The lines of a mapping that `problems` found nothing wrong with.

    columns: names of the staged table's columns, in order.
    Raises KeyError or ValueError for a mapping that has problems.
    """
    return tuple(_line(spec, index, mapping, describe, columns) for index, mapping in enumerate(spec.mappings))


def _line(spec: SyncSpec, index: int, mapping: MappingSpec, describe: ObjectDescribe, columns: tuple[str, ...]) -> Line:
    field = describe.field(mapping.target)
    if field is None:
        raise KeyError(mapping.target)
    family = family_of(field.type)
    if family is None:
        raise ValueError(f"a field of type {field.type} cannot be mapped")
    column = None if mapping.source_column is None else columns.index(mapping.source_column)
    return Line(index, mapping, field, family, column, is_computed(spec, mapping))


def is_computed(spec: SyncSpec, mapping: MappingSpec) -> bool:
    """Whether a line's text is more than its trimmed cell, or its constant, as it is."""
    if mapping.expression is not None or mapping.replacements:
        return True
    column = next((column for column in spec.columns if column.name == mapping.source_column), None)
    has_format = column is not None and column.type in ("date", "datetime") and bool(column.format)
    return has_format or not (mapping.trim or mapping.source_column is None)
