"""Writes rows into the org: insert, update, upsert and delete of any number of staged rows, set by set.

The same few statements serve one record that came by REST and ten thousand that came in a bulk job. Rows are staged as
text, one column per field: NULL leaves a field alone, the null marker or a blank clears it.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb

from sandbox.faults import Refusal
from sandbox.login.permissions import Rights
from sandbox.rows import checks, deletes, duplicates, people, refusals, rules
from sandbox.rows.assignment import assign_owners, running_rule
from sandbox.rows.definitions import ObjectRules
from sandbox.rows.policy import Policy
from sandbox.rows.record import changed_value, new_value
from sandbox.rows.relations import Columns, Parent
from sandbox.rows.rules import literal, name, row_error
from sandbox.schema import Field, ObjectType
from sandbox.store import Store, make_id

if TYPE_CHECKING:
    from sandbox.events.changes import Changes
    from sandbox.login.users import User
    from sandbox.org import Org

BULK_NULL = "#N/A"

INSERTS = frozenset({"insert", "upsert"})
DELETES = frozenset({"delete", "hardDelete"})
# Up to so many rows ids are written down one by one.
FEW = 200


@dataclass(frozen=True)
class WriteOptions:
    """What a caller asks for beside the rows.

    `allow_save` lets pass what a duplicate rule only alerts of. `assignment` names the assignment rule to run: its id,
    `default` for the active one, or None. `data_url` is the path of the API version, for links in answers. `origin` is
    what change events tell of who wrote.
    """

    allow_save: bool = False
    assignment: str | None = None
    data_url: str = "/services/data/v67.0"
    origin: str = "com/salesforce/api/rest/67.0"


@dataclass(frozen=True, kw_only=True)
class Write:
    """What to do with staged rows; `new_write` makes one.

    `columns` pairs a staged column with its field, `parents` are columns with keys of parents. `key` is the field an
    upsert matches by. `duplicates` names a table of key values (column k, in key form) that stand more than once in
    the whole request. `batch` names who holds row locks; None for a single call. `rights` is what the user may do,
    `closed` the objects (with the condition of a record `p`) whose records the user may not point to.
    """

    object: ObjectType
    operation: str
    columns: list[tuple[str, Field]]
    policy: Policy
    user_id: str
    key: Field | None = None
    parents: list[Parent] = field(default_factory=list)
    null_marker: str = BULK_NULL
    duplicates: str | None = None
    now: datetime.datetime = field(default_factory=lambda: datetime.datetime(1970, 1, 1))
    refusals: tuple[Refusal, ...] = ()
    options: WriteOptions = WriteOptions()
    batch: str | None = None
    rights: Rights = Rights()
    closed: dict[str, str] = field(default_factory=dict)
    changes: Changes | None = None

    @property
    def inserts(self) -> bool:
        return self.operation in INSERTS

    @property
    def deletes(self) -> bool:
        return self.operation in DELETES

    @property
    def rules(self) -> ObjectRules:
        """The rules of the object's schema files."""
        return self.policy.of(self.object)

    def column_of(self, field_name: str) -> str | None:
        """The staged column of a field, by its name."""
        return next((column for column, each in self.columns if each.name == field_name), None)


def new_write(
    org: Org,
    target: ObjectType,
    operation: str,
    columns: Columns,
    user_id: str,
    *,
    key: Field | None = None,
    null_marker: str = BULK_NULL,
    duplicates: str | None = None,
    options: WriteOptions | None = None,
    batch: str | None = None,
) -> Write:
    """The write of rows staged in `columns` (see `resolve_columns`) by a user of the org, under all of its rules."""
    user = org.users.with_id(user_id)
    return Write(
        object=org.schema.objects[target.name.lower()],
        operation=operation,
        columns=columns.fields,
        policy=org.policy,
        user_id=user_id,
        key=key,
        parents=columns.parents,
        null_marker=null_marker,
        duplicates=duplicates,
        now=org.clock.now(),
        refusals=org.faults.for_rows(target.name, operation),
        options=options or WriteOptions(),
        batch=batch,
        rights=org.permissions.rights(user, target.name) if user else Rights(),
        closed=_closed_objects(org, user) if user else {},
        changes=org.changes,
    )


