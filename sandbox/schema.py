"""Objects and fields of the practice org, read from compact JSON files.

A file names only what differs from what Salesforce's describe says of a field of that type; `field_document` fills in
the rest. The format is documented in docs/reference/sandbox-schema.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SHIPPED_SCHEMA = Path(__file__).parent / "schema"

TEXT_TYPES = frozenset(
    {"string", "textarea", "picklist", "multipicklist", "combobox", "email", "phone", "url", "encryptedstring"}
)
NUMBER_TYPES = frozenset({"double", "currency", "percent", "int", "long"})
ID_TYPES = frozenset({"id", "reference"})
KNOWN_TYPES = TEXT_TYPES | NUMBER_TYPES | ID_TYPES | {"boolean", "date", "datetime", "address"}

SOAP_TYPES = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "long": "xsd:long",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "time": "xsd:time",
    "address": "urn:address",
    "location": "urn:location",
    "base64": "xsd:base64Binary",
    "anyType": "xsd:anyType",
}

# The 57 keys of a field in a describe answer, with what holds for most fields.
FIELD_DEFAULTS: dict[str, Any] = {
    "aggregatable": True,
    "aiPredictionField": False,
    "autoNumber": False,
    "byteLength": 0,
    "calculated": False,
    "calculatedFormula": None,
    "cascadeDelete": False,
    "caseSensitive": False,
    "compoundFieldName": None,
    "controllerName": None,
    "createable": True,
    "custom": False,
    "defaultValue": None,
    "defaultValueFormula": None,
    "defaultedOnCreate": False,
    "dependentPicklist": False,
    "deprecatedAndHidden": False,
    "digits": 0,
    "displayLocationInDecimal": False,
    "encrypted": False,
    "externalId": False,
    "extraTypeInfo": None,
    "filterable": True,
    "filteredLookupInfo": None,
    "formulaTreatNullNumberAsZero": False,
    "groupable": True,
    "highScaleNumber": False,
    "htmlFormatted": False,
    "idLookup": False,
    "inlineHelpText": None,
    "label": "",
    "length": 0,
    "mask": None,
    "maskType": None,
    "name": "",
    "nameField": False,
    "namePointing": False,
    "nillable": True,
    "permissionable": True,
    "picklistValues": [],
    "polymorphicForeignKey": False,
    "precision": 0,
    "queryByDistance": False,
    "referenceTargetField": None,
    "referenceTo": [],
    "relationshipName": None,
    "relationshipOrder": None,
    "restrictedDelete": False,
    "restrictedPicklist": False,
    "scale": 0,
    "searchPrefilterable": False,
    "soapType": "xsd:string",
    "sortable": True,
    "type": "string",
    "unique": False,
    "updateable": True,
    "writeRequiresMasterRead": False,
}

TYPE_DEFAULTS: dict[str, dict[str, Any]] = {
    "id": {
        "createable": False,
        "updateable": False,
        "nillable": False,
        "defaultedOnCreate": True,
        "idLookup": True,
        "length": 18,
    },
    "reference": {"length": 18},
    "boolean": {"aggregatable": False, "nillable": False, "defaultedOnCreate": True, "defaultValue": False},
    "textarea": {"extraTypeInfo": "plaintextarea"},
    "double": {"groupable": False, "precision": 18},
    "currency": {"groupable": False, "precision": 18},
    "percent": {"groupable": False},
    "int": {"digits": 8},
    "datetime": {"groupable": False},
    "address": {
        "aggregatable": False,
        "groupable": False,
        "sortable": False,
        "queryByDistance": True,
        "createable": False,
        "updateable": False,
    },
}


# Lists of an object that later files add to rather than replace; sandbox/rows/definitions.py reads them.
RULE_LISTS = (
    "validationRules",
    "triggers",
    "lookupFilters",
    "duplicateRules",
    "recordTypes",
    "statusRules",
    "assignmentRules",
)


class SchemaError(ValueError):
    """A schema file says something the sandbox cannot be; the message names file, object and field."""


@dataclass(frozen=True)
class Field:
    """One field of an object: its describe document and what the store needs to know beyond it."""

    document: dict[str, Any]
    formula: str | None = None
    child_relationship: str | None = None
    name: str = field(init=False)
    type: str = field(init=False)
    label: str = field(init=False)
    length: int = field(init=False)
    scale: int = field(init=False)

    def __post_init__(self) -> None:
        for key in ("name", "type", "label", "length", "scale"):
            object.__setattr__(self, key, self.document[key])

    def flag(self, key: str) -> bool:
        return bool(self.document[key])

    @property
    def precision(self) -> int:
        """Digits a number may have in all (before and after the point)."""
        if self.type == "int":
            return int(self.document["digits"]) or 9
        return int(self.document["precision"]) or 18

    @property
    def stored(self) -> bool:
        """Whether the table holds a column for it (formulas are computed on reading)."""
        return self.formula is None

    @property
    def is_text(self) -> bool:
        return self.type in TEXT_TYPES

    @property
    def is_number(self) -> bool:
        return self.type in NUMBER_TYPES

    @property
    def is_id(self) -> bool:
        return self.type in ID_TYPES

    @property
    def is_key(self) -> bool:
        """Whether a record may be looked up by it: an external id, Id, or another idLookup field."""
        return self.flag("externalId") or self.flag("idLookup")

    @property
    def folds_case(self) -> bool:
        """Whether two values that differ only in case are the same value to Salesforce."""
        return (self.is_text or self.type == "id") and not self.flag("caseSensitive") and not self.is_id

    @property
    def required_on_insert(self) -> bool:
        return self.flag("createable") and not self.flag("nillable") and not self.flag("defaultedOnCreate")

    @property
    def reference_to(self) -> list[str]:
        return list(self.document["referenceTo"])

    @property
    def active_values(self) -> list[str]:
        return [entry["value"] for entry in self.document["picklistValues"] if entry["active"]]

    @property
    def sql_type(self) -> str:
        """The column type in the store."""
        if self.is_number:
            return f"DECIMAL({max(self.precision, self.scale, 1)},{self.scale})"
        return {"boolean": "BOOLEAN", "date": "DATE", "datetime": "TIMESTAMP"}.get(self.type, "VARCHAR")


@dataclass(frozen=True)
class ObjectType:
    """One object: its facts for describe, its fields by lower-case name, and the records it starts with."""

    name: str
    key_prefix: str
    facts: dict[str, Any]
    fields: dict[str, Field]
    records: list[dict[str, Any]]
    # The only owner whose records show to who asks; None when all do.
    only_owner: str | None = None

    def field_named(self, name: str) -> Field | None:
        """The field by API name, whatever its case; None when there is none."""
        return self.fields.get(name.lower())

    @property
    def stored_fields(self) -> list[Field]:
        return [each for each in self.fields.values() if each.stored]

    @property
    def has_owner(self) -> bool:
        return "ownerid" in self.fields


def field_document(compact: dict[str, Any]) -> dict[str, Any]:
    """The 57-key describe document of a field, from the few keys a schema file names."""
    kind = compact.get("type", "string")
    document = {**FIELD_DEFAULTS, **TYPE_DEFAULTS.get(kind, {}), "type": kind}
    document["soapType"] = SOAP_TYPES.get(kind, "xsd:string")
    name = compact["name"]
    document["custom"] = name.endswith("__c")
    document["label"] = _label(name)
    if kind == "id":
        document["label"] = "Record ID"
    if kind == "textarea" and compact.get("length", 0) > 255:
        document.update(aggregatable=False, filterable=False, groupable=False, sortable=False)
    if compact.get("formula") or compact.get("calculatedFormula"):
        document.update(createable=False, updateable=False, calculated=document["custom"])
    if len(compact.get("referenceTo", [])) > 1:
        document.update(namePointing=True, polymorphicForeignKey=True)
    if kind == "reference" and compact.get("referenceTo"):
        document["relationshipName"] = name[:-1] + "r" if document["custom"] else name.removesuffix("Id")
    if compact.get("externalId"):
        document["idLookup"] = True
    document.update({key: value for key, value in compact.items() if key in FIELD_DEFAULTS})
    document["picklistValues"] = [_picklist_value(entry) for entry in compact.get("picklistValues", [])]
    _add_dependent_facts(document, compact)
    return document


def _add_dependent_facts(document: dict[str, Any], compact: dict[str, Any]) -> None:
    """Fill in what follows from other keys, unless the schema file says otherwise."""
    if "byteLength" not in compact:
        is_id = document["type"] in ID_TYPES
        document["byteLength"] = document["length"] if is_id else document["length"] * 3
    if "permissionable" not in compact:
        document["permissionable"] = document["nillable"] and (document["createable"] or document["updateable"])
    if document["autoNumber"]:
        document.update({"createable": False, "updateable": False, "defaultedOnCreate": True, "nillable": False})


def _label(name: str) -> str:
    return name.removesuffix("__c").replace("_", " ")


def _picklist_value(entry: str | dict[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {"value": entry} if isinstance(entry, str) else entry
    blank = {"active": True, "defaultValue": False, "label": given["value"], "validFor": None}
    return {**blank, **given}


SYSTEM_FIELDS: list[dict[str, Any]] = [
    {"name": "Id", "type": "id"},
    {"name": "IsDeleted", "type": "boolean", "label": "Deleted", "createable": False, "updateable": False},
]
_SET_BY_SALESFORCE: dict[str, Any] = {
    "createable": False,
    "updateable": False,
    "nillable": False,
    "defaultedOnCreate": True,
}
AUDIT_FIELDS: list[dict[str, Any]] = [
    {"name": "CreatedDate", "type": "datetime", "label": "Created Date", **_SET_BY_SALESFORCE},
    {"name": "CreatedById", "type": "reference", "label": "Created By ID", "referenceTo": ["User"]}
    | _SET_BY_SALESFORCE,
    {"name": "LastModifiedDate", "type": "datetime", "label": "Last Modified Date", **_SET_BY_SALESFORCE},
    {"name": "LastModifiedById", "type": "reference", "label": "Last Modified By ID", "referenceTo": ["User"]}
    | _SET_BY_SALESFORCE,
    {"name": "SystemModstamp", "type": "datetime", "label": "System Modstamp", **_SET_BY_SALESFORCE},
]
RECORD_TYPE_FIELD: dict[str, Any] = {
    "name": "RecordTypeId",
    "type": "reference",
    "label": "Record Type ID",
    "referenceTo": ["RecordType"],
    "defaultedOnCreate": True,
    "permissionable": False,
}


class Schema:
    """All objects of the org, by lower-case name. Later files add to, and correct, earlier ones."""

    def __init__(self, files: Iterable[Path] = ()) -> None:
        self.objects: dict[str, ObjectType] = {}
        # Platform events are published, not stored: nothing that reads or writes records knows them.
        self.events: dict[str, ObjectType] = {}
        self.person_accounts = False
        compact: dict[str, dict[str, Any]] = {}
        for path in [*sorted(SHIPPED_SCHEMA.glob("*.json")), *files]:
            for entry in _entries(path):
                _merge(compact, entry, path)
            if _switched_on(path, "personAccounts"):
                self.person_accounts = True
        if self.person_accounts:
            from sandbox.rows.people import person_entries

            for entry in person_entries(compact["contact"]):
                _merge(compact, entry, Path("personAccounts"))
        used_prefixes = {entry["keyPrefix"] for entry in compact.values() if "keyPrefix" in entry}
        for entry in compact.values():
            is_event = entry["name"].lower().endswith("__e")
            if "keyPrefix" not in entry:
                entry["keyPrefix"] = _free_prefix(used_prefixes, "e" if is_event else "a")
            if is_event:
                self.events[entry["name"].lower()] = _event_type(entry)
            else:
                self.objects[entry["name"].lower()] = _object_type(entry)
        from sandbox.rows.derived import complete

        complete(self)

    def object_named(self, name: str) -> ObjectType | None:
        """The object by API name, whatever its case; None when there is none."""
        return self.objects.get(name.lower())

    def event_named(self, name: str) -> ObjectType | None:
        """The platform event by API name, whatever its case; None when there is none."""
        return self.events.get(name.lower())

    def __iter__(self) -> Any:
        return iter(sorted(self.objects.values(), key=lambda each: each.name))


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SchemaError(f"{path}: not a readable JSON file ({error})") from error
    entries = content["objects"] if isinstance(content, dict) and "objects" in content else content
    entries = [entries] if isinstance(entries, dict) else entries
    for entry in entries:
        if not isinstance(entry, dict) or not entry.get("name"):
            raise SchemaError(f"{path}: every object needs a 'name'")
        for each in entry.get("fields", []):
            if not each.get("name"):
                raise SchemaError(f"{path}: object {entry['name']}: every field needs a 'name'")
    return list(entries)


def _switched_on(path: Path, key: str) -> bool:
    """A switch for the whole org, beside the objects of a file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    value = content.get(key, False) if isinstance(content, dict) and "objects" in content else False
    if not isinstance(value, bool):
        raise SchemaError(f"{path}: {key} is true or false")
    return value


