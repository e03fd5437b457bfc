"""Change Data Capture: an event for each record that is made, changed, deleted or brought back (CDC guide).

Only objects that are switched on are captured, as in a real org; for all others a write costs nothing more.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sandbox.events.publish import as_json
from sandbox.rows.rules import name
from sandbox.schema import ObjectType

if TYPE_CHECKING:
    import duckdb

    from sandbox.org import Org
    from sandbox.rows.write import Write

CHANGE_SUFFIX = "ChangeEvent"
PUSH_TOPIC = "PushTopic"
_STRINGS: dict[str, Any] = {"type": "array", "items": "string"}
_KINDS = ["CREATE", "UPDATE", "DELETE", "UNDELETE", "GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE"]
_KINDS += ["GAP_OVERFLOW", "SNAPSHOT"]
# The header and its types (CDC guide, "Change Event Header Fields").
HEADER_FIELDS: list[tuple[str, Any]] = [
    ("entityName", "string"),
    ("recordIds", _STRINGS),
    ("changeType", {"type": "enum", "name": "ChangeType", "symbols": _KINDS}),
    ("changeOrigin", "string"),
    ("transactionKey", "string"),
    ("sequenceNumber", "int"),
    ("commitTimestamp", "long"),
    ("commitNumber", "long"),
    ("commitUser", "string"),
    ("nulledFields", _STRINGS),
    ("diffFields", _STRINGS),
    ("changedFields", _STRINGS),
]
# What a change event leaves out.
_LEFT_OUT = frozenset({"Id", "IsDeleted", "SystemModstamp"})


def topic_of(target: ObjectType) -> str:
    """The topic of an object's changes: AccountChangeEvent, Thing__ChangeEvent."""
    return f"{target.name.removesuffix('c') if target.name.endswith('__c') else target.name}{CHANGE_SUFFIX}"


def object_of(org: Org, topic: str) -> ObjectType | None:
    """The object whose changes a topic holds; None when there is none."""
    told = topic.removesuffix(CHANGE_SUFFIX)
    return org.schema.object_named(f"{told}c" if told.endswith("__") else told)


# A record id, the values told, and the names of changed fields.
Change = tuple[str, dict[str, Any], list[str]]


class UnknownObject(ValueError):
    """An object to capture that the org does not have."""


