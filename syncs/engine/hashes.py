"""What two equal values have in common: hashes of what Salesforce stores, whichever way it was written.

A field's hash is taken of the text that Salesforce would hold, so that a row of the source, the snapshot of an earlier
job and a record that was read can be compared by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from syncs.engine.families import Family, Line
from syncs.engine.sql import literal
from syncs.engine.values import CLEARED


def wide_hash(line: Line, value: str) -> str:
    """SQL: 64 bits for an encoded value; NULL for NULL. value: a column name.

    A parent that is named by a value which Salesforce finds in any case is the same parent in any case.
    """
    text = stored(line.family, value)
    if line.relationship and not line.value_field.case_sensitive:
        text = f"lower({text})"
    return f"CASE WHEN {value} IS NOT NULL THEN hash({text}) END"


def stored(family: Family, value: str) -> str:
    """SQL: the value as it comes back from Salesforce, with its own line breaks and order of picklist values."""
    match family:
        case "text":
            lines = f"replace(replace({value}, chr(13) || chr(10), chr(10)), chr(13), chr(10))"
            return f"CASE WHEN contains({value}, chr(13)) THEN {lines} ELSE {value} END"
        case "multipicklist":
            several = f"array_to_string(list_sort(string_split({value}, ';')), ';')"
            return f"CASE WHEN contains({value}, ';') THEN {several} ELSE {value} END"
        case _:
            return value


def narrow_hash(wide: str) -> str:
    """SQL: the 32 bits of a field that a snapshot keeps. wide: a column with the field's 64."""
    return f"({wide} >> 32)::UINTEGER"


def empty_hash() -> str:
    """SQL: the 32 bits of a field that holds nothing, which is what clearing it leaves."""
    return f"(hash({literal(CLEARED)}) >> 32)::UINTEGER"


def whole_hash(wide: Mapping[str, str]) -> str:
    """SQL: 64 bits for a row. wide: by field name, a column with its hash.

    In the order of the names, so that a mapping whose lines change places is the same mapping.
    """
    return f"hash({', '.join(wide[name] for name in sorted(wide))})" if wide else "0::UBIGINT"


def parked_hash(whole: str, fields: Iterable[str]) -> str:
    """SQL: the hash by which a refused row is known again.

    whole: a hash of all that the row sends, as `whole_hash` or `row_hash` makes it. fields: API names of all that is
    mapped, so that the same value in another field is another row.
    """
    return f"hash({whole} >> 1, {literal(' '.join(sorted(fields)))})"


def row_hash(whole: str, filled: Sequence[str]) -> str:
    """SQL: the hash of a row that a snapshot keeps: 63 bits of it, and in the last one whether all columns of `filled`,
    the fields' hashes, are there: no field is left alone."""
    full = " AND ".join(f"{column} IS NOT NULL" for column in filled) or "true"
    return f"(({whole} >> 1) << 1) | ({full})::UBIGINT"
