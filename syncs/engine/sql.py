"""Writing SQL text safely: every name and every value that is put into a query passes through here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def identifier(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str | int | None) -> str:
    """`value` as an SQL literal: text in quotes, numbers as they are, None as NULL."""
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    # DuckDB ends a query text at a NUL character; as a function call it survives.
    pieces = ["'" + piece.replace("'", "''") + "'" for piece in value.split("\0")]
    return pieces[0] if len(pieces) == 1 else "(" + " || chr(0) || ".join(pieces) + ")"


def literals(values: Iterable[str]) -> str:
    """`values` as a list of SQL literals with commas between them."""
    return ", ".join(literal(value) for value in values)


def parquet(*paths: Path | str, by_name: bool = False, with_name: bool = False) -> str:
    """A table function call that reads these Parquet files, in this order, as one table.

    by_name: they differ in their columns; one that a file lacks is NULL there. with_name: with a column `filename`.
    """
    named = f"{', union_by_name = true' if by_name else ''}{', filename = true' if with_name else ''}"
    return f"read_parquet([{', '.join(literal(_plain(path)) for path in paths)}], hive_partitioning = false{named})"


def _plain(path: Path | str) -> str:
    # DuckDB takes `*`, `?` and `[` in a path for a pattern; inside brackets each stands for itself.
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(path))
