"""PushTopics: queries whose changed records are told to subscribers (Streaming API guide, "PushTopic")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.events.changes import PUSH_TOPIC
from sandbox.events.publish import as_json
from sandbox.rows.rules import literals, name
from sandbox.soql.compiler import compile_query
from sandbox.soql.results import Records
from sandbox.wire import SalesforceError

if TYPE_CHECKING:
    import duckdb

    from sandbox.events.changes import Change
    from sandbox.org import Org
    from sandbox.schema import ObjectType

# What the topics of the bus that belong to a PushTopic start with.
TOPIC = "topic/"
_TYPES = {"CREATE": "created", "UPDATE": "updated", "DELETE": "deleted", "UNDELETE": "undeleted"}
_SWITCHES = {
    "CREATE": "NotifyForOperationCreate",
    "UPDATE": "NotifyForOperationUpdate",
    "DELETE": "NotifyForOperationDelete",
    "UNDELETE": "NotifyForOperationUndelete",
}


class PushTopics:
    """The PushTopic records of the org, and what they tell."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._known: list[dict[str, Any]] | None = None

    def has(self, topic: str) -> bool:
        """Whether there is an active PushTopic of that name."""
        return any(each["Name"] == topic for each in self._active())

    def forget(self) -> None:
        """Read the records anew when they are asked for next."""
        self._known = None

    def _active(self) -> list[dict[str, Any]]:
        if self._known is not None:
            return self._known
        columns = ["Name", "Query", "NotifyForFields", *_SWITCHES.values()]
        chosen = ", ".join(name(each) for each in columns)
        rows = self._org.store.rows(f"SELECT {chosen} FROM {name(PUSH_TOPIC)} WHERE NOT IsDeleted AND IsActive")
        self._known = [dict(zip(columns, row, strict=True)) for row in rows]
        return self._known

    def watches(self, target: ObjectType) -> bool:
        """Whether an active PushTopic asks for records of an object."""
        return any(self._asks_for(each, target) for each in self._active())

    def _asks_for(self, topic: dict[str, Any], target: ObjectType) -> bool:
        words = str(topic["Query"]).lower().replace("\n", " ").split(" from ")
        return len(words) > 1 and words[1].split()[:1] == [target.name.lower()]

    def publish(
        self, cursor: duckdb.DuckDBPyConnection, target: ObjectType, kind: str, changes: list[Change], user_id: str
    ) -> None:
        """Tell of changed records that a PushTopic's query finds; of deleted ones only the id is told."""
        for topic in self._active():
            if not topic[_SWITCHES[kind]] or not self._asks_for(topic, target):
                continue
            chosen = self._chosen(topic, target, kind, changes)
            stamp = self._org.clock.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")
            about = {"createdDate": stamp, "type": _TYPES[kind]}
            bodies = [{"event": about, "sobject": each} for each in self._records(topic, kind, chosen)]
            self._org.bus.publish(cursor, TOPIC + topic["Name"], user_id, bodies)

    def _chosen(self, topic: dict[str, Any], target: ObjectType, kind: str, changes: list[Change]) -> list[str]:
        """The changed records that NotifyForFields lets count."""
        if kind != "UPDATE" or topic["NotifyForFields"] == "All":
            return [each[0] for each in changes]
        text = str(topic["Query"]).lower()
        selected, _, condition = text.partition(" where ")
        part = {"Select": selected.partition(" from ")[0], "Where": condition}.get(topic["NotifyForFields"], text)
        words = set(part.replace(",", " ").replace("=", " ").replace("(", " ").split())
        return [each[0] for each in changes if any(one.lower() in words for one in each[2])]

    def _records(self, topic: dict[str, Any], kind: str, ids: list[str]) -> list[dict[str, Any]]:
        if kind == "DELETE":
            return [{"Id": each} for each in ids]
        if not ids:
            return []
        try:
            query = compile_query(self._org.schema, topic["Query"], self._org.clock.now())
        except SalesforceError:
            # The query was made for another schema; the topic tells nothing.
            return []
        with self._org.store.reading() as cursor:
            rows = cursor.execute(query.sql(also=f"t.Id IN {literals(ids)}")).fetchall()
            made = Records(self._org.schema, "", cursor).made_of(query, rows)
        fields = {each.name: each for each in query.object.fields.values()}
        return [{key: as_json(fields[key], value) for key, value in each.items() if key in fields} for each in made]