def _closed_objects(org: Org, user: User) -> dict[str, str]:
    """The objects whose records the user may not read, each with the condition (SQL about `p`) of those he may not."""
    closed = {}
    if not user.allowed.everything:
        for each in org.schema:
            if not org.permissions.may(user, each.name, "read"):
                closed[each.name] = "true"
            elif each.has_owner and not org.permissions.may(user, each.name, "viewAll"):
                closed[each.name] = f"p.OwnerId IS DISTINCT FROM {literal(user.id)}"
    return closed


def apply_rows(store: Store, cursor: duckdb.DuckDBPyConnection, write: Write, source: str) -> None:
    """Write the rows of the query `source` (columns n and those of `write`) in the transaction of `cursor`.

    Afterwards the temporary table `outcome` holds one row per source row: n, id (NULL when there is none), created,
    error (in the form of sf__Error; NULL when the row was written).
    """
    _find_parents(cursor, write, source)
    _type_rows(store, cursor, write, source)
    _refuse_by_rule(cursor, write)
    if write.deletes:
        _match_by_id(cursor, write)
    elif write.key is not None and write.key.name != "Id":
        _match_by_key(cursor, write, write.key)
    elif write.operation == "insert":
        cursor.execute(
            "CREATE OR REPLACE TEMP TABLE outcome AS SELECT n, NULL::VARCHAR AS id, true AS created, error FROM typed"
        )
    else:
        _match_by_id(cursor, write)
    refusals.refuse_without_rights(cursor, write)
    checks.refuse_locked(cursor, write)
    if write.deletes:
        checks.run_triggers(cursor, write, "before")
        deletes.refuse_held(cursor, write)
        checks.take_locks(cursor, write)
        checks.run_triggers(cursor, write, "after")
        deletes.delete_rows(cursor, write)
        return
    refusals.refuse_fields(cursor, write)
    checks.refuse_record_types(cursor, write)
    people.refuse_people(cursor, write)
    refusals.refuse_references(store, cursor, write)
    checks.refuse_parents(cursor, write)
    checks.run_triggers(cursor, write, "before")
    checks.run_validation_rules(cursor, write)
    checks.refuse_statuses(cursor, write)
    duplicates.run_duplicate_rules(cursor, write)
    checks.refuse_beyond_storage(store, cursor, write)
    fresh, known = _count(cursor)
    if fresh:
        _give_ids(store, cursor, write, fresh)
    duplicates.refuse_taken(cursor, write)
    checks.take_locks(cursor, write)
    checks.run_triggers(cursor, write, "after")
    assign_owners(cursor, write)
    if write.changes:
        write.changes.before(cursor, write)
    if fresh:
        _insert(cursor, write)
    if known:
        _update(cursor, write)
    people.keep_contacts(store, cursor, write)
    if write.changes:
        write.changes.after(cursor, write)


def _find_parents(cursor: duckdb.DuckDBPyConnection, write: Write, source: str) -> None:
    """Make `parents_<column>` for each column with keys of parents: k (text of the key), ids (the records with it)."""
    for each in write.parents:
        text = rules.cell_text(each.column, write.null_marker)
        given = rules.key_form(each.key, "v")
        stored = rules.key_form(each.key, name(each.key.name))
        cursor.execute(
            f"CREATE OR REPLACE TEMP TABLE parents_{each.column} AS"
            f" WITH texts AS (SELECT DISTINCT {text} AS k FROM ({source})),"
            f" given AS (SELECT k, {rules.typed_value(each.key, 'k')} AS v FROM texts WHERE k IS NOT NULL)"
            f" SELECT k, list(p.Id ORDER BY p.Id) FILTER (p.Id IS NOT NULL) AS ids FROM given"
            f" LEFT JOIN (SELECT Id, {stored} AS s FROM {name(each.target.name)} WHERE NOT IsDeleted AND"
            f" {rules.visible(each.target)}) p"
            f" ON p.s = {given} GROUP BY k"
        )


