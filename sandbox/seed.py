"""The records a new org holds before anybody writes to it, from the `records` of the schema files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.rows.rules import name
from sandbox.store import make_id

if TYPE_CHECKING:
    from sandbox.org import Org


def plant(org: Org) -> None:
    """Insert the schema files' records and the user who signs in."""
    profile_id = make_id("00e", 1)
    user = {
        "Id": org.admin.id,
        "Username": org.settings.username,
        "FirstName": "Sandy",
        "LastName": "Box",
        "Email": org.settings.username,
        "Alias": "sbox",
        "CommunityNickname": "sandybox",
        "IsActive": True,
        "TimeZoneSidKey": "America/Los_Angeles",
        "LocaleSidKey": "en_US",
        "EmailEncodingKey": "UTF-8",
        "LanguageLocaleKey": "en_US",
        "ProfileId": profile_id,
        "UserType": "Standard",
    }
    for each in org.schema:
        records = [user, *each.records] if each.name == "User" else each.records
        for record in records:
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
