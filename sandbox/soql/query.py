"""A compiled query: the SQL that reads its rows, and how a row becomes a record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sandbox.schema import Field, ObjectType
from sandbox.soql.scope import Expression


@dataclass(frozen=True)
class Column:
    """One selected value. `label` is its name in flat results (`Account.Name`), `aggregate` if it is of a group."""

    label: str
    expression: Expression
    aggregate: bool = False


@dataclass(frozen=True)
class Leaf:
    """A value of the row, by its place."""

    index: int
    column: Column


@dataclass
class Parent:
    """A nested record, null where the id at `id_index` is."""

    type_name: str
    id_index: int
    nodes: dict[str, Node] = field(default_factory=dict)


@dataclass
class ByType:
    """A TYPEOF: the nested record by the key prefix of the id at `id_index`."""

    id_index: int
    branches: dict[str, Parent]
    otherwise: Parent | None


@dataclass
class Children:
    """The records below each record, by their own query; `lookup` is their field that points up."""

    lookup: Field
    query: Query


Node = Leaf | Parent | ByType | Children


@dataclass
class Query:
    """A query whose names are all resolved.

    `kind`: records, one `count`, or the `aggregate` rows of groups. `columns` are the plain values in order, those of
    parents among them; `nodes` tells how a row of `expressions` (the first is the record's id) becomes a record.
    """

    object: ObjectType
    kind: Literal["records", "count", "aggregate"]
    columns: list[Column]
    nodes: dict[str, Node]
    expressions: list[str]
    from_sql: str
    filter_sql: str
    order_sql: str = ""
    group_sql: str = ""
    having_sql: str = ""
    limit: int | None = None
    offset: int | None = None

    def sql(self, columns: str | None = None, *, also: str = "") -> str:
        """The SELECT statement.

        `columns` replaces what it selects (`t` is the object, so `t.Id`, and each column's `expression.sql` may be
        used), `also` is one more condition.
        """
        chosen = columns or ", ".join(f"{each} AS c{place}" for place, each in enumerate(self.expressions))
        condition = f"({self.filter_sql}) AND ({also})" if also else self.filter_sql
        text = f"SELECT {chosen} FROM {self.from_sql} WHERE {condition}{self.group_sql}{self.having_sql}"
        return f"{text}{self.order_sql}{self.page_sql}"

    @property
    def page_sql(self) -> str:
        text = "" if self.limit is None else f" LIMIT {self.limit}"
        return text if self.offset is None else f"{text} OFFSET {self.offset}"

    def count_sql(self) -> str:
        """The statement that counts the rows."""
        return f"SELECT count(*) FROM ({self.sql('t.Id' if self.kind != 'aggregate' else None)})"

    def children_sql(self, lookup: Field) -> str:
        """The statement that reads the rows below the parents whose ids are its one parameter, a list.

        The parent's id comes first. LIMIT and OFFSET count below each parent.
        """
        above = f't."{lookup.name}"'
        chosen = ", ".join([above, *self.expressions])
        order = self.order_sql or " ORDER BY t.Id"
        text = f"SELECT {chosen} FROM {self.from_sql} WHERE ({self.filter_sql}) AND {above} IN (SELECT unnest(?))"
        if self.limit is not None or self.offset is not None:
            row = f"row_number() OVER (PARTITION BY {above}{order})"
            first = self.offset or 0
            text += f" QUALIFY {row} > {first}"
            text += "" if self.limit is None else f" AND {row} <= {first + self.limit}"
        return text + order

    def bulk_refusal(self) -> str | None:
        """Why Bulk API 2.0 does not run the query; None when it does (Bulk API 2.0 guide, "Query")."""
        if self.kind != "records" or self.offset is not None:
            return "Bulk API 2.0 does not support aggregate functions, GROUP BY or OFFSET in a query"
        if any(isinstance(each, Children) for each in self.nodes.values()):
            return "Bulk API 2.0 does not support nested queries"
        if _has_type_of(self.nodes):
            return "Bulk API 2.0 does not support TYPEOF"
        if any(each.expression.type in ("address", "location") for each in self.columns):
            return "Selecting compound data not supported in Bulk Query"
        return None


def _has_type_of(nodes: dict[str, Node]) -> bool:
    return any(
        isinstance(each, ByType) or (isinstance(each, Parent) and _has_type_of(each.nodes)) for each in nodes.values()
    )