def _type_rows(store: Store, cursor: duckdb.DuckDBPyConnection, write: Write, source: str) -> None:
    """Make `typed`: n, g_<column> (was a value given), v_<column> (the typed value), error."""
    by_key = {each.column for each in write.parents}
    staged = list(dict.fromkeys([*(column for column, _ in write.columns), *by_key]))
    texts = "".join(
        f", {column} IS NOT NULL AS g_{column}, {rules.cell_text(column, write.null_marker)} AS t_{column}"
        for column in staged
    )
    values = "".join(f", {_cell(write, column, each, by_key)}" for column, each in write.columns)
    joins = "".join(
        f" LEFT JOIN parents_{each.column} p_{each.column} ON p_{each.column}.k = t_{each.column}"
        for each in write.parents
    )
    texts_kept = "".join(f", t_{column}" for column in staged)
    found = "".join(f", p_{each.column}.ids AS ids_{each.column}" for each in write.parents)
    errors = [error for each in write.parents for error in _parent_errors(write, each)]
    errors += [
        error
        for column, each in write.columns
        if column not in by_key
        and (error := rules.value_error(each, f"t_{column}", f"v_{column}", store.schema, write.object.key_prefix))
    ]
    kept = "".join(f", g_{column}, v_{column}" for column, _ in write.columns)
    error = f"coalesce({', '.join(errors)})" if errors else "NULL::VARCHAR"
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE typed AS WITH texts AS (SELECT n{texts} FROM ({source})), "
        f"cells AS (SELECT n{texts_kept}{values}{found} FROM texts{joins})"
        f" SELECT n{kept}, {error} AS error FROM cells"
    )


def _cell(write: Write, column: str, each: Field, by_key: set[str]) -> str:
    """SQL: whether a field was given, and its value: its own, or the id of the parent that a key names."""
    others = [parent.column for parent in write.parents if parent.lookup.name == each.name]
    own = [] if column in by_key else [column]
    given = " OR ".join(f"g_{one}" for one in [*own, *others])
    values = [rules.typed_value(each, f"t_{one}") for one in own] + [f"p_{one}.ids[1]" for one in others]
    value = f"coalesce({', '.join(values)})" if len(values) > 1 else values[0]
    return f"({given}) AS g_{column}, {value} AS v_{column}" if others else f"g_{column}, {value} AS v_{column}"


def _parent_errors(write: Write, each: Parent) -> list[str]:
    """SQL: the errors of a key that names no parent, or several, or stands beside the parent's id."""
    text, ids = f"t_{each.column}", f"ids_{each.column}"
    missing = (
        f"'INVALID_FIELD:Foreign key external ID: ' || {text} ||"
        f" {literal(f' not found for field {each.key.name} in entity {each.target.name}:--')}"
    )
    several = row_error(
        "INVALID_FIELD", f"More than 1 record found for field {each.key.name} in entity {each.target.name}"
    )
    errors = [
        f"CASE WHEN {text} IS NOT NULL AND {ids} IS NULL THEN {missing} WHEN len({ids}) > 1 THEN {literal(several)} END"
    ]
    own = write.column_of(each.lookup.name)
    if own and not any(other.column == own for other in write.parents):
        relationship = each.lookup.document["relationshipName"]
        both = f"cannot specify both an external ID reference {relationship} and a salesforce id, {each.lookup.name}"
        error = literal(row_error("INVALID_FIELD", both))
        errors.append(f"CASE WHEN {text} IS NOT NULL AND t_{own} IS NOT NULL THEN {error} END")
    return errors


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
    verb = "a delete" if write.deletes else "an update"
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
        f"WHEN row_number() OVER (PARTITION BY r.id ORDER BY r.n) > 1 THEN {gone if write.deletes else twice}",
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


