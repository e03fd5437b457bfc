from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from connections import budget
from connections.budget import OrgBudget, spending
from connections.models import CallLease, LimitName, OrgLimit, UsedOfLimit
from connections.salesforce.errors import BudgetSpent
from connections.salesforce.session import Identity, LimitInfo

ORG = Identity("00D5s0000000001EAA", "005000000000001AAA", "https://one.my.salesforce.com")
KEY = ORG.org_key
SESSION = OrgBudget()


def told(used: int = 0, most: int = 100) -> None:
    """Salesforce has told how many calls were used."""
    OrgLimit.objects.create(org_key=KEY, name=LimitName.CALLS, used=used, max=most, told_at=timezone.now())


def row(name: LimitName = LimitName.CALLS) -> OrgLimit:
    return OrgLimit.objects.get(org_key=KEY, name=name)


def take_all() -> int:
    """Take calls until there are none; how many there were."""
    taken = 0
    try:
        while True:
            SESSION.take(ORG)
            taken += 1
    except BudgetSpent:
        return taken


@pytest.mark.django_db
def test_calls_are_made_up_to_the_share_but_for_those_that_look_for_room():
    told(used=10)
    with spending():
        assert take_all() == 80 - 10 - 8
        with pytest.raises(BudgetSpent) as spent:
            SESSION.take(ORG)
    assert "72 of 100 API calls of this Salesforce org are used, and its share is 80 %." in str(spent.value)
    assert row().used == 72 and row().made == 62 and not CallLease.objects.exists()
    assert UsedOfLimit.objects.get().used == 62


@pytest.mark.django_db
def test_nothing_is_limited_outside_of_a_job():
    told(used=100)
    SESSION.take(ORG)
    assert row().used == 100 and row().made == 0


@pytest.mark.django_db
def test_nobody_calls_before_somebody_has_asked_for_the_limits():
    with spending(), pytest.raises(BudgetSpent, match="is being asked"):
        SESSION.take(ORG)


@pytest.mark.django_db(transaction=True)
def test_many_at_once_take_no_call_too_many():
    told(most=500)

    def step(_: int) -> int:
        try:
            with spending():
                return sum(1 for _ in range(7) if not SESSION.take(ORG))
        except BudgetSpent:
            return 0
        finally:
            connection.close()

    def worker(_: int) -> int:
        return sum(step(n) for n in range(15))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(worker, range(6)))
    assert row().made == UsedOfLimit.objects.get().used == row().used <= 380
    with spending():
        take_all()
    assert row().used == 380 and not CallLease.objects.exists()


@pytest.mark.django_db
def test_calls_of_somebody_who_was_killed_count_until_a_newer_answer_says_otherwise():
    told(used=5)
    CallLease.objects.create(
        org_key=KEY, token=uuid.uuid4().hex, calls=10, expires_at=timezone.now() + timedelta(seconds=60)
    )
    with spending():
        assert take_all() == 72 - 5 - 10
    CallLease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert budget.left(KEY, LimitName.CALLS) == 0
    with spending():
        assert take_all() == 0
    assert row().used == 72 and not CallLease.objects.exists()
    row_now = row()
    row_now.max = 200  # there is room for one call, whose answer tells
    row_now.save()
    with spending():
        SESSION.take(ORG)
        SESSION.told(ORG, LimitInfo(63, 200), datetime.now(UTC))
    assert row().used == 63


@pytest.mark.django_db
def test_an_answer_does_not_hide_calls_that_came_after_its_request():
    told(used=5)
    with spending():
        SESSION.take(ORG)  # reserved before the other one makes its calls
        asked_at = datetime.now(UTC)
        block = budget._blocks.get()
        with spending():
            for _ in range(5):
                SESSION.take(ORG)
        assert block is not None and row().used == 10
        SESSION.told(ORG, LimitInfo(6, 100), asked_at)
        SESSION.take(ORG)
    assert row().used == 6 + 5 + 1


@pytest.mark.django_db
def test_an_older_answer_does_not_lower_what_a_newer_one_told():
    told(used=5)
    with spending():
        SESSION.take(ORG)
        with spending():
            SESSION.take(ORG)
            SESSION.told(ORG, LimitInfo(50, 100), datetime.now(UTC))
        SESSION.told(ORG, LimitInfo(6, 100), datetime.now(UTC) - timedelta(seconds=30))
    assert row().used == 51  # and the first call, which may have come after


@pytest.mark.django_db
def test_a_call_without_an_answer_stays_set_aside_until_it_is_surely_over():
    told(used=5)
    with spending():
        SESSION.take(ORG)
        SESSION.lost(ORG)
        SESSION.take(ORG)
        SESSION.told(ORG, LimitInfo(6, 100), datetime.now(UTC))
    assert row().used == 6 and CallLease.objects.get().calls == 1
    CallLease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with spending():
        SESSION.take(ORG)
    assert row().used == 8 and not CallLease.objects.exists()


@pytest.mark.django_db
def test_several_calls_are_had_together_or_not_at_all():
    told(used=65)
    with spending():
        with pytest.raises(BudgetSpent):
            budget.have(ORG, 8)
        budget.have(ORG, 7)
        assert take_all() == 7


@pytest.mark.django_db
def test_another_server_that_claims_to_be_the_same_org_takes_nothing_from_it():
    told(used=72)
    other = Identity(ORG.org_id, ORG.user_id, "https://elsewhere.example")
    OrgLimit.objects.create(org_key=other.org_key, name=LimitName.CALLS, max=100, told_at=timezone.now())
    with spending():
        SESSION.take(other)
        with pytest.raises(BudgetSpent):
            SESSION.take(ORG)


@pytest.mark.django_db
def test_bulk_batches_and_events_have_shares_of_their_own():
    OrgLimit.objects.create(org_key=KEY, name=LimitName.BATCHES, max=10, used=6, told_at=timezone.now())
    budget.use(ORG, LimitName.BATCHES, 2)
    with pytest.raises(BudgetSpent, match="8 of 10 bulk batches of this Salesforce org are used"):
        budget.use(ORG, LimitName.BATCHES, 1)
    assert row(LimitName.BATCHES).used == 8 and budget.standing(KEY, LimitName.BATCHES).left == 0
