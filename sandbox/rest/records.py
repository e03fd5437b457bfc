"""Records by REST: create, read, update, delete, upsert by external id, and queries (REST API guide)."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import duckdb

from sandbox.call import Answer, Call
from sandbox.events.publish import Published, publish
from sandbox.login.users import User
from sandbox.org import Org
from sandbox.rest import conditions
from sandbox.rest.describe import find_object
from sandbox.rows import rules
from sandbox.rows.relations import json_parent, resolve_columns
from sandbox.rows.rules import JSON_NULL, literal, name
from sandbox.rows.write import Write, WriteOptions, apply_rows, new_write, outcomes, split_error
from sandbox.schema import Field, ObjectType, Schema
from sandbox.store import id18
from sandbox.wire import SalesforceError, json_text, not_found

CHECK_SECURITY = (
    "Please check the security settings of this field and verify that it is read/write for your profile or permission"
    " set."
)
NO_KEY = "Provided external ID field does not exist or is not accessible: {0}"


# Writing


def create(org: Org, call: Call) -> Answer:
    """POST sobjects/X. A platform event is published."""
    if event := org.schema.event_named(call.arguments["object"]):
        return Answer(201, publish_records(org, call, event, [call.json_object()])[0].as_json())
    target = find_object(org, call)
    record = body_fields(org.permissions.schema_of(call.user), target, call.json_object())
    made = write_records(org, call.user, target, "insert", [record], options=write_options(call))[0]
    raise_row_error(made)
    org.recent.note(call, target, made["id"])
    location = f"{call.data_url}/sobjects/{target.name}/{made['id']}"
    return Answer(201, {"id": made["id"], "success": True, "errors": []}, {"Location": location})


def create_by_id(org: Org, call: Call) -> Answer:
    """POST sobjects/X/Id: an upsert on Id without a value, so always an insert."""
    answer = create(org, call)
    return Answer(201, {**answer.body, "created": True}, answer.headers)


def update(org: Org, call: Call) -> Answer:
    """PATCH sobjects/X/id."""
    target = find_object(org, call)
    record_id = _record_id(org, target, call.arguments["id"])
    _check_conditions(org, call, target, record_id)
    record = body_fields(org.permissions.schema_of(call.user), target, call.json_object())
    raise_row_error(
        write_records(org, call.user, target, "update", [{**record, "Id": record_id}], options=write_options(call))[0]
    )
    org.recent.note(call, target, record_id)
    return Answer(204)


def delete(org: Org, call: Call) -> Answer:
    """DELETE sobjects/X/id: into the recycle bin."""
    target = find_object(org, call)
    record_id = _record_id(org, target, call.arguments["id"])
    _check_conditions(org, call, target, record_id)
    raise_row_error(
        write_records(org, call.user, target, "delete", [{"Id": record_id}], options=write_options(call))[0]
    )
    return Answer(204)


def upsert(org: Org, call: Call) -> Answer:
    """PATCH sobjects/X/Field/value.

    Answers 201 when it made a record, 200 (204 before v46) when it changed one, 300 when several match.
    """
    target = find_object(org, call)
    key = key_field(target, call.arguments["field"])
    if key.name == "Id":
        call.arguments["id"] = call.arguments["value"]
        return update(org, call)
    record = body_fields(org.permissions.schema_of(call.user), target, call.json_object())
    if key.name in record:
        message = f"The {key.name} field should not be specified in the sobject data."
        raise SalesforceError(400, "INVALID_FIELD", message, fields=[])
    value = call.arguments["value"]
    if len(found := _find_by_key(org, target, key, value)) > 1:
        raise SalesforceError(300, "", "", body=[f"{call.data_url}/sobjects/{target.name}/{each}" for each in found])
    if not found and call.query.get("updateOnly", "").lower() == "true":
        raise not_found()
    made = write_records(org, call.user, target, "upsert", [{**record, key.name: value}], key, write_options(call))[0]
    raise_row_error(made)
    body = {"id": made["id"], "success": True, "errors": []}
    if call.version >= 46:
        return Answer(201 if made["created"] else 200, {**body, "created": made["created"]})
    return Answer(201, body) if made["created"] else Answer(204)


def delete_by_key(org: Org, call: Call) -> Answer:
    """DELETE sobjects/X/Field/value."""
    target = find_object(org, call)
    record_id = _only_record(org, call, target)
    raise_row_error(
        write_records(org, call.user, target, "delete", [{"Id": record_id}], options=write_options(call))[0]
    )
    return Answer(204)


def write_records(
    org: Org,
    user: User,
    target: ObjectType,
    operation: str,
    records: list[dict[str, Any]],
    key: Field | None = None,
    options: WriteOptions | None = None,
) -> list[dict[str, Any]]:
    """Write a few records given by field name (or `Parent.Key`); one outcome each (see `outcomes`), in their order.

    `target` is the object as the user sees it.
    """
    whole = org.schema.objects[target.name.lower()]
    _check_operation(whole, operation)
    names = list(dict.fromkeys(field_name for record in records for field_name in record))
    if key and key.name != "Id" and key.name not in names:
        names.append(key.name)
    columns = resolve_columns(org.permissions.schema_of(user), target, names)
    write = new_write(org, whole, operation, columns, user.id, key=key, null_marker=JSON_NULL, options=options)
    # Column by column: a statement per record would cost more than all that follows.
    marks = "".join(f", unnest(?::VARCHAR[]) AS c{place}" for place in range(len(names)))
    cells = [[_cell(record[each]) if each in record else None for record in records] for each in names]
    with org.store.writing() as cursor:
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE given AS SELECT unnest(range({len(records)})) AS n{marks}", cells)
        if key and len(records) > 1:
            write = dataclasses.replace(write, duplicates=_repeated_keys(cursor, write, key))
        apply_rows(org.store, cursor, write, "SELECT * FROM given")
        return outcomes(cursor)


def _repeated_keys(cursor: duckdb.DuckDBPyConnection, write: Write, key: Field) -> str:
    """The table of keys that stand more than once in the request."""
    text = rules.cell_text(str(write.column_of(key.name)), JSON_NULL)
    value = f"SELECT {rules.typed_value(key, 't')} AS v FROM (SELECT {text} AS t FROM given)"
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE given_keys AS SELECT {rules.key_form(key, 'v')} AS k FROM ({value})"
        " WHERE v IS NOT NULL GROUP BY 1 HAVING count(*) > 1"
    )
    return "given_keys"


def publish_records(
    org: Org, call: Call, event: ObjectType, records: list[dict[str, Any]], *, refuse: bool = True
) -> list[Published]:
    """Publish platform events given as JSON; one outcome each. With `refuse`, the first error is raised."""
    rows = []
    for record in records:
        fields = body_fields(org.schema, event, record)
        if wrong := [each for each in fields if not event.fields[each.lower()].flag("createable")]:
            message = f"Unable to create/update fields: {', '.join(wrong)}. {CHECK_SECURITY}"
            raise SalesforceError(400, "INVALID_FIELD_FOR_INSERT_UPDATE", message, fields=wrong)
        rows.append({key: json_text(value) for key, value in fields.items()})
    published = publish(org, call.user, event, rows)
    if refuse and (error := published[0].error):
        raise_row_error({"error": error, "duplicates": None})
    return published


def write_options(call: Call) -> WriteOptions:
    """What the headers Sforce-Duplicate-Rule-Header and Sforce-Auto-Assign ask for (REST API guide, "Headers")."""
    asked = call.headers.get("sforce-duplicate-rule-header", "")
    pairs = [pair.partition("=") for pair in asked.replace(",", ";").split(";")]
    allow_save = any(key.strip().lower() == "allowsave" and value.strip().lower() == "true" for key, _, value in pairs)
    assign = call.headers.get("sforce-auto-assign", "TRUE").strip()
    rule = {"TRUE": "default", "FALSE": None}.get(assign.upper(), id18(assign[:15]) if len(assign) >= 15 else None)
    return WriteOptions(allow_save, rule, call.data_url, _origin(call))


def _origin(call: Call) -> str:
    """Where a change comes from, with the name the client gives itself in Sforce-Call-Options (CDC guide)."""
    origin = f"com/salesforce/api/rest/{call.version}.0"
    options = [each.strip() for each in call.headers.get("sforce-call-options", "").split(",")]
    return ";".join([origin, *(each for each in options if each.lower().startswith("client="))])


def _cell(value: Any) -> str:
    return rules.staged(json_text(value))


# Operation -> the fact of the object that allows it, and how Salesforce words its absence.
_ALLOWED_BY = {
    "insert": ("createable", "inserted"),
    "upsert": ("createable", "inserted"),
    "update": ("updateable", "updated"),
    "delete": ("deletable", "deleted"),
}


def _check_operation(target: ObjectType, operation: str) -> None:
    fact, verb = _ALLOWED_BY[operation]
    if not target.facts.get(fact, True):
        message = f"entity type cannot be {verb}: {target.name}"
        raise SalesforceError(400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message, fields=[])


def raise_row_error(outcome: dict[str, Any]) -> None:
    """Turn the refusal of a single record into its HTTP answer."""
    if outcome["error"] is None:
        return
    error = split_error(outcome["error"])
    status = 400
    if error["code"] in ("ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY") and not error["fields"]:
        status = 404
    elif error["code"] == "INSUFFICIENT_ACCESS_OR_READONLY":
        # "Status Codes and Error Responses": 403 is for what the user has no permission to.
        status = 403
    refusal = SalesforceError(status, error["code"], error["message"], fields=error["fields"])
    if outcome["duplicates"]:
        refusal.body[0]["duplicateResult"] = outcome["duplicates"]
    raise refusal


def body_fields(schema: Schema, target: ObjectType, given: dict[str, Any]) -> dict[str, Any]:
    """The record of a request body under its fields' proper names; refuses what is no field or of a wrong JSON type."""
    record: dict[str, Any] = {}
    for key, value in given.items():
        if key == "attributes":
            continue
        found = target.field_named(key)
        if found is None and (parent := json_parent(schema, target, key, value)):
            record[parent[0]] = parent[1]
            continue
        if found is None or found.type == "address":
            message = f"No such column '{key}' on sobject of type {target.name}"
            raise SalesforceError(400, "INVALID_FIELD", message, fields=None)
        if found.name == "Id":
            message = "The Id field should not be specified in the sobject data."
            raise SalesforceError(400, "INVALID_FIELD", message, fields=["Id"])
        _check_json_type(found, value)
        record[found.name] = value
    return record


