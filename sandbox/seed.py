"""The records a new org holds before anybody writes to it, from the `records` of the schema files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.rows.rules import name
from sandbox.store import make_id

if TYPE_CHECKING:
    from sandbox.org import Org


def plant(org: Org) -> None:
    """Insert the schema files' records; the users stand already."""
    for each in org.schema:
        for record in each.records:
            given = {"Id": org.org_id} if each.name == "Organization" else {}
            _plant_one(org, each.name, each.key_prefix, {**given, **record})


def _plant_one(org: Org, object_name: str, prefix: str, record: dict[str, Any]) -> None:
    with org.store.writing() as cursor:
        number = org.store.reserve(cursor, object_name)
        now = org.clock.now()
        values = {
            "Id": make_id(prefix, number),
            "IsDeleted": False,
            "CreatedDate": now,
            "LastModifiedDate": now,
            "SystemModstamp": now,
            "CreatedById": org.admin.id,
            "LastModifiedById": org.admin.id,
            **record,
        }
        found = org.schema.object_named(object_name)
        if found and found.has_owner:
            values.setdefault("OwnerId", org.admin.id)
        columns = ", ".join(name(each) for each in values)
        marks = ", ".join("?" for _ in values)
        cursor.execute(f"INSERT INTO {name(object_name)} ({columns}) VALUES ({marks})", list(values.values()))
