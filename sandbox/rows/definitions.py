"""The rules an object's schema files define, read and compiled at start: what a Salesforce admin would set up."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sandbox.rows.formula import Formula, FormulaError, compile_condition
from sandbox.schema import Field, ObjectType, Schema, SchemaError

EVENTS = ("before insert", "before update", "before delete", "after insert", "after update", "after delete")
ACTIONS = ("block", "alert", "allow")
METHODS = ("exact", "fuzzy")
WRONG_FILTER = "Value does not exist or does not match filter criteria."
NULL_POINTER = "System.NullPointerException: Attempt to de-reference a null object: Trigger.{0}: line 5, column 1"
SELF_REFERENCE = "SELF_REFERENCE_FROM_TRIGGER"
TRIGGER_CODES = ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", SELF_REFERENCE)


@dataclass(frozen=True)
class ValidationRule:
    """Rows for which `condition` is true are refused with `message`."""

    name: str
    condition: Formula
    message: str
    field: str | None


@dataclass(frozen=True)
class Trigger:
    """Apex that fails for rows for which `condition` is true, at any of `events`."""

    name: str
    condition: Formula
    events: tuple[str, ...]
    message: str
    code: str


@dataclass(frozen=True)
class LookupFilter:
    """`condition` is about the record that `field` points to; a lookup to one for which it is false is refused."""

    field: Field
    target: ObjectType
    condition: Formula
    message: str


@dataclass(frozen=True)
class DuplicateRule:
    """Records that agree in all `fields` (with how they are compared) are taken for duplicates."""

    name: str
    fields: tuple[tuple[Field, str], ...]
    on_insert: str
    on_update: str
    message: str


@dataclass(frozen=True)
class RecordType:
    """A record type; `picklists` says which values it leaves of a picklist."""

    id: str
    developer_name: str
    label: str
    active: bool
    default: bool
    person: bool
    picklists: dict[str, list[str]]


@dataclass(frozen=True)
class StatusRule:
    """The values a record may start with, and which may follow which."""

    field: Field
    initial: tuple[str, ...]
    next: dict[str, list[str]]
    message: str


@dataclass(frozen=True)
class AssignmentRule:
    """Who gets new records: the first entry whose condition holds (None: always), by user name, queue or id."""

    id: str
    name: str
    active: bool
    entries: tuple[tuple[Formula | None, str], ...]


@dataclass(frozen=True)
class ObjectRules:
    """All rules of one object."""

    validation: list[ValidationRule] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    filters: list[LookupFilter] = field(default_factory=list)
    duplicates: list[DuplicateRule] = field(default_factory=list)
    record_types: list[RecordType] = field(default_factory=list)
    statuses: list[StatusRule] = field(default_factory=list)
    assignments: list[AssignmentRule] = field(default_factory=list)


def read_rules(schema: Schema, target: ObjectType) -> ObjectRules:
    """The rules of an object. Raises SchemaError that names file, object, rule, and the place in a formula."""
    reader = _Reader(schema, target)
    return ObjectRules(
        reader.read("validationRules", "name formula message", "field active", reader.validation_rule),
        reader.read("triggers", "name when events", "message code active", reader.trigger),
        reader.read("lookupFilters", "field formula", "message active", reader.lookup_filter),
        reader.read("duplicateRules", "name match", "action onInsert onUpdate message active", reader.duplicate_rule),
        record_types(target),
        reader.read("statusRules", "field", "initial next message active", reader.status_rule),
        reader.read("assignmentRules", "name entries", "id active", reader.assignment_rule, with_inactive=True),
    )


def record_types(target: ObjectType) -> list[RecordType]:
    """The record types of an object, without Master. Raises SchemaError."""
    reader = _Reader(None, target)
    optional = "label active default personType picklists id"
    return reader.read("recordTypes", "name", optional, reader.record_type, with_inactive=True)


def assignment_records(target: ObjectType) -> list[dict[str, Any]]:
    """What queries find of an object's assignment rules: records of AssignmentRule. Raises SchemaError."""
    reader = _Reader(None, target)
    return reader.read("assignmentRules", "name entries", "id active", reader.assignment_record, with_inactive=True)


_Rule = TypeVar("_Rule")


