"""Formulas as Salesforce writes them (validation rules, triggers, lookup filters, formula fields), compiled to SQL.

Operators and functions follow Salesforce Help, "Formula Operators and Functions". Blank text is an empty text, a
comparison with a blank number or date is false. What is not known here is refused with its place: a formula never
means something else than it says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb
from lark import Lark, Token, Tree
from lark.exceptions import LarkError, UnexpectedInput

from sandbox.rows.rules import literal, name

if TYPE_CHECKING:
    from sandbox.schema import Field, ObjectType, Schema

_GRAMMAR = r"""
?start: either
?either: both | both ("||" both)+ -> either
?both: equality | equality ("&&" equality)+ -> both
?equality: order | order EQUAL order -> compared
?order: joined | joined ORDER joined -> compared
?joined: sum | sum ("&" sum)+ -> joined
?sum: product | product (SIGN product)+ -> chain
?product: power | power (TIMES power)+ -> chain
?power: unary | unary "^" unary -> power
?unary: SIGN unary                               -> negative
      | "!" unary                                -> inverted
      | atom
?atom: NUMBER                                    -> number
     | TEXT                                      -> text
     | NAME "(" (either ("," either)*)? ")"      -> call
     | NAME ("." NAME)*                          -> path
     | "(" either ")"