def _check_json_type(found: Field, value: Any) -> None:
    """A JSON type the field cannot take fails the whole request. Numbers and booleans may come as text."""
    if value is None or isinstance(value, str):
        if isinstance(value, str) and (found.is_number or found.type == "boolean"):
            _check_scalar_text(found, value)
        return
    if isinstance(value, bool):
        fits, token, text = found.type == "boolean", f"VALUE_{str(value).upper()}", str(value).lower()
    elif isinstance(value, int | Decimal):
        kind = "INT" if isinstance(value, int) else "FLOAT"
        fits, token, text = found.is_number, f"VALUE_NUMBER_{kind}", str(value)
    else:
        kind, text = ("ARRAY", "[") if isinstance(value, list) else ("OBJECT", "{")
        fits, token = False, f"START_{kind}"
    if not fits:
        raise _json_type_error(found, token, text)


def _check_scalar_text(found: Field, text: str) -> None:
    if found.type == "boolean":
        fits = text.strip().lower() in ("true", "false")
    else:
        try:
            fits = not text.strip() or Decimal(text.strip()).is_finite()
        except ArithmeticError:
            fits = False
    if not fits:
        raise _json_type_error(found, "VALUE_STRING", text)


def _json_type_error(found: Field, token: str, text: str) -> SalesforceError:
    kind = found.document["soapType"].partition(":")[2].replace("dateTime", "date")
    message = (
        f"Cannot deserialize instance of {kind} from {token} value {text} or request may be missing a required field"
    )
    message += " at [line:1, column:1]"
    return SalesforceError(400, "JSON_PARSER_ERROR", message)