def _count(cursor: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """How many records are going to be made, and how many changed."""
    found = cursor.execute(
        "SELECT count(*) FILTER (created), count(*) FILTER (NOT created) FROM outcome WHERE error IS NULL"
    ).fetchone()
    assert found is not None
    return int(found[0]), int(found[1])


def _give_ids(store: Store, cursor: duckdb.DuckDBPyConnection, write: Write, count: int) -> None:
    """Give an id to each of the `count` rows that are going to be new records."""
    first, prefix = store.reserve(cursor, write.object.name, count), write.object.key_prefix
    given: list[list[str]] = []
    if count > FEW:
        ids = (
            f"SELECT n, sf_id18(id15) AS id FROM (SELECT n,"
            f" sf_id15({literal(prefix)}, {first} + row_number() OVER (ORDER BY n) - 1) AS id15"
            f" FROM outcome WHERE created AND error IS NULL)"
        )
    else:
        # The macros that make ids take longer to plan than a few ids take to write down.
        given = [[make_id(prefix, first + number) for number in range(count)]]
        place = "row_number() OVER (ORDER BY n)"
        ids = f"SELECT n, (?::VARCHAR[])[{place}] AS id FROM outcome WHERE created AND error IS NULL"
    cursor.execute(f"UPDATE outcome SET id = e.id FROM ({ids}) e WHERE e.n = outcome.n", given)


def _insert(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    now = f"TIMESTAMP '{write.now.isoformat(sep=' ')}'"
    user = literal(write.user_id)
    expressions = {each.name: new_value(each, write) for each in write.object.stored_fields}
    expressions.update(
        Id="o.id",
        IsDeleted="false",
        CreatedDate=now,
        LastModifiedDate=now,
        SystemModstamp=now,
        CreatedById=user,
        LastModifiedById=user,
    )
    known = {each.name for each in write.object.stored_fields}
    expressions = {each: value for each, value in expressions.items() if each in known and value != "NULL"}
    assigned = ""
    if running_rule(write):
        assigned = " LEFT JOIN assigned a ON a.n = o.n"
        expressions["OwnerId"] = f"coalesce(a.owner, {expressions['OwnerId']})"
    cursor.execute(
        f"INSERT INTO {name(write.object.name)} ({', '.join(name(each) for each in expressions)})"
        f" SELECT {', '.join(expressions.values())} FROM outcome o JOIN typed b ON b.n = o.n{assigned}"
        " WHERE o.created AND o.error IS NULL ORDER BY o.id"
    )


def _update(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    now = f"TIMESTAMP '{write.now.isoformat(sep=' ')}'"
    changes = {"LastModifiedDate": now, "SystemModstamp": now, "LastModifiedById": literal(write.user_id)}
    for _, each in write.columns:
        if each.flag("updateable") and each.stored:
            changes[each.name] = changed_value(each, write)
    assigned, owner = "", ""
    if running_rule(write):
        assigned, owner = " LEFT JOIN assigned a ON a.n = o.n", ", a.owner"
        changes["OwnerId"] = f"coalesce(b.owner, {changes.get('OwnerId', 't.OwnerId')})"
    known = {each.name for each in write.object.stored_fields}
    assignments = ", ".join(
        f"{name(field_name)} = {value}" for field_name, value in changes.items() if field_name in known
    )
    cursor.execute(
        f"UPDATE {name(write.object.name)} AS t SET {assignments} FROM (SELECT c.*, o.id{owner} FROM outcome o"
        f" JOIN typed c ON c.n = o.n{assigned} WHERE NOT o.created AND o.error IS NULL) b WHERE t.Id = b.id"
    )


def outcomes(cursor: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The rows of `outcome` in request order, for calls of a few records.

    `duplicates` is the duplicateResult of a row that a duplicate rule refused, and None for all others.
    """
    found = cursor.execute("SELECT n, id, created, error FROM outcome ORDER BY n").fetchall()
    detected = any(str(row[3]).startswith("DUPLICATES_DETECTED:") for row in found)
    matched = duplicates.duplicate_results(cursor) if detected else {}
    return [
        {
            # The id a refused record would have had is nobody's business.
            "id": None if created and error else record_id,
            "created": created,
            "error": error,
            "duplicates": matched.get(number),
        }
        for number, record_id, created, error in found
    ]


def split_error(error: str) -> dict[str, Any]:
    """Code, message and field names of an error in the form of sf__Error."""
    code, _, rest = error.partition(":")
    message, _, tail = rest.rpartition(":")
    fields = tail.removesuffix("--").strip()
    return {"code": code, "message": message, "fields": fields.split(",") if fields else []}
