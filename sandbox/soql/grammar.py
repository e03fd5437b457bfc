"""The grammar of SOQL and SOSL, and how a statement that does not follow it is refused (SOQL and SOSL Reference)."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from lark import Lark
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

from sandbox.soql.tree import Find, Select, TreeMaker
from sandbox.wire import SalesforceError

MAX_STATEMENT = 100_000

GRAMMAR = r"""
query: "SELECT"i items "FROM"i sources [scope] [where] [mode] [group] [having] [order] [limit] [offset] purposes \
    [ALL_ROWS]
items: item ("," item)*
?item: operand [NAME] -> item | "(" query ")" -> child | typeof
?operand: NAME | call
call: NAME "(" [arguments] ")"
arguments: argument ("," argument)*
?argument: operand | NUMBER | STRING
typeof: "TYPEOF"i NAME when+ ["ELSE"i names] "END"i
when: "WHEN"i NAME "THEN"i names
names: NAME ("," NAME)*
sources: source ("," source)*
source: NAME ["AS"i] [NAME]
scope: "USING"i "SCOPE"i NAME
where: "WHERE"i condition
mode: "WITH"i NAME
group: "GROUP"i "BY"i operand ("," operand)*
having: "HAVING"i condition
?condition: unit | unit ("AND"i unit)+ -> all_of | unit ("OR"i unit)+ -> any_of
?unit: comparison | "(" condition ")" | "NOT"i unit -> negated
?comparison: operand OPERATOR value -> compare
    | operand "LIKE"i STRING -> like
    | operand "IN"i members -> among
    | operand "NOT"i "IN"i members -> not_among
    | operand "INCLUDES"i values -> includes
    | operand "EXCLUDES"i values -> excludes
?members: values | "(" query ")"
values: "(" value ("," value)* ")"
?value: STRING | DATETIME | DATE | NUMBER | NULL | BOOLEAN | RANGE | NAME
order: "ORDER"i "BY"i ordering ("," ordering)*
ordering: operand [DIRECTION] [NULLS]
limit: "LIMIT"i NUMBER
offset: "OFFSET"i NUMBER
purposes: purpose*
purpose: "FOR"i ("VIEW"i | "REFERENCE"i | "UPDATE"i) | "UPDATE"i ("TRACKING"i | "VIEWSTAT"i)

find: "FIND"i TERM ["IN"i NAME "FIELDS"i] [returnings] [spelling] [limit]
returnings: "RETURNING"i returning ("," returning)*
returning: NAME ["(" operands [where] [order] [limit] [offset] ")"]
operands: operand ("," operand)*
spelling: "WITH"i "SPELL_CORRECTION"i "=" BOOLEAN

ALL_ROWS.5: /ALL\s+ROWS\b/i
OPERATOR: "=" | "!=" | "<>" | "<=" | ">=" | "<" | ">"
STRING: /'(\\.|[^'\\])*'/s
TERM: /\{(\\.|[^{}\\])*\}/s
DATETIME.4: /\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)/i
DATE.3: /\d{4}-\d\d-\d\d/
NUMBER: /[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?/
NULL.5: /null\b/i
BOOLEAN.5: /(true|false)\b/i
RANGE.5: /[A-Z_]+\s*:\s*\d+/i
DIRECTION.5: /(ASC|DESC)\b/i
NULLS.5: /NULLS\s+(FIRST|LAST)\b/i
NAME: /(?!(SELECT|FROM|WHERE)\b)[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*/i
%ignore /\s+/
"""


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", start=["query", "find"], maybe_placeholders=True, transformer=TreeMaker())


def parse_query(text: str) -> Select:
    """The tree of a SOQL statement. Raises SalesforceError (400, MALFORMED_QUERY)."""
    if len(text) > MAX_STATEMENT:
        message = f"SOQL statements cannot be longer than {MAX_STATEMENT} characters."
        raise SalesforceError(400, "MALFORMED_QUERY", message)
    tree = _parse(text, "query", "MALFORMED_QUERY")
    assert isinstance(tree, Select)
    return tree


def parse_search(text: str) -> Find:
    """The tree of a SOSL statement. Raises SalesforceError (400, MALFORMED_SEARCH)."""
    if len(text) > MAX_STATEMENT:
        message = f"SOSL statements cannot be longer than {MAX_STATEMENT} characters."
        raise SalesforceError(400, "MALFORMED_SEARCH", message)
    tree = _parse(text, "find", "MALFORMED_SEARCH")
    assert isinstance(tree, Find)
    return tree


def _parse(text: str, start: str, code: str) -> Any:
    if "\0" in text:
        raise SalesforceError(400, code, "unexpected character: '\\u0000'")
    try:
        return _parser().parse(text, start=start)
    except UnexpectedInput as error:
        raise SalesforceError(400, code, _complaint(error, text)) from None


def _complaint(error: UnexpectedInput, text: str) -> str:
    if isinstance(error, UnexpectedEOF) or (isinstance(error, UnexpectedToken) and error.token.type == "$END"):
        return "unexpected token: '<EOF>'"
    if isinstance(error, UnexpectedToken):
        return f"unexpected token: '{_culprit(error, text)}'"
    position = error.pos_in_stream or 0
    if text[position : position + 1] == ":":
        return "Bind variables only allowed in Apex code"
    if isinstance(error, UnexpectedCharacters) and (word := re.match(r"\w+", text[position:])):
        return f"unexpected token: '{word[0]}'"
    shown = getattr(error, "char", text[position : position + 1])
    return f"line {error.line}:{error.column} no viable alternative at character '{shown}'"


def _culprit(error: UnexpectedToken, text: str) -> str:
    """The word to blame: in `SELECT Id FORM Account` that is FORM, although it could have been an alias of Id."""
    before = text[: error.token.start_pos or 0]
    last = re.search(r"\w\s+(\w+)\s+$", before)
    if error.token.type == "NAME" and last and not re.search(r"\bfrom\b", before, re.IGNORECASE):
        return last[1]
    return str(error.token)
