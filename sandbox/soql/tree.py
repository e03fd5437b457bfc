"""What a SOQL or SOSL statement says, as the parser leaves it: names are still unresolved tokens with their places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lark import Token, Transformer, v_args


@dataclass(frozen=True)
class FunctionCall:
    """COUNT(Id), CALENDAR_YEAR(CreatedDate), FIELDS(ALL)."""

    name: Token
    arguments: list[Any]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(str(each) for each in self.arguments)})"


# A field path or a call around one.
Operand = Token | FunctionCall


@dataclass(frozen=True)
class Item:
    """One entry of a field list."""

    value: Operand
    alias: Token | None


@dataclass(frozen=True)
class When:
    """The branch of a TYPEOF for one object."""

    object: Token
    fields: list[Token]


@dataclass(frozen=True)
class TypeOf:
    """TYPEOF What WHEN Account THEN Phone ELSE Name END."""

    path: Token
    branches: list[When]
    otherwise: list[Token] | None


@dataclass(frozen=True)
class Compare:
    """`left operator value`; LIKE is an operator too."""

    left: Operand
    operator: str
    value: Token


@dataclass(frozen=True)
class Among:
    """`left word (values)`: IN, NOT IN, INCLUDES or EXCLUDES; the first two also take a sub-select."""

    left: Operand
    word: str
    members: list[Token] | Select


@dataclass(frozen=True)
class AllOf:
    parts: list[Condition]


@dataclass(frozen=True)
class AnyOf:
    parts: list[Condition]


@dataclass(frozen=True)
class Negated:
    part: Condition


Condition = Compare | Among | AllOf | AnyOf | Negated


@dataclass(frozen=True)
class Ordering:
    """One entry of ORDER BY; nulls come first unless it says otherwise."""

    value: Operand
    descending: bool
    nulls_last: bool


@dataclass(frozen=True)
class Source:
    """An object, relationship or (after the first) path of FROM with its alias."""

    name: Token
    alias: Token | None


@dataclass(frozen=True)
class Select:
    """A whole query or sub-select."""

    items: list[Item | Select | TypeOf]
    sources: list[Source]
    scope: Token | None
    where: Condition | None
    mode: Token | None
    group: list[Operand]
    having: Condition | None
    order: list[Ordering]
    limit: Token | None
    offset: Token | None
    purposes: int
    all_rows: bool


@dataclass(frozen=True)
class Returning:
    """One object of a search, with what to show of it."""

    object: Token
    fields: list[Operand]
    where: Condition | None
    order: list[Ordering]
    limit: Token | None
    offset: Token | None


@dataclass(frozen=True)
class Find:
    """A SOSL statement."""

    term: Token
    group: Token | None
    returning: list[Returning]
    limit: Token | None


@v_args(inline=True)
class TreeMaker(Transformer[Token, Any]):
    """Builds the tree while lark parses; each method is a rule of the grammar."""

    def query(self, items: Any, sources: Any, *rest: Any) -> Select:
        scope, where, mode, group, having, order, limit, offset, purposes, all_rows = rest
        return Select(
            items,
            sources,
            scope,
            where,
            mode,
            group or [],
            having,
            order or [],
            limit,
            offset,
            purposes,
            all_rows is not None,
        )

    def item(self, value: Operand, alias: Token | None) -> Item:
        return Item(value, alias)

    def child(self, query: Select) -> Select:
        return query

    def call(self, name: Token, arguments: list[Any] | None) -> FunctionCall:
        return FunctionCall(name, arguments or [])

    def typeof(self, path: Token, *rest: Any) -> TypeOf:
        return TypeOf(path, list(rest[:-1]), rest[-1])

    def when(self, target: Token, fields: list[Token]) -> When:
        return When(target, fields)

    def _listed(self, *parts: Any) -> list[Any]:
        return list(parts)

    items = arguments = names = sources = group = values = order = operands = returnings = _listed

    def source(self, name: Token, alias: Token | None) -> Source:
        return Source(name, alias)

    def _only(self, part: Any) -> Any:
        return part

    scope = where = mode = having = limit = offset = _only

    def purpose(self) -> None:
        return None

    def purposes(self, *parts: None) -> int:
        return len(parts)

    def compare(self, left: Operand, operator: Token, value: Token) -> Compare:
        return Compare(left, "!=" if operator == "<>" else str(operator), value)

    def like(self, left: Operand, value: Token) -> Compare:
        return Compare(left, "LIKE", value)

    def among(self, left: Operand, members: Any) -> Among:
        return Among(left, "IN", members)

    def not_among(self, left: Operand, members: Any) -> Among:
        return Among(left, "NOT IN", members)

    def includes(self, left: Operand, members: Any) -> Among:
        return Among(left, "INCLUDES", members)

    def excludes(self, left: Operand, members: Any) -> Among:
        return Among(left, "EXCLUDES", members)

    def all_of(self, *parts: Any) -> AllOf:
        return AllOf(list(parts))

    def any_of(self, *parts: Any) -> AnyOf:
        return AnyOf(list(parts))

    def negated(self, part: Any) -> Negated:
        return Negated(part)

    def ordering(self, value: Operand, direction: Token | None, nulls: Token | None) -> Ordering:
        descending = direction is not None and direction.upper() == "DESC"
        return Ordering(value, descending, nulls is not None and nulls.upper().endswith("LAST"))

    def returning(self, target: Token, fields: Any, where: Any, order: Any, limit: Any, offset: Any) -> Returning:
        return Returning(target, fields or [], where, order or [], limit, offset)

    def spelling(self, _: Token) -> None:
        return None

    def find(self, term: Token, group: Any, returning: Any, _: None, limit: Any) -> Find:
        return Find(term, group, returning or [], limit)