def _merge(compact: dict[str, dict[str, Any]], entry: dict[str, Any], path: Path) -> None:
    """Add an object, or add its fields to (and replace facts of) the object of that name."""
    known = compact.setdefault(entry["name"].lower(), {"name": entry["name"], "fields": [], "records": []})
    by_name = {each["name"].lower(): each for each in known["fields"]}
    for each in entry.get("fields", []):
        if each["name"].lower() in by_name:
            by_name[each["name"].lower()].update(each)
        else:
            known["fields"].append(dict(each))
    known["records"].extend(entry.get("records", []))
    for key in RULE_LISTS:
        if not isinstance(entry.get(key, []), list):
            raise SchemaError(f"{path}: {entry['name']} {key} is a list")
        for each in entry.get(key, []):
            known.setdefault(key, []).append({**each, "source": str(path)} if isinstance(each, dict) else each)
    kept = ("fields", "records", "name", *RULE_LISTS)
    known.update({key: value for key, value in entry.items() if key not in kept})
    known.setdefault("source", str(path))


def _free_prefix(used: set[str], letter: str) -> str:
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    for first in digits:
        for second in digits:
            if (prefix := f"{letter}{first}{second}") not in used:
                used.add(prefix)
                return prefix
    raise SchemaError(f"more custom objects than key prefixes {letter}00 to {letter}zz")


