"""Date literals: TODAY, LAST_N_DAYS:7, THIS_FISCAL_QUARTER (SOQL and SOSL Reference, "Date Formats and Date Literals").

Days are those of UTC, weeks begin on Sunday, and the fiscal year is the calendar year, as in a new org of locale en_US.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable

Period = tuple[datetime.date, datetime.date]

_ONE_DAY = datetime.timedelta(days=1)
_UNIT_WORDS = {"DAY": "day", "WEEK": "week", "MONTH": "month", "QUARTER": "quarter", "YEAR": "year"}


class UnknownDateLiteral(ValueError):
    """No date literal is called so, or it leads out of the calendar."""


def period(word: str, today: datetime.date) -> Period:
    """The first day of a date literal, and the day after its last.

    Raises UnknownDateLiteral.
    """
    name, _, count = re.sub(r"\s+", "", word).upper().partition(":")
    try:
        found = _counted(name, int(count), today) if count else _plain(name, today)
    except (OverflowError, ValueError) as error:
        raise UnknownDateLiteral(word) from error
    if found is None:
        raise UnknownDateLiteral(word)
    return found


def _plain(name: str, today: datetime.date) -> Period | None:
    if name == "YESTERDAY":
        return _units("day", today, -1, 0)
    if name == "TODAY":
        return _units("day", today, 0, 1)
    if name == "TOMORROW":
        return _units("day", today, 1, 2)
    if name == "LAST_90_DAYS":
        return _units("day", today, -90, 1)
    if name == "NEXT_90_DAYS":
        return _units("day", today, 1, 91)
    matched = re.fullmatch(r"(LAST|THIS|NEXT)_(WEEK|MONTH|QUARTER|YEAR|FISCAL_QUARTER|FISCAL_YEAR)", name)
    if matched is None:
        return None
    first = {"LAST": -1, "THIS": 0, "NEXT": 1}[matched[1]]
    return _units(_unit(matched[2]), today, first, first + 1)


def _counted(name: str, count: int, today: datetime.date) -> Period | None:
    units = r"(DAY|WEEK|MONTH|QUARTER|YEAR|FISCAL_QUARTER|FISCAL_YEAR)S"
    if matched := re.fullmatch(rf"(LAST|NEXT)_N_{units}", name):
        unit = _unit(matched[2])
        if matched[1] == "NEXT":
            return _units(unit, today, 1, count + 1)
        # The last n days run up to and with today, while the last n of anything else end before the current one.
        return _units(unit, today, -count, 1 if unit == "day" else 0)
    if matched := re.fullmatch(rf"N_{units}_AGO", name):
        return _units(_unit(matched[1]), today, -count, 1 - count)
    return None


def _unit(word: str) -> str:
    return _UNIT_WORDS[word.removeprefix("FISCAL_")]


def _units(unit: str, today: datetime.date, first: int, after: int) -> Period:
    """From the start of the unit `first` units from now to the start of that `after` units from now."""
    start = _STARTS[unit]
    return start(today, first), start(today, after)


def _day(today: datetime.date, shift: int) -> datetime.date:
    return today + shift * _ONE_DAY


def _week(today: datetime.date, shift: int) -> datetime.date:
    return today - today.isoweekday() % 7 * _ONE_DAY + shift * 7 * _ONE_DAY


def _month(today: datetime.date, shift: int) -> datetime.date:
    year, month = divmod(today.year * 12 + today.month - 1 + shift, 12)
    return datetime.date(year, month + 1, 1)


def _quarter(today: datetime.date, shift: int) -> datetime.date:
    return _month(today, shift * 3 - (today.month - 1) % 3)


def _year(today: datetime.date, shift: int) -> datetime.date:
    return datetime.date(today.year + shift, 1, 1)


_STARTS: dict[str, Callable[[datetime.date, int], datetime.date]] = {
    "day": _day,
    "week": _week,
    "month": _month,
    "quarter": _quarter,
    "year": _year,
}
