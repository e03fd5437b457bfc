"""A user's SQL expression over the columns of a source: checked against a list of what is allowed, and written anew.

DuckDB parses the text. The tree that it makes is walked, and for each node that is allowed SQL is written from what
the node says; no piece of the user's text ever becomes part of a query. What is not allowed is refused with its place.

A cell that is blank is NULL. A column is text, unless the source's settings tell its type: a number is DECIMAL(30,10),
a date DATE, a date and time TIMESTAMP WITH TIME ZONE, yes or no BOOLEAN.
"""

from __future__ import annotations

import contextlib

import duckdb

from syncs.engine.expression_text import ExpressionError, ready_to_parse
from syncs.engine.expression_tree import Compiler
from syncs.engine.expression_types import Expression, Guard, Matching, Scope, scale_of, typed_column
from syncs.engine.sealed import LONGEST_CHECK, TakesTooLong, sealed_connection, stopped_after

__all__ = [
    "Expression",
    "ExpressionError",
    "Guard",
    "Matching",
    "Scope",
    "as_text",
    "check",
    "compile_expression",
    "typed_column",
]

# Of the numbers that we make ourselves; zeros at their ends are ours, too.
_OUR_SCALE = 10


def check(
    text: str, scope: Scope, *, condition: bool = False, connection: duckdb.DuckDBPyConnection | None = None
) -> ExpressionError | None:
    """The first mistake in an expression, or None. No row is read.

    condition: it has to be true or false, as a filter has. connection: a sealed one; one is made unless given.
    """
    try:
        compile_expression(text, scope, condition=condition, connection=connection)
    except ExpressionError as error:
        return error
    return None


def compile_expression(
    text: str,
    scope: Scope,
    *,
    condition: bool = False,
    name: str = "",
    connection: duckdb.DuckDBPyConnection | None = None,
) -> Expression:
    """An expression as SQL that can be evaluated. Raises `ExpressionError`, which shows where the mistake is.

    condition: it has to be true or false. name: makes the names of its columns of random ids its own.
    connection: a sealed one; one is made unless given.
    """
    with contextlib.ExitStack() as stack:
        connection = connection or stack.enter_context(sealed_connection(scope.time_zone))
        compiler = Compiler(connection, scope, ready_to_parse(text), name)
        try:
            with stopped_after(connection, LONGEST_CHECK):
                return compiler.compile(condition)
        except TakesTooLong:
            raise ExpressionError("The expression is too large to be checked in time. Make it simpler.", text) from None
        except RecursionError:
            raise ExpressionError("The expression is nested too deeply. Make it simpler.", text) from None


def as_text(expression: Expression) -> str:
    """SQL: the value of an expression as a text that every field reads; an error where there is none."""
    match expression.type:
        case "VARCHAR":
            return expression.sql
        case "TIMESTAMP WITH TIME ZONE":
            return f"strftime(timezone('UTC', {expression.sql}), '%Y-%m-%d %H:%M:%S.%fZ')"
        case kind if kind.startswith("DECIMAL") and scale_of(kind) == _OUR_SCALE:
            return f"rtrim(rtrim(CAST({expression.sql} AS VARCHAR), '0'), '.')"
        case _:
            return f"CAST({expression.sql} AS VARCHAR)"