# What a platform event has beside its own fields (Platform Events guide, "Platform Event Fields").
EVENT_FIELDS: list[dict[str, Any]] = [
    {"name": "ReplayId", "label": "Replay ID", "length": 1000, "createable": False, "updateable": False},
    {"name": "CreatedDate", "type": "datetime", "label": "Created Date", **_SET_BY_SALESFORCE},
    {"name": "CreatedById", "type": "reference", "label": "Created By ID", "referenceTo": ["User"]}
    | _SET_BY_SALESFORCE,
    {"name": "EventUuid", "label": "Event UUID", "length": 36, "createable": False, "updateable": False},
]
EVENT_TYPES = frozenset({"boolean", "date", "datetime", "double", "string", "textarea"})
_NOT_OF_EVENTS = (
    "queryable retrieveable updateable deletable searchable undeletable triggerable layoutable mruEnabled replicateable"
)


def _event_type(entry: dict[str, Any]) -> ObjectType:
    """A platform event: it can be published and described, and nothing else."""
    fields: dict[str, Field] = {}
    for compact in [*EVENT_FIELDS, *entry["fields"]]:
        one = Field(field_document({"updateable": False, **compact}))
        _check(entry, one)
        if one.type not in EVENT_TYPES and one.name != "CreatedById":
            place = f"{entry.get('source')}: {entry['name']}.{one.name}"
            raise SchemaError(f"{place}: a field of a platform event is one of {', '.join(sorted(EVENT_TYPES))}")
        fields[one.name.lower()] = one
    facts = {key: value for key, value in entry.items() if key not in ("fields", "records", "source", "hasOwner")}
    facts = {**dict.fromkeys(_NOT_OF_EVENTS.split(), False), "createable": True, **facts}
    return ObjectType(entry["name"], entry["keyPrefix"], facts, fields, [])


