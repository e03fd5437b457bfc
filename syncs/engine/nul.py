"""NUL characters: neither Salesforce's XML (XML 1.0, "Characters") nor PostgreSQL takes them; a sign shows them."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

NUL, SIGN = "\0", "␀"


def visible(text: str) -> str:
    """`text` with a sign for each NUL character."""
    return text.replace(NUL, SIGN)


def visible_table(table: pa.Table) -> pa.Table:
    """`table` with a sign for each NUL character in its columns of text."""
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            table = table.set_column(place, field, pc.replace_substring(table.column(place), NUL, SIGN))
    return table


def has_nul(text: str) -> str:
    """SQL condition: `text` holds a NUL character."""
    return f"contains({text}, chr(0))"
