from __future__ import annotations

from jobs.polling import LONGEST, Expected, Speed, took

TICK = 0.5


def test_a_short_salesforce_job_is_looked_at_once_when_it_should_have_ended():
    assert Expected(4.0).next_look(0.0, TICK) > 4.0
    assert Expected(4.0).looks(TICK) == Expected(0.1).looks(TICK) == Expected(4.0, is_guess=True).looks(TICK) == 1


def test_nobody_sees_counts_older_than_a_minute():
    assert Expected(1_000.0).next_look(0.0, TICK) == Expected(60.0).next_look(5_000.0, TICK) == LONGEST == 60.0
    assert Expected(100.0).looks(TICK) == 2


def test_one_that_takes_longer_than_expected_is_looked_at_ever_less_often():
    pauses = [Expected(2.0).next_look(elapsed, TICK) for elapsed in (3.0, 8.0, 20.0, 400.0)]
    assert pauses == [0.75, 2.0, 5.0, 60.0]


def test_a_guess_is_looked_at_early_and_then_when_it_should_have_ended():
    guess = Expected(20.0, is_guess=True)
    assert guess.next_look(0.0, TICK) == 5.0
    for seconds in (6.0, 20.0, 50.0):
        told = guess.corrected(5.0, round(1_000_000 * 5.0 / seconds), 1_000_000)
        assert 5.0 + told.next_look(5.0, TICK) >= seconds
    assert guess.looks(TICK) == 2


def test_what_a_salesforce_job_has_done_so_far_tells_when_it_will_have_ended():
    assert Expected(30.0).corrected(40.0, 500_000, 1_000_000) == Expected(80.0)
    assert Expected(30.0, is_guess=True).corrected(40.0, 0, 1_000_000) == Expected(30.0, is_guess=True)
    assert Expected(30.0).corrected(40.0, 900_000, 1_000_000).next_look(40.0, TICK) < 15.0


def test_salesforce_jobs_of_about_the_same_size_tell_how_long_the_next_one_takes():
    speed = Speed.from_json(
        [[100, 3.0, True], [10_000, 8.0, True], [10_000, 2.0, True], [10_000, 4.0], [1_000_000, 90.0]]
    )
    assert speed.expected(10_000) == Expected(4.0)
    assert speed.expected(20_000) == Expected(8.0)
    assert speed.expected(1_000_000) == Expected(90.0)


def test_without_one_of_that_size_it_is_guessed():
    guess = Expected(1.2, is_guess=True)
    assert Speed().expected(30_000) == Speed.from_json([[100, 3.0]]).expected(30_000) == guess


def test_how_long_it_took_is_what_was_expected_unless_the_looks_say_otherwise():
    assert took(0.0, 3.0, expected=2.0) == (1.5, True)
    assert took(6.0, 10.0, expected=8.0) == (8.0, True)
    assert took(9.0, 12.0, expected=8.0) == (9.0, True)
    assert took(0.0, 10.0, expected=12.0) == (10.0, False)


def test_what_is_expected_comes_down_again_after_slow_hours():
    """Salesforce jobs that took 40 seconds take 5 from now on."""
    seen = [(100_000, 40.0, True)] * 7
    for _ in range(20):
        expected = Speed(tuple(seen[:12])).expected(100_000)
        looked, found = 0.0, expected.next_look(0.0, TICK)
        while found < 5.0:
            looked, expected = found, expected.corrected(found, round(100_000 * found / 5.0), 100_000)
            found += expected.next_look(found, TICK)
        seen.insert(0, (100_000, *took(looked, found, expected.seconds)))
    assert Speed(tuple(seen[:12])).expected(100_000).seconds <= 10.0
