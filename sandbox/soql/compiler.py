"""SOQL to SQL: a grammar, and a compiler that knows the object's fields (SOQL and SOSL reference).

Understood: field lists, COUNT(), COUNT(field), WHERE with AND, OR, NOT and parentheses, the comparison operators, LIKE,
IN, NOT IN, null, strings with escapes, numbers, booleans, dates, datetimes, TODAY, YESTERDAY and TOMORROW, ORDER BY,
LIMIT, OFFSET, FOR VIEW, FOR REFERENCE, FOR UPDATE and ALL ROWS. Anything else is refused as MALFORMED_QUERY.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

from sandbox.rows.rules import literal, name
from sandbox.schema import Field, ObjectType, Schema
from sandbox.store import id18
from sandbox.wire import SalesforceError

GRAMMAR = r"""
start: "SELECT"i selection "FROM"i NAME [alias] [where] [order] [limit] [offset] [purpose] [all_rows]
selection: count_all | item ("," item)*
count_all: "COUNT"i "(" ")"
?item: NAME -> column | "COUNT"i "(" NAME ")" [NAME] -> count_column
alias: NAME
where: "WHERE"i condition
condition: unit | unit ("AND"i unit)+ -> all_of | unit ("OR"i unit)+ -> any_of
?unit: comparison | "(" condition ")" | "NOT"i unit -> negated
comparison: NAME OPERATOR value -> compare
    | NAME "LIKE"i STRING -> like
    | NAME "IN"i "(" value ("," value)* ")" -> among
    | NAME "NOT"i "IN"i "(" value ("," value)* ")" -> not_among
?value: STRING | DATETIME | DATE | NUMBER | NULL | BOOLEAN | DAY
order: "ORDER"i "BY"i ordering ("," ordering)*
ordering: NAME [DIRECTION] [NULLS]
limit: "LIMIT"i NUMBER
offset: "OFFSET"i NUMBER
purpose: "FOR"i ("VIEW"i | "REFERENCE"i | "UPDATE"i)
all_rows: "ALL"i "ROWS"i

