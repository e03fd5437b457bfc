"""Deletes and what they drag along: children that go too or forbid it, the recycle bin, undelete and merge.

Salesforce Help, "Considerations for Relationships" and SOAP API guide, `delete()`, `undelete()` and `merge()`.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from sandbox.rows.record import refuse
from sandbox.rows.rules import literal, name

if TYPE_CHECKING:
    import duckdb

    from sandbox.rows.policy import Child, Policy
    from sandbox.rows.write import Write
    from sandbox.schema import ObjectType

# What a delete did to children, so that an undelete can put it back; `field` is NULL where the child went too.
UNDO = "_undo"


def refuse_held(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse to delete records that have children of a kind that forbids it."""
    called = next((one.name for one in write.object.fields.values() if one.flag("nameField")), "Id")
    for each in write.policy.children.get(write.object.name, []):
        if each.on_delete != "restrict" or not _any_child(cursor, each):
            continue
        label = str(each.object.facts.get("labelPlural", each.object.name.removesuffix("__c") + "s")).lower()
        shown = next((one.name for one in each.object.fields.values() if one.flag("nameField")), "Id")
        text = (
            f"'DELETE_FAILED:Your attempt to delete ' || coalesce(min(t.{name(called)}), 'this record') ||"
            f" {literal(f' could not be completed because it is associated with the following {label}.: ')} ||"
            f" string_agg(c.{name(shown)}, ', ' ORDER BY c.Id) || ':--'"
        )
        refuse(
            cursor,
            f"SELECT o.n, {text} AS error FROM outcome o JOIN {name('v_' + write.object.name)} t ON t.Id = o.id"
            f" JOIN {name('v_' + each.object.name)} c ON c.{name(each.field.name)} = o.id"
            " WHERE o.error IS NULL AND NOT c.IsDeleted GROUP BY o.n",
        )


def _any_child(cursor: duckdb.DuckDBPyConnection, each: Child) -> bool:
    """Whether any record has a value in the lookup: most lookups of an org are empty, and nothing is to be done."""
    field = name(each.field.name)
    return bool(cursor.execute(f"SELECT 1 FROM {name(each.object.name)} WHERE {field} IS NOT NULL LIMIT 1").fetchone())


def delete_rows(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Delete the good rows: into the recycle bin, or for ever; and their children with them."""
    cursor.execute("CREATE OR REPLACE TEMP TABLE going AS SELECT id FROM outcome WHERE error IS NULL")
    _delete(cursor, write, write.object, depth=0)


def _delete(cursor: duckdb.DuckDBPyConnection, write: Write, target: ObjectType, depth: int) -> None:
    """Delete the records of the table `going` (of this depth)."""
    going = name("going" if depth == 0 else f"going_{depth}")
    table, now = name(target.name), f"TIMESTAMP '{write.now.isoformat(sep=' ')}'"
    hard = write.operation == "hardDelete"
    if hard:
        cursor.execute(f"DELETE FROM {table} WHERE Id IN (SELECT id FROM {going})")
    else:
        cursor.execute(
            f"UPDATE {table} SET IsDeleted = true, LastModifiedDate = {now}, SystemModstamp = {now},"
            f" LastModifiedById = {literal(write.user_id)} WHERE Id IN (SELECT id FROM {going})"
        )
    if write.changes:
        write.changes.deleted(cursor, target, going, write)
    for each in write.policy.children.get(target.name, []):
        if not _any_child(cursor, each):
            continue
        child, field = name(each.object.name), name(each.field.name)
        chosen = f"{field} IN (SELECT id FROM {going}) AND NOT IsDeleted"
        cascades = each.on_delete == "cascade"
        noted = "NULL" if cascades else literal(each.field.name)
        if not hard:
            cursor.execute(
                f"INSERT INTO {UNDO} SELECT {field}, {literal(each.object.name)}, {noted}, Id FROM {child}"
                f" WHERE {chosen}"
            )
        if cascades:
            below = name(f"going_{depth + 1}")
            cursor.execute(f"CREATE OR REPLACE TEMP TABLE {below} AS SELECT Id AS id FROM {child} WHERE {chosen}")
            if cursor.execute(f"SELECT 1 FROM {below} LIMIT 1").fetchone():
                _delete(cursor, write, each.object, depth + 1)
        else:
            cursor.execute(f"UPDATE {child} SET {field} = NULL, SystemModstamp = {now} WHERE {chosen}")


def undelete(
    cursor: duckdb.DuckDBPyConnection, policy: Policy, record_id: str, user_id: str, now: datetime.datetime
) -> str | None:
    """Bring a record back from the recycle bin, with the children that went with it and the lookups it left empty.

    Returns the error Salesforce answers with (in the form of sf__Error), or None.
    """
    target = next((each for each in policy.schema if each.key_prefix == record_id[:3]), None)
    columns = {one.name for one in target.stored_fields} if target else set()
    master = "MasterRecordId" if "MasterRecordId" in columns else "NULL"
    found = (
        target
        and cursor.execute(f"SELECT IsDeleted, {master} FROM {name(target.name)} WHERE Id = ?", [record_id]).fetchone()
    )
    if target is None or not found:
        return "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:--"
    if not found[0] or found[1] is not None:
        return "UNDELETE_FAILED:Entity is not in the recycle bin:--"
    cursor.execute(
        f"UPDATE {name(target.name)} SET IsDeleted = false, LastModifiedDate = $now, SystemModstamp = $now,"
        " LastModifiedById = $user WHERE Id = $id",
        {"now": now, "user": user_id, "id": record_id},
    )
    undone = cursor.execute(f"DELETE FROM {UNDO} WHERE parent = ? RETURNING object, field, id", [record_id]).fetchall()
    for object_name, field, child_id in undone:
        if field is None:
            undelete(cursor, policy, child_id, user_id, now)
        else:
            # A lookup that was filled anew meanwhile keeps its new value.
            cursor.execute(
                f"UPDATE {name(object_name)} SET {name(field)} = ? WHERE Id = ? AND {name(field)} IS NULL",
                [record_id, child_id],
            )
    return None


def empty_recycle_bin(cursor: duckdb.DuckDBPyConnection, policy: Policy) -> int:
    """Remove all deleted records for ever; how many they were."""
    count = 0
    for each in policy.schema:
        found = cursor.execute(f"DELETE FROM {name(each.name)} WHERE IsDeleted").fetchone()
        count += int(found[0]) if found else 0
    cursor.execute(f"DELETE FROM {UNDO}")
    return count


def merge(
    cursor: duckdb.DuckDBPyConnection,
    policy: Policy,
    target: ObjectType,
    master: str,
    losers: list[str],
    now: datetime.datetime,
) -> int:
    """Merge records into `master`: their children move to it, and they go to the recycle bin with its id noted.

    Returns how many children moved.
    """
    moved = 0
    for each in policy.children.get(target.name, []):
        field = name(each.field.name)
        found = cursor.execute(
            f"UPDATE {name(each.object.name)} SET {field} = ?, SystemModstamp = ? WHERE list_contains(?, {field})",
            [master, now, losers],
        ).fetchone()
        moved += int(found[0]) if found else 0
    cursor.execute(
        f"UPDATE {name(target.name)} SET IsDeleted = true, MasterRecordId = ?, SystemModstamp = ?"
        " WHERE list_contains(?, Id)",
        [master, now, losers],
    )
    return moved
