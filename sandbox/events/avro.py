"""Avro schemas of events, and events as Avro (Pub/Sub API guide, "Event Message Durability", "Decode an Event")."""

from __future__ import annotations

import base64
import datetime
import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

from sandbox.events.changes import CHANGE_SUFFIX, HEADER_FIELDS, object_of, topic_of
from sandbox.schema import Field

if TYPE_CHECKING:
    from sandbox.events.bus import Event
    from sandbox.org import Org

NAMESPACE = "com.sforce.eventbus"
_TYPES = {"boolean": "boolean", "date": "long", "datetime": "long", "int": "int", "long": "long"}
_WORDS = {"boolean": "CheckBox", "date": "DateOnly", "datetime": "DateTime", "double": "Number", "string": "Text"}
LISTS = ("nulledFields", "diffFields", "changedFields")


def topic_schema(org: Org, topic: str) -> dict[str, Any]:
    """The Avro schema of the events of a topic."""
    fields = [_avro_field(each) for each in topic_fields(org, topic)]
    if topic.endswith(CHANGE_SUFFIX):
        header = {
            "type": "record",
            "name": "ChangeEventHeader",
            "fields": [{"name": name, "type": kind} for name, kind in HEADER_FIELDS],
        }
        fields = [{"name": "ChangeEventHeader", "type": header}, *fields]
    else:
        made = [
            {"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
            {"name": "CreatedById", "type": "string", "doc": "CreatedBy:EntityId"},
        ]
        fields = [*made, *fields]
    return {"name": topic, "namespace": NAMESPACE, "type": "record", "fields": fields}


def topic_fields(org: Org, topic: str) -> list[Field]:
    """The fields of the events of a topic, in the order of its schema."""
    if topic.endswith(CHANGE_SUFFIX):
        target = object_of(org, topic)
        left_out = {"Id", "IsDeleted", "SystemModstamp"}
        return [each for each in target.stored_fields if each.name not in left_out] if target else []
    event = org.schema.event_named(topic)
    return [each for each in event.fields.values() if each.flag("createable")] if event else []


def _avro_field(each: Field) -> dict[str, Any]:
    kind = "double" if each.is_number and each.type not in ("int", "long") else _TYPES.get(each.type, "string")
    doc = f"Data:{_WORDS.get('double' if kind == 'double' else each.type, 'Text')}:{each.name}"
    return {"name": each.name, "type": ["null", kind], "doc": doc, "default": None}


def schema_id(schema: dict[str, Any]) -> str:
    """The id of a schema: the same for the same schema, whatever org or run."""
    digest = hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).digest()
    return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")


def find_schema(org: Org, wanted: str) -> dict[str, Any] | None:
    """The schema of an id; None for one that no topic has."""
    for topic in [*(each.name for each in org.schema.events.values()), *(topic_of(each) for each in org.schema)]:
        schema = topic_schema(org, topic)
        if schema_id(schema) == wanted:
            return schema
    return None


def encode(org: Org, event: Event, schema: dict[str, Any]) -> bytes:
    """An event as Avro without a header. Field lists of change events become bitmaps."""
    from fastavro import parse_schema, schemaless_writer

    record: dict[str, Any] = {each["name"]: None for each in schema["fields"]}
    kinds = {each.name: each for each in topic_fields(org, event.topic)}
    for name, value in event.body.items():
        if name in kinds:
            record[name] = _avro_value(kinds[name], value)
    if "ChangeEventHeader" in record:
        names = [each["name"] for each in schema["fields"]]
        header = dict(event.body["ChangeEventHeader"])
        record["ChangeEventHeader"] = header | {each: bitmap(names, header[each]) for each in LISTS}
    else:
        record["CreatedDate"] = round(event.at * 1000)
        record["CreatedById"] = event.user_id
    packed = io.BytesIO()
    schemaless_writer(packed, parse_schema(schema), record)
    return packed.getvalue()


def decode(schema: dict[str, Any], payload: bytes) -> dict[str, Any]:
    """The values of an event that comes as Avro. Raises ValueError for anything else."""
    from fastavro import parse_schema, schemaless_reader

    packed = io.BytesIO(payload)
    try:
        record: Any = schemaless_reader(packed, parse_schema(schema), None)
    except Exception as error:
        # fastavro raises what the bytes happen to lead it to.
        raise ValueError(f"not an event of this schema: {error}") from None
    if packed.read(1):
        raise ValueError("not an event of this schema: there are bytes after it")
    return dict(record)


def cells(org: Org, topic: str, record: dict[str, Any]) -> dict[str, str | None]:
    """The values of a decoded event as cells of text by field name, as `publish` takes them."""
    made: dict[str, str | None] = {}
    for each in topic_fields(org, topic):
        value = record.get(each.name)
        if value is None:
            made[each.name] = None
        elif each.type in ("date", "datetime"):
            moment = datetime.datetime.fromtimestamp(value / 1000, datetime.UTC)
            made[each.name] = moment.date().isoformat() if each.type == "date" else moment.isoformat()
        else:
            made[each.name] = str(value).lower() if isinstance(value, bool) else str(value)
    return made


def _avro_value(field: Field, value: Any) -> Any:
    if value is None:
        return None
    if field.type in ("date", "datetime"):
        moment = datetime.datetime.fromisoformat(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        return round(moment.timestamp() * 1000)
    if field.is_number and field.type not in ("int", "long"):
        return float(value)
    return value


def bitmap(names: list[str], chosen: list[str]) -> list[str]:
    """Field names as one hexadecimal number: bit i stands for the i-th field of the schema."""
    number = sum(1 << place for place, name in enumerate(names) if name in chosen)
    text = f"{number:X}"
    return [f"0x{text.zfill(len(text) + len(text) % 2)}"] if number else []
