"""Writes rows into the org: insert, update, upsert and delete of any number of staged rows, set by set.

The same few statements serve one record that came by REST and ten thousand that came in a bulk job. Rows are staged as
text, one column per field: NULL leaves a field alone, the null marker or a blank clears it.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

import duckdb

from sandbox.faults import Refusal
from sandbox.rows import rules
from sandbox.rows.rules import literal, name, row_error
from sandbox.schema import Field, ObjectType
from sandbox.store import BASE62, Store

# In JSON a null is a null; this text stands for it in staged rows, where NULL means "not named".
JSON_NULL = "\x01null"
BULK_NULL = "#N/A"

INSERTS = frozenset({"insert", "upsert"})
UPDATES = frozenset({"update", "upsert"})
DELETES = frozenset({"delete", "hardDelete"})


@dataclass(frozen=True)
class Write:
    """What to do with staged rows.

    `columns` pairs a staged column with its field. `key` is the field an upsert matches by. `allowed_duplicates` names
    a table of key values (column k, in key form) that stand more than once in the whole request.
    """

    object: ObjectType
    operation: str
    columns: list[tuple[str, Field]]
    key: Field | None
    user_id: str
    null_marker: str = BULK_NULL
    duplicates: str | None = None
    now: datetime.datetime = field(default_factory=lambda: datetime.datetime(1970, 1, 1))
    refusals: tuple[Refusal, ...] = ()

    def column_of(self, field_name: str) -> str | None:
        """The staged column of a field, by its name."""
        return next((column for column, each in self.columns if each.name == field_name), None)


def apply_rows(store: Store, cursor: duckdb.DuckDBPyConnection, write: Write, source: str) -> None:
    """Write the rows of the query `source` (columns n and those of `write`) in the transaction of `cursor`.

    Afterwards the temporary table `outcome` holds one row per source row: n, id (NULL when there is none), created,
    error (in the form of sf__Error; NULL when the row was written).
    """
    _type_rows(store, cursor, write, source)
    _refuse_by_rule(cursor, write)
    if write.operation in DELETES:
        _match_by_id(cursor, write)
    elif write.key is not None and write.key.name != "Id":
        _match_by_key(cursor, write, write.key)
    elif write.operation == "insert":
        cursor.execute(
            "CREATE OR REPLACE TEMP TABLE outcome AS SELECT n, NULL::VARCHAR AS id, true AS created, error FROM typed"
        )
    else:
        _match_by_id(cursor, write)
    if write.operation in DELETES:
        _delete(cursor, write)
        return
    _refuse_fields(cursor, write)
    _refuse_references(store, cursor, write)
    _give_ids(store, cursor, write)
    for column, each in write.columns:
        if each.flag("unique"):
            _refuse_taken(cursor, write, column, each)
    if write.operation in INSERTS:
        _insert(cursor, write)
    if write.operation in UPDATES:
        _update(cursor, write)


def _type_rows(store: Store, cursor: duckdb.DuckDBPyConnection, write: Write, source: str) -> None:
    """Make `typed`: n, g_<column> (was a value given), v_<column> (the typed value), error."""
    texts = "".join(
        f", {column} IS NOT NULL AS g_{column}, {rules.cell_text(column, write.null_marker)} AS t_{column}"
        for column, _ in write.columns
    )
    values = "".join(
        f", g_{column}, t_{column}, {rules.typed_value(each, f't_{column}')} AS v_{column}"
        for column, each in write.columns
    )
    errors = [
        error
        for column, each in write.columns
        if (error := rules.value_error(each, f"t_{column}", f"v_{column}", store.schema, write.object.key_prefix))
    ]
    kept = "".join(f", g_{column}, v_{column}" for column, _ in write.columns)
    error = f"coalesce({', '.join(errors)})" if errors else "NULL::VARCHAR"
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE typed AS WITH texts AS (SELECT n{texts} FROM ({source})), "
        f"cells AS (SELECT n{values} FROM texts) SELECT n{kept}, {error} AS error FROM cells"
    )


def _refuse_by_rule(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse the rows that a fault rule names."""
    for refusal in write.refusals:
        if column := write.column_of(refusal.field):
            cursor.execute(
                f"UPDATE typed SET error = {literal(row_error(refusal.code, refusal.message))} WHERE error IS NULL"
                f" AND regexp_matches(CAST(v_{column} AS VARCHAR), {literal(refusal.pattern)})"
            )


