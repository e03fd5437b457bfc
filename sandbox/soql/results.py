"""Rows of compiled queries as the records REST prints (REST API guide, "Query")."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import duckdb

from sandbox.schema import Schema
from sandbox.soql.query import ByType, Children, Leaf, Node, Parent, Query
from sandbox.soql.scope import Expression


class Records:
    """Makes records of rows. `data_url` is the start of the addresses in their attributes."""

    def __init__(self, schema: Schema, data_url: str, cursor: duckdb.DuckDBPyConnection) -> None:
        self._data_url = data_url
        self._cursor = cursor
        self._types = {each.key_prefix: each.name for each in schema.objects.values()}

    def made_of(self, query: Query, rows: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
        """The records of some rows of `query.expressions`, with those below them."""
        if query.kind == "aggregate":
            return [
                {"attributes": {"type": "AggregateResult"}, **self._values(query.nodes, row, {}, None)} for row in rows
            ]
        below = {
            key: self._below(node, [row[0] for row in rows])
            for key, node in query.nodes.items()
            if isinstance(node, Children)
        }
        return [
            {"attributes": self._attributes(query.object.name, row[0]), **self._values(query.nodes, row, below, row[0])}
            for row in rows
        ]

    def _below(self, node: Children, ids: list[str]) -> dict[str, Any]:
        """The nested answer of each record that has any, by its id."""
        rows = self._cursor.execute(node.query.children_sql(node.lookup), [ids]).fetchall()
        records = self.made_of(node.query, [row[1:] for row in rows])
        found: dict[str, Any] = {}
        for row, record in zip(rows, records, strict=True):
            nested = found.setdefault(row[0], {"totalSize": 0, "done": True, "records": []})
            nested["records"].append(record)
            nested["totalSize"] += 1
        return found

    def _values(
        self, nodes: dict[str, Node], row: tuple[Any, ...], below: dict[str, dict[str, Any]], record_id: str | None
    ) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, node in nodes.items():
            if isinstance(node, Leaf):
                made[key] = shown(node.column.expression, row[node.index])
            elif isinstance(node, Children):
                made[key] = below[key].get(str(record_id))
            else:
                made[key] = self._nested(node, row)
        return made

    def _nested(self, node: Parent | ByType, row: tuple[Any, ...]) -> dict[str, Any] | None:
        found: Parent | None
        if isinstance(node, Parent):
            found = node
        else:
            found = node.branches.get(str(row[node.id_index] or "")[:3], node.otherwise)
        if found is None or row[found.id_index] is None:
            return None
        attributes = self._attributes(found.type_name, row[found.id_index])
        return {"attributes": attributes, **self._values(found.nodes, row, {}, None)}

    def _attributes(self, type_name: str, record_id: str) -> dict[str, str]:
        """The type and address of a record; those of the type Name are addressed as what they are."""
        real = self._types.get(record_id[:3], type_name) if type_name == "Name" else type_name
        return {"type": type_name, "url": f"{self._data_url}/sobjects/{real}/{record_id}"}


def shown(one: Expression, value: Any) -> Any:
    """A value as JSON holds it: whole numbers of int fields without a point, all others with their digits."""
    if one.type in ("int", "long") and isinstance(value, Decimal):
        return int(value)
    return value
