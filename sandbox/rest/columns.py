"""What a query's columns are, for `columns=true`: the sf CLI prints its tables by it."""

from __future__ import annotations

from typing import Any

from sandbox.schema import NUMBER_TYPES, TEXT_TYPES
from sandbox.soql.query import ByType, Children, Column, Leaf, Node, Parent, Query

APEX_TYPES = {
    "id": "Id",
    "reference": "Id",
    "boolean": "Boolean",
    "int": "Integer",
    "long": "Long",
    "double": "Double",
    "currency": "Double",
    "percent": "Double",
    "average": "Double",
    "date": "Date",
    "datetime": "Datetime",
    "address": "Address",
}


def columns_json(query: Query) -> dict[str, Any]:
    """The description of a query's columns: parents and children have theirs as `joinColumns`."""
    selected = query.nodes.get("Id")
    return {
        "columnMetadata": [_node(key, node) for key, node in query.nodes.items()],
        "entityName": query.object.name,
        "groupBy": bool(query.group_sql),
        "idSelected": query.kind == "records" and isinstance(selected, Leaf),
        "keyPrefix": query.object.key_prefix,
    }


def _node(key: str, node: Node) -> dict[str, Any]:
    if isinstance(node, Leaf):
        return _leaf(key, node.column)
    if isinstance(node, Children):
        return _joined(key, node.query.nodes, aggregate=True)
    if isinstance(node, Parent):
        return _joined(key, node.nodes, aggregate=False)
    return _joined(key, _all_branches(node), aggregate=False)


def _all_branches(node: ByType) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for branch in [*node.branches.values(), *([node.otherwise] if node.otherwise else [])]:
        found.update(branch.nodes)
    return found


def _joined(key: str, nodes: dict[str, Node], *, aggregate: bool) -> dict[str, Any]:
    below = [_node(each, node) for each, node in nodes.items()]
    return {**_blank(key), "aggregate": aggregate, "joinColumns": below}


def _leaf(key: str, column: Column) -> dict[str, Any]:
    one = column.expression
    facts = _blank(key)
    facts["aggregate"] = column.aggregate
    facts["apexType"] = APEX_TYPES.get(one.type, "String")
    facts["booleanType"] = one.type == "boolean"
    facts["numberType"] = one.type in NUMBER_TYPES or one.type == "average"
    facts["textType"] = one.type in TEXT_TYPES
    if one.field is not None and not column.aggregate:
        facts["custom"] = one.field.flag("custom")
        facts["insertable"] = one.field.flag("createable")
        facts["updatable"] = one.field.flag("updateable")
        if one.type == "reference" and one.field.reference_to:
            facts["foreignKeyName"] = one.field.reference_to[0]
    return facts


def _blank(key: str) -> dict[str, Any]:
    return {
        "aggregate": False,
        "apexType": None,
        "booleanType": False,
        "columnName": key,
        "custom": False,
        "displayName": key,
        "foreignKeyName": None,
        "insertable": False,
        "joinColumns": [],
        "numberType": False,
        "textType": False,
        "updatable": False,
    }
