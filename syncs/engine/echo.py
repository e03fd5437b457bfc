"""What was sent and what Salesforce's results show of it, brought into one spelling.

Results carry the columns of the rows they speak of, and Salesforce may have written dates, decimals, line breaks and
ids anew. Without a key, a result finds its row by this text alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from syncs.engine import values
from syncs.engine.families import Family

# A control character that no value has at its edge.
_BETWEEN = "chr(31)"


def echoed(family: Family, text: str, time_zone: str) -> str:
    """SQL: the one spelling of `text`, a column name, whether it was sent or came back; '' for blank and cleared."""
    spelled = _spelled(family, text, time_zone)
    return f"CASE WHEN {text} IS NULL OR {text} = '{values.CLEARED}' THEN '' ELSE {spelled} END"


def _spelled(family: Family, text: str, time_zone: str) -> str:
    match family:
        case "date":
            return f"left({text}, 10)"
        case "datetime":
            # Salesforce keeps whole seconds.
            return f"coalesce(left({values.canonical(family, text, time_zone)}, 19), {text})"
        case "time":
            return f"coalesce(left({values.canonical(family, text, time_zone)}, 8), {text})"
        case "id":
            return f"left({text}, 15)"
        case "multipicklist":
            several = f"array_to_string(list_sort(string_split({text}, ';')), ';')"
            return f"CASE WHEN contains({text}, ';') THEN {several} ELSE {text} END"
        case "number" | "boolean":
            return f"coalesce({values.canonical(family, text, time_zone)}, {text})"
        case _:
            lines = f"replace(replace({text}, chr(13) || chr(10), chr(10)), chr(13), chr(10))"
            return f"CASE WHEN contains({text}, chr(13)) THEN {lines} ELSE {text} END"


def content(columns: Iterable[tuple[Family, str]], time_zone: str) -> str:
    """SQL for the text of a whole row, from which `content_hashes` are made.

    columns: family and column name of each field, in the order of the mapping.
    """
    return f" || {_BETWEEN} || ".join(echoed(family, name, time_zone) for family, name in columns)


def content_hashes(text: str) -> str:
    """SQL for `content_hi` and `content_lo`, a hash of 128 bits. text: a column name."""
    return f"md5_number_upper({text}) AS content_hi, hash({text}) AS content_lo"