class _Reader:
    def __init__(self, schema: Schema | None, target: ObjectType) -> None:
        self.schema = schema
        self.target = target
        self.place = target.name

    def read(
        self,
        key: str,
        required: str,
        optional: str,
        make: Callable[[dict[str, Any]], _Rule],
        *,
        with_inactive: bool = False,
    ) -> list[_Rule]:
        """The entries of one list of the object, checked for their keys."""
        made = []
        for entry in self.target.facts.get(key, []):
            if not isinstance(entry, dict):
                raise SchemaError(f"{self.target.name} {key}: an entry is a JSON object, not {entry!r}")
            called = entry.get("name") or entry.get("field")
            self.place = f"{entry.get('source')}: {self.target.name} {key} {called}"
            given = {each: value for each, value in entry.items() if each != "source"}
            if missing := [each for each in required.split() if not given.get(each)]:
                raise self.wrong(f"needs {', '.join(missing)}")
            if unknown := set(given) - set(required.split()) - set(optional.split()):
                raise self.wrong(f"unknown keys {', '.join(sorted(unknown))}")
            if given.get("active", True) or with_inactive:
                try:
                    made.append(make(given))
                except (TypeError, AttributeError) as error:
                    raise self.wrong(f"a value is not of the kind it should be ({error})") from None
        return made

    def wrong(self, reason: str) -> SchemaError:
        return SchemaError(f"{self.place}: {reason}")

    def condition(self, text: Any, target: ObjectType | None = None) -> Formula:
        assert self.schema is not None
        if not isinstance(text, str):
            raise self.wrong("a formula is a text")
        try:
            return compile_condition(self.schema, target or self.target, text)
        except FormulaError as error:
            raise self.wrong(str(error)) from None

    def field(self, named: Any) -> Field:
        found = self.target.field_named(str(named))
        if found is None:
            raise self.wrong(f"there is no field {named}")
        return found

    def one_of(self, value: Any, known: tuple[str, ...]) -> str:
        if value not in known:
            raise self.wrong(f"{value!r} is none of {', '.join(known)}")
        return str(value)

    def validation_rule(self, given: dict[str, Any]) -> ValidationRule:
        field = self.field(given["field"]).name if given.get("field") else None
        return ValidationRule(given["name"], self.condition(given["formula"]), str(given["message"]), field)

    def trigger(self, given: dict[str, Any]) -> Trigger:
        events = tuple(self.one_of(each, EVENTS) for each in given["events"])
        code = self.one_of(given.get("code", TRIGGER_CODES[0]), TRIGGER_CODES)
        message = str(given.get("message", NULL_POINTER.format(given["name"])))
        return Trigger(given["name"], self.condition(given["when"]), events, message, code)

    def lookup_filter(self, given: dict[str, Any]) -> LookupFilter:
        field = self.field(given["field"])
        assert self.schema is not None
        target = self.schema.object_named(field.reference_to[0]) if len(field.reference_to) == 1 else None
        if target is None:
            raise self.wrong("a lookup filter needs a lookup to one object of the org")
        condition = self.condition(given["formula"], target)
        if condition.prior:
            raise self.wrong("a lookup filter is about a stored record: ISCHANGED and PRIORVALUE have no meaning in it")
        return LookupFilter(field, target, condition, str(given.get("message", WRONG_FILTER)))

    def duplicate_rule(self, given: dict[str, Any]) -> DuplicateRule:
        fields = []
        for each in given["match"]:
            entry = {"field": each} if isinstance(each, str) else each
            found = self.field(entry.get("field"))
            if not found.stored:
                raise self.wrong(f"{found.name} is worked out when read and cannot be matched")
            fields.append((found, self.one_of(entry.get("method", "exact"), METHODS)))
        action = given.get("action", "block")
        on_insert = self.one_of(given.get("onInsert", action), ACTIONS)
        on_update = self.one_of(given.get("onUpdate", action), ACTIONS)
        message = str(given.get("message", "Use one of these records?"))
        return DuplicateRule(given["name"], tuple(fields), on_insert, on_update, message)

    def record_type(self, given: dict[str, Any]) -> RecordType:
        developer_name = str(given["name"])
        picklists = {self.field(key).name: list(values) for key, values in given.get("picklists", {}).items()}
        return RecordType(
            given.get("id") or _stable_id("012", f"{self.target.name}.{developer_name}"),
            developer_name,
            str(given.get("label", developer_name.replace("_", " "))),
            bool(given.get("active", True)),
            bool(given.get("default", False)),
            bool(given.get("personType", False)),
            picklists,
        )

    def status_rule(self, given: dict[str, Any]) -> StatusRule:
        label = str(self.target.facts.get("label", self.target.name)).lower()
        usual = f"Choose a valid {label} status and save your changes. Ask your admin for details."
        follow = {str(key): list(values) for key, values in given.get("next", {}).items()}
        message = str(given.get("message", usual))
        return StatusRule(self.field(given["field"]), tuple(given.get("initial", ())), follow, message)

    def assignment_rule(self, given: dict[str, Any]) -> AssignmentRule:
        entries = []
        for each in given["entries"]:
            if not isinstance(each, dict) or not each.get("owner"):
                raise self.wrong("every entry needs an owner")
            entries.append((self.condition(each["when"]) if each.get("when") else None, str(each["owner"])))
        record = self.assignment_record(given)
        return AssignmentRule(record["Id"], record["Name"], record["Active"], tuple(entries))

    def assignment_record(self, given: dict[str, Any]) -> dict[str, Any]:
        return {
            "Id": given.get("id") or _stable_id("01Q", f"{self.target.name}.{given['name']}"),
            "Name": given["name"],
            "SobjectType": self.target.name,
            "Active": bool(given.get("active", True)),
        }


def _stable_id(prefix: str, text: str) -> str:
    """An id that is the same at each start, whatever else the schema files hold."""
    from sandbox.store import make_id

    return make_id(prefix, zlib.crc32(text.encode()))
