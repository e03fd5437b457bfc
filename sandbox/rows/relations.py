"""Columns of a write: fields by name, and lookups given by a key of their parent (`Account.Ext__c`, `Lead:Who.Email`).

The forms and messages are those of the Bulk API 2.0 guide, "Relationship fields in a header row", and of jobs seen to
fail. JSON says the same with nested objects: `{"Account": {"Ext__c": "A1"}}`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sandbox.schema import Field, ObjectType, Schema
from sandbox.wire import SalesforceError


class ColumnError(ValueError):
    """A column that cannot be used, in Salesforce's words without the `InvalidBatch : ` of a job; `title` names it."""

    def __init__(self, message: str, title: str) -> None:
        super().__init__(message)
        self.title = title


@dataclass(frozen=True)
class Parent:
    """A staged column that names the parent of `lookup` by its field `key` rather than by its id."""

    column: str
    lookup: Field
    target: ObjectType
    key: Field


@dataclass(frozen=True)
class Columns:
    """The staged columns of a write.

    `fields` has each field once with the column its value is taken to come from; for a lookup that is only named by
    its parent's key, that is the first such column. `parents` are the columns that hold keys of parents.
    """

    fields: list[tuple[str, Field]]
    parents: list[Parent] = field(default_factory=list)


def resolve_columns(schema: Schema, target: ObjectType, titles: list[str]) -> Columns:
    """What each column of a header (staged as c0, c1, …) means.

    Raises ColumnError for a title that is no field and no relationship, that stands twice, or whose relationship is
    not given as Salesforce wants it.
    """
    fields: list[tuple[str, Field]] = []
    parents: list[Parent] = []
    seen: set[tuple[str, ...]] = set()
    for place, title in enumerate(titles):
        column = f"c{place}"
        parent = None
        found = target.field_named(title)
        if found is None:
            parent = _parent(schema, target, title, column)
            same: tuple[str, ...] = (parent.lookup.name, parent.target.name, parent.key.name)
        elif found.type == "address":
            raise ColumnError(f"Field name not found : {title}", title)
        else:
            fields.append((column, found))
            same = (found.name,)
        if same in seen:
            raise ColumnError(f"Duplicate column name in header : {title}", title)
        seen.add(same)
        if parent:
            parents.append(parent)
    for each in parents:
        if not any(one is each.lookup for _, one in fields):
            fields.append((each.column, each.lookup))
    return Columns(fields, parents)


def lookup_named(target: ObjectType, relationship: str) -> Field | None:
    """The lookup field by the name of its relationship, whatever its case."""
    for each in target.fields.values():
        known = each.document["relationshipName"]
        if known and str(known).lower() == relationship.lower():
            return each
    return None


def _parent(schema: Schema, target: ObjectType, title: str, column: str) -> Parent:
    path, dot, key_name = title.rpartition(".")
    kind, colon, relationship = path.rpartition(":")
    if not dot or not relationship:
        raise ColumnError(f"Field name not found : {title}", title)
    lookup = lookup_named(target, relationship)
    if lookup is None:
        raise ColumnError(f"Unable to find relationship: {relationship}", title)
    polymorphic = len(lookup.reference_to) > 1
    if colon and not polymorphic:
        text = f"type is not needed for non polymorphic foreign key references: {relationship}"
        raise ColumnError(text, title)
    wanted = kind if polymorphic else lookup.reference_to[0]
    named = next((each for each in lookup.reference_to if each.lower() == wanted.lower()), None)
    parent = schema.object_named(named) if named else None
    key = parent.field_named(key_name) if parent else None
    if parent is None or key is None:
        raise ColumnError(f"Field name not found : {title}", title)
    if not key.is_key:
        text = f"Field name provided, {key_name} does not match an External ID, Salesforce Id, or indexed field for"
        raise ColumnError(f"{text} {parent.name}", title)
    return Parent(column, lookup, parent, key)


def json_parent(schema: Schema, target: ObjectType, key: str, value: Any) -> tuple[str, Any] | None:
    """The column title and cell of a nested parent in a JSON record; None when `key` is no relationship.

    `{"Account": {"Ext__c": "A1"}}` gives `("Account.Ext__c", "A1")`; a polymorphic parent tells its type in
    `attributes`. A null clears the lookup. Raises SalesforceError for anything else.
    """
    lookup = lookup_named(target, key)
    if lookup is None:
        return None
    if value is None:
        return lookup.name, None
    given = {name: each for name, each in value.items() if name != "attributes"} if isinstance(value, dict) else {}
    if len(given) != 1:
        count = "More than 1" if len(given) > 1 else "No"
        text = f"{count} field provided in an external foreign key reference in entity: {lookup.reference_to[0]}"
        raise SalesforceError(400, "INVALID_FIELD", text, fields=[])
    ((name, cell),) = given.items()
    title = f"{key}.{name}"
    attributes = value.get("attributes")
    if len(lookup.reference_to) > 1 and isinstance(attributes, dict) and attributes.get("type"):
        title = f"{attributes['type']}:{title}"
    try:
        resolve_columns(schema, target, [title])
    except ColumnError as error:
        raise SalesforceError(400, "INVALID_FIELD", str(error), fields=[]) from None
    if isinstance(cell, dict | list):
        raise SalesforceError(400, "INVALID_FIELD", f"The value of {title} must be text or a number", fields=[])
    return title, cell
