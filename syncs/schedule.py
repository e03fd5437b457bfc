"""When a sync starts next. Pure: no database, no clock of its own."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

_FIELDS = "minute, hour, day of the month, month, day of the week"


class BadSchedule(ValueError):
    """A schedule cannot be understood. `field` names the setting, the message the value and the way out."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def next_start(*, every_minutes: int | None, cron: str, time_zone: str, after: datetime) -> datetime:
    """The first start after a moment.

    every_minutes: the distance between two starts, or None where `cron` says when: five fields, as in crontab(5), in
    the zone `time_zone` (an IANA name). after: with a time zone. Returns a date-time in UTC. Raises BadSchedule.

    Where clocks are put forward, a start in the hour that is left out comes at the hour's end; where they are put
    back, a start in the hour that comes twice happens once. Lines with a `*` for the hour go by elapsed time.
    """
    if every_minutes is not None:
        return after + timedelta(minutes=every_minutes)
    try:
        return _parsed(cron, after.astimezone(_zone(time_zone))).__next__().astimezone(ZoneInfo("UTC"))
    except StopIteration:
        raise BadSchedule("cron", f"The cron line '{cron}' never comes true. Correct its day or month.") from None


def check(*, every_minutes: int | None, cron: str, time_zone: str, now: datetime) -> None:
    """Raise BadSchedule unless the schedule says, in one of the two ways, when to start."""
    if every_minutes is None and not cron:
        raise BadSchedule("every_minutes", "Say when to start: every so many minutes, or by a cron line.")
    if every_minutes is not None and cron:
        raise BadSchedule("cron", "Give either a number of minutes or a cron line, not both.")
    _zone(time_zone)
    next_start(every_minutes=every_minutes, cron=cron, time_zone=time_zone, after=now)


def in_words(*, every_minutes: int | None, cron: str, time_zone: str) -> str:
    """The schedule for people. Raises BadSchedule."""
    if every_minutes is not None:
        return f"Every {every_minutes} minutes" if every_minutes > 1 else "Every minute"
    return f"{_parsed(cron, datetime.now(_zone(time_zone))).explain()} ({time_zone})"


def _parsed(cron: str, after: datetime) -> CronSim:
    parts = cron.split()
    if len(parts) != 5:
        raise BadSchedule("cron", f"The cron line '{cron}' has {len(parts)} fields; it needs five: {_FIELDS}.")
    try:
        return CronSim(" ".join(parts), after)
    except CronSimError as error:
        raise BadSchedule("cron", f"The cron line '{cron}' is not right: {str(error).lower()}.") from None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadSchedule(
            "time_zone", f"There is no time zone '{name}'. Use a name such as Europe/Berlin or America/New_York."
        ) from None
