"""Event schemas by REST, and what tests set about events below /_sandbox (Platform Events guide, "Event Schema")."""

from __future__ import annotations

from typing import Any

from sandbox.call import Answer, Call
from sandbox.events import avro
from sandbox.events.changes import CHANGE_SUFFIX, UnknownObject, object_of, topic_of
from sandbox.events.channels import topics_of
from sandbox.org import Org
from sandbox.store import make_id
from sandbox.wire import SalesforceError, not_found

MANAGED = "managed_subscription"
_EXPANDED = "EXPANDED"
_FORMATS = (_EXPANDED, "COMPACT")


def schema_of_object(org: Org, call: Call) -> Answer:
    """GET sobjects/X__e/eventSchema[?payloadFormat=]: the Avro schema; of change events too."""
    given = call.arguments["object"]
    event = org.schema.event_named(given)
    target = object_of(org, given) if given.endswith(CHANGE_SUFFIX) else None
    if event is None and target is None:
        raise not_found()
    return _schema(call, avro.topic_schema(org, event.name if event else topic_of(target) if target else ""))


def schema_by_id(org: Org, call: Call) -> Answer:
    """GET event/eventSchema/ID."""
    found = avro.find_schema(org, call.arguments["id"])
    if found is None:
        raise not_found()
    return _schema(call, found)


def _schema(call: Call, schema: dict[str, Any]) -> Answer:
    wanted = call.query.get("payloadFormat", _EXPANDED)
    if wanted not in _FORMATS:
        message = f"payloadFormat must be one of {', '.join(_FORMATS)}, not {wanted!r}"
        raise SalesforceError(400, "INVALID_INPUT", message)
    return Answer(200, {**schema, "uuid": avro.schema_id(schema)})


def show_changes(org: Org, call: Call) -> Answer:
    """GET /_sandbox/change-data: which objects are captured."""
    return Answer(200, {"objects": sorted(org.changes.objects), "gaps": org.changes.gaps})


def set_changes(org: Org, call: Call) -> Answer:
    """POST /_sandbox/change-data {"objects": ["Contact"] or ["all"], "gaps": false}.

    With `gaps`, changes are told of by gap events, which name records and no values.
    """
    given = call.json_object()
    objects, gaps = given.get("objects", sorted(org.changes.objects)), given.get("gaps", org.changes.gaps)
    if (
        not isinstance(objects, list)
        or not all(isinstance(each, str) for each in objects)
        or not isinstance(gaps, bool)
    ):
        raise SalesforceError(400, "BAD_CHANGE_DATA", "objects is a list of object names, gaps is true or false")
    try:
        org.changes.choose(objects)
    except UnknownObject as error:
        raise SalesforceError(400, "BAD_CHANGE_DATA", str(error)) from None
    org.changes.gaps = gaps
    return show_changes(org, call)


def add_managed(org: Org, call: Call) -> Answer:
    """POST /_sandbox/managed-subscriptions {"developerName", "topicName", "defaultReplay": "LATEST" or "EARLIEST"}."""
    given = call.json_object()
    name, topic, replay = given.get("developerName"), given.get("topicName"), given.get("defaultReplay", "LATEST")
    if not isinstance(name, str) or not name or not isinstance(topic, str) or topics_of(org, topic) is None:
        raise SalesforceError(400, "BAD_SUBSCRIPTION", "developerName is a text, topicName a topic such as /event/X__e")
    if replay not in ("LATEST", "EARLIEST"):
        raise SalesforceError(400, "BAD_SUBSCRIPTION", f"defaultReplay must be LATEST or EARLIEST, not {replay!r}")
    with org.store.writing() as cursor:
        number = org.store.reserve(cursor, MANAGED)
        body = {"id": make_id("18x", number), "developerName": name, "topicName": topic, "defaultReplay": replay}
        org.store.put_document(cursor, MANAGED, name, body)
    return Answer(201, body)
