"""What was sent and what Salesforce's results show of it, brought into one spelling.

Results carry the columns of the rows they speak of, and Salesforce may have written dates, decimals, line breaks and
ids anew. Without a key, a result finds its row by this text alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from syncs.engine import values
from syncs.engine.families import Family

# No white space or printable character, so no value has it at its edge.
_BETWEEN = "chr(31)"


def echoed(family: Family, text: str, time_zone: str) -> str:
    """SQL: the one spelling of `text`, a column name, whether it was sent or came back; '' for blank and cleared."""
    plain = values.full_match(text, r"(?:[!-~](?:[ -~]*[!-~])?)?")
    tidy = f"replace(replace({values.trimmed(text)}, chr(13) || chr(10), chr(10)), chr(13), chr(10))"
    bare = f"CASE WHEN {plain} THEN {text} ELSE {tidy} END"
    spelled = f"list_transform([{bare}], lambda v: {_spelled(family, time_zone)})[1]"
    return f"CASE WHEN {text} IS NULL OR {text} = '{values.CLEARED}' THEN '' ELSE {spelled} END"


def _spelled(family: Family, time_zone: str) -> str:
    """SQL over `v`, a text without white space at its edges."""
    match family:
        case "date":
            return "left(v, 10)"
        case "datetime":
            # Salesforce keeps whole seconds.
            return f"coalesce(left({values.canonical(family, 'v', time_zone)}, 19), v)"
        case "time":
            return f"coalesce(left({values.canonical(family, 'v', time_zone)}, 8), v)"
        case "id":
            return "left(v, 15)"
        case "multipicklist":
            return "array_to_string(list_sort(string_split(v, ';')), ';')"
        case "number" | "boolean":
            return f"coalesce({values.canonical(family, 'v', time_zone)}, v)"
        case _:
            return "v"


def content_columns(columns: Iterable[tuple[Family, str]], time_zone: str) -> str:
    """SQL for `content_hi` and `content_lo`: a hash of 128 bits of a whole row.

    columns: family and column name of each field, in the order of the mapping.
    """
    row = f" || {_BETWEEN} || ".join(echoed(family, name, time_zone) for family, name in columns)
    return f"md5_number_upper({row}) AS content_hi, hash({row}) AS content_lo"
