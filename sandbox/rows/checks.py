"""The rules an org's setup brings: triggers, validation rules, lookup filters, record types, locks, storage and more.

Each looks at the rows that are still good and refuses some. An object that has no such rule pays nothing for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.rows.definitions import SELF_REFERENCE, StatusRule, Trigger
from sandbox.rows.formula import IS_NEW, NOW, PRIOR, USER, Formula
from sandbox.rows.policy import NO_PARENTS
from sandbox.rows.record import NUMBER, record_rows, refuse, rows_for
from sandbox.rows.rules import literal, literals, name, row_error

if TYPE_CHECKING:
    import duckdb

    from sandbox.rows.write import Write
    from sandbox.store import Store

# A record counts for 2 KB of data storage whatever it holds (Salesforce Help, "Data and File Storage Allocations").
RECORD_KB = 2
# Setup data, and the standard price book that every org is born with.
NOT_COUNTED = frozenset(
    {
        *("User", "Profile", "Organization", "RecordType", "Group", "UserRole", "AssignmentRule"),
        *("PermissionSet", "PermissionSetAssignment", "Pricebook2"),
    }
)
MASTER_TYPE = "012000000000000AAA"


def refuse_locked(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse changes of records an approval process holds, and of leads that were converted."""
    if write.policy.locked:
        error = literal(row_error("ENTITY_IS_LOCKED", "the entity is locked for editing"))
        locked = literals(sorted(write.policy.locked))
        refuse(cursor, f"SELECT n, {error} AS error FROM outcome WHERE NOT created AND id IN {locked}")
    if write.object.name == "Lead" and not write.deletes and write.operation != "insert":
        error = literal(row_error("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead"))
        refuse(
            cursor,
            f'SELECT o.n, {error} AS error FROM outcome o JOIN "Lead" t ON t.Id = o.id'
            " WHERE NOT o.created AND t.IsConverted",
        )


