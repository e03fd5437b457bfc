"""composite/tree: records with their children, all written or none (REST API guide, "sObject Tree")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.rest.collections import RollBack
from sandbox.rest.describe import find_object
from sandbox.rest.records import body_fields, write_options, write_records
from sandbox.rows.write import split_error
from sandbox.schema import Field, ObjectType
from sandbox.wire import SalesforceError

MOST_RECORDS = 200
MOST_LEVELS = 5
MOST_TYPES = 5


@dataclass
class Node:
    """A record of the tree: `lookup` is its field that points to the record above it; `id` is known once written."""

    reference: str
    target: ObjectType
    fields: dict[str, Any]
    level: int
    above: Node | None = None
    lookup: Field | None = None
    id: str | None = None
    below: list[Node] = field(default_factory=list)

    @property
    def link(self) -> dict[str, Any]:
        """The field that points to the record above."""
        return {self.lookup.name: self.above.id} if self.lookup and self.above else {}


def tree(org: Org, call: Call) -> Answer:
    """POST composite/tree/X."""
    target = find_object(org, call)
    records = call.json_object().get("records")
    if not isinstance(records, list) or not records:
        raise SalesforceError(400, "JSON_PARSER_ERROR", "'records' must be an array of objects")
    tops = [_node(org, call, target, record, None, None) for record in records]
    nodes = [node for top in tops for node in _all(top)]
    _check(nodes)
    errors: list[dict[str, Any]] = []
    try:
        with org.store.writing():
            level = tops
            while level and not errors:
                errors = _write_level(org, call, level)
                level = [child for node in level for child in node.below]
            if errors:
                raise RollBack
    except RollBack:
        # Nothing was created; each record that is to blame says why.
        return Answer(400, {"hasErrors": True, "results": errors})
    return Answer(
        201, {"hasErrors": False, "results": [{"referenceId": each.reference, "id": each.id} for each in nodes]}
    )


def _all(node: Node) -> Iterator[Node]:
    yield node
    for child in node.below:
        yield from _all(child)


def _check(nodes: list[Node]) -> None:
    problems = {
        f"at most {MOST_RECORDS} records, not {len(nodes)}": len(nodes) > MOST_RECORDS,
        f"at most {MOST_LEVELS} levels": max(each.level for each in nodes) > MOST_LEVELS,
        f"records of at most {MOST_TYPES} types": len({each.target.name for each in nodes}) > MOST_TYPES,
        "each referenceId once": len({each.reference for each in nodes}) < len(nodes),
    }
    if wrong := [told for told, is_so in problems.items() if is_so]:
        raise SalesforceError(400, "INVALID_INPUT", f"A tree may have {wrong[0]}")


def _node(org: Org, call: Call, target: ObjectType, given: Any, above: Node | None, lookup: Field | None) -> Node:
    """Read a record and what stands below it."""
    attributes = given.get("attributes") if isinstance(given, dict) else None
    reference = attributes.get("referenceId") if isinstance(attributes, dict) else None
    if not isinstance(attributes, dict) or not isinstance(reference, str) or not reference:
        raise SalesforceError(400, "INVALID_INPUT", "Include a reference ID for each record in the request.")
    kind = attributes.get("type")
    if not isinstance(kind, str) or kind.lower() != target.name.lower():
        raise SalesforceError(400, "INVALID_INPUT", f"Record {reference} must be of type {target.name}, not {kind!r}")
    level = above.level + 1 if above else 1
    if level > MOST_LEVELS:
        raise SalesforceError(400, "INVALID_INPUT", f"A tree may have at most {MOST_LEVELS} levels")
    children = {key: value["records"] for key, value in given.items() if _is_children(value)}
    schema = org.permissions.schema_of(call.user)
    fields = body_fields(schema, target, {key: value for key, value in given.items() if key not in children})
    node = Node(reference, target, fields, level, above, lookup)
    for key, records in children.items():
        child, child_lookup = _children_named(org, call, target, key)
        node.below += [_node(org, call, child, each, node, child_lookup) for each in records]
    return node


def _is_children(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("records"), list)


def _children_named(org: Org, call: Call, parent: ObjectType, relationship: str) -> tuple[ObjectType, Field]:
    """The object and lookup of a child relationship."""
    for child in org.permissions.schema_of(call.user):
        for one in child.fields.values():
            told = str(one.child_relationship or "")
            if parent.name in one.reference_to and told.lower() == relationship.lower():
                return child, one
    message = f"No such column '{relationship}' on sobject of type {parent.name}"
    raise SalesforceError(400, "INVALID_FIELD", message)


def _write_level(org: Org, call: Call, level: list[Node]) -> list[dict[str, Any]]:
    """Insert the records of one level, object by object; the errors, by referenceId."""
    errors = []
    for target in {node.target.name: node.target for node in level}.values():
        nodes = [node for node in level if node.target is target]
        records = [{**node.fields, **node.link} for node in nodes]
        made = write_records(org, call.user, target, "insert", records, options=write_options(call))
        for node, outcome in zip(nodes, made, strict=True):
            node.id = outcome["id"]
            if outcome["error"]:
                error = split_error(outcome["error"])
                told = {"statusCode": error["code"], "message": error["message"], "fields": error["fields"]}
                errors.append({"referenceId": node.reference, "errors": [told]})
    return errors
