"""The rules every object has: fields that may not be written, fields that must be, and lookups that lead nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.rows.checks import MASTER_TYPE
from sandbox.rows.people import is_required_by_kind
from sandbox.rows.record import refuse
from sandbox.rows.rules import literal, name, row_error

if TYPE_CHECKING:
    import duckdb

    from sandbox.rows.write import Write
    from sandbox.store import Store


def refuse_without_rights(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse what the user may not do to records of this object, or to those of other owners."""
    rights = write.rights
    may = rights.delete if write.deletes else rights.edit
    if not rights.create:
        text = row_error("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", f"entity type cannot be inserted: {write.object.name}")
        refuse(cursor, f"SELECT n, {literal(text)} AS error FROM outcome WHERE created")
    error = literal(row_error("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id"))
    if not may:
        refuse(cursor, f"SELECT n, {error} AS error FROM outcome WHERE NOT created")
    elif not rights.others and write.object.has_owner:
        refuse(
            cursor,
            f"SELECT o.n, {error} AS error FROM outcome o JOIN {name(write.object.name)} t ON t.Id = o.id"
            f" WHERE NOT o.created AND t.OwnerId IS DISTINCT FROM {literal(write.user_id)}",
        )


def refuse_fields(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse fields the user cannot write, and required fields that are missing or cleared."""
    blocked_on_insert = _listed(write, "createable")
    blocked_on_update = _listed(write, "updateable")
    message = "'INVALID_FIELD_FOR_INSERT_UPDATE:Unable to create/update fields: ' || {names} || "
    message += literal(
        ". Please check the security settings of this field and verify that it is read/write for your profile or"
        " permission set.:"
    )
    message += " || replace({names}, ', ', ',') || ' --'"
    missing = "'REQUIRED_FIELD_MISSING:Required fields are missing: [' || {names} || ']:'"
    missing += " || replace({names}, ', ', ',') || ' --'"
    cases = []
    if write.operation == "insert" and (column := write.column_of("Id")):
        text = row_error("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call", ["Id"])
        cases.append(f"WHEN b.v_{column} IS NOT NULL THEN {literal(text)}")
    if blocked_on_insert and write.inserts:
        cases.append(f"WHEN o.created AND {blocked_on_insert} <> '' THEN {message.format(names=blocked_on_insert)}")
    if blocked_on_update and write.operation != "insert":
        cases.append(f"WHEN NOT o.created AND {blocked_on_update} <> '' THEN {message.format(names=blocked_on_update)}")
    if required := _required(write):
        cases.append(f"WHEN {required} <> '' THEN {missing.format(names=required)}")
    if cases:
        refuse(cursor, f"SELECT o.n, CASE {' '.join(cases)} END AS error FROM outcome o JOIN typed b USING (n)")


def _listed(write: Write, flag: str) -> str | None:
    """SQL: the names of the fields a row gives though the flag says it may not; None when there can be none."""
    key_name = write.key.name if write.key else "Id"
    parts = [
        f"CASE WHEN b.g_{column} AND b.v_{column} IS NOT NULL THEN {literal(each.name)} END"
        for column, each in write.columns
        if not each.flag(flag) and each.name not in (key_name, "Id")
    ]
    return f"concat_ws(', ', {', '.join(parts)})" if parts else None


def _required(write: Write) -> str | None:
    """SQL: the names of required fields that a new row lacks or a changed row clears."""
    parts = []
    for each in write.object.stored_fields:
        if not each.required_on_insert or is_required_by_kind(write, each):
            continue
        column = write.column_of(each.name)
        lacking = f"b.v_{column} IS NULL AND (o.created OR b.g_{column})" if column else "o.created"
        parts.append(f"CASE WHEN {lacking} THEN {literal(each.name)} END")
    return f"concat_ws(', ', {', '.join(parts)})" if parts else None


def refuse_references(store: Store, cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse lookups to records that do not exist, are in the recycle bin, or are not the user's to see."""
    for column, each in write.columns:
        if each.type != "reference":
            continue
        targets = [target for other in each.reference_to if (target := store.schema.object_named(other))]
        exists = [f"b.v_{column} IN (SELECT Id FROM {name(t.name)} WHERE NOT IsDeleted)" for t in targets]
        known = " OR ".join([*exists, f"b.v_{column} = '{MASTER_TYPE}'"])
        error = literal(row_error("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", [each.name]))
        refuse(cursor, f"SELECT b.n, {error} AS error FROM typed b WHERE b.v_{column} IS NOT NULL AND NOT ({known})")
        for target in targets:
            if hidden := write.closed.get(target.name):
                text = "'INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY:insufficient access rights on cross-reference id"
                refuse(
                    cursor,
                    f"SELECT b.n, {text}: ' || b.v_{column}[1:15] || ':--' AS error FROM typed b"
                    f" WHERE b.v_{column} IN (SELECT p.Id FROM {name(target.name)} p WHERE {hidden})",
                )
