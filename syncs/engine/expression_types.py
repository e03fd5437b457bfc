"""What an expression may name, what becomes of it, and how types are called to people."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import re
from collections.abc import Mapping, Sequence

from syncs.engine import values
from syncs.engine.expression_functions import FUNCTIONS, INSTEAD, Size
from syncs.engine.sql import literal, literals
from syncs.spec import ColumnSpec


@dataclasses.dataclass(frozen=True)
class Scope:
    """What an expression may name.

    columns: names of the source's columns, in order. types: of those that are not just text. parameters: values by
    name. time_zone: IANA name, in which date-times without an offset are read. job_started_at: with a time zone.
    file_name: of the source, without its folder, or "".
    """

    columns: Sequence[str]
    types: Sequence[ColumnSpec] = ()
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict)
    time_zone: str = "UTC"
    job_started_at: datetime.datetime = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    file_name: str = ""

    def column(self, name: str) -> int | None:
        """The place of a column: of this very name, or else the only one that differs in case alone."""
        exact = [place for place, known in enumerate(self.columns) if known == name]
        alike = [place for place, known in enumerate(self.columns) if known.lower() == name.lower()]
        found = exact or alike
        return found[0] if len(found) == 1 or exact else None

    def spec(self, place: int) -> ColumnSpec:
        """What the column at this place holds."""
        name = self.columns[place]
        return next((spec for spec in self.types if spec.name == name), ColumnSpec(name))

    def parameter(self, name: str) -> str | None:
        """The name of a parameter as it is known: exactly, or else the only one that differs in case alone."""
        alike = [known for known in self.parameters if known.lower() == name.lower()]
        return name if name in self.parameters else alike[0] if len(alike) == 1 else None


# Bytes that an expression may hold at once for one row.
MOST_ROW_BYTES = 64_000_000
# The longest text to be matched, in bytes: more than the longest text field of Salesforce, 131,072 characters, holds.
_LONGEST_MATCHED = 400_000
# Steps of a regular expression's program times bytes of a text: some tens of seconds.
_MOST_MATCHING = 3_000_000_000


@dataclasses.dataclass(frozen=True)
class Guard:
    """A row is too much for an expression when `size` of it is above `limit` bytes."""

    size: Size
    limit: int


@dataclasses.dataclass(frozen=True)
class Matching:
    """A regular expression at work.

    size: of what is matched. steps: of its program. everywhere: it looks for all matches, not just the first.
    """

    size: Size
    steps: int
    everywhere: bool

    @property
    def guard(self) -> Guard:
        """The longest text that is matched in a time one can wait for."""
        return Guard(self.size, min(_LONGEST_MATCHED, _MOST_MATCHING // max(1, self.steps)))


@dataclasses.dataclass(frozen=True)
class Expression:
    """An expression that may be evaluated.

    sql: over `_row`, `c_<i>` (NULL when blank) and `_uuid_<name>`; it raises an error for a row that it cannot be
    worked out for. type: DuckDB's name of its type. columns: places of the columns it reads. uuids: names of the
    columns of random ids it needs. size: bytes of its value. weight: bytes that it holds at once for a row. guards:
    limits of a row.
    matching: for each regular expression in it, the size of what is matched, the steps of its program, and whether it
    looks for all matches.
    """

    sql: str
    type: str
    columns: tuple[int, ...]
    uuids: tuple[str, ...]
    size: Size
    weight: Size
    matching: tuple[Matching, ...]


def typed_column(spec: ColumnSpec, cell: str) -> str:
    """SQL: the text in the column `cell`, NULL when blank, as what its type says; an error when it is none."""
    match spec.type:
        case "number":
            return f"CAST({cell} AS DECIMAL(30,10))"
        case "date" if spec.format:
            return f"CAST(strptime({cell}, {literal(spec.format)}) AS DATE)"
        case "date":
            # The cast takes a date and time too, and drops the time.
            return f"CAST(CASE WHEN strlen({cell}) = 10 THEN {cell} ELSE 'no date: ' || {cell} END AS DATE)"
        case "datetime" if spec.format:
            return f"CAST(strptime({cell}, {literal(spec.format)}) AS TIMESTAMPTZ)"
        case "datetime":
            return f"CAST({cell} AS TIMESTAMPTZ)"
        case "boolean":
            true, false = literals(values.TRUE_WORDS), literals(values.FALSE_WORDS)
            return (
                f"CASE WHEN lower({cell}) IN ({true}) THEN true WHEN lower({cell}) IN ({false}) THEN false "
                f"ELSE CAST('no yes or no: ' || {cell} AS BOOLEAN) END"
            )
        case _:
            return cell


def words(kind: str) -> str:
    """What people call a DuckDB type."""
    if kind.endswith("]"):
        return "a list"
    base = kind.partition("(")[0].strip('"')
    return next((name for name, types in _WORDS.items() if base in types), kind.lower())


_NUMBERS = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "INTEGER_LITERAL", "BIGNUM"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "DECIMAL", "DOUBLE", "FLOAT"),
    # As its messages name them.
    *("INT8", "INT16", "INT32", "INT64", "INT128"),
)

_WORDS = {
    "a text": ("VARCHAR", "STRING_LITERAL"),
    "a number": _NUMBERS,
    "a date": ("DATE",),
    "a time": ("TIME", "TIME WITH TIME ZONE"),
    "a date and time": ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S"),
    "true or false": ("BOOLEAN", "BOOL"),
    "a span of time": ("INTERVAL",),
    "nothing": ("NULL",),
}


def is_scalar(kind: str) -> bool:
    """A value of this DuckDB type can be written as a text that a field takes."""
    return not kind.endswith("]") and words(kind) in _WORDS


def scale_of(kind: str) -> int | None:
    """How many decimals an exact number has; None for another type."""
    found = re.fullmatch(r"DECIMAL\(\d+,\s*(\d+)\)", kind)
    if found:
        return int(found[1])
    return 0 if re.fullmatch(r"U?(?:TINY|SMALL|BIG|HUGE)?INT(?:EGER)?(?:_LITERAL)?", kind) else None


def told(message: str) -> str:
    """What DuckDB says of an expression, in words for the person who wrote it."""
    text = re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", message).partition("\n")[0].strip()
    text = re.sub(r" when casting from source column \w+$", "", text)
    for pattern in _NO_SUCH_CALL:
        call = re.search(pattern, text)
        if call:
            kinds = re.split(r",(?![^(]*\))", call[2]) if call[2] else []
            taken = " and ".join(words(kind.strip()) for kind in kinds) or "nothing"
            name = call[1].strip('"') + ("()" if call[1][:1].isalpha() else "")
            return f"{name} does not take {taken}. Tell the column's type in the sync, or use CAST(... AS ...)."
    bad = re.match(r"Could not convert string ['\"](.*)['\"] to (\w+)", text)
    if bad:
        return f"'{bad[1]}' is not {words(bad[2])}."
    text = re.sub(r"\b(?:values of )?type (?=[A-Z])", "", text)
    text = _TYPE_NAME.sub(lambda found: words(found[1]) if words(found[1]) in _WORDS else found[1], text)
    text = re.sub(r" - an explicit cast is required$", ". Make one type of them with CAST(... AS ...)", text)
    return text.rstrip(".") + "."


_NO_SUCH_CALL = (
    r"^No function matches the given name and argument types '(.*?)\((.*)\)'",
    r"^Could not choose a best candidate function for the function call \"(.*?)\((.*)\)\"",
)
_TYPE_NAME = re.compile(
    r"\b((?:TIMESTAMP WITH TIME ZONE|INTEGER_LITERAL|STRING_LITERAL|[A-Z]{4,})(?:\(\d+,\s*\d+\))?)(?=\s|$|\.)"
)


def unknown(what: str, name: str, known: Sequence[str], place: str) -> str:
    """That there is no such thing, and what may have been meant."""
    by_lower = {each.lower(): each for each in reversed(known)}
    near = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    if near:
        hint = f"Did you mean {_written(what, by_lower[near[0]])}?"
    elif what == "column":
        hint = "Texts stand in single quotes, columns in double quotes."
    else:
        hint = f"It has {', '.join(_written(what, each) for each in known[:30])}." if known else "It has none."
    return f"{place} {what} '{name}'. {hint}"


def _written(what: str, name: str) -> str:
    return "@" + name if what == "parameter" else quoted(name) if what == "column" else name


def quoted(name: str) -> str:
    """The name of a column as it is written in an expression: in double quotes where it has to be."""
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def not_allowed(name: str) -> str:
    """That a function may not be called, and which may be instead."""
    if name in INSTEAD:
        return f"{name} has no place in an expression. Use {INSTEAD[name]}."
    own = ("uuid", "job_started_at", "file_name", "row_number", "coalesce")
    near = difflib.get_close_matches(
        name, [known for known in (*FUNCTIONS, *own) if known[0].isalpha()], n=1, cutoff=0.75
    )
    hint = f" Did you mean {near[0]}()?" if near else " The reference of expressions lists those that may be used."
    return f"The function {name}() cannot be used in an expression.{hint}"