# Finding


def _record_id(org: Org, target: ObjectType, given: str) -> str:
    """The 18-character id of a path; what is no id of the object is read as an external id field."""
    if len(given) not in (15, 18) or not given.isalnum() or not given.isascii() or given[:3] != target.key_prefix:
        raise not_found(NO_KEY.format(given))
    return id18(given[:15])


def key_field(target: ObjectType, given: str) -> Field:
    found = target.field_named(given)
    if found is None or not (found.flag("externalId") or found.flag("idLookup")):
        raise not_found(NO_KEY.format(given))
    return found


def _find_by_key(org: Org, target: ObjectType, key: Field, value: str) -> list[str]:
    """Ids of the live records with a key value, in order."""
    text = rules.cell_text("given", JSON_NULL)
    typed = rules.typed_value(key, "t")
    given = rules.key_form(key, "v")
    stored = rules.key_form(key, name(key.name))
    found = org.store.rows(
        f"WITH g AS (SELECT {typed} AS v FROM (SELECT {text} AS t FROM (SELECT CAST(? AS VARCHAR) AS given)))"
        f" SELECT Id FROM {name(target.name)} WHERE NOT IsDeleted AND {stored} = (SELECT {given} FROM g) ORDER BY Id",
        [rules.staged(value)],
    )
    return [row[0] for row in found]


