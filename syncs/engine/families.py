"""Which rules a Salesforce field type follows: its family."""

from __future__ import annotations

import dataclasses
from typing import Literal

from connections.salesforce.describe import Field, ObjectDescribe
from syncs.spec import MappingSpec, SyncSpec

# What a line may do to a value that does not fit, and how people are told of it.
Adjustment = Literal["rounded", "truncated", "picklist", "parents"]
ADJUSTMENTS: dict[str, str] = {
    "rounded": "Rounded",
    "truncated": "Cut to the field's length",
    "picklist": "Unknown picklist value replaced",
    "parents": "Missing parent left blank",
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
# Characters of all fields of a record together (Bulk API 2.0 guide, "Bulk API and Bulk API 2.0 Limits").
MOST_CHARACTERS = 400_000
_TEXTS: tuple[Family, ...] = ("text", "email", "picklist", "multipicklist")


def family_of(field_type: str) -> Family | None:
    """The family of a Salesforce field type, or None for a type that cannot be mapped."""
    return _FAMILIES.get(field_type)


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the mapping with the field it feeds.

    index: its place in the mapping, from 0.
    column: the place of its source column in the staged table, or None for a constant or an expression.
    is_key: it feeds the sync key.
    parent_field: of a lookup, the parent's field that holds the line's value.
    relationship: of a lookup that Salesforce itself resolves, the title of its column, such as `Account.Ext__c`.
    prepared: its text is more than a cell or a constant as it is, and is worked out by `prepare`.
    together: of the one line that tells when a row as a whole is too long: the places and lengths of all lines with
    text. Empty where no row can be.
    """

    index: int
    mapping: MappingSpec
    field: Field
    family: Family
    column: int | None
    is_key: bool = False
    parent_field: Field | None = None
    relationship: str = ""
    prepared: bool = False
    together: tuple[tuple[int, int], ...] = ()

    @property
    def sent_as(self) -> str:
        """What the line's column is called in a payload."""
        return self.relationship or self.field.name

    @property
    def selected(self) -> str:
        """The SOQL path that reads what the field holds, in the form in which the line sends it."""
        # SOQL knows no type before a relationship.
        return self.sent_as.rpartition(":")[2]

    @property
    def value_field(self) -> Field:
        """The field whose values the line sends: the parent's, where Salesforce finds the parent by it."""
        return self.parent_field if self.relationship and self.parent_field is not None else self.field

    @property
    def is_resolved(self) -> bool:
        """sfsync finds the parent's id before anything is planned."""
        return self.mapping.lookup is not None and not self.relationship

    @property
    def computed(self) -> bool:
        """Its text stands in the prepared table as `x_<index>`; where `xe_<index>` is true, there is no value."""
        return self.prepared or self.is_resolved

    @property
    def digits_before_point(self) -> int:
        """How many digits a number of this field may have before its decimal point."""
        field = self.value_field
        if field.type in ("int", "long"):
            return field.digits or MOST_DIGITS
        return (field.precision or MOST_DIGITS) - self.scale

    @property
    def scale(self) -> int:
        """How many decimals a number of this field may have."""
        return 0 if self.value_field.type in ("int", "long") else self.value_field.scale

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
        if self.mapping.lookup is not None:
            # A part of a parent's value would be another parent's.
            return (
                "parents" if self.is_resolved and not self.is_key and self.mapping.missing_parent == "leave" else None
            )
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
    lines = [_line(spec, index, describe, columns) for index in range(len(spec.mappings))]
    lengths = tuple((line.index, line.value_field.length) for line in lines if line.family in _TEXTS)
    if sum(length for _, length in lengths) > MOST_CHARACTERS:
        # Told at the longest field; a line that lets rows through cannot hold this one back.
        teller = max((line for line in lines if not line.is_soft), key=_length, default=lines[0])
        lines[teller.index] = dataclasses.replace(teller, together=lengths)
    return tuple(lines)


def _length(line: Line) -> int:
    return line.value_field.length if line.family in _TEXTS else 0


def _line(spec: SyncSpec, index: int, describe: ObjectDescribe, columns: tuple[str, ...]) -> Line:
    mapping = spec.mappings[index]
    line = line_of(spec, index, describe)
    if line is None:
        raise KeyError(mapping.target)
    if mapping.source_column is None:
        return line
    return dataclasses.replace(line, column=columns.index(mapping.source_column))


def line_of(spec: SyncSpec, index: int, describe: ObjectDescribe) -> Line | None:
    """The line at this place in the mapping, without its source column; None when its field cannot be mapped, or its
    parent is not known."""
    mapping = spec.mappings[index]
    field = describe.field(mapping.target)
    family = None if field is None else family_of(field.type)
    if field is None or family is None:
        return None
    is_key = field.name.lower() in {name.lower() for name in spec.key_fields}
    line = Line(index, mapping, field, family, None, is_key, prepared=is_computed(spec, mapping))
    if mapping.lookup is None:
        return line
    parent = describe.parent(mapping.lookup.object)
    parent_field = None if parent is None else parent.field(mapping.lookup.field)
    if parent is None or parent_field is None or (parent_family := family_of(parent_field.type)) is None:
        return None
    line = dataclasses.replace(line, parent_field=parent_field)
    if not _found_by_salesforce(spec, line):
        return line
    relationship = f"{field.relationship_name}.{parent_field.name}"
    # Only of polymorphic references the object is named (Bulk API 2.0 guide, "Relationship Fields in a Header Row").
    title = f"{parent.name}:{relationship}" if is_polymorphic(field) else relationship
    return dataclasses.replace(line, relationship=title, family=parent_family)


def is_polymorphic(field: Field) -> bool:
    """The reference may point to records of several objects."""
    return len(field.reference_to) > 1


def _found_by_salesforce(spec: SyncSpec, line: Line) -> bool:
    """Whether Salesforce itself can find the line's parent record, and do with the row what the mapping says.

    It finds parents by external ids and by fields marked idLookup. A parent that is missing makes it refuse the row.
    """
    mapping, parent_field = line.mapping, line.parent_field
    assert parent_field is not None
    possible = (parent_field.external_id or parent_field.id_lookup) and bool(line.field.relationship_name)
    rejects = mapping.missing_parent == "reject" and mapping.validated
    # A column of relationships can neither clear a field nor tell whether it is empty, and of a polymorphic one SOQL
    # does not read the value back.
    plain = mapping.when_blank != "clear" and mapping.write_on != "only_if_empty" and not line.is_key
    comparable = spec.compare != "destination" or not is_polymorphic(line.field)
    return possible and rejects and plain and comparable


def is_computed(spec: SyncSpec, mapping: MappingSpec) -> bool:
    """Whether a line's text is more than its trimmed cell, or its constant, as it is."""
    if mapping.expression is not None or mapping.replacements:
        return True
    column = next((column for column in spec.columns if column.name == mapping.source_column), None)
    has_format = column is not None and column.type in ("date", "datetime") and bool(column.format)
    return has_format or not (mapping.trim or mapping.source_column is None)
