"""From the tree that DuckDB's parser makes of an expression to SQL that is allowed, piece by piece."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import duckdb

from syncs.engine.expression_functions import CALLED, FUNCTIONS, INSTEAD, VALUE, Argument, Size, check_call
from syncs.engine.expression_text import ExpressionError, ReadyText
from syncs.engine.expression_types import (
    MOST_ROW_BYTES,
    Expression,
    Matching,
    Scope,
    is_scalar,
    not_allowed,
    scale_of,
    told,
    typed_column,
    unknown,
    words,
)
from syncs.engine.patterns import check_pattern, groups_in
from syncs.engine.sql import literal

_DEEPEST = 100
# How many nodes an expression may have, those counted twice that DuckDB works out twice.
_MOST_NODES = 3000
_MOST_PATTERNS = 50
_MOST_GROWTH = 1000

_NOWHERE = 2**63
_NUMBER = re.compile(r"-?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?")
_TEXT_TYPES = ("VARCHAR", "TEXT", "STRING", "CHAR", "BPCHAR")
_WHOLE_TYPES = ("TINYINT", "SMALLINT", "INTEGER", "INT", "BIGINT", "HUGEINT", "INT2", "INT4", "INT8")
_NUMBER_TYPES = (*_WHOLE_TYPES, "DECIMAL", "NUMERIC", "DOUBLE", "FLOAT", "REAL", "FLOAT4", "FLOAT8")
_TIME_TYPES = ("DATE", "TIME", "TIMESTAMP", "DATETIME", "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE", "INTERVAL")
_TYPES = (*_TEXT_TYPES, *_NUMBER_TYPES, *_TIME_TYPES, "BOOLEAN", "BOOL")
_COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "IS DISTINCT FROM",
    "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
}
_REFUSED = {
    "SUBQUERY": "A subquery has no place in an expression: it sees one row of the source and nothing else.",
    "WINDOW": "A window function (OVER) has no place in an expression: it sees one row of the source at a time.",
    "LAMBDA": "A lambda has no place in an expression.",
    "STAR": "* has no place in an expression. Name the columns.",
    "PARAMETER": "A parameter is written as @name.",
    "POSITIONAL_REFERENCE": "#1 has no place in an expression. Name the column.",
    "COLLATE": "COLLATE has no place in an expression. Compare lower(...) with lower(...).",
}


@dataclasses.dataclass
class _Node:
    """A piece of an expression.

    nodes: how many pieces DuckDB works out for it. weight: bytes of all of them. constant: the value, when all rows
    have the same. column: its place, for a column by itself.
    """

    sql: str
    offset: int
    length: int
    children: tuple[_Node, ...] = ()
    size: Size = VALUE
    nodes: int = 1
    weight: Size = dataclasses.field(default_factory=Size)
    constant: str | None = None
    column: int | None = None


class Compiler:
    """One expression on its way from text to SQL."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, scope: Scope, ready: ReadyText, name: str) -> None:
        self._connection, self._scope, self._ready, self._name = connection, scope, ready, name
        self._columns: set[int] = set()
        self._uuids: list[str] = []
        self._matching: list[Matching] = []
        self._place = (0, 1)

    def compile(self, condition: bool) -> Expression:
        root = self._node(self._parse(), 1)
        kind = self._type(root)
        if condition and kind != "BOOLEAN":
            reason = (
                f"A filter has to be true or false for each row, and this is {words(kind)}. Compare it with something."
            )
            raise self._error(reason, root)
        if not condition and not is_scalar(kind):
            raise self._error(f"This gives {words(kind)}, which no field can take. Make a text of it.", root)
        self._try(root)
        return Expression(
            sql=root.sql,
            type=kind,
            columns=tuple(sorted(self._columns)),
            uuids=tuple(self._uuids),
            size=root.size,
            weight=root.weight,
            matching=tuple(self._matching),
        )

    # --- parsing ---

    def _parse(self) -> dict[str, Any]:
        query = "SELECT json_serialize_sql($1)"
        [(answer,)] = self._connection.execute(query, [_SELECT + self._ready.sql]).fetchall()
        tree = json.loads(answer)
        if tree.get("error"):
            raise self._not_parsed(tree)
        statements = [statement["node"] for statement in tree["statements"]]
        if len(statements) != 1 or not _is_bare(statements[0]):
            raise self._error("This is more than an expression: leave out SELECT, FROM, AS, LIMIT and the like.")
        selected: list[dict[str, Any]] = statements[0]["select_list"]
        if len(selected) != 1:
            self._at(selected[1])
            raise self._error("An expression gives one value, and here a second one begins.")
        if selected[0].get("alias"):
            raise self._error("An expression has no name: leave out what comes after its end.")
        return selected[0]

    def _not_parsed(self, answer: dict[str, Any]) -> ExpressionError:
        message = str(answer.get("error_message", ""))
        if "expression depth" in message:
            return self._error("The expression is nested too deeply. Make it simpler.")
        position = answer.get("position")
        if position is not None:
            self._place = (int(position) - len(_SELECT), 1)
        near = re.search(r'at or near "(.*)"', message, re.DOTALL)
        if near:
            word, length = near[1].replace("$", "@"), len(near[1].encode())
            self._place = (self._place[0], length)
            self._refuse_keyword(self._place[0] + length)
            self._refuse_keyword(self._place[0])
            if self._place[0] + length >= len(self._ready.sql.rstrip().encode()):
                return self._error("The expression ends too early, or this does not fit here. Is there an END missing?")
            return self._error(
                f"'{word}' does not fit here. Is there a comma, an operator or a bracket missing before it?"
            )
        if "end of input" in message or self._place[0] >= len(self._ready.sql.encode()):
            return self._error("The expression ends too early. Is there a bracket or an END missing?")
        return self._error(f"The expression cannot be read: {message}.")

    def _refuse_keyword(self, end: int) -> None:
        """Raises when the word that ends here, in bytes, is a column's name that SQL keeps for itself."""
        found = re.search(rb"[^\W\d]\w*\s*$", self._ready.sql.encode()[:end])
        word = found[0].decode(errors="replace").strip() if found else ""
        column = self._scope.column(word)
        query = "SELECT count(*) FROM duckdb_keywords() WHERE keyword_name = lower($1) AND keyword_category <> $2"
        if (
            found is None
            or column is None
            or self._connection.execute(query, [word, "unreserved"]).fetchall() == [(0,)]
        ):
            return
        self._place = (found.start(), len(word))
        written = '"' + self._scope.columns[column] + '"'
        raise self._error(f"'{word}' is a word of SQL. The column of that name is written {written}.")

    # --- the tree ---

    def _at(self, tree: dict[str, Any]) -> None:
        """From now on, mistakes are in this piece of the text. What the parser made up is where its parent is."""
        offset = int(tree.get("query_location", _NOWHERE))
        if offset < _NOWHERE:
            self._place = (offset - len(_SELECT), int(tree.get("query_location_length", 1)))

    def _node(self, tree: dict[str, Any], depth: int) -> _Node:
        if depth > _DEEPEST:
            raise self._error(f"The expression is nested more than {_DEEPEST} levels deep. Make it simpler.")
        before = self._place
        self._at(tree)
        kind = tree.get("class", "")
        write = _WRITERS.get(kind)
        if write is None:
            raise self._error(_REFUSED.get(kind, f"{kind.capitalize() or 'This'} has no place in an expression."))
        node = write(self, tree, depth)
        if node.nodes > _MOST_NODES:
            raise self._error("The expression has too many parts. Make it simpler.")
        if node.weight.fixed > MOST_ROW_BYTES // 64 or max(node.weight.factors.values(), default=0) > _MOST_GROWTH:
            raise self._error(
                f"This could make texts more than {_MOST_GROWTH:,} times as long as the cells they come from. "
                "Make it simpler."
            )
        self._place = before
        return node

    def _made(
        self,
        sql: str,
        children: Sequence[_Node],
        size: Size,
        *,
        twice: Sequence[_Node] = (),
        constant: str | None = None,
    ) -> _Node:
        """The node at the present place. twice: children that DuckDB works out once more."""
        nodes = 1 + sum(child.nodes for child in (*children, *twice))
        weight = sum((child.weight for child in (*children, *twice)), size)
        return _Node(sql, *self._place, tuple(children), size, nodes, weight, constant)

    def _each(self, trees: Sequence[dict[str, Any]], depth: int) -> list[_Node]:
        return [self._node(tree, depth + 1) for tree in trees]

    def _constant(self, tree: dict[str, Any], depth: int) -> _Node:
        kind, text = tree["literal"]["kind"], str(tree["literal"].get("text", ""))
        if kind == "STRING":
            return self._made(literal(text), [], Size(len(text.encode()) + 16), constant=text)
        if kind in ("INTEGER", "NUMERIC") and _NUMBER.fullmatch(text):
            return self._made(f"({text})" if text.startswith("-") else text, [], VALUE, constant=text)
        if kind == "BOOLEAN" and text.lower() in ("true", "false"):
            return self._made(text.lower(), [], VALUE, constant=text.lower())
        if kind == "NULL_LITERAL":
            return self._made("NULL", [], VALUE)
        raise self._error("Such a value has no place in an expression. Write texts in '...' and numbers as 12.5.")

    def _column(self, tree: dict[str, Any], depth: int) -> _Node:
        name = ".".join(tree["column_names"])
        place = self._scope.column(name)
        if place is None and name.lower() in INSTEAD:
            raise self._error(f"{name} has no place in an expression. Use {INSTEAD[name.lower()]}.")
        if place is None:
            raise self._error(unknown("column", name, self._scope.columns, "The source has no"))
        self._columns.add(place)
        spec = self._scope.spec(place)
        size = Size(16, {place: 1})
        node = self._made(typed_column(spec, f"c_{place}"), [], size if spec.type == "text" else VALUE)
        node.column = place
        return node

    def _parameter(self, tree: dict[str, Any], depth: int) -> _Node:
        name = self._scope.parameter(str(tree.get("identifier", "")))
        if name is None:
            raise self._error(
                unknown("parameter", str(tree.get("identifier")), list(self._scope.parameters), "The sync has no")
            )
        value = self._scope.parameters[name]
        sql = literal(value) if value else "CAST(NULL AS VARCHAR)"
        return self._made(sql, [], Size(len(value.encode()) + 16), constant=value)

    def _comparison(self, tree: dict[str, Any], depth: int) -> _Node:
        sign = self._sign(_COMPARISONS, tree)
        left, right = self._each([tree["left"], tree["right"]], depth)
        self._comparable([left, right])
        return self._made(f"({left.sql} {sign} {right.sql})", [left, right], VALUE)

    def _conjunction(self, tree: dict[str, Any], depth: int) -> _Node:
        sign = self._sign({"CONJUNCTION_AND": " AND ", "CONJUNCTION_OR": " OR "}, tree)
        children = self._each(tree["children"], depth)
        return self._made(f"({sign.join(child.sql for child in children)})", children, VALUE)

    def _comparable(self, nodes: Sequence[_Node]) -> None:
        """Where a text stands beside dates, it has to be one. DuckDB finds that out row by row."""
        written = [node for node in nodes if node.constant is not None and node.sql.startswith("'")]
        typed = [node for node in nodes if node.constant is None and not node.children and node.column is not None]
        kinds = {self._type(node) for node in typed} - {"VARCHAR"}
        if len(kinds) == 1:
            for node in written:
                self._asked(node, lambda sql: self._cast_once(sql, next(iter(kinds))))

    def _cast_once(self, query: str, kind: str) -> str:
        return str(self._connection.execute(f"SELECT CAST(x AS {kind}) IS NULL FROM ({query})").fetchall())

    def _sign(self, known: Mapping[str, str], tree: dict[str, Any]) -> str:
        if tree["type"] not in known:
            raise self._error(f"{tree['type'].replace('_', ' ').capitalize()} has no place in an expression.")
        return known[tree["type"]]

    def _between(self, tree: dict[str, Any], depth: int) -> _Node:
        value, lower, upper = self._each([tree["input"], tree["lower"], tree["upper"]], depth)
        self._comparable([value, lower, upper])
        return self._made(f"({value.sql} BETWEEN {lower.sql} AND {upper.sql})", [value, lower, upper], VALUE)

    def _case(self, tree: dict[str, Any], depth: int) -> _Node:
        children, pieces, results = [], [], []
        for each in tree["case_checks"]:
            when, then = self._each([each["when_expr"], each["then_expr"]], depth)
            pieces.append(f"WHEN {when.sql} THEN {then.sql}")
            children += [when, then]
            results.append(then)
        if tree.get("else_expr"):
            otherwise = self._node(tree["else_expr"], depth + 1)
            pieces.append(f"ELSE {otherwise.sql}")
            children.append(otherwise)
            results.append(otherwise)
        return self._made(f"(CASE {' '.join(pieces)} END)", children, _sum(results))

    def _cast(self, tree: dict[str, Any], depth: int) -> _Node:
        child = self._node(tree["child"], depth + 1)
        target = self._type_name(tree["type_expr"])
        inner, size = (self._as_written(child)) if target in _TEXT_TYPES else (child.sql, VALUE)
        verb = "TRY_CAST" if tree["try_cast"] else "CAST"
        return self._made(f"{verb}({inner} AS {target})", [child], size, constant=child.constant)

    def _type_name(self, tree: dict[str, Any]) -> str:
        name = str(tree.get("type_name", "")).upper()
        if tree.get("class") != "TYPE" or name not in _TYPES or tree.get("schema") or tree.get("catalog"):
            known = (
                "VARCHAR, INTEGER, BIGINT, DECIMAL(18,2), DOUBLE, DATE, TIME, TIMESTAMP, TIMESTAMPTZ, BOOLEAN, INTERVAL"
            )
            raise self._error(f"There is no type '{name.lower()}' in an expression. Use one of {known}.")
        numbers = [str(child.get("literal", {}).get("text", "")) for child in tree.get("children") or ()]
        if any(not number.isdigit() or len(number) > 4 for number in numbers):
            raise self._error("After the name of a type, only numbers may stand in brackets, as in DECIMAL(18,2).")
        return f"{name}({', '.join(numbers)})" if numbers and name in ("DECIMAL", "NUMERIC") else name

    def _as_written(self, node: _Node) -> tuple[str, Size]:
        """A piece where a text is wanted, and how long that is.

        A number column is what the source wrote: 12.5, not 12.5000000000.
        """
        if node.column is not None and self._scope.spec(node.column).type == "number":
            return f"c_{node.column}", Size(16, {node.column: 1})
        return node.sql, node.size + VALUE

    def _operator(self, tree: dict[str, Any], depth: int) -> _Node:
        children = self._each(tree["children"], depth)
        parts = [child.sql for child in children]
        match tree["type"]:
            case "OPERATOR_NOT":
                return self._made(f"(NOT {parts[0]})", children, VALUE)
            case "OPERATOR_IS_NULL" | "OPERATOR_IS_NOT_NULL":
                sign = "IS NULL" if tree["type"] == "OPERATOR_IS_NULL" else "IS NOT NULL"
                return self._made(f"({parts[0]} {sign})", children, VALUE)
            case "COMPARE_IN" | "COMPARE_NOT_IN":
                self._comparable(children)
                sign = "IN" if tree["type"] == "COMPARE_IN" else "NOT IN"
                return self._made(f"({parts[0]} {sign} ({', '.join(parts[1:])}))", children, VALUE)
            case "OPERATOR_COALESCE":
                return self._made(f"coalesce({', '.join(parts)})", children, _sum(children))
            case "OPERATOR_TRY":
                return self._made(f"TRY({parts[0]})", children, children[0].size)
            case "ARRAY_EXTRACT":
                return self._made(f"({parts[0]})[{parts[1]}]", children, children[0].size)
            case "ARRAY_SLICE" if len(parts) == 3:
                return self._made(f"({parts[0]})[{parts[1]}:{parts[2]}]", children, children[0].size)
        raise self._error(f"{tree['type'].replace('_', ' ').capitalize()} has no place in an expression.")

    # --- functions ---

    def _function(self, tree: dict[str, Any], depth: int) -> _Node:
        name = str(tree["function_name"]).lower()
        path = (tree.get("qualified_name") or {}).get("path") or [name]
        if tree.get("schema") or tree.get("catalog") or len(path) > 1:
            raise self._error("A function is called by its name alone, as in upper(Name), without a dot.")
        if tree.get("filter") or tree.get("distinct") or (tree.get("order_bys") or {}).get("orders"):
            raise self._error("FILTER, DISTINCT and ORDER BY have no place in an expression.")
        if any(argument.get("name") for argument in tree["arguments"]):
            raise self._error("Arguments have no names in an expression.")
        special = _SPECIAL.get(name)
        trees = [argument["expression"] for argument in tree["arguments"]]
        children = self._each(trees, depth)
        if special is not None:
            return special(self, children)
        function = FUNCTIONS.get(name)
        if function is None:
            raise self._error(not_allowed(name))
        is_text = name in ("||", "concat", "concat_ws")
        written_as = [self._as_written(child) if is_text else (child.sql, child.size) for child in children]
        arguments = [
            Argument(sql, size, child.constant) for (sql, size), child in zip(written_as, children, strict=True)
        ]
        try:
            check_call(name, function, arguments)
            size = function.size(arguments)
            written = function.write(arguments) if function.write else None
        except (ValueError, IndexError) as error:
            raise self._error(f"{CALLED.get(name, f'{name}()')} cannot be used so: {error}.") from None
        if function.pattern is not None:
            self._remember_pattern(children, arguments[function.pattern :], function.everywhere)
        twice = children[:1] if name == "nullif" else ()
        return self._made(written or self._call(name, children, arguments), children, size, twice=twice)

    def _remember_pattern(self, children: Sequence[_Node], pattern: Sequence[Argument], everywhere: bool) -> None:
        if not pattern:
            return
        steps = max(1, check_pattern(pattern[0].constant or ""))
        try:
            self._connection.execute("SELECT regexp_matches('', $1)", [pattern[0].constant]).fetchall()
        except duckdb.InvalidInputException as error:
            raise self._error(f"The regular expression cannot be used: {told(str(error))}") from None
        self._matching.append(Matching(children[0].size, steps, everywhere))
        if len(self._matching) > _MOST_PATTERNS:
            raise self._error(f"There are more than {_MOST_PATTERNS} regular expressions in one expression.")

    def _call(self, name: str, children: Sequence[_Node], arguments: Sequence[Argument]) -> str:
        parts = [argument.sql for argument in arguments]
        if name[0].isalpha():
            sql = f"{name}({', '.join(parts)})"
            whole_days = name in ("date_trunc", "datetrunc") and (children[0].constant or "").lower() in _DAYS_OR_MORE
            return f"CAST({sql} AS DATE)" if whole_days and self._type(children[-1]) == "DATE" else sql
        if len(parts) == 1:
            return f"({name} {parts[0]})"
        sql = f"({parts[0]} {name} {parts[1]})"
        if name in ("+", "-") and any(child.sql.startswith(_WHOLE_DAYS) for child in children):
            # A day and some days are a day, and no date and time.
            return f"CAST({sql} AS DATE)" if "DATE" in map(self._type, children) else sql
        if name not in ("*", "/"):
            return sql
        scales = [scale_of(self._type(child)) for child in children]
        # Else a product of three numbers would need more decimals than DuckDB has, and a quotient be inexact.
        exact = None not in scales and (name == "/" or sum(scale or 0 for scale in scales) > 10)
        return f"CAST({sql} AS DECIMAL(38,10))" if exact else sql

    def _uuid(self, children: Sequence[_Node]) -> _Node:
        self._no_arguments("uuid", children)
        self._uuids.append(f"_uuid_{self._name}_{len(self._uuids)}")
        return self._made(self._uuids[-1], [], VALUE)

    def _row_number(self, children: Sequence[_Node]) -> _Node:
        self._no_arguments("row_number", children)
        return self._made("_row", [], VALUE)

    def _job_started_at(self, children: Sequence[_Node]) -> _Node:
        self._no_arguments("job_started_at", children)
        moment = self._scope.job_started_at.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
        return self._made(f"CAST({literal(moment)} AS TIMESTAMPTZ)", [], VALUE)

    def _no_arguments(self, name: str, children: Sequence[_Node]) -> None:
        if children:
            raise self._error(f"{name}() takes nothing between its brackets.")

    def _file_name(self, children: Sequence[_Node]) -> _Node:
        """The part of the source's file name that matches; NULL when none does."""
        pattern = children[0].constant if children else "(?s)^.*$"
        if len(children) > 1 or pattern is None:
            raise self._error("file_name() takes one regular expression, the same for all rows: file_name('[0-9]+').")
        try:
            check_pattern(pattern)
            group = min(1, groups_in(pattern))
            query = "SELECT nullif(regexp_extract($1, $2, $3), '')"
            [(found,)] = self._connection.execute(query, [self._scope.file_name, pattern, group]).fetchall()
        except (ValueError, duckdb.Error) as error:
            raise self._error(f"The regular expression cannot be used: {told(str(error))}") from None
        return self._made("CAST(NULL AS VARCHAR)" if found is None else literal(found), [], VALUE, constant=found)

    # --- types, and a try ---

    def _source(self) -> str:
        """One row without values."""
        cells = [
            "CAST(1 AS BIGINT) AS _row",
            *(f"CAST(NULL AS VARCHAR) AS c_{place}" for place in sorted(self._columns)),
        ]
        return f"(SELECT {', '.join([*cells, *(f'CAST(NULL AS VARCHAR) AS {name}' for name in self._uuids)])})"

    def _type(self, node: _Node) -> str:
        """DuckDB's name of a node's type. Raises `ExpressionError` at the smallest piece that has none."""
        return self._asked(node, lambda sql: str(self._connection.sql(sql).types[0]))

    def _try(self, node: _Node) -> None:
        """Work the expression out for a row of blanks, to find formats and constants that are wrong."""
        self._asked(node, lambda sql: str(self._connection.execute(f"SELECT x IS NULL FROM ({sql})").fetchall()))

    def _asked(self, node: _Node, ask: Callable[[str], str]) -> str:
        try:
            return ask(f"SELECT {node.sql} AS x FROM {self._source()}")
        except duckdb.InterruptException:
            raise
        except duckdb.Error as error:
            for child in node.children:
                self._asked(child, ask)
            raise self._error(told(str(error)), node) from None

    def _error(self, reason: str, node: _Node | None = None) -> ExpressionError:
        offset, length = (node.offset, node.length) if node else self._place
        start = self._ready.position(offset)
        end = self._ready.position(offset + max(1, length))
        return ExpressionError(reason, self._ready.text, start, max(1, end - start))


