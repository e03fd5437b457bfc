"""The functions that an expression may use, and how long a text each can make of its arguments.

A function that is not listed here is refused. Listed are those that need nothing but their arguments: they read no
file, no setting and no clock, and make nothing much longer than what they get.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from syncs.engine.patterns import check_pattern, check_replacement

# An element of a list, and a number, date or other value that is no text, in bytes.
_ELEMENT, _VALUE = 16, 48
_LONGEST_PAD = 1000
_LONGEST_FORMAT = 100


@dataclasses.dataclass(frozen=True)
class Size:
    """The most bytes of a value, worked out before there is one: `fixed`, plus for each column its cell times a factor.

    factors: by the column's place in the source.
    """

    fixed: int = 0
    factors: Mapping[int, int] = dataclasses.field(default_factory=dict)

    def __add__(self, other: Size) -> Size:
        factors = dict(self.factors)
        for column, factor in other.factors.items():
            factors[column] = factors.get(column, 0) + factor
        return Size(self.fixed + other.fixed, factors)

    def times(self, count: int) -> Size:
        return Size(self.fixed * count, {column: factor * count for column, factor in self.factors.items()})

    def product(self, other: Size) -> Size:
        """Of each byte of one, as many bytes as the other has. Raises ValueError when both depend on the row."""
        if other.factors:
            if self.factors:
                raise ValueError(
                    "two texts that both come from columns would be multiplied. Cut one of them with left(..., 100)"
                )
            return other.product(self)
        return self.times(other.fixed)


VALUE = Size(_VALUE)


@dataclasses.dataclass(frozen=True)
class Argument:
    """One argument of a call. constant: its value when it is the same for all rows, else None."""

    sql: str
    size: Size
    constant: str | None


Sizing = Callable[[Sequence[Argument]], Size]


@dataclasses.dataclass(frozen=True)
class Function:
    """A function that may be called.

    size: of its result. pattern: which argument is a regular expression, or None; the one before it is what is
    matched. everywhere: all matches count, not just the first. constants: which arguments must be the same for all
    rows. write: the SQL of a call, where that is not just the call.
    """

    size: Sizing
    pattern: int | None = None
    everywhere: bool = False
    constants: tuple[int, ...] = ()
    write: Callable[[Sequence[Argument]], str] | None = None


def _value(arguments: Sequence[Argument]) -> Size:
    return VALUE


def _first(arguments: Sequence[Argument]) -> Size:
    return arguments[0].size if arguments else Size()


def _cut(arguments: Sequence[Argument]) -> Size:
    """The first argument, of which at most as many characters are left as the last one says."""
    count = arguments[-1].constant if len(arguments) > 1 else None
    return Size(4 * int(count) + 16) if count is not None and count.isdigit() and len(count) < 6 else _first(arguments)


def _grown(times: int) -> Sizing:
    return lambda arguments: _first(arguments).times(times)


def total(arguments: Sequence[Argument]) -> Size:
    """All arguments one after another."""
    return sum((argument.size for argument in arguments), Size())


def _joined(arguments: Sequence[Argument]) -> Size:
    """All arguments but the first, which stands between each two of them."""
    return total(arguments) + _first(arguments).times(len(arguments))


def _replaced(arguments: Sequence[Argument]) -> Size:
    text, replacement = arguments[0].size, arguments[-1].size
    return text + (text + Size(1)).product(replacement + Size(1))


def _matches_replaced(arguments: Sequence[Argument]) -> Size:
    """A replacement may hold what was matched, once for each backslash in it."""
    text, replacement = arguments[0].size, arguments[2]
    repeated = 1 + (replacement.constant or "").count("\\")
    return text.times(repeated) + (text + Size(1)).product(replacement.size + Size(1))


def _padded(arguments: Sequence[Argument]) -> Size:
    count = arguments[1].constant if len(arguments) > 1 else None
    if count is None or not count.isdigit() or int(count) > _LONGEST_PAD:
        raise ValueError(f"its second argument has to be a number up to {_LONGEST_PAD:,}")
    return Size(4 * int(count)) + arguments[0].size


def _split(arguments: Sequence[Argument]) -> Size:
    return (_first(arguments) + Size(1)).times(1 + _ELEMENT)


def _listed(arguments: Sequence[Argument]) -> Size:
    return total(arguments) + Size(_ELEMENT * len(arguments))


def _list_joined(arguments: Sequence[Argument]) -> Size:
    return _first(arguments).product(arguments[-1].size + Size(1)) if arguments else Size()


def _formatted(arguments: Sequence[Argument]) -> Size:
    return Size(_VALUE + 32 * _LONGEST_FORMAT)


def _between(arguments: Sequence[Argument]) -> Size:
    if len(arguments) != 2:
        raise ValueError("it takes two dates, since there is no clock; use job_started_at() for one of them")
    return VALUE


def _write_if(arguments: Sequence[Argument]) -> str:
    if len(arguments) != 3:
        raise ValueError("it takes a condition and two values")
    condition, then, otherwise = (argument.sql for argument in arguments)
    return f"(CASE WHEN {condition} THEN {then} ELSE {otherwise} END)"


def _write_split_part(arguments: Sequence[Argument]) -> str:
    """DuckDB's own is a macro, which works out its arguments several times."""
    if len(arguments) != 3:
        raise ValueError("it takes a text, a separator and a number")
    text, separator, place = (argument.sql for argument in arguments)
    return f"list_extract(string_split({text}, {separator}), {place})"