def refuse_record_types(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse record types that are not the object's own, and picklist values a record type does not have."""
    types = write.rules.record_types
    if not types:
        return
    active = literals([*(each.id for each in types if each.active), MASTER_TYPE])
    if column := write.column_of("RecordTypeId"):
        wrong = (
            "'INVALID_CROSS_REFERENCE_KEY:Record Type ID: this ID value isn''t valid for the user: ' ||"
            f" b.v_{column} || ':RecordTypeId --'"
        )
        unknown = f"b.v_{column} IS NOT NULL AND b.v_{column} NOT IN {active}"
        refuse(cursor, f"SELECT b.n, {wrong} AS error FROM typed b WHERE {unknown}")
    for each in types:
        for field_name, values in each.picklists.items():
            column, found = write.column_of(field_name), write.object.field_named(field_name)
            if column is None or found is None or not found.flag("restrictedPicklist"):
                continue
            text = f"INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST:{found.label}: bad value for restricted picklist field: "
            refused = f"len(list_filter(string_split(b.v_{column}, ';'), lambda x: x NOT IN {literals(values)})) > 0"
            refuse(
                cursor,
                f"SELECT b.n, {literal(text)} || b.v_{column} || {literal(f':{found.name} --')} AS error FROM typed b"
                f" JOIN ({record_rows(write, ['RecordTypeId'])}) r ON r.{NUMBER} = b.n"
                f' WHERE r."RecordTypeId" = {literal(each.id)} AND b.v_{column} IS NOT NULL AND {refused}',
            )


def refuse_parents(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse inactive owners, converted leads as parents, and lookups that fail their filter."""
    schema = write.policy.schema
    for column, each in write.columns:
        if each.name == "OwnerId" and schema.object_named("User"):
            label = str(write.object.facts.get("label", write.object.name)).lower()
            text = f"'INACTIVE_OWNER_OR_USER:operation performed with inactive user [' || b.v_{column}[1:15] ||"
            text += literal(f"] as owner of {label}:OwnerId --")
            inactive = f'b.v_{column} IN (SELECT Id FROM "User" WHERE NOT IsActive)'
            refuse(cursor, f"SELECT b.n, {text} AS error FROM typed b WHERE {inactive}")
        if "Lead" in each.reference_to and each.name != "MasterRecordId":
            error = literal(row_error("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead"))
            converted = f'b.v_{column} IN (SELECT Id FROM "Lead" WHERE IsConverted)'
            refuse(cursor, f"SELECT b.n, {error} AS error FROM typed b WHERE {converted}")
    for rule in write.rules.filters:
        if filtered := write.column_of(rule.field.name):
            error = literal(row_error("FIELD_FILTER_VALIDATION_EXCEPTION", rule.message, [rule.field.name]))
            facts = f"false AS {IS_NEW}, {_now(write)} AS {NOW}, {literal(write.user_id)} AS {USER}"
            parents = f"SELECT *, {facts} FROM {name('v_' + rule.target.name)}"
            wrong = f"SELECT Id FROM ({parents}) WHERE NOT {rule.condition.sql}"
            refuse(cursor, f"SELECT b.n, {error} AS error FROM typed b WHERE b.v_{filtered} IN ({wrong})")


def _now(write: Write) -> str:
    return f"TIMESTAMP '{write.now.isoformat(sep=' ')}'"


def run_triggers(cursor: duckdb.DuckDBPyConnection, write: Write, moment: str) -> None:
    """Refuse the rows at which a trigger fails; `moment` is before or after."""
    kinds = ["delete"] if write.deletes else ["insert", "update"]
    cases: list[tuple[Formula, str]] = []
    for each in write.rules.triggers:
        for kind in kinds:
            if f"{moment} {kind}" in each.events:
                cases += [(each.condition, _trigger_case(each, moment, kind))]
    _refuse_cases(cursor, write, cases)


def _trigger_case(each: Trigger, moment: str, kind: str) -> str:
    when = {"insert": IS_NEW, "update": f"NOT {IS_NEW}", "delete": "true"}[kind]
    if each.code == SELF_REFERENCE:
        text = f"{literal(SELF_REFERENCE + ':Object (id = ')} || coalesce(Id, 'null') || " + literal(
            f") is currently in trigger {each.name}, therefore it cannot recursively update itself:--"
        )
    else:
        event = f"{moment.capitalize()}{kind.capitalize()}"
        message = f"{each.name}: execution of {event} caused by: {each.message}"
        text = literal(row_error(each.code, message))
    return f"WHEN {when} AND {each.condition.sql} THEN {text}"


def run_validation_rules(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse the rows for which the formula of a validation rule is true."""
    cases = []
    for each in write.rules.validation:
        fields = [each.field] if each.field else []
        error = literal(row_error("FIELD_CUSTOM_VALIDATION_EXCEPTION", each.message, fields))
        cases.append((each.condition, f"WHEN {each.condition.sql} THEN {error}"))
    _refuse_cases(cursor, write, cases)


def _refuse_cases(cursor: duckdb.DuckDBPyConnection, write: Write, cases: list[tuple[Formula, str]]) -> None:
    if not cases:
        return
    rows = rows_for(write, [formula for formula, _ in cases])
    refuse(cursor, f"SELECT {NUMBER} AS n, CASE {' '.join(case for _, case in cases)} END AS error FROM ({rows})")


def refuse_statuses(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse a status a record cannot start with, or that cannot follow the one it has."""
    for rule in write.rules.statuses:
        if write.column_of(rule.field.name):
            error = literal(row_error("INVALID_STATUS", rule.message, [rule.field.name]))
            rows = record_rows(write, [rule.field.name], [rule.field.name])
            refuse(cursor, f"SELECT {NUMBER} AS n, {error} AS error FROM ({rows}) WHERE {_wrong_status(rule)}")


def _wrong_status(rule: StatusRule) -> str:
    now, before = name(rule.field.name), name(PRIOR + rule.field.name)
    wrong = [f"({IS_NEW} AND {now} NOT IN {literals(rule.initial)})"] if rule.initial else []
    for value, following in rule.next.items():
        allowed = literals([value, *following])
        wrong.append(f"(NOT {IS_NEW} AND {before} = {literal(value)} AND {now} NOT IN {allowed})")
    return " OR ".join(wrong) or "false"


def refuse_beyond_storage(store: Store, cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse new records beyond the data storage of the org."""
    limit = write.policy.storage_mb
    if limit is None or not write.inserts:
        return
    counts = [f"(SELECT count(*) FROM {name(each.name)})" for each in store.schema if each.name not in NOT_COUNTED]
    error = literal(row_error("STORAGE_LIMIT_EXCEEDED", "storage limit exceeded"))
    refuse(
        cursor,
        f"SELECT n, {error} AS error FROM (SELECT n, row_number() OVER (ORDER BY n) AS place FROM outcome"
        f" WHERE created AND error IS NULL) WHERE place + {' + '.join(counts)} > {int(limit * 1024 / RECORD_KB)}",
    )


def take_locks(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse rows whose record or parents another batch holds, and hold those of the others for this batch."""
    locks = write.policy.locks
    held = locks.held_by_others(write.batch)
    holds = locks.enabled and write.batch is not None
    if not held and not holds:
        return
    lookups = [
        each.name
        for each in write.object.stored_fields
        if each.type == "reference" and each.reference_to and not NO_PARENTS.intersection(each.reference_to)
    ]
    needed = ", ".join([f"CASE WHEN NOT {IS_NEW} THEN Id END", *(name(each) for each in lookups)])
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE needed AS SELECT {NUMBER} AS n, unnest([{needed}]) AS id"
        f" FROM ({record_rows(write, lookups)})"
    )
    if held:
        cursor.execute("CREATE OR REPLACE TEMP TABLE held AS SELECT unnest(?::VARCHAR[]) AS id", [held])
        busy = cursor.execute("SELECT DISTINCT id FROM needed WHERE id IN (FROM held) ORDER BY id LIMIT 200").fetchall()
        text = "unable to obtain exclusive access to this record"
        if write.batch is not None:
            text += f" or {len(busy)} records: {','.join(row[0] for row in busy)}"
        error = literal(row_error("UNABLE_TO_LOCK_ROW", text))
        refuse(cursor, f"SELECT DISTINCT n, {error} AS error FROM needed WHERE id IN (FROM held)")
    if holds:
        taken = cursor.execute(
            "SELECT DISTINCT needed.id FROM needed JOIN outcome o USING (n)"
            " WHERE o.error IS NULL AND needed.id IS NOT NULL"
        ).fetchall()
        locks.hold(str(write.batch), [row[0] for row in taken])
