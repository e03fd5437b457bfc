"""Twenty jobs of three organizations on one Salesforce org, whose workers are killed again and again."""

from __future__ import annotations

import random
import threading
import time

import pytest
import requests
from django.db import connection

from connections import budget
from connections.models import LimitName, OrgLimit, UsedOfLimit
from jobs.models import LIVE, Job, Status
from jobs.start import start_job
from jobs.waiting import WAITS
from tests.factories import anybody, make_organization, make_sync
from tests.jobs.scenario import KEYED, make_destination, people, write_csv
from tests.workers import Worker, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(420)]

MOST, SHARE, JOBS = 200, 160, 20


@pytest.fixture
def limits(sandbox):
    def post(**body):
        url = f"{sandbox.http_url}/_sandbox/limits"
        return requests.request("POST" if body else "GET", url, json=body or None, timeout=30).json()

    return post


def make_syncs(sandbox):
    """Small and large ones, of two objects, so that several load at once."""
    syncs = []
    for slug in ("alpha", "beta", "gamma"):
        organization = make_organization(slug)
        destination, source = make_destination(organization, sandbox), None
        for number in range(len(syncs), min(JOBS, len(syncs) + 7)):
            accounts = number % 2 == 0
            sync = make_sync(
                organization,
                name=f"Sync {number}",
                source=source,
                destination=destination,
                object="Account" if accounts else "Contact",
                source_path=f"people-{number}.csv",
                mappings={"External_Id__c": "id", "Name": "last"} if accounts else KEYED,
                guard_budget_percent=100,
                priority=1 + number % 3,
            )
            source = sync.source
            write_csv(organization, sync.source_path, people(2_500 if number % 7 == 0 else 200 * (number % 9 + 2)))
            syncs.append(sync)
    return syncs


class Watch(threading.Thread):
    """Asks the sandbox again and again how many calls it counted."""

    def __init__(self, limits) -> None:
        super().__init__(daemon=True)
        self._limits, self._over = limits, threading.Event()
        self.most = 0

    def run(self) -> None:
        while not self._over.wait(0.2):
            self.most = max(self.most, self._limits()["used_api_requests"])

    def stop(self) -> int:
        self._over.set()
        self.join()
        return self.most


def all_wait(limits) -> bool:
    """Everybody who is left waits for room, or for somebody who does, and no call has been made for a while."""
    before = limits()["used_api_requests"]
    live = Job.all_objects.filter(status__in=LIVE)
    others = live.exclude(reason__startswith=WAITS, reason__contains="its share is")
    others = others.exclude(status=Status.LOADING, load_slot=None)
    if others.exists() or not live.exists():
        return False
    time.sleep(5)
    return limits()["used_api_requests"] - before <= 1


def test_twenty_jobs_never_exceed_the_share_by_one_call_whatever_is_killed(sandbox, limits):
    dice = random.Random(7)
    limits(daily_api_requests=MOST, used_api_requests=5)
    jobs = [start_job(sync, by=anybody(sync), wake=False) for sync in make_syncs(sandbox)]
    environment = {"SFSYNC_LIMITS_SECONDS": "0.5", "SFSYNC_LONGEST_CALL_SECONDS": "2"}
    workers = [Worker(concurrency=3, **environment) for _ in range(2)]
    watch = Watch(limits)
    watch.start()
    try:
        for _ in range(6):
            time.sleep(dice.uniform(4.0, 8.0))
            victim = dice.choice(workers)
            victim.kill()
            victim.start()
        wait_for(lambda: all_wait(limits), "all jobs to wait", seconds=120)
        first = watch.most
        print(budget.standing(OrgLimit.objects.first().org_key, LimitName.CALLS), first)
        print(list(Job.all_objects.values_list("status", "reason")))
        assert SHARE / 2 < first <= SHARE
        assert not Job.all_objects.filter(status=Status.FAILED).exists()
        assert Job.all_objects.filter(failures__gt=0, reason__startswith=WAITS).count() == 0
        limits(daily_api_requests=1_000)
        # Whoever waits finds out by one of the calls that are kept for looking.
        wait_for(lambda: not Job.all_objects.filter(status__in=LIVE).exists(), "the end of all jobs", seconds=240)
    finally:
        for worker in workers:
            worker.stop()
        most = watch.stop()
        connection.close()
    assert {Job.all_objects.get(pk=job.pk).status for job in jobs} == {Status.SUCCEEDED}
    assert most <= 800
    counted, known = limits()["used_api_requests"], OrgLimit.objects.get(name=LimitName.CALLS)
    assert known.used >= counted
    print(f"{first} of {SHARE} calls while all waited, {counted} in the end")
    print(f"{sum(each.used for each in UsedOfLimit.objects.filter(name=LimitName.CALLS))} calls counted by us")
