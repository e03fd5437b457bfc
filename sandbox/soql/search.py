"""Searches: which records of which objects hold some words (SOQL and SOSL Reference, "SOSL Syntax")."""

from __future__ import annotations

from dataclasses import dataclass

from lark import Token

from sandbox.rows.rules import name
from sandbox.schema import Field, ObjectType, Schema
from sandbox.soql.compiler import compile_select
from sandbox.soql.query import Query
from sandbox.soql.scope import Context
from sandbox.soql.terms import Terms, malformed
from sandbox.soql.tree import Find, Item, Returning, Select, Source

MAX_RECORDS = 2000
SEARCHED_TYPES = frozenset({"string", "textarea", "email", "phone", "url", "combobox"})
FIELD_GROUPS = ("ALL", "NAME", "EMAIL", "PHONE", "SIDEBAR")


@dataclass(frozen=True)
class ObjectSearch:
    """The search of one object: its query, and the condition that keeps the records with the words."""

    query: Query
    condition: str

    def sql(self) -> str:
        return self.query.sql(also=self.condition)


def field_group(given: str | None) -> str:
    """The part of the fields to search: ALL, NAME, EMAIL, PHONE or SIDEBAR."""
    group = (given or "ALL").upper()
    if group not in FIELD_GROUPS:
        raise malformed(f"unexpected token: '{given}'")
    return group


def compile_find(context: Context, find: Find) -> tuple[list[ObjectSearch], int]:
    """The searches of a SOSL statement in order, and how many records they may find together.

    Raises SalesforceError (400): MALFORMED_SEARCH, INVALID_TYPE, INVALID_FIELD.
    """
    term = str(find.term)[1:-1]
    group = field_group(find.group)
    limit = _limit(find.limit)
    listed = find.returning or [_bare(each) for each in searched_objects(context.schema)]
    return [object_search(context, _select_of(each), term, group) for each in listed], limit


def object_search(context: Context, select: Select, term: str, group: str) -> ObjectSearch:
    """The search of one object for a term, showing what a query would show."""
    query = compile_select(context, select)
    if query.kind != "records":
        raise malformed("Aggregate functions cannot stand in a search")
    fields = [each for each in context.visible_fields(query.object) if _in_group(each, group)]
    if not _is_searchable(query.object):
        message = f"entity type {query.object.name} is not searchable"
        raise context.error(select.sources[0].name, "INVALID_TYPE", message)
    words = ", ".join(f"t.{name(each.name)}" for each in fields)
    haystack = f"lower(concat_ws(chr(10), {words}))" if words else "''"
    return ObjectSearch(query, Terms(term).sql(haystack))


def searched_objects(schema: Schema) -> list[ObjectType]:
    """The objects that are searched where a search names none."""
    return [each for each in schema if _is_searchable(each)]


def _is_searchable(each: ObjectType) -> bool:
    return bool(each.facts.get("searchable", True)) and bool(each.facts.get("createable", True))


def _in_group(one: Field, group: str) -> bool:
    if one.type not in SEARCHED_TYPES:
        return False
    is_name = one.flag("nameField") or one.document["compoundFieldName"] == "Name"
    return {
        "ALL": True,
        "NAME": is_name,
        "EMAIL": one.type == "email",
        "PHONE": one.type == "phone",
        "SIDEBAR": is_name or one.type in ("email", "phone"),
    }[group]


def _bare(target: ObjectType) -> Returning:
    return Returning(Token("NAME", target.name), [], None, [], None, None)


def _select_of(given: Returning) -> Select:
    """The query that shows what a search returns of one object: its id where no field is named."""
    fields = given.fields or [Token("NAME", "Id")]
    return Select(
        [Item(each, None) for each in fields],
        [Source(given.object, None)],
        None,
        given.where,
        None,
        [],
        None,
        given.order,
        given.limit,
        given.offset,
        0,
        False,
    )


def _limit(token: Token | None) -> int:
    if token is None:
        return MAX_RECORDS
    if not (token.isascii() and token.isdecimal()):
        raise malformed(f"unexpected token: '{token}'")
    return min(int(token), MAX_RECORDS) if len(token) < 10 else MAX_RECORDS
