"""Columns of a source that hold more than text: how their cells are read."""

from __future__ import annotations

from collections.abc import Iterable

from syncs.engine import values
from syncs.engine.families import Family
from syncs.engine.sql import literal
from syncs.spec import ColumnSpec, ColumnType

FAMILIES: dict[ColumnType, Family] = {
    "text": "text",
    "number": "number",
    "date": "date",
    "datetime": "datetime",
    "boolean": "boolean",
}


def column_of(columns: Iterable[ColumnSpec], name: str) -> ColumnSpec:
    """What is declared of a column; text, when nothing is."""
    return next((column for column in columns if column.name == name), ColumnSpec(name))


def dated(column: ColumnSpec, text: str) -> str:
    """SQL: the cell with a date that is written in the column's own format as YYYY-MM-DD, or with its time; another
    cell as it is, so that the rules of its field say what is wrong with it.

    text: SQL without side effects, of a trimmed cell.
    """
    if not column.format:
        return text
    form = "%Y-%m-%d" if column.type == "date" else "%Y-%m-%d %H:%M:%S.%g"
    return f"coalesce(strftime(try_strptime({text}, {literal(column.format)}), '{form}'), {text})"


def canonical(kind: ColumnType, text: str, time_zone: str) -> str:
    """SQL: the one spelling of a value of this type; NULL for a blank, and for a text that is no such value.

    text: SQL for a text.
    """
    value = "nullif(v, '')"
    if kind != "text":
        value = values.canonical(FAMILIES[kind], "v", time_zone)
    return f"list_transform([nullif({text}, '')], lambda v: {value})[1]"
