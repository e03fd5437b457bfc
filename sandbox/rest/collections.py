"""sObject collections: up to 200 records in one call (REST API guide, "sObject Collections")."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.rest.describe import find_object
from sandbox.rest.records import (
    body_fields,
    key_field,
    publish_records,
    record_json,
    wanted_fields,
    write_options,
    write_records,
)
from sandbox.rows.rules import literals, name, row_error, visible
from sandbox.rows.write import split_error
from sandbox.schema import Field, ObjectType
from sandbox.store import id18
from sandbox.wire import SalesforceError

MOST_RECORDS = 200
MOST_RETRIEVED = 2000
MOST_CHUNKS = 10
ROLLED_BACK = (
    "Record rolled back because not all records were valid and the request was using AllOrNone header",
    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
)

Outcome = dict[str, Any]


class RollBack(Exception):
    """Undo what the transaction wrote; for calls that want all or nothing."""


def create(org: Org, call: Call) -> Answer:
    """POST composite/sobjects."""
    return _save(org, call, "insert")


def update(org: Org, call: Call) -> Answer:
    """PATCH composite/sobjects: each record names its id."""
    return _save(org, call, "update")


def upsert(org: Org, call: Call) -> Answer:
    """PATCH composite/sobjects/X/Field: by an external id, or by Id, where a record without one is inserted."""
    target = find_object(org, call)
    return _save(org, call, "upsert", target, key_field(target, call.arguments["field"]))


def delete(org: Org, call: Call) -> Answer:
    """DELETE composite/sobjects?ids=: into the recycle bin."""
    ids = [each.strip() for each in call.query.get("ids", "").split(",") if each.strip()]
    if not ids:
        raise SalesforceError(400, "MISSING_ARGUMENT", "missing required parameter: ids")
    _check_count(len(ids))
    schema = org.permissions.schema_of(call.user)
    prefixes = {each.key_prefix: each for each in schema}
    chunks = [
        (prefixes.get(prefix), [{"Id": each} for each in group])
        for prefix, group in groupby(ids, key=lambda each: each[:3])
    ]
    outcomes = _write_chunks(org, call, "delete", chunks, None, _is_true(call.query.get("allOrNone", "")))
    for record_id, outcome in zip(ids, outcomes, strict=True):
        outcome["id"] = outcome["id"] or (id18(record_id[:15]) if len(record_id) in (15, 18) else None)
    return Answer(200, [_shown(each, "delete") for each in outcomes])


def _save(org: Org, call: Call, operation: str, target: ObjectType | None = None, key: Field | None = None) -> Answer:
    given = call.json_object()
    records = given.get("records")
    if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
        raise SalesforceError(400, "JSON_PARSER_ERROR", "'records' must be an array of objects")
    _check_count(len(records))
    types = [_type_of(org, call, each) for each in records]
    if target and any(each is not target for each in types):
        message = f"All records must be of type {target.name}, which the address names"
        raise SalesforceError(400, "INVALID_TYPE", message)
    chunks: list[tuple[ObjectType | None, list[dict[str, Any]]]] = [
        (kind, [record for _, record in group])
        for kind, group in groupby(zip(types, records, strict=True), key=lambda pair: pair[0])
    ]
    outcomes = _write_chunks(org, call, operation, chunks, key, bool(given.get("allOrNone", False)))
    return Answer(200, [_shown(each, operation) for each in outcomes])


def _check_count(count: int) -> None:
    if count > MOST_RECORDS:
        message = f"record limit reached. cannot submit more than {MOST_RECORDS} records to this call"
        raise SalesforceError(400, "EXCEEDED_ID_LIMIT", message)


def _is_true(text: str) -> bool:
    return text.lower() == "true"


def _type_of(org: Org, call: Call, record: dict[str, Any]) -> ObjectType:
    attributes = record.get("attributes")
    kind = attributes.get("type") if isinstance(attributes, dict) else None
    if not isinstance(kind, str):
        message = 'Each record needs its type: "attributes": {"type": "Account"}'
        raise SalesforceError(400, "INVALID_INPUT", message)
    found = org.schema.event_named(kind) or org.permissions.schema_of(call.user).object_named(kind)
    if found is None:
        raise SalesforceError(400, "INVALID_TYPE", f"sObject type '{kind}' is not supported.")
    return found


def _write_chunks(
    org: Org,
    call: Call,
    operation: str,
    chunks: list[tuple[ObjectType | None, list[dict[str, Any]]]],
    key: Field | None,
    all_or_none: bool,
) -> list[Outcome]:
    """Write runs of records of one object after the other; one outcome per record, in their order."""
    if len(chunks) > MOST_CHUNKS:
        message = (
            f"Cannot have more than {MOST_CHUNKS} chunks in a single operation. Please rearrange the data to reduce"
            " chunking."
        )
        raise SalesforceError(400, "LIMIT_EXCEEDED", message)
    outcomes: list[Outcome] = []
    try:
        if not all_or_none:
            for target, records in chunks:
                outcomes += _write_chunk(org, call, operation, target, records, key)
            return outcomes
        with org.store.writing():
            for target, records in chunks:
                outcomes += _write_chunk(org, call, operation, target, records, key)
            if any(each["error"] for each in outcomes):
                raise RollBack
    except RollBack:
        message, code = ROLLED_BACK
        for each in outcomes:
            each["error"] = each["error"] or f"{code}:{message}:--"
    return outcomes


def _write_chunk(
    org: Org,
    call: Call,
    operation: str,
    target: ObjectType | None,
    records: list[dict[str, Any]],
    key: Field | None,
) -> list[Outcome]:
    """Write records of one object. A record that names no field of the object is refused by itself."""
    if target is None:
        return [_refused(row_error("MALFORMED_ID", f"malformed id {each['Id']}", ["Id"])) for each in records]
    outcomes: list[Outcome | None] = []
    good: list[dict[str, Any]] = []
    for record in records:
        try:
            good.append(_fields(org, call, target, record, operation))
            outcomes.append(None)
        except SalesforceError as error:
            if error.code not in ("INVALID_FIELD", "INVALID_FIELD_FOR_INSERT_UPDATE"):
                raise
            fields = error.body[0].get("fields") or []
            outcomes.append(_refused(row_error(error.code, error.body[0]["message"], fields)))
    if org.schema.event_named(target.name):
        told = iter(_published(org, call, operation, target, good))
        return [each or next(told) for each in outcomes]
    try:
        made = iter(write_records(org, call.user, target, operation, good, key, write_options(call)) if good else [])
    except SalesforceError as error:
        if error.code != "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY":
            raise
        # An object that takes no such write at all refuses each record by itself.
        made = iter([_refused(row_error(error.code, error.body[0]["message"])) for _ in good])
    return [each or next(made) for each in outcomes]


def _published(org: Org, call: Call, operation: str, event: ObjectType, records: list[dict[str, Any]]) -> list[Outcome]:
    """Publish platform events; nothing else can be done with them."""
    if operation != "insert":
        message = f"entity type cannot be {'upserted' if operation == 'upsert' else 'updated'}: {event.name}"
        return [_refused(row_error("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message)) for _ in records]
    made = publish_records(org, call, event, records, refuse=False) if records else []
    return [
        {"id": each.id, "created": True, "error": each.error, "duplicates": None, "uuid": each.uuid} for each in made
    ]


def _fields(org: Org, call: Call, target: ObjectType, record: dict[str, Any], operation: str) -> dict[str, Any]:
    if operation == "delete":
        return record
    given = {name_given: value for name_given, value in record.items() if name_given.lower() != "id"}
    ids = [value for name_given, value in record.items() if name_given.lower() == "id"]
    fields = body_fields(org.permissions.schema_of(call.user), target, given)
    if ids and (operation != "insert" or ids[0] is not None):
        fields["Id"] = ids[0]
        if operation == "insert":
            message = "cannot specify Id in an insert call"
            raise SalesforceError(400, "INVALID_FIELD_FOR_INSERT_UPDATE", message, fields=["Id"])
    elif operation == "update":
        fields["Id"] = None
    return fields


def _refused(error: str) -> Outcome:
    return {"id": None, "created": False, "error": error, "duplicates": None}


def _shown(outcome: Outcome, operation: str) -> dict[str, Any]:
    """A result as the collections answer it: `id` first where there is one, `created` last and for upserts only."""
    shown: dict[str, Any] = {}
    has_id = outcome["id"] and (outcome["error"] is None or not outcome["created"])
    if has_id:
        shown["id"] = outcome["id"]
    shown["success"] = outcome["error"] is None
    shown["errors"] = []
    if outcome.get("uuid"):
        shown["errors"].append({"statusCode": "OPERATION_ENQUEUED", "message": outcome["uuid"], "fields": []})
    if outcome["error"] is not None:
        error = split_error(outcome["error"])
        told = {"statusCode": error["code"], "message": error["message"], "fields": error["fields"]}
        if outcome["duplicates"]:
            told["duplicateResult"] = outcome["duplicates"]
        shown["errors"].append(told)
    if operation == "upsert":
        shown["created"] = bool(outcome["created"] and outcome["error"] is None)
    return shown


def retrieve(org: Org, call: Call) -> Answer:
    """GET composite/sobjects/X?ids=&fields=: null for what is not there."""
    ids = [each.strip() for each in call.query.get("ids", "").split(",") if each.strip()]
    return _retrieved(org, call, ids, call.query.get("fields", ""))


def retrieve_many(org: Org, call: Call) -> Answer:
    """POST composite/sobjects/X {"ids", "fields"}."""
    given = call.json_object()
    ids, fields = given.get("ids"), given.get("fields")
    for each in (ids, fields):
        if not isinstance(each, list) or not all(isinstance(text, str) for text in each):
            raise SalesforceError(400, "JSON_PARSER_ERROR", "'ids' and 'fields' must be arrays of texts")
    return _retrieved(org, call, list(ids or []), ",".join(fields or []))


def _retrieved(org: Org, call: Call, ids: list[str], field_names: str) -> Answer:
    target = find_object(org, call)
    if len(ids) > MOST_RETRIEVED:
        message = f"record limit reached. cannot submit more than {MOST_RETRIEVED} records to this call"
        raise SalesforceError(400, "EXCEEDED_ID_LIMIT", message)
    for value, told in ((ids, "ids"), (field_names, "fields")):
        if not value:
            raise SalesforceError(400, "MISSING_ARGUMENT", f"missing required parameter: {told}")
    fields = wanted_fields(target, field_names)
    columns = ", ".join(name(each.name) for each in fields)
    whole = [id18(each[:15]) if len(each) in (15, 18) and each.isascii() and each.isalnum() else each for each in ids]
    found = org.store.rows(
        f"SELECT Id, {columns} FROM {name('v_' + target.name)} WHERE NOT IsDeleted AND Id IN {literals(whole)}"
        f" AND {visible(target)}"
    )
    by_id = {row[0]: record_json(call, target, fields, row[1:], row[0]) for row in found}
    return Answer(200, [by_id.get(each) for each in whole])
