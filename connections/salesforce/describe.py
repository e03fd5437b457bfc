"""What Salesforce says about an object and its fields, as far as a mapping needs to know. Pure: no network here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Field:
    """One field, as the describe call reports it (REST API guide, "sObject Describe").

    type: Salesforce's name of the type, such as "string", "double", "picklist".
    length: largest number of characters; 0 for types that are no text.
    precision, scale: digits in all and after the point, of numbers. digits: of whole numbers.
    unique, case_sensitive: how values of the field are compared. filterable: SOQL may look for records by it.
    picklist_values: the active values, in Salesforce's order.
    reference_to: API names of the objects a lookup may point to.
    """

    name: str
    label: str
    type: str
    length: int = 0
    precision: int = 0
    scale: int = 0
    digits: int = 0
    nillable: bool = True
    createable: bool = True
    updateable: bool = True
    defaulted_on_create: bool = False
    external_id: bool = False
    unique: bool = False
    case_sensitive: bool = False
    filterable: bool = True
    id_lookup: bool = False
    restricted_picklist: bool = False
    picklist_values: tuple[str, ...] = ()
    reference_to: tuple[str, ...] = ()
    relationship_name: str | None = None
    calculated: bool = False
    auto_number: bool = False
    compound_field_name: str | None = None

    @property
    def required_on_insert(self) -> bool:
        """A new record needs a value here: Salesforce neither allows null nor fills it in by itself."""
        return self.createable and not self.nillable and not self.defaulted_on_create


@dataclasses.dataclass(frozen=True)
class ObjectDescribe:
    """One object. `fields` maps API names, as Salesforce spells them, to fields, in Salesforce's order.

    undeletable: its records can be restored from the recycle bin.
    parents: by API name, the objects that lookups find parent records in, as far as somebody asked for them.
    """

    name: str
    label: str
    createable: bool
    updateable: bool
    deletable: bool
    queryable: bool
    key_prefix: str | None
    fields: dict[str, Field]
    undeletable: bool = True
    parents: dict[str, ObjectDescribe] = dataclasses.field(default_factory=dict)

    def parent(self, name: str) -> ObjectDescribe | None:
        """The parent object of this API name, however its case is spelled, or None."""
        return next((parent for known, parent in self.parents.items() if known.lower() == name.lower()), None)

    def field(self, name: str) -> Field | None:
        """The field of this API name, however its case is spelled, or None."""
        exact = self.fields.get(name)
        if exact is not None:
            return exact
        folded = name.lower()
        return next((field for known, field in self.fields.items() if known.lower() == folded), None)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        parents = [parent.to_json() for parent in self.parents.values()]
        fields = [dataclasses.asdict(field) for field in self.fields.values()]
        return {**dataclasses.asdict(self), "fields": fields, "parents": parents}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ObjectDescribe:
        """The describe that `to_json` wrote."""
        fields = [
            Field(
                **{
                    **item,
                    "picklist_values": tuple(item["picklist_values"]),
                    "reference_to": tuple(item["reference_to"]),
                }
            )
            for item in data["fields"]
        ]
        parents = [cls.from_json(parent) for parent in data.get("parents") or ()]
        by_name = {"fields": {field.name: field for field in fields}, "parents": {each.name: each for each in parents}}
        return cls(**{**data, **by_name})


def parse_object(answer: Mapping[str, Any]) -> ObjectDescribe:
    """The describe in the JSON answer of `GET sobjects/X/describe`. Raises KeyError when it is no such answer."""
    fields = [_parse_field(item) for item in answer["fields"]]
    return ObjectDescribe(
        name=answer["name"],
        label=answer.get("label") or answer["name"],
        createable=bool(answer.get("createable")),
        updateable=bool(answer.get("updateable")),
        deletable=bool(answer.get("deletable")),
        queryable=bool(answer.get("queryable")),
        key_prefix=answer.get("keyPrefix"),
        fields={field.name: field for field in fields},
        undeletable=bool(answer.get("undeletable", True)),
    )


def _parse_field(item: Mapping[str, Any]) -> Field:
    values = (value["value"] for value in item.get("picklistValues") or () if value.get("active", True))
    return Field(
        name=item["name"],
        label=item.get("label") or item["name"],
        type=item["type"],
        length=int(item.get("length") or 0),
        precision=int(item.get("precision") or 0),
        scale=int(item.get("scale") or 0),
        digits=int(item.get("digits") or 0),
        nillable=bool(item.get("nillable", True)),
        createable=bool(item.get("createable")),
        updateable=bool(item.get("updateable")),
        defaulted_on_create=bool(item.get("defaultedOnCreate")),
        external_id=bool(item.get("externalId")),
        unique=bool(item.get("unique")),
        case_sensitive=bool(item.get("caseSensitive")),
        filterable=bool(item.get("filterable", True)),
        id_lookup=bool(item.get("idLookup")),
        restricted_picklist=bool(item.get("restrictedPicklist")),
        picklist_values=tuple(values),
        reference_to=tuple(item.get("referenceTo") or ()),
        relationship_name=item.get("relationshipName"),
        calculated=bool(item.get("calculated")),
        auto_number=bool(item.get("autoNumber")),
        compound_field_name=item.get("compoundFieldName"),
    )