def _object_type(entry: dict[str, Any]) -> ObjectType:
    declared = {each["name"].lower() for each in entry["fields"]}
    owner = [
        {
            "name": "OwnerId",
            "type": "reference",
            "label": "Owner ID",
            "referenceTo": ["User"],
            "nillable": False,
            "defaultedOnCreate": True,
        }
    ]
    extra = owner if entry.get("hasOwner", entry["name"].endswith("__c")) else []
    if entry.get("recordTypes"):
        extra = [*extra, RECORD_TYPE_FIELD]
    before = [each for each in SYSTEM_FIELDS if each["name"].lower() not in declared]
    after = [each for each in [*extra, *AUDIT_FIELDS] if each["name"].lower() not in declared]
    fields: dict[str, Field] = {}
    for compact in [*before, *entry["fields"], *after]:
        one = Field(field_document(compact), compact.get("formula"), _child_relationship(entry, compact, fields))
        _check(entry, one)
        fields[one.name.lower()] = one
    facts = {key: value for key, value in entry.items() if key not in ("fields", "records", "source", "hasOwner")}
    _check_urls(entry)
    return ObjectType(entry["name"], entry["keyPrefix"], facts, fields, entry["records"])


def _check_urls(entry: dict[str, Any]) -> None:
    fewer, more = entry.get("noUrls", []), entry.get("moreUrls", {})
    if not isinstance(fewer, list) or not isinstance(more, dict):
        raise SchemaError(
            f"{entry.get('source')}: {entry['name']}: noUrls is a list of names, moreUrls names addresses"
        )
    if not all(isinstance(each, str) for each in [*fewer, *more.values()]):
        raise SchemaError(f"{entry.get('source')}: {entry['name']}: what noUrls and moreUrls hold is text")