def _match_by_id(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Make `outcome` from record ids: update, delete, and upsert on Id (where a blank Id inserts)."""
    column = write.column_of("Id")
    value = f"v_{column}" if column else "NULL::VARCHAR"
    verb = "a delete" if write.operation in DELETES else "an update"
    blank = literal(row_error("MISSING_ARGUMENT", f"Id not specified in {verb} call"))
    gone = literal(row_error("ENTITY_IS_DELETED", "entity is deleted"))
    unknown = literal(row_error("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id"))
    twice = f"'DUPLICATE_VALUE:Duplicate id specified: ' || r.id || {literal(':Id --')}"
    is_upsert = write.operation == "upsert"
    cases = [
        "WHEN r.error IS NOT NULL THEN r.error",
        f"WHEN r.id IS NULL THEN {'NULL' if is_upsert else blank}",
        f"WHEN t.Id IS NULL THEN {unknown}",
        # A hard delete also takes what lies in the recycle bin.
        f"WHEN {'false' if write.operation == 'hardDelete' else 't.IsDeleted'} THEN {gone}",
        f"WHEN row_number() OVER (PARTITION BY r.id ORDER BY r.n) > 1 THEN"
        f" {gone if write.operation in DELETES else twice}",
    ]
    created = "r.id IS NULL AND r.error IS NULL" if is_upsert else "false"
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE outcome AS SELECT r.n, r.id, {created} AS created, CASE {' '.join(cases)} END"
        f" AS error FROM (SELECT n, {value} AS id, error FROM typed) r"
        f" LEFT JOIN {name(write.object.name)} t ON t.Id = r.id"
    )


def _match_by_key(cursor: duckdb.DuckDBPyConnection, write: Write, key: Field) -> None:
    """Make `outcome` of an upsert by an external id."""
    column = write.column_of(key.name)
    given = rules.key_form(key, f"b.v_{column}")
    stored = rules.key_form(key, name(key.name))
    blank = literal(row_error("MISSING_ARGUMENT", f"{key.name} not specified", [key.name]))
    shown = f"CAST(b.v_{column} AS VARCHAR)"
    twice = f"'DUPLICATE_VALUE:Duplicate external id specified: ' || {shown} || {literal(f':{key.name} --')}"
    several = (
        f"{literal(f'DUPLICATE_EXTERNAL_ID:{key.name}: more than one record found for external id field: [')}"
        f" || array_to_string(m.ids, ', ') || {literal(f']:{key.name} --')}"
    )
    own_id = write.column_of("Id")
    both = f"INVALID_FIELD:cannot specify both an external ID reference {key.name} and a salesforce id, Id:--"
    with_id = f"WHEN b.v_{own_id} IS NOT NULL THEN {literal(both)}" if own_id else ""
    repeated = f"WHEN {given} IN (SELECT k FROM {write.duplicates}) THEN {twice}" if write.duplicates else ""
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE outcome AS SELECT b.n, m.ids[1] AS id, m.ids IS NULL AS created, CASE"
        f" WHEN b.error IS NOT NULL THEN b.error WHEN b.v_{column} IS NULL THEN {blank} {with_id} {repeated}"
        f" WHEN len(m.ids) > 1 THEN {several} END AS error FROM typed b LEFT JOIN ("
        f"SELECT {stored} AS k, list(Id ORDER BY Id) AS ids FROM {name(write.object.name)} WHERE NOT IsDeleted"
        f" AND {stored} IN (SELECT {given} FROM typed b) GROUP BY 1) m ON m.k = {given}"
    )


def _refuse_fields(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse fields the user cannot write, and required fields that are missing or cleared."""
    blocked_on_insert = _listed(write, "NOT createable")
    blocked_on_update = _listed(write, "NOT updateable")
    message = "'INVALID_FIELD_FOR_INSERT_UPDATE:Unable to create/update fields: ' || {names} || "
    message += literal(
        ". Please check the security settings of this field and verify that it is read/write for your profile or"
        " permission set.:"
    )
    message += " || replace({names}, ', ', ',') || ' --'"
    missing = "'REQUIRED_FIELD_MISSING:Required fields are missing: [' || {names} || ']:'"
    missing += " || replace({names}, ', ', ',') || ' --'"
    cases = [
        f"WHEN o.created AND {blocked_on_insert} <> '' THEN {message.format(names=blocked_on_insert)}",
        f"WHEN NOT o.created AND {blocked_on_update} <> '' THEN {message.format(names=blocked_on_update)}",
    ]
    required = _required(write)
    cases.append(f"WHEN {required} <> '' THEN {missing.format(names=required)}")
    cursor.execute(
        f"UPDATE outcome SET error = e.error FROM (SELECT o.n, CASE {' '.join(cases)} END AS error FROM outcome o"
        " JOIN typed b USING (n) WHERE o.error IS NULL) e WHERE e.n = outcome.n AND e.error IS NOT NULL"
    )


def _listed(write: Write, which: str) -> str:
    """SQL: the comma-separated names of the fields a row gives though they are not createable or not updateable."""
    flag = which.split()[1]
    key_name = write.key.name if write.key else "Id"
    parts = [
        f"CASE WHEN b.g_{column} AND b.v_{column} IS NOT NULL THEN {literal(each.name)} END"
        for column, each in write.columns
        if not each.flag(flag) and each.name != key_name and not (each.name == "Id" and write.operation != "insert")
    ]
    return f"concat_ws(', ', {', '.join(parts)})" if parts else "''"


def _required(write: Write) -> str:
    """SQL: the names of required fields that a new row lacks or a changed row clears."""
    parts = []
    for each in write.object.stored_fields:
        if not each.required_on_insert:
            continue
        column = write.column_of(each.name)
        lacking = f"b.v_{column} IS NULL AND (o.created OR b.g_{column})" if column else "o.created"
        parts.append(f"CASE WHEN {lacking} THEN {literal(each.name)} END")
    return f"concat_ws(', ', {', '.join(parts)})" if parts else "''"


def _refuse_references(store: Store, cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse lookups to records that do not exist or are in the recycle bin."""
    for column, each in write.columns:
        if each.type != "reference":
            continue
        targets = [target for other in each.reference_to if (target := store.schema.object_named(other))]
        exists = [f"b.v_{column} IN (SELECT Id FROM {name(t.name)} WHERE NOT IsDeleted)" for t in targets]
        known = " OR ".join([*exists, f"b.v_{column} = '012000000000000AAA'"])
        error = literal(row_error("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", [each.name]))
        cursor.execute(
            f"UPDATE outcome SET error = {error} FROM (SELECT b.n FROM typed b WHERE b.v_{column} IS NOT NULL"
            f" AND NOT ({known})) e WHERE e.n = outcome.n AND outcome.error IS NULL"
        )


def _give_ids(store: Store, cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Give an id to each row that is going to be a new record."""
    if write.operation not in INSERTS:
        return
    found = cursor.execute("SELECT count(*) FROM outcome WHERE created AND error IS NULL").fetchone()
    count = int(found[0]) if found else 0
    if count == 0:
        return
    first = store.reserve(cursor, write.object.name, count)
    cursor.execute(
        f"UPDATE outcome SET id = e.id FROM (SELECT n, sf_id18(id15) AS id FROM (SELECT n,"
        f" sf_id15({literal(write.object.key_prefix)}, {first} + row_number() OVER (ORDER BY n) - 1) AS id15"
        f" FROM outcome WHERE created AND error IS NULL)) e WHERE e.n = outcome.n"
    )


def _refuse_taken(cursor: duckdb.DuckDBPyConnection, write: Write, column: str, each: Field) -> None:
    """Refuse values of a unique field that another record, or an earlier row, already has."""
    given = rules.key_form(each, f"b.v_{column}")
    stored = rules.key_form(each, f"t.{name(each.name)}")
    cursor.execute(
        f"UPDATE outcome SET error = 'DUPLICATE_VALUE:duplicate value found: {each.name} duplicates value on record"
        f" with id: ' || e.id[1:15] || ':--' FROM ("
        f"SELECT b.n, min(t.Id) AS id FROM typed b JOIN {name(write.object.name)} t ON {stored} = {given}"
        " JOIN outcome o ON o.n = b.n WHERE NOT t.IsDeleted AND o.error IS NULL AND t.Id IS DISTINCT FROM o.id"
        " GROUP BY b.n"
        f" UNION ALL SELECT n, id FROM (SELECT b.n, first_value(o.id) OVER same AS id, row_number() OVER same AS place"
        f" FROM typed b JOIN outcome o ON o.n = b.n WHERE o.error IS NULL AND b.v_{column} IS NOT NULL"
        f" WINDOW same AS (PARTITION BY {given} ORDER BY b.n)) WHERE place > 1) e"
        " WHERE e.n = outcome.n AND outcome.error IS NULL"
    )


def _insert(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    now = f"TIMESTAMP '{write.now.isoformat(sep=' ')}'"
    user = literal(write.user_id)
    fixed = {
        "Id": "o.id",
        "IsDeleted": "false",
        "CreatedDate": now,
        "LastModifiedDate": now,
        "SystemModstamp": now,
        "CreatedById": user,
        "LastModifiedById": user,
    }
    expressions: dict[str, str] = {}
    for each in write.object.stored_fields:
        column = write.column_of(each.name)
        default = _default(each, write)
        value = f"b.v_{column}" if column else None
        if each.name in fixed:
            expressions[each.name] = fixed[each.name]
        elif value and default:
            expressions[each.name] = f"coalesce({value}, {default})"
        elif only := value or default:
            expressions[each.name] = only
    cursor.execute(
        f"INSERT INTO {name(write.object.name)} ({', '.join(name(each) for each in expressions)})"
        f" SELECT {', '.join(expressions.values())} FROM outcome o JOIN typed b USING (n)"
        " WHERE o.created AND o.error IS NULL ORDER BY o.id"
    )


def _default(each: Field, write: Write) -> str | None:
    """SQL: what Salesforce puts into a field a new record leaves blank; None for null."""
    if each.flag("autoNumber"):
        digits = f"list_transform(string_split(o.id[7:15], ''), lambda c: strpos({literal(BASE62)}, c) - 1)"
        number = f"CAST(999 + list_reduce({digits}, lambda a, d: a * 62 + d) AS VARCHAR)"
        return f"lpad({number}, 8, '0')"
    if each.name == "OwnerId":
        return literal(write.user_id)
    if each.type == "boolean":
        return "true" if each.document["defaultValue"] else "false"
    if each.flag("nameField") and each.flag("defaultedOnCreate"):
        return "o.id"
    if each.document["defaultValue"] is not None:
        return f"CAST({literal(str(each.document['defaultValue']))} AS {each.sql_type})"
    return None


def _update(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    now = f"TIMESTAMP '{write.now.isoformat(sep=' ')}'"
    changes = {"LastModifiedDate": now, "SystemModstamp": now, "LastModifiedById": literal(write.user_id)}
    for column, each in write.columns:
        if not each.flag("updateable") or not each.stored:
            continue
        value = f"c.v_{column}"
        if each.flag("defaultedOnCreate") and (default := _default(each, write)) and not each.flag("nillable"):
            value = f"coalesce({value}, {default})"
        changes[each.name] = f"CASE WHEN c.g_{column} THEN {value} ELSE t.{name(each.name)} END"
    known = {each.name for each in write.object.stored_fields}
    assignments = ", ".join(
        f"{name(field_name)} = {value}" for field_name, value in changes.items() if field_name in known
    )
    cursor.execute(
        f"UPDATE {name(write.object.name)} AS t SET {assignments} FROM (SELECT b.*, o.id FROM outcome o"
        " JOIN typed b USING (n) WHERE NOT o.created AND o.error IS NULL) c WHERE t.Id = c.id"
    )


def _delete(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    chosen = "SELECT id FROM outcome WHERE error IS NULL"
    if write.operation == "hardDelete":
        cursor.execute(f"DELETE FROM {name(write.object.name)} WHERE Id IN ({chosen})")
        return
    now = f"TIMESTAMP '{write.now.isoformat(sep=' ')}'"
    cursor.execute(
        f"UPDATE {name(write.object.name)} SET IsDeleted = true, LastModifiedDate = {now}, SystemModstamp = {now},"
        f" LastModifiedById = {literal(write.user_id)} WHERE Id IN ({chosen})"
    )


def outcomes(cursor: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The rows of `outcome` in request order, for calls of a few records."""
    found = cursor.execute("SELECT id, created, error FROM outcome ORDER BY n").fetchall()
    return [{"id": row[0], "created": row[1], "error": row[2]} for row in found]


def split_error(error: str) -> dict[str, Any]:
    """Code, message and field names of an error in the form of sf__Error."""
    code, _, rest = error.partition(":")
    message, _, tail = rest.rpartition(":")
    fields = tail.removesuffix("--").strip()
    return {"code": code, "message": message, "fields": fields.split(",") if fields else []}