EQUAL: "==" | "=" | "<>" | "!="
ORDER: "<=" | ">=" | "<" | ">"
SIGN: "+" | "-"
TIMES: "*" | "/"
NUMBER: /[0-9]+(\.[0-9]+)?/
TEXT: /"([^"\\]|\\.)*"/ | /'([^'\\]|\\.)*'/
NAME: /\$?[A-Za-z][A-Za-z0-9_]*/
COMMENT: "/*" /(.|\n)*?/ "*/"
%import common.WS
%ignore WS
%ignore COMMENT
"""

# The columns a compiled formula reads beside those of the record's fields.
IS_NEW = '"$new"'
NOW = '"$now"'
USER = '"$user"'
PRIOR = "$prior."
MOST_DAYS = 1_000_000
_IS_NUMBER = "regexp_full_match(trim({0}), '[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?')"
FIELD_KINDS = {"boolean": "boolean", "date": "date", "datetime": "datetime"}
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class FormulaError(ValueError):
    """A formula that cannot be used; the message says where and why."""


@dataclass(frozen=True)
class Value:
    """A compiled part of a formula: its SQL and what it is.

    `kind` is text, number, boolean, date, datetime, picklist or multipicklist; `field` is set when it is a field of
    the record itself.
    """

    sql: str
    kind: str
    field: Field | None = None
    constant: str | None = None


@dataclass
class Formula:
    """A formula compiled for one object. `sql` reads the columns of `fields` and of `prior` (by `PRIOR` + name)."""

    sql: str
    kind: str
    fields: set[str] = field(default_factory=set)
    prior: set[str] = field(default_factory=set)


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", propagate_positions=True)


def compile_formula(schema: Schema, target: ObjectType, text: str, *, stored: bool = False) -> Formula:
    """Compile a formula about a record of `target`.

    `stored` is for formula fields: they know no earlier values, and no now. Raises FormulaError.
    """
    if "\0" in text:
        raise FormulaError("Syntax error: a formula holds no NUL character")
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise FormulaError(f"line {error.line} column {error.column}: Syntax error") from None
    except LarkError as error:
        raise FormulaError(f"Syntax error: {error}") from None
    compiler = _Compiler(schema, target, stored)
    try:
        made = compiler.value(tree)
    except RecursionError:
        raise FormulaError("Syntax error: nested too deeply") from None
    return Formula(made.sql, made.kind, compiler.fields, compiler.prior)


def compile_condition(schema: Schema, target: ObjectType, text: str) -> Formula:
    """Compile a formula that must be true or false; its SQL is never NULL. Raises FormulaError."""
    formula = compile_formula(schema, target, text)
    if formula.kind != "boolean":
        raise FormulaError(
            f"Formula result is data type ({formula.kind}), incompatible with expected data type (true or false)"
        )
    formula.sql = f"coalesce({formula.sql}, false)"
    return formula


def _where(part: Tree[Token] | Token) -> str:
    place = part if isinstance(part, Token) else part.meta
    line, column = getattr(place, "line", None), getattr(place, "column", None)
    return f"line {line} column {column}: " if line else ""


class _Compiler:
    def __init__(self, schema: Schema, target: ObjectType, stored: bool) -> None:
        self.schema = schema
        self.target = target
        self.stored = stored
        self.fields: set[str] = set()
        self.prior: set[str] = set()

    def value(self, part: Any) -> Value:
        """Compile one node of the tree."""
        made: Value = getattr(self, f"_{part.data}")(part)
        return made

    def fail(self, part: Any, reason: str) -> FormulaError:
        return FormulaError(_where(part) + reason)

    # Operators

    def _either(self, part: Any) -> Value:
        return self._logic(part, part.children, " OR ")

    def _both(self, part: Any) -> Value:
        return self._logic(part, part.children, " AND ")

    def _logic(self, part: Any, children: list[Any], word: str) -> Value:
        if not children:
            raise self.fail(part, "Incorrect number of parameters: at least 1 is needed")
        return Value("(" + word.join(self.typed(each, "boolean").sql for each in children) + ")", "boolean")

    def _inverted(self, part: Any) -> Value:
        return Value(f"(NOT {self.typed(part.children[0], 'boolean').sql})", "boolean")

    def _negative(self, part: Any) -> Value:
        sign, inner = part.children
        return Value(f"({sign}{self.typed(inner, 'number').sql})", "number")

    def _power(self, part: Any) -> Value:
        base, exponent = (self.typed(each, "number").sql for each in part.children)
        return Value(f"power({base}, {exponent})", "number")

    def _joined(self, part: Any) -> Value:
        return Value("(" + " || ".join(self.typed(each, "text").sql for each in part.children) + ")", "text")

    def _chain(self, part: Any) -> Value:
        made = self.value(part.children[0])
        for place in range(1, len(part.children), 2):
            sign, right = str(part.children[place]), self.value(part.children[place + 1])
            made = self._calculated(part, made, sign, right)
        return made

    def _calculated(self, part: Any, left: Value, sign: str, right: Value) -> Value:
        kinds = (left.kind, right.kind)
        if sign == "+" and kinds == ("text", "text"):
            return Value(f"({left.sql} || {right.sql})", "text")
        if kinds == ("number", "number"):
            other = f"nullif({right.sql}, 0)" if sign == "/" else right.sql
            return Value(f"({left.sql} {sign} {other})", "number")
        if sign in "+-" and kinds == ("date", "number"):
            return Value(f"({left.sql} {sign} CAST(trunc({_days(right)}) AS INTEGER))", "date")
        if sign in "+-" and kinds == ("datetime", "number"):
            return Value(f"({left.sql} {sign} to_seconds(CAST({_days(right)} * 86400 AS BIGINT)))", "datetime")
        if sign == "-" and kinds == ("date", "date"):
            return Value(f"({left.sql} - {right.sql})", "number")
        if sign == "-" and kinds == ("datetime", "datetime"):
            return Value(f"(date_diff('second', {right.sql}, {left.sql}) / 86400.0)", "number")
        raise self.fail(part, f"Incorrect parameter type for operator '{sign}': {left.kind} and {right.kind}")

    def _compared(self, part: Any) -> Value:
        first, operator, second = part.children
        sign = {"==": "=", "!=": "<>"}.get(str(operator), str(operator))
        left, right = self.plain(first), self.plain(second)
        if left.kind != right.kind:
            raise self.fail(operator, f"Incorrect parameter type for operator '{operator}': {left.kind}, {right.kind}")
        if left.kind == "text" and sign not in ("=", "<>"):
            return Value(f"({left.sql} {sign} {right.sql})", "boolean")
        missing = "true" if sign == "<>" else "false"
        first_sql, second_sql = left.sql, right.sql
        if left.kind == "number":
            first_sql, second_sql = f"round({first_sql}, 9)", f"round({second_sql}, 9)"
        return Value(f"coalesce({first_sql} {sign} {second_sql}, {missing})", "boolean")

    # Leaves

    def _number(self, part: Any) -> Value:
        return Value(f"CAST({part.children[0]} AS DOUBLE)", "number")

    def _text(self, part: Any) -> Value:
        raw, text, place = str(part.children[0])[1:-1], "", 0
        while place < len(raw):
            if raw[place] == "\\":
                place += 1
                text += ESCAPES.get(raw[place], raw[place])
            else:
                text += raw[place]
            place += 1
        return Value(literal(text), "text", constant=text)

    def _path(self, part: Any) -> Value:
        names = [str(each) for each in part.children]
        if len(names) == 1 and names[0].upper() in ("TRUE", "FALSE"):
            return Value(names[0].lower(), "boolean")
        owner, sql, own = self.target, "", True
        if names[0].startswith("$"):
            owner, sql = self._global(part, names[0], len(names))
            names, own = names[1:], False
        for step in names[:-1]:
            lookup = self._lookup(part, owner, step)
            here = self._read(lookup) if own else sql.format(name(lookup.name))
            target = self.schema.object_named(lookup.reference_to[0])
            assert target is not None
            sql, owner, own = f"(SELECT p.{{}} FROM {self._rows(target)} p WHERE p.Id = {here})", target, False
        found = owner.field_named(names[-1])
        if found is None or found.type == "address":
            raise self.fail(part, f"Field {'.'.join(names)} does not exist. Check spelling.")
        if own:
            return _field_value(found, self._read(found), found)
        if self.stored and found.formula:
            raise self.fail(part, f"Field {'.'.join(names)} is a formula: a formula field cannot read it")
        return _field_value(found, sql.format(name(found.name)), None)

    def _global(self, part: Any, called: str, length: int) -> tuple[ObjectType, str]:
        """The record of `$User`, `$Profile` or `$RecordType`: its object, and the SQL of one of its fields."""
        object_name = {"$user": "User", "$profile": "Profile", "$recordtype": "RecordType"}.get(called.lower(), "")
        target, own_type = self.schema.object_named(object_name), self.target.field_named("RecordTypeId")
        if target is None or self.stored or length < 2 or (object_name == "RecordType" and own_type is None):
            raise self.fail(part, f"Field {called} does not exist. Check spelling.")
        here = USER
        if object_name == "Profile":
            here = f'(SELECT p.ProfileId FROM "User" p WHERE p.Id = {USER})'
        elif own_type is not None and object_name == "RecordType":
            here = self._read(own_type)
        return target, f"(SELECT p.{{}} FROM {self._rows(target)} p WHERE p.Id = {here})"

    def _rows(self, target: ObjectType) -> str:
        """The rows of a parent: formula fields read its table, since its view may not be there yet."""
        return name(target.name if self.stored else f"v_{target.name}")

    def _read(self, found: Field) -> str:
        if self.stored and found.formula:
            return f"({found.formula})"
        self.fields.add(found.name)
        return name(found.name)

    def _lookup(self, part: Any, owner: ObjectType, step: str) -> Field:
        for each in owner.fields.values():
            if str(each.document["relationshipName"] or "").lower() != step.lower():
                continue
            if len(each.reference_to) == 1 and self.schema.object_named(each.reference_to[0]):
                return each
        raise self.fail(part, f"Field {step} does not exist. Check spelling.")

    # Functions

    def _call(self, part: Any) -> Value:
        called, given = str(part.children[0]), part.children[1:]
        if special := _SPECIAL.get(called.upper()):
            return special(self, part, given)
        entry = _FUNCTIONS.get(called.upper())
        if entry is None:
            raise self.fail(part.children[0], f"Unknown function {called}. Check spelling.")
        kinds, template, kind = entry
        if len(given) != len(kinds):
            raise self.fail(part, f"Incorrect number of parameters for function '{called.upper()}()'.")
        values = [self.typed(each, wanted).sql for each, wanted in zip(given, kinds, strict=True)]
        return Value("(" + template.format(*values) + ")", kind)

    def plain(self, part: Any) -> Value:
        """A value that may be compared: picklists only by way of their functions, as in Salesforce."""
        made = self.value(part)
        if made.kind in ("picklist", "multipicklist"):
            shown = made.field.name if made.field else "this"
            reason = f"Field {shown} is a {made.kind} field: use ISPICKVAL, INCLUDES, CASE or TEXT"
            raise self.fail(part, reason)
        return made

    def typed(self, part: Any, kind: str) -> Value:
        """A value that must be of a kind; `any` takes all."""
        made = self.value(part)
        if kind != "any" and made.kind not in kind.split("|"):
            raise self.fail(part, f"Incorrect parameter type. Expected {kind.capitalize()}, received {made.kind}")
        return made

    def own_field(self, part: Any, given: list[Any]) -> Field:
        """The one parameter of PRIORVALUE and ISCHANGED."""
        if self.stored:
            raise self.fail(part, f"Function {part.children[0]} may not be used in this type of formula")
        if len(given) != 1:
            raise self.fail(part, f"Incorrect number of parameters for function '{part.children[0]}()'.")
        made = self.value(given[0])
        if made.field is None or made.field.formula:
            raise self.fail(part, f"Function {part.children[0]} takes a field of the record")
        return made.field


def _days(value: Value) -> str:
    """SQL: a number of days that a date can be moved by without leaving the calendar."""
    return f"least(greatest({value.sql}, -{MOST_DAYS}), {MOST_DAYS})"


def _field_value(found: Field, sql: str, own: Field | None) -> Value:
    if found.is_number:
        # Doubles never overflow; comparisons round off what they are wrong by.
        return Value(f"CAST({sql} AS DOUBLE)", "number", own)
    if found.type in FIELD_KINDS:
        return Value(sql, FIELD_KINDS[found.type], own)
    if found.type in ("picklist", "multipicklist"):
        return Value(f"coalesce({sql}, '')", found.type, own)
    return Value(f"coalesce({sql}, '')", "text", own)


def _blank(compiler: _Compiler, part: Any, given: list[Any]) -> Value:
    if len(given) != 1:
        raise compiler.fail(part, f"Incorrect number of parameters for function '{part.children[0]}()'.")
    made = compiler.value(given[0])
    empty = f"{made.sql} = ''" if made.kind in ("text", "picklist", "multipicklist") else f"{made.sql} IS NULL"
    return Value(f"({empty})", "boolean")


def _is_picklist_value(compiler: _Compiler, part: Any, given: list[Any]) -> Value:
    called = str(part.children[0]).upper()
    if len(given) != 2:
        raise compiler.fail(part, f"Incorrect number of parameters for function '{called}()'.")
    chosen = compiler.typed(given[0], "picklist" if called == "ISPICKVAL" else "multipicklist")
    wanted = compiler.typed(given[1], "text")
    if wanted.constant is None:
        raise compiler.fail(given[1], f"The second parameter of {called} must be a text literal")
    if called == "ISPICKVAL":
        return Value(f"({chosen.sql} = {wanted.sql})", "boolean")
    return Value(f"list_contains(string_split({chosen.sql}, ';'), {wanted.sql})", "boolean")


def _regex(compiler: _Compiler, part: Any, given: list[Any]) -> Value:
    if len(given) != 2:
        raise compiler.fail(part, "Incorrect number of parameters for function 'REGEX()'.")
    text, pattern = (compiler.typed(each, "text") for each in given)
    if pattern.constant is None:
        raise compiler.fail(given[1], "The second parameter of REGEX must be a text literal")
    try:
        with duckdb.connect() as connection:
            connection.execute("SELECT regexp_full_match('', ?)", [pattern.constant])
    except duckdb.Error as error:
        raise compiler.fail(given[1], f"Invalid regular expression: {error}") from None
    return Value(f"regexp_full_match({text.sql}, {pattern.sql})", "boolean")


def _text_of(compiler: _Compiler, part: Any, given: list[Any]) -> Value:
    if len(given) != 1:
        raise compiler.fail(part, "Incorrect number of parameters for function 'TEXT()'.")
    made = compiler.typed(given[0], "picklist|number|date|datetime")
    if made.kind == "picklist":
        return Value(made.sql, "text")
    if made.kind == "datetime":
        return Value(f"coalesce(strftime({made.sql}, '%Y-%m-%d %H:%M:%SZ'), '')", "text")
    shown = f"CAST({made.sql} AS VARCHAR)"
    if made.kind == "number":
        shown = rf"regexp_replace(regexp_replace({shown}, '(\.[0-9]*?)0+$', '\1'), '\.$', '')"
    return Value(f"coalesce({shown}, '')", "text")


def _if(compiler: _Compiler, part: Any, given: list[Any]) -> Value:
    if len(given) != 3:
        raise compiler.fail(part, "Incorrect number of parameters for function 'IF()'.")
    condition = compiler.typed(given[0], "boolean")
    first, second = compiler.plain(given[1]), compiler.plain(given[2])
    if first.kind != second.kind:
        raise compiler.fail(given[2], f"Incorrect parameter type. Expected {first.kind}, received {second.kind}")
    return Value(f"(CASE WHEN {condition.sql} THEN {first.sql} ELSE {second.sql} END)", first.kind)


def _case(compiler: _Compiler, part: Any, given: list[Any]) -> Value:
    if len(given) < 4 or len(given) % 2:
        raise compiler.fail(part, "Incorrect number of parameters for function 'CASE()'.")
    chosen = compiler.value(given[0])
    compared = "text" if chosen.kind == "picklist" else chosen.kind
    otherwise = compiler.plain(given[-1])
    cases = ""
    for place in range(1, len(given) - 1, 2):
        test, result = compiler.typed(given[place], compared), compiler.typed(given[place + 1], otherwise.kind)
        cases += f" WHEN {test.sql} THEN {result.sql}"
    return Value(f"(CASE {chosen.sql}{cases} ELSE {otherwise.sql} END)", otherwise.kind)


def _blank_value(compiler: _Compiler, part: Any, given: list[Any]) -> Value:
    if len(given) != 2:
        raise compiler.fail(part, f"Incorrect number of parameters for function '{part.children[0]}()'.")
    first = compiler.plain(given[0])
    second = compiler.typed(given[1], first.kind)
    given_sql = f"nullif({first.sql}, '')" if first.kind == "text" else first.sql
    return Value(f"coalesce({given_sql}, {second.sql})", first.kind)


def _extreme(compiler: _Compiler, part: Any, given: list[Any]) -> Value:
    called = str(part.children[0]).upper()
    if not given:
        raise compiler.fail(part, f"Incorrect number of parameters for function '{called}()'.")
    values = ", ".join(compiler.typed(each, "number").sql for each in given)
    return Value(f"{'greatest' if called == 'MAX' else 'least'}({values})", "number")


def _is_changed(compiler: _Compiler, part: Any, given: list[Any]) -> Value:
    found = compiler.own_field(part, given)
    compiler.prior.add(found.name)
    before = name(PRIOR + found.name)
    return Value(f"(NOT {IS_NEW} AND {name(found.name)} IS DISTINCT FROM {before})", "boolean")


def _prior_value(compiler: _Compiler, part: Any, given: list[Any]) -> Value:
    found = compiler.own_field(part, given)
    compiler.prior.add(found.name)
    # Of a new record, the prior value is the value itself.
    before = f"(CASE WHEN {IS_NEW} THEN {name(found.name)} ELSE {name(PRIOR + found.name)} END)"
    return _field_value(found, before, None)


def _without_parameters(sql: str, kind: str) -> Callable[[_Compiler, Any, list[Any]], Value]:
    def made(compiler: _Compiler, part: Any, given: list[Any]) -> Value:
        if given:
            raise compiler.fail(part, f"Incorrect number of parameters for function '{part.children[0]}()'.")
        if compiler.stored:
            raise compiler.fail(part, f"Function {part.children[0]} may not be used in this type of formula")
        return Value(sql, kind)

    return made


_SPECIAL: dict[str, Callable[[_Compiler, Any, list[Any]], Value]] = {
    "AND": lambda compiler, part, given: compiler._logic(part, given, " AND "),
    "OR": lambda compiler, part, given: compiler._logic(part, given, " OR "),
    "ISBLANK": _blank,
    "ISNULL": _blank,
    "ISPICKVAL": _is_picklist_value,
    "INCLUDES": _is_picklist_value,
    "REGEX": _regex,
    "TEXT": _text_of,
    "IF": _if,
    "CASE": _case,
    "BLANKVALUE": _blank_value,
    "MAX": _extreme,
    "MIN": _extreme,
    "NULLVALUE": _blank_value,
    "ISCHANGED": _is_changed,
    "PRIORVALUE": _prior_value,
    "ISNEW": _without_parameters(IS_NEW, "boolean"),
    "NOW": _without_parameters(NOW, "datetime"),
    "TODAY": _without_parameters(f"CAST({NOW} AS DATE)", "date"),
}

# Function -> kinds of its parameters, its SQL, and the kind of its result.
_FUNCTIONS: dict[str, tuple[list[str], str, str]] = {
    "NOT": (["boolean"], "NOT {0}", "boolean"),
    "LEN": (["text"], "length({0})", "number"),
    "VALUE": (["text"], f"CASE WHEN {_IS_NUMBER} THEN TRY_CAST({{0}} AS DOUBLE) END", "number"),
    "ISNUMBER": (["text"], _IS_NUMBER, "boolean"),
    "CONTAINS": (["text", "text"], "contains({0}, {1})", "boolean"),
    "BEGINS": (["text", "text"], "starts_with({0}, {1})", "boolean"),
    "FIND": (["text", "text"], "strpos({1}, {0})", "number"),
    "LEFT": (["text", "number"], "left({0}, TRY_CAST(trunc({1}) AS INTEGER))", "text"),
    "RIGHT": (["text", "number"], "right({0}, TRY_CAST(trunc({1}) AS INTEGER))", "text"),
    "MID": (
        ["text", "number", "number"],
        "substr({0}, TRY_CAST(trunc({1}) AS INTEGER), TRY_CAST(trunc({2}) AS INTEGER))",
        "text",
    ),
    "TRIM": (["text"], "trim({0})", "text"),
    "UPPER": (["text"], "upper({0})", "text"),
    "LOWER": (["text"], "lower({0})", "text"),
    "SUBSTITUTE": (["text", "text", "text"], "replace({0}, {1}, {2})", "text"),
    "ABS": (["number"], "abs({0})", "number"),
    "ROUND": (["number", "number"], "round({0} * power(10, trunc({1}))) / power(10, trunc({1}))", "number"),
    "FLOOR": (["number"], "floor({0})", "number"),
    "CEILING": (["number"], "ceil({0})", "number"),
    "MOD": (["number", "number"], "{0} % nullif({1}, 0)", "number"),
    "DATE": (
        ["number", "number", "number"],
        "TRY_CAST(printf('%04d-%02d-%02d', TRY_CAST(trunc({0}) AS INTEGER), TRY_CAST(trunc({1}) AS INTEGER),"
        " TRY_CAST(trunc({2}) AS INTEGER)) AS DATE)",
        "date",
    ),
    "DATEVALUE": (["datetime|date"], "CAST({0} AS DATE)", "date"),
    "YEAR": (["date"], "year({0})", "number"),
    "MONTH": (["date"], "month({0})", "number"),
    "DAY": (["date"], "day({0})", "number"),
}
