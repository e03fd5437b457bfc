"""The records of a 1.0 batch in JSON or XML, as the CSV that all uploads are staged from.

A null (`xsi:nil` in XML) becomes `#N/A`, a field that is not named an empty cell. XML with a document type is refused,
so that no entity is ever expanded.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from sandbox.bulk.staging import InvalidBatch
from sandbox.json_text import NotJson, read_json
from sandbox.rows.relations import json_parent
from sandbox.rows.write import BULK_NULL
from sandbox.schema import ObjectType, Schema
from sandbox.wire import SalesforceError, json_text

NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"


class BadXml(ValueError):
    """XML that is not well-formed, or brings a document type."""


class _NoDoctype(TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise BadXml("a document type is not allowed")


def parse_xml(text: bytes) -> Element:
    """The root of an XML document, names without namespaces.

    Raises BadXml.
    """
    parser = XMLParser(target=_NoDoctype())
    try:
        parser.feed(text)
        root: Element = parser.close()
    except (ParseError, ValueError, LookupError) as error:
        raise BadXml(str(error)) from None
    for each in root.iter():
        each.tag = each.tag.rpartition("}")[2]
    return root


def from_xml(text: bytes) -> list[dict[str, Any]]:
    """The records of `<sObjects><sObject>…`: names and values, a parent as JSON would nest it.

    Raises InvalidBatch.
    """
    try:
        root = parse_xml(text)
    except BadXml as error:
        raise InvalidBatch(f"InvalidBatch : Failed to parse XML. {error}") from None
    if root.tag != "sObjects" or any(each.tag != "sObject" for each in root):
        raise InvalidBatch("InvalidBatch : Failed to parse XML. A batch holds sObject elements within sObjects")
    return [{field.tag: _xml_value(field) for field in record} for record in root]


def _xml_value(field: Element) -> Any:
    if field.get(NIL) in ("true", "1"):
        return None
    parent = field.find("sObject")
    if parent is None:
        if len(field):
            raise InvalidBatch(f"InvalidBatch : Failed to parse XML. {field.tag} holds elements it cannot have")
        return field.text or ""
    nested: dict[str, Any] = {each.tag: each.text or "" for each in parent}
    if kind := nested.pop("type", None):
        nested["attributes"] = {"type": kind}
    return nested


def from_json(text: bytes) -> list[dict[str, Any]]:
    """The records of a JSON array.

    Raises InvalidBatch.
    """
    try:
        records = read_json(text)
    except NotJson as error:
        raise InvalidBatch(f"InvalidBatch : Failed to parse JSON. {error}") from None
    if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
        raise InvalidBatch("InvalidBatch : Failed to parse JSON. A batch is an array of objects")
    return records


def write_csv(schema: Schema, target: ObjectType, records: Iterable[dict[str, Any]], file: Path) -> None:
    """Write records as a CSV file, one column per field or parent's key that any of them names.

    Raises InvalidBatch for values that no field can have.
    """
    places: dict[str, int] = {}
    rows: list[dict[int, str]] = []
    for record in records:
        row = {}
        for name, value in record.items():
            if name == "attributes":
                continue
            title, cell = _cell(schema, target, name, value)
            row[places.setdefault(title, len(places))] = cell
        rows.append(row)
    if not places:
        raise InvalidBatch("InvalidBatch : Records not found: the batch is empty")
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(places)
        writer.writerows([row.get(place, "") for place in range(len(places))] for row in rows)


def _cell(schema: Schema, target: ObjectType, name: str, value: Any) -> tuple[str, str]:
    if isinstance(value, dict) or (value is None and target.field_named(name) is None):
        try:
            found = json_parent(schema, target, name, value)
        except SalesforceError as error:
            raise InvalidBatch(f"InvalidBatch : {error.body[0]['message']}") from None
        if found is None:
            raise InvalidBatch(f"InvalidBatch : Field name not found : {name}")
        name, value = found
    if isinstance(value, list):
        raise InvalidBatch(f"InvalidBatch : Failed to parse JSON. The value of {name} must be text or a number")
    text = json_text(value)
    return name, BULK_NULL if text is None else text