OPERATOR: "=" | "!=" | "<>" | "<=" | ">=" | "<" | ">"
STRING: /'(\\.|[^'\\])*'/s
DATETIME.4: /\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)/
DATE.3: /\d{4}-\d\d-\d\d/
NUMBER: /[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?/
NULL.5: /null\b/i
BOOLEAN.5: /(true|false)\b/i
DAY.5: /(TODAY|YESTERDAY|TOMORROW)\b/i
DIRECTION.5: /(ASC|DESC)\b/i
NULLS.5: /NULLS\s+(FIRST|LAST)\b/i
NAME: /(?!(GROUP\s+BY|HAVING|USING\s+SCOPE|WITH)\b)[A-Za-z_][A-Za-z0-9_.]*/i
%ignore /\s+/
"""

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
ADVICE = (
    "If you are attempting to use a custom {what}, be sure to append the '__c' after the {where} name. Please reference"
    " your WSDL or the describe call for the appropriate names."
)


@dataclass(frozen=True)
class Query:
    """A compiled query. `sql` selects the fields in order, from the object's view; `count_sql` counts the matches."""

    object: ObjectType
    fields: list[Field]
    filter_sql: str
    order_sql: str
    limit: int | None
    offset: int | None
    counts_all: bool = False
    count_column: Field | None = None
    count_label: str = "expr0"

    def sql(self, columns: str | None = None) -> str:
        """The SELECT statement; `columns` replaces its list of plain columns."""
        chosen = columns or ", ".join(name(each.name) for each in self.fields)
        text = f"SELECT {chosen} FROM {name('v_' + self.object.name)} WHERE {self.filter_sql}{self.order_sql}"
        if self.limit is not None:
            text += f" LIMIT {self.limit}"
        if self.offset is not None:
            text += f" OFFSET {self.offset}"
        return text


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", propagate_positions=True, maybe_placeholders=True)


def compile_query(schema: Schema, text: str, now: datetime.datetime, *, deleted_too: bool = False) -> Query:
    """Compile SOQL. `now` is the org's time in UTC, for TODAY and its like.

    Raises SalesforceError (400): MALFORMED_QUERY, INVALID_TYPE for an unknown object, INVALID_FIELD for an unknown
    field or a value of the wrong type.
    """
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise _malformed(error, text) from None
    return _Compiler(schema, text, now, deleted_too).compile(tree)


def _malformed(error: UnexpectedInput, text: str) -> SalesforceError:
    if isinstance(error, UnexpectedEOF) or (isinstance(error, UnexpectedToken) and error.token.type == "$END"):
        return SalesforceError(400, "MALFORMED_QUERY", "unexpected token: '<EOF>'")
    if isinstance(error, UnexpectedToken):
        return SalesforceError(400, "MALFORMED_QUERY", f"unexpected token: '{error.token}'")
    if isinstance(error, UnexpectedCharacters) and (word := re.match(r"\w+", text[error.pos_in_stream or 0 :])):
        return SalesforceError(400, "MALFORMED_QUERY", f"unexpected token: '{word[0]}'")
    if isinstance(error, UnexpectedCharacters):
        place = f"line {error.line}:{error.column}"
        message = f"{place} no viable alternative at character '{error.char}'"
        return SalesforceError(400, "MALFORMED_QUERY", message)
    return SalesforceError(400, "MALFORMED_QUERY", "unexpected token")


class _Compiler:
    def __init__(self, schema: Schema, text: str, now: datetime.datetime, deleted_too: bool) -> None:
        self.schema = schema
        self.text = text
        self.today = now.date()
        self.deleted_too = deleted_too
        self.alias: str | None = None

    def compile(self, tree: Tree[Token]) -> Query:
        selection, object_token, alias, where, order, limit, offset, _, all_rows = tree.children
        self.object = self._object(_token(object_token))
        self.alias = str(alias.children[0]).lower() if isinstance(alias, Tree) else None
        conditions = [] if self.deleted_too or all_rows is not None else ["NOT IsDeleted"]
        if isinstance(where, Tree):
            conditions.append(self._condition(where.children[0]))
        first = _tree(selection).children[0]
        counts_all = isinstance(first, Tree) and first.data == "count_all"
        counted, label = self._counted(_tree(selection))
        return Query(
            self.object,
            [] if counts_all or counted else self._columns(_tree(selection)),
            " AND ".join(f"({each})" for each in conditions) or "true",
            self._ordering(order),
            _number(limit),
            self._offset(offset),
            counts_all,
            counted,
            label,
        )

    def _object(self, token: Token) -> ObjectType:
        found = self.schema.object_named(str(token))
        if found is None:
            advice = ADVICE.format(what="object", where="entity")
            raise self._error(token, "INVALID_TYPE", f"sObject type '{token}' is not supported. {advice}")
        return found

    def _field(self, token: Token) -> Field:
        path = str(token)
        head, _, rest = path.partition(".")
        if rest and head.lower() in (self.alias, self.object.name.lower()):
            path = rest
        if "." in path:
            relation = path.split(".")[0]
            raise self._error(token, "INVALID_FIELD", f"Didn't understand relationship '{relation}' in field path.")
        found = self.object.field_named(path)
        if found is None:
            advice = ADVICE.format(what="field", where="custom field")
            raise self._error(
                token, "INVALID_FIELD", f"No such column '{path}' on entity '{self.object.name}'. {advice}"
            )
        return found

    def _columns(self, selection: Tree[Token]) -> list[Field]:
        fields = []
        for item in selection.children:
            token = _token(_tree(item).children[0])
            found = self._field(token)
            if found in fields:
                raise self._error(token, "INVALID_FIELD", f"duplicate field selected: {found.name}")
            fields.append(found)
        return fields

    def _counted(self, selection: Tree[Token]) -> tuple[Field | None, str]:
        items = [_tree(item) for item in selection.children]
        if not any(item.data == "count_column" for item in items):
            return None, "expr0"
        if len(items) > 1:
            raise SalesforceError(400, "MALFORMED_QUERY", "Grouped field should not be aggregated: COUNT")
        label = items[0].children[1]
        return self._field(_token(items[0].children[0])), str(label) if label else "expr0"

    def _ordering(self, order: Any) -> str:
        if not isinstance(order, Tree):
            return ""
        parts = []
        for each in order.children:
            token, direction, nulls = _tree(each).children
            found = self._field(_token(token))
            if not found.flag("sortable"):
                raise self._error(
                    _token(token), "MALFORMED_QUERY", f"field '{found.name}' can not be sorted in a query call"
                )
            column = f"lower({name(found.name)})" if found.folds_case else name(found.name)
            last = nulls is not None and str(nulls).upper().endswith("LAST")
            parts.append(
                f"{column} {str(direction).upper() if direction else 'ASC'} NULLS {'LAST' if last else 'FIRST'}"
            )
        return f" ORDER BY {', '.join(parts)}, Id"

    def _offset(self, offset: Any) -> int | None:
        number = _number(offset)
        if number is not None and number > 2000:
            raise SalesforceError(400, "NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000")
        return number

    def _condition(self, node: Any) -> str:
        tree = _tree(node)
        if tree.data in ("all_of", "any_of"):
            word = " AND " if tree.data == "all_of" else " OR "
            return "(" + word.join(self._condition(child) for child in tree.children) + ")"
        if tree.data == "condition":
            return self._condition(tree.children[0])
        if tree.data == "negated":
            # A comparison with null is false in SOQL, not unknown: so its negation holds.
            return f"NOT coalesce({self._condition(tree.children[0])}, false)"
        token = _token(tree.children[0])
        found = self._field(token)
        if not found.flag("filterable"):
            raise self._error(token, "INVALID_FIELD", f"field '{found.name}' can not be filtered in a query call")
        if tree.data == "compare":
            return self._comparison(token, found, str(tree.children[1]), _token(tree.children[2]))
        if tree.data == "like":
            return self._like(token, found, _token(tree.children[1]))
        return self._membership(token, found, [_token(child) for child in tree.children[1:]], tree.data == "not_among")

    def _comparison(self, token: Token, found: Field, operator: str, value: Token) -> str:
        column = name(found.name)
        operator = "!=" if operator == "<>" else operator
        empty = value.type == "STRING" and _string(value) == "" and found.type != "boolean"
        if value.type == "NULL" or (empty and (found.is_text or found.is_id)):
            if operator not in ("=", "!="):
                raise self._error(token, "INVALID_QUERY_FILTER_OPERATOR", "invalid operator on null")
            return f"{column} IS {'NOT ' if operator == '!=' else ''}NULL"
        if found.type == "datetime" and value.type == "DAY":
            return _day_comparison(column, operator, self._day(value))
        given = self._value(token, found, value)
        column = f"lower({column})" if found.folds_case else column
        given = f"lower({given})" if found.folds_case else given
        return f"{column} {'IS DISTINCT FROM' if operator == '!=' else operator} {given}"

    def _like(self, token: Token, found: Field, value: Token) -> str:
        if not found.is_text:
            raise self._error(token, "INVALID_QUERY_FILTER_OPERATOR", f"invalid operator on {found.type} field")
        pattern = literal(_like_pattern(str(value)))
        word = "LIKE" if found.flag("caseSensitive") else "ILIKE"
        return f"{name(found.name)} {word} {pattern} ESCAPE '\\'"

    def _membership(self, token: Token, found: Field, values: list[Token], excluded: bool) -> str:
        column = f"lower({name(found.name)})" if found.folds_case else name(found.name)
        listed = [self._value(token, found, each) for each in values if each.type != "NULL"]
        if found.folds_case:
            listed = [f"lower({each})" for each in listed]
        has_null = len(listed) < len(values)
        inside = f"{column} IN ({', '.join(listed)})" if listed else "false"
        if has_null:
            inside = f"({inside} OR {column} IS NULL)"
        return f"NOT coalesce({inside}, false)" if excluded else inside

    def _value(self, token: Token, found: Field, value: Token) -> str:
        """The SQL literal of a value, once it is of the field's type."""
        if found.is_id and value.type == "STRING":
            return self._id(token, _string(value))
        if found.is_text and value.type == "STRING":
            return literal(_string(value))
        if found.is_number and value.type == "NUMBER":
            return f"CAST({literal(str(value))} AS DECIMAL(38,{max(found.scale, 6)}))"
        if found.type == "boolean" and value.type == "BOOLEAN":
            return str(value).lower()
        if found.type == "date" and value.type in ("DATE", "DAY"):
            day = self._day(value) if value.type == "DAY" else self._date(token, str(value))
            return f"DATE '{day.isoformat()}'"
        if found.type == "datetime" and value.type == "DATETIME":
            return f"TIMESTAMP '{self._moment(token, str(value))}'"
        quoted = value.type == "STRING"
        kind = "double" if found.is_number else "string" if found.is_text or found.is_id else str(found.type)
        kind = "dateTime" if kind == "datetime" else kind
        text = f"value of filter criterion for field '{found.name}' must be of type {kind}"
        if kind == "string":
            text += " and should be enclosed in quotes"
        elif quoted:
            text += " and should not be enclosed in quotes"
        raise self._error(token, "INVALID_FIELD", text)

    def _id(self, token: Token, text: str) -> str:
        if not re.fullmatch(r"[0-9A-Za-z]{15}([0-9A-Za-z]{3})?", text):
            raise self._error(token, "INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {text}")
        return literal(id18(text[:15]))

    def _day(self, token: Token) -> datetime.date:
        shift = {"TODAY": 0, "YESTERDAY": -1, "TOMORROW": 1}[str(token).upper()]
        return self.today + datetime.timedelta(days=shift)

    def _date(self, token: Token, text: str) -> datetime.date:
        try:
            return datetime.date.fromisoformat(text)
        except ValueError:
            raise self._error(token, "MALFORMED_QUERY", f"Invalid date: {text}") from None

    def _moment(self, token: Token, text: str) -> str:
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError:
            raise self._error(token, "MALFORMED_QUERY", f"Invalid dateTime: {text}") from None
        return moment.astimezone(datetime.UTC).replace(tzinfo=None).isoformat(sep=" ")

    def _error(self, token: Token, code: str, message: str) -> SalesforceError:
        """An error with its place in the query, laid out as Salesforce does: line, caret, row and column."""
        line, column = token.line or 1, token.column or 1
        shown = self.text.splitlines()[line - 1] if self.text else ""
        layout = f"\n{shown}\n{' ' * (column - 1)}^\nERROR at Row:{line}:Column:{column}\n{message}"
        return SalesforceError(400, code, layout)


def _tree(node: Any) -> Tree[Token]:
    assert isinstance(node, Tree)
    return node


def _token(node: Any) -> Token:
    assert isinstance(node, Token)
    return node


def _number(node: Any) -> int | None:
    if not isinstance(node, Tree):
        return None
    text = str(node.children[0])
    if not text.isdigit():
        raise SalesforceError(400, "MALFORMED_QUERY", f"unexpected token: '{text}'")
    return int(text)


def _string(token: Token) -> str:
    """The text of a quoted string, with its escapes resolved."""
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), str(token)[1:-1], flags=re.DOTALL)


def _like_pattern(quoted: str) -> str:
    """A LIKE pattern with backslash as its escape character: escaped % and _ stay escaped."""
    kept = {"%": "\\%", "_": "\\_", "\\": "\\\\"}
    return re.sub(r"\\(.)", lambda m: kept.get(m[1]) or _ESCAPES.get(m[1], m[1]), quoted[1:-1], flags=re.DOTALL)


def _day_comparison(column: str, operator: str, day: datetime.date) -> str:
    """A datetime against a whole day."""
    start = f"TIMESTAMP '{day.isoformat()} 00:00:00'"
    end = f"TIMESTAMP '{(day + datetime.timedelta(days=1)).isoformat()} 00:00:00'"
    inside = f"({column} >= {start} AND {column} < {end})"
    return {
        "=": inside,
        "!=": f"NOT coalesce({inside}, false)",
        "<": f"{column} < {start}",
        "<=": f"{column} < {end}",
        ">": f"{column} >= {end}",
        ">=": f"{column} >= {start}",
    }[operator]