def _only_record(org: Org, call: Call, target: ObjectType) -> str:
    key = key_field(target, call.arguments["field"])
    found = _find_by_key(org, target, key, call.arguments["value"])
    if not found:
        raise not_found()
    if len(found) > 1:
        raise SalesforceError(300, "", "", body=[f"{call.data_url}/sobjects/{target.name}/{each}" for each in found])
    return found[0]


# Reading


def retrieve(org: Org, call: Call) -> Answer:
    """GET sobjects/X/id[?fields=A,B]."""
    target = find_object(org, call)
    return _one_record(org, call, target, _record_id(org, target, call.arguments["id"]))


def retrieve_by_key(org: Org, call: Call) -> Answer:
    """GET sobjects/X/Field/value."""
    target = find_object(org, call)
    return _one_record(org, call, target, _only_record(org, call, target))


def _one_record(org: Org, call: Call, target: ObjectType, record_id: str) -> Answer:
    fields = wanted_fields(target, call.query.get("fields", "")) or list(target.fields.values())
    columns = ", ".join(name(each.name) for each in fields)
    source = f"FROM {name('v_' + target.name)} WHERE Id = {literal(record_id)} AND {rules.visible(target)}"
    found_rows = org.store.rows(f"SELECT IsDeleted, SystemModstamp, {columns} {source}")
    if not found_rows:
        raise not_found()
    if found_rows[0][0]:
        raise SalesforceError(404, "ENTITY_IS_DELETED", "entity is deleted", fields=[])
    headers = conditions.check(call, found_rows[0][1], record_id)
    org.recent.note(call, target, record_id)
    return Answer(200, record_json(call, target, fields, found_rows[0][2:], record_id), headers)


def _check_conditions(org: Org, call: Call, target: ObjectType, record_id: str) -> None:
    """Refuse a change that the caller wants only of a record as it was."""
    rows = org.store.rows(f"SELECT SystemModstamp FROM {name(target.name)} WHERE Id = {literal(record_id)}")
    if rows:
        conditions.check(call, rows[0][0], record_id)


def wanted_fields(target: ObjectType, names: str) -> list[Field]:
    """The fields of a comma-separated list, and Id with them; none for an empty list."""
    fields: list[Field] = []
    for each in names.split(",") if names else []:
        found = target.field_named(each.strip())
        if found is None:
            raise SalesforceError(400, "INVALID_FIELD", f"No such column '{each}' on sobject of type {target.name}")
        if found not in fields:
            fields.append(found)
    if fields and not any(each.name == "Id" for each in fields):
        fields.append(target.fields["id"])
    return fields


def record_json(
    call: Call, target: ObjectType, fields: list[Field], row: tuple[Any, ...], record_id: str | None
) -> dict[str, Any]:
    """A record as REST prints it: attributes first, then the fields in order."""
    attributes = {"type": target.name}
    if record_id:
        attributes["url"] = f"{call.data_url}/sobjects/{target.name}/{record_id}"
    values = {each.name: _shown(each, value) for each, value in zip(fields, row, strict=True)}
    return {"attributes": attributes, **values}


def _shown(field: Field, value: Any) -> Any:
    if field.type in ("int", "long") and isinstance(value, Decimal):
        return int(value)
    return value