def _write_array_to_string(arguments: Sequence[Argument]) -> str:
    if len(arguments) != 2:
        raise ValueError("it takes a list and a separator")
    return f"list_aggr(CAST({arguments[0].sql} AS VARCHAR[]), 'string_agg', {arguments[1].sql})"


def _table() -> dict[str, Function]:
    table: dict[str, Function] = {}

    def allow(names: str, size: Sizing = _value, **options: object) -> None:
        for name in names.split():
            table[name] = Function(size, **options)  # type: ignore[arg-type]

    # Text.
    allow("trim ltrim rtrim reverse nullif strip_accents", _first)
    allow("left right", _cut)
    allow("substr substring", lambda arguments: _cut(arguments) if len(arguments) == 3 else _first(arguments))
    allow("lower upper lcase ucase nfc_normalize", _grown(3))
    allow("length len char_length character_length strlen ascii unicode ord chr md5 sha1 sha256")
    allow("contains starts_with ends_with prefix suffix instr strpos position")
    allow("~~ !~~ ~~* !~~* like_escape not_like_escape ilike_escape not_ilike_escape", constants=(1, 2))
    allow("concat ||", total)
    allow("concat_ws", _joined)
    allow("replace", _replaced)
    allow("translate", _grown(4))
    allow("lpad rpad", _padded, constants=(1,))
    allow("split_part", _first, write=_write_split_part)
    # Regular expressions.
    allow("regexp_matches regexp_full_match", pattern=1)
    allow("regexp_extract", _first, pattern=1, constants=(2, 3))
    allow("regexp_replace", _matches_replaced, pattern=1, everywhere=True, constants=(2, 3))
    allow("regexp_extract_all", _split, pattern=1, everywhere=True, constants=(2, 3))
    allow("regexp_split_to_array string_split_regex str_split_regex", _split, pattern=1, everywhere=True)
    # Lists, as a step on the way to one of their elements.
    allow("string_split str_split split string_to_array", _split)
    allow("list_value list_pack", _listed)
    allow("array_to_string", _list_joined, write=_write_array_to_string)
    allow("list_extract list_element array_extract list_distinct array_distinct list_sort array_sort", _first)
    allow("list_slice array_slice list_reverse_sort", _first)
    allow("list_contains list_has array_contains array_has list_position list_indexof array_length list_unique")
    # Either of several.
    allow("if", lambda arguments: total(arguments[1:]), write=_write_if)
    allow("greatest least", total)
    # Numbers.
    allow("+ - * / % ** ^ abs ceil ceiling floor round round_even trunc sign sqrt cbrt power pow exp ln log log2 log10")
    allow("mod isnan isfinite isinf even")
    # Dates and times.
    allow("year month day hour minute second quarter week weekofyear dayofweek isodow dayofyear dayofmonth weekday")
    allow("isoyear yearweek dayname monthname last_day make_date make_time make_timestamp to_timestamp epoch epoch_ms")
    allow("date_part datepart date_trunc datetrunc date_diff datediff date_sub datesub", constants=(0,))
    allow("date_add timezone")
    allow("age", _between)
    allow("to_years to_months to_weeks to_days to_hours to_minutes to_seconds to_milliseconds to_quarters")
    allow("strftime", _formatted, constants=(1,))
    allow("strptime try_strptime", constants=(1,))
    return table


FUNCTIONS = _table()

# Functions of SQL that somebody may look for, and what to use instead.
INSTEAD = {
    "now": "job_started_at()",
    "today": "CAST(job_started_at() AS DATE)",
    "current_date": "CAST(job_started_at() AS DATE)",
    "get_current_timestamp": "job_started_at()",
    "current_timestamp": "job_started_at()",
    "localtimestamp": "job_started_at()",
    "transaction_timestamp": "job_started_at()",
    "gen_random_uuid": "uuid()",
    "uuidv4": "uuid()",
    "uuidv7": "uuid()",
    "format": "||, round and strftime",
    "printf": "||, round and strftime",
    "coalesce": "coalesce(a, b)",
    "repeat": "lpad or rpad with a number",
    "@": "abs(...)",
    "//": "floor(a / b)",
}


# What an operator is called in the text.
CALLED = {
    "~~": "LIKE",
    "!~~": "NOT LIKE",
    "~~*": "ILIKE",
    "!~~*": "NOT ILIKE",
    "like_escape": "LIKE",
    "not_like_escape": "NOT LIKE",
    "ilike_escape": "ILIKE",
    "not_ilike_escape": "NOT ILIKE",
}


def check_call(name: str, function: Function, arguments: Sequence[Argument]) -> None:
    """Refuse a call whose pattern, format or count is not known before there are rows, or is too large.

    Raises ValueError with what is wrong, to be read after the function's name.
    """
    places = function.constants if function.pattern is None else (*function.constants, function.pattern)
    for place in places:
        if place < len(arguments) and arguments[place].constant is None:
            raise ValueError(f"argument {place + 1} has to be a text or number that is the same for all rows")
    if function.pattern is not None and function.pattern < len(arguments):
        check_pattern(arguments[function.pattern].constant or "")
        if name == "regexp_replace" and len(arguments) > 2 and arguments[2].constant:
            check_replacement(arguments[1].constant or "", arguments[2].constant)
    if name in ("strftime", "strptime", "try_strptime") and len(arguments) > 1:
        longest = max(len(argument.constant or "") for argument in arguments)
        if longest > _LONGEST_FORMAT:
            raise ValueError(f"its format is longer than {_LONGEST_FORMAT} characters")