_SELECT = "SELECT "
_DAYS_OR_MORE = ("day", "week", "month", "quarter", "year", "decade", "century")
_WHOLE_DAYS = ("to_days(", "to_weeks(", "to_months(", "to_quarters(", "to_years(")

_WRITERS: dict[str, Callable[[Compiler, dict[str, Any], int], _Node]] = {
    "CONSTANT": Compiler._constant,
    "COLUMN_REF": Compiler._column,
    "PARAMETER": Compiler._parameter,
    "FUNCTION": Compiler._function,
    "COMPARISON": Compiler._comparison,
    "CONJUNCTION": Compiler._conjunction,
    "BETWEEN": Compiler._between,
    "CASE": Compiler._case,
    "CAST": Compiler._cast,
    "OPERATOR": Compiler._operator,
}
_SPECIAL: dict[str, Callable[[Compiler, Sequence[_Node]], _Node]] = {
    "uuid": Compiler._uuid,
    "row_number": Compiler._row_number,
    "job_started_at": Compiler._job_started_at,
    "file_name": Compiler._file_name,
}


def _sum(nodes: Sequence[_Node]) -> Size:
    return sum((node.size for node in nodes), Size())


def _is_bare(select: dict[str, Any]) -> bool:
    """The statement is SELECT with expressions and nothing else."""
    parts = ("where_clause", "group_expressions", "group_sets", "having", "sample", "qualify", "modifiers")
    return (
        select.get("type") == "SELECT_NODE"
        and (select.get("from_table") or {}).get("type") == "EMPTY"
        and not any(select.get(part) for part in parts)
        and not (select.get("cte_map") or {}).get("map")
    )