class Changes:
    """Which objects are captured, and the capture itself."""

    def __init__(self, org: Org, objects: Iterable[str]) -> None:
        self._org = org
        self._first = tuple(objects)
        self.objects: frozenset[str] = frozenset()
        self.gaps = False
        self.reset()

    def reset(self) -> None:
        """Capture what the command line said."""
        self.choose(self._first)
        self.gaps = False

    def choose(self, objects: Iterable[str]) -> None:
        """Capture these objects and no others; `all` means every object. Raises UnknownObject."""
        chosen: set[str] = set()
        for each in objects:
            if each.lower() == "all":
                chosen.update(one.name for one in self._org.schema)
                continue
            found = self._org.schema.object_named(each)
            if found is None:
                raise UnknownObject(f"there is no object {each!r}")
            chosen.add(found.name)
        self.objects = frozenset(chosen)

    def watches(self, target: ObjectType) -> bool:
        """Whether anybody wants to know of changes to records of an object."""
        return target.name in self.objects or self._org.push_topics.watches(target)

    def before(self, cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
        """Keep the records as they are before the update or delete of the good rows of `outcome`."""
        if self.watches(write.object):
            cursor.execute(
                f"CREATE OR REPLACE TEMP TABLE unchanged AS SELECT t.* FROM {name(write.object.name)} t"
                " JOIN outcome o ON o.id = t.Id WHERE NOT o.created AND o.error IS NULL"
            )

    def after(self, cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
        """Publish what a write of rows has done to the records of its object."""
        target = write.object
        self._notice(target)
        if not self.watches(target):
            return
        fields = [each for each in target.stored_fields if each.name not in _LEFT_OUT]
        new = ", ".join(f"t.{name(each.name)}" for each in fields)
        made = cursor.execute(
            f"SELECT t.Id, {new} FROM {name(target.name)} t JOIN outcome o ON o.id = t.Id"
            " WHERE o.created AND o.error IS NULL ORDER BY o.n"
        ).fetchall()
        created: list[Change] = []
        for row in made:
            values = {each.name: as_json(each, value) for each, value in zip(fields, row[1:], strict=True)}
            created.append((row[0], {key: value for key, value in values.items() if value is not None}, []))
        self.publish(cursor, target, "CREATE", created, write.user_id, write.options.origin)
        old = ", ".join(f"u.{name(each.name)}" for each in fields)
        changed = cursor.execute(
            f"SELECT t.Id, {new}, {old} FROM {name(target.name)} t JOIN outcome o ON o.id = t.Id"
            " JOIN unchanged u ON u.Id = t.Id WHERE NOT o.created AND o.error IS NULL ORDER BY o.n"
        ).fetchall()
        updated: list[Change] = []
        for row in changed:
            after, before = row[1 : len(fields) + 1], row[len(fields) + 1 :]
            differing = [
                (each, value)
                for each, value, was in zip(fields, after, before, strict=True)
                if value != was or each.name == "LastModifiedDate"
            ]
            told = {each.name: as_json(each, value) for each, value in differing}
            updated.append((row[0], told, list(told)))
        self.publish(cursor, target, "UPDATE", updated, write.user_id, write.options.origin)

    def deleted(self, cursor: duckdb.DuckDBPyConnection, target: ObjectType, ids: str, write: Write) -> None:
        """Publish that the records of the table `ids` (a name as SQL has it, with the column id) are deleted."""
        self._notice(target)
        if self.watches(target):
            rows = cursor.execute(f"SELECT id FROM {ids} ORDER BY id").fetchall()
            gone: list[Change] = [(row[0], {}, []) for row in rows]
            self.publish(cursor, target, "DELETE", gone, write.user_id, write.options.origin)

    def publish(
        self,
        cursor: duckdb.DuckDBPyConnection,
        target: ObjectType,
        kind: str,
        changes: list[Change],
        user_id: str,
        origin: str,
    ) -> None:
        """Publish changes of records of one object, as one transaction. Only updates name changed fields."""
        if not changes:
            return
        self._org.push_topics.publish(cursor, target, kind, changes, user_id)
        if target.name in self.objects:
            self._publish_events(cursor, target, kind, changes, user_id, origin)

    def _notice(self, target: ObjectType) -> None:
        """Look at the PushTopics anew once a write has changed them."""
        if target.name == PUSH_TOPIC:
            self._org.store.after_commit(self._org.push_topics.forget)

    def _publish_events(
        self,
        cursor: duckdb.DuckDBPyConnection,
        target: ObjectType,
        kind: str,
        changes: list[Change],
        user_id: str,
        origin: str,
    ) -> None:
        stamp = round(self._org.clock.time() * 1000)
        number = self._org.store.reserve(cursor, "commit")
        key = secrets.token_hex(16)
        key = "-".join((f"{key[:8]}", key[8:12], key[12:16], key[16:20], key[20:]))
        bodies = []
        for sequence, (record_id, values, changed) in enumerate(changes, start=1):
            header = {
                "entityName": target.name,
                "recordIds": [record_id],
                "changeType": f"GAP_{kind}" if self.gaps else kind,
                "changeOrigin": origin,
                "transactionKey": key,
                "sequenceNumber": sequence,
                "commitTimestamp": stamp,
                "commitNumber": number,
                "commitUser": user_id,
                "nulledFields": [] if self.gaps else [each for each in changed if values[each] is None],
                "diffFields": [],
                "changedFields": [] if self.gaps else changed,
            }
            bodies.append({"ChangeEventHeader": header, **({} if self.gaps else values)})
        self._org.bus.publish(cursor, topic_of(target), user_id, bodies)