def _child_relationship(entry: dict[str, Any], compact: dict[str, Any], before: dict[str, Field]) -> str | None:
    """What a parent calls the records that point to it by this lookup.

    A custom lookup takes the plural label of its object unless it names another, as the setup pages propose.
    """
    if named := compact.get("childRelationshipName"):
        return str(named)
    if not compact["name"].endswith("__c") or not compact.get("referenceTo"):
        return None
    plural = entry.get("labelPlural") or entry.get("label", _label(entry["name"])) + "s"
    proposed = re.sub(r"\W+", "_", plural).strip("_") + "__r"
    taken = {
        each.child_relationship for each in before.values() if set(each.reference_to) & set(compact["referenceTo"])
    }
    return None if proposed in taken else proposed


def _check(entry: dict[str, Any], one: Field) -> None:
    place = f"{entry.get('source')}: {entry['name']}.{one.name}"
    if not one.name.replace("_", "a").isalnum():
        raise SchemaError(f"{place}: a field name holds letters, digits and _ only")
    if one.type not in KNOWN_TYPES:
        raise SchemaError(f"{place}: unknown type {one.type!r}; known are {', '.join(sorted(KNOWN_TYPES))}")
    if one.is_number and not 0 <= one.scale <= one.precision <= 38:
        raise SchemaError(f"{place}: precision {one.precision} and scale {one.scale} do not fit together")
    if one.is_text and one.stored and one.length <= 0:
        raise SchemaError(f"{place}: a text field needs a 'length'")
