from __future__ import annotations

from jobs.polling import LONGEST, Speed, corrected, looks, next_look

TICK = 0.5


def test_a_short_salesforce_job_is_looked_at_once_when_it_should_have_ended():
    assert next_look(0.0, 4.0, TICK) > 4.0
    assert looks(4.0, TICK) == looks(0.1, TICK) == 1


def test_nobody_sees_counts_older_than_thirty_seconds():
    assert next_look(0.0, 1_000.0, TICK) == next_look(5_000.0, 60.0, TICK) == LONGEST == 30.0
    assert looks(100.0, TICK) == 4


def test_one_that_takes_longer_than_expected_is_looked_at_ever_less_often():
    pauses = [next_look(elapsed, 2.0, TICK) for elapsed in (3.0, 8.0, 20.0, 400.0)]
    assert pauses == [0.75, 2.0, 5.0, 30.0]


def test_salesforce_jobs_of_about_the_same_size_tell_how_long_the_next_one_takes():
    speed = Speed.from_json([[100, 3.0], [10_000, 8.0], [10_000, 2.0], [10_000, 4.0], [1_000_000, 90.0]])
    assert speed.expected(10_000) == 4.0
    assert speed.expected(20_000) == 8.0
    assert speed.expected(1_000_000) == 90.0


def test_without_one_of_that_size_it_is_guessed():
    assert Speed().expected(15_000) == Speed.from_json([[100, 3.0]]).expected(15_000) == 1.2


def test_what_a_salesforce_job_has_done_so_far_tells_when_it_will_have_ended():
    assert corrected(30.0, 40.0, 500_000, 1_000_000) == 80.0
    assert corrected(30.0, 40.0, 0, 1_000_000) == 30.0
    assert next_look(40.0, corrected(30.0, 40.0, 900_000, 1_000_000), TICK) < 15.0
