from datetime import UTC, datetime

import pytest

from syncs.schedule import BadSchedule, check, in_words, next_start

BERLIN = "Europe/Berlin"


def starts(cron, after, count, zone=BERLIN):
    """The next starts in UTC, as text."""
    found, moment = [], datetime.fromisoformat(after)
    for _ in range(count):
        moment = next_start(every_minutes=None, cron=cron, time_zone=zone, after=moment)
        found.append(f"{moment.astimezone(UTC):%m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        # Clocks go from 02:00 to 03:00 on 29 March 2026: 02:30 is left out, and comes at 03:00.
        ("30 2 * * *", "2026-03-27T12:00+00:00", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),
        # Clocks go from 03:00 back to 02:00 on 25 October 2026: 02:30 comes twice, and starts once.
        ("30 2 * * *", "2026-10-23T12:00+00:00", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
        # Every hour is every hour of elapsed time.
        ("0 * * * *", "2026-10-24T23:30+00:00", ["10-25 00:00", "10-25 01:00", "10-25 02:00"]),
        ("0 * * * *", "2026-03-29T00:30+00:00", ["03-29 01:00", "03-29 02:00", "03-29 03:00"]),
        ("30 6 * * 1-5", "2026-11-20T12:00+00:00", ["11-23 05:30", "11-24 05:30", "11-25 05:30"]),
        ("0 0 29 2 *", "2026-03-01T00:00+00:00", ["02-28 23:00"]),
    ],
)
def test_a_cron_line_is_right_when_clocks_change(cron, after, expected):
    assert starts(cron, after, len(expected)) == expected


def test_a_start_at_this_very_moment_is_not_the_next_one():
    assert starts("0 12 * * *", "2026-01-01T12:00+00:00", 1, "UTC") == ["01-02 12:00"]


def test_an_interval_goes_by_elapsed_time():
    after = datetime(2026, 3, 29, 0, 45, tzinfo=UTC)
    found = next_start(every_minutes=30, cron="", time_zone=BERLIN, after=after)
    assert found == datetime(2026, 3, 29, 1, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("definition", "field", "told"),
    [
        ({}, "every_minutes", "Say when to start"),
        ({"every_minutes": 5, "cron": "* * * * *"}, "cron", "not both"),
        ({"cron": "* * * *"}, "cron", "has 4 fields; it needs five"),
        ({"cron": "* * * * * *"}, "cron", "has 6 fields"),
        ({"cron": "61 * * * *"}, "cron", "bad minute"),
        ({"cron": "0 0 30 2 *"}, "cron", "bad day-of-month"),
        ({"cron": "0 0 * * *", "time_zone": "Mars/Base"}, "time_zone", "no time zone 'Mars/Base'"),
        ({"cron": "0 0 * * *", "time_zone": "../etc/passwd"}, "time_zone", "no time zone"),
        ({"cron": "0 0 * * *", "time_zone": ""}, "time_zone", "no time zone"),
    ],
)
def test_what_cannot_be_is_told_at_its_field(definition, field, told):
    whole = {"every_minutes": None, "cron": "", "time_zone": BERLIN, **definition}
    with pytest.raises(BadSchedule, match=told) as error:
        check(**whole, now=datetime.now(UTC))
    assert error.value.field == field


def test_a_schedule_is_told_in_words():
    assert in_words(every_minutes=15, cron="", time_zone="UTC") == "Every 15 minutes"
    assert "06:30" in in_words(every_minutes=None, cron="30 6 * * 1-5", time_zone=BERLIN)
