"""Whatever happens to a job, Salesforce holds every row exactly once, and the counts say so.

Thousands of rows in several batches: inserts without a key, some rows identical; and inserts and upserts with a key.
Then the lane of few rows, and rows that are sent again because they were refused.
"""

from __future__ import annotations

import time
from collections import Counter

import pytest

from jobs.models import Batch, BatchState, Job, Status
from jobs.start import cancel_job, start_job
from tests.factories import anybody
from tests.jobs.scenario import make_people_sync, people, run, write_csv
from tests.workers import Worker, wait_for, wait_for_end

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

ROWS, BATCH_ROWS = 20_000, 2_500
# Of a worker that is killed again and again.
MANY_ROWS, MANY_BATCH_ROWS = 50_000, 5_000

# Every call of the ledger, as the sandbox's fault rules name them.
CALLS = {
    "create": {"method": "POST", "path": "/jobs/ingest/?$"},
    "upload": {"method": "PUT", "path": "/batches/?$"},
    "close": {"method": "PATCH", "path": "/jobs/ingest/[^/]+/?$"},
    "poll": {"method": "GET", "path": "/jobs/ingest/[^/]+/?$"},
    "successes": {"method": "GET", "path": "/successfulResults/?$"},
    "failures": {"method": "GET", "path": "/failedResults/?$"},
    "unprocessed": {"method": "GET", "path": "/unprocessedrecords/?$"},
}
ARROWS = [{**call, "action": action} for call in CALLS.values() for action in ("hold_before", "hold_after")]
# Those before anything is closed come twice: each of these kills makes a batch start over.
TWENTY = ARROWS[:6] + ARROWS


class Scenario:
    """A sync, the rows it is to bring to Salesforce, and what is true when it has."""

    def __init__(self, sandbox, org, kind: str, count: int = ROWS, batch_rows: int = BATCH_ROWS) -> None:
        self.sandbox, self.org, self.kind, self.count = sandbox, org, kind, count
        keyless = kind == "keyless"
        self.rows = people(count, identical_every=25 if keyless else 0)
        settings = {"keyless": {"key_fields": (), "mode": "insert", "compare": "nothing"}, "insert": {"mode": "insert"}}
        self.sync = make_people_sync(sandbox, batch_rows=batch_rows, **settings.get(kind, {}))
        if kind == "upsert":
            # Half of the rows are known already, and have changed since.
            write_csv(self.sync.organization, "people.csv", people(self.count // 2, title="Before"))
            assert run(self.sync).status == Status.SUCCEEDED
        write_csv(self.sync.organization, "people.csv", self.rows)

    def records(self) -> Counter:
        fields = ["LastName", "FirstName", "Title"] + ([] if self.kind == "keyless" else ["External_Id__c"])
        found = self.org.query(f"SELECT {', '.join(fields)} FROM Contact")
        return Counter(tuple(record[field] for field in fields) for record in found)

    def wanted(self) -> Counter:
        key = slice(0, 0) if self.kind == "keyless" else slice(0, 1)
        return Counter((last, first, title, *row[key]) for row in self.rows[1:] for _, last, first, title in [row])

    def check_all_there(self, job: Job) -> None:
        assert job.status == Status.SUCCEEDED, (job.reason, job.counts)
        assert self.records() == self.wanted()
        known = self.count // 2 if self.kind == "upsert" else 0
        assert job.counts["read"] == self.count
        # An upsert whose first attempt had its effect counts as what Salesforce says it was.
        assert job.counts["inserted"] + job.counts["updated"] == self.count
        assert job.counts["updated"] == known
        self.check_next_job_sends_nothing()

    def check_next_job_sends_nothing(self) -> None:
        if self.kind != "keyless":
            again = run(self.sync)
            assert again.status == Status.SUCCEEDED
            sent = {name: again.counts[name] for name in ("inserted", "updated", "failed")}
            left_alone = again.counts["unchanged"] + again.counts["ignored"]
            assert (sent, left_alone) == ({"inserted": 0, "updated": 0, "failed": 0}, self.count)


KINDS = ["keyless", "insert", "upsert"]


@pytest.fixture(params=KINDS)
def scenario(request, sandbox, org):
    return Scenario(sandbox, org, request.param)


@pytest.fixture(params=KINDS)
def large(request, sandbox, org):
    return Scenario(sandbox, org, request.param, MANY_ROWS, MANY_BATCH_ROWS)


@pytest.fixture
def worker():
    started = []

    def start(**options):
        started.append(Worker(**options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def held(sandbox, rule_id):
    """Whether the rule holds a call right now."""
    return any(rule["id"] == rule_id and rule["held"] for rule in sandbox.fault_rules())


def test_a_worker_killed_twenty_times_at_each_arrow_of_the_ledger_loses_and_doubles_nothing(large, sandbox, worker):
    # Two batches at a time: enough are left for the last arrows.
    victim = worker(concurrency=2, SFSYNC_BATCHES_AT_ONCE="2")
    job = start_job(large.sync, by=anybody(large.sync))
    for arrow in TWENTY:
        (rule,) = sandbox.faults({**arrow, "nth": 1, "seconds": 120})[-1:]
        wait_for(lambda rule=rule: held(sandbox, rule["id"]), f"a call held at {arrow}")
        victim.kill()
        sandbox.release(rule["id"])
        victim.start()
    assert alive(job)
    large.check_all_there(wait_for_end(job))


def alive(job):
    return Job.all_objects.get(pk=job.pk).is_live


def test_a_worker_that_was_stopped_past_its_lease_and_continued_does_no_harm(scenario, sandbox, worker):
    def arm(call):
        return sandbox.faults({**CALLS[call], "nth": 1, "action": "hold_before", "seconds": 120})[-1]["id"]

    workers = [worker()]
    armed = arm("create")
    job = start_job(scenario.sync, by=anybody(scenario.sync))
    for following in ("upload", "close", None):
        wait_for(lambda armed=armed: held(sandbox, armed), "a held call")
        for one in workers:
            one.freeze()
        # Armed before anybody goes on: the batch of the held call has this one still before it, whoever makes it.
        next_armed = following and arm(following)
        under_way = Batch.all_objects.filter(job=job).exclude(token="").exclude(state=BatchState.DONE)
        attempts = {batch.pk: batch.token for batch in under_way}
        other = worker()
        wait_for(
            lambda attempts=attempts: any(
                batch.token != attempts[batch.pk] for batch in Batch.all_objects.filter(pk__in=attempts)
            ),
            "another worker to take over",
            seconds=180,
        )
        for one in workers:
            one.thaw()
        sandbox.release(armed)
        workers.append(other)
        armed = next_armed
    scenario.check_all_there(wait_for_end(job))


def test_each_answer_lost_after_its_effect_loses_and_doubles_nothing(scenario, sandbox, settings):
    settings.SFSYNC_RETRY_SECONDS = 0.05
    sandbox.faults(*({**call, "nth": 2, "action": "lose_answer"} for call in CALLS.values()))
    job = run(scenario.sync)
    assert all(rule["fired"] == 1 for rule in sandbox.fault_rules())
    scenario.check_all_there(job)


def test_an_upload_cut_halfway_is_made_anew(scenario, sandbox, settings):
    settings.SFSYNC_RETRY_SECONDS = 0.05
    sandbox.faults({**CALLS["upload"], "nth": 2, "action": "cut", "after_bytes": 60_000})
    scenario.check_all_there(run(scenario.sync))


@pytest.mark.parametrize(
    "fault", [{"action": "fail_job", "message": "InternalServerError : try later"}, {"action": "abort_job"}]
)
@pytest.mark.parametrize("after_rows", [0, 2_000])
def test_a_salesforce_job_that_ends_early_leaves_nothing_out(scenario, sandbox, fault, after_rows, settings):
    settings.SFSYNC_RETRY_SECONDS = 0.05
    sandbox.faults({**fault, "nth": 3, "after_rows": after_rows})
    job = run(scenario.sync)
    assert Batch.all_objects.filter(job=job, attempt=2).count() == 1
    scenario.check_all_there(job)


def test_a_cancelled_job_keeps_what_was_confirmed_and_the_next_one_sends_the_rest(scenario, sandbox, worker):
    worker(concurrency=2, SFSYNC_BATCHES_AT_ONCE="2")
    job = start_job(scenario.sync, by=anybody(scenario.sync))
    wait_for(lambda: Batch.all_objects.filter(job=job, state=BatchState.DONE).count() >= 3, "some batches to end")
    job.refresh_from_db()
    cancel_job(job, by=anybody(job))
    job = wait_for_end(job)
    assert job.status == Status.CANCELLED
    confirmed = job.counts["inserted"] + job.counts["updated"]
    assert 3 * BATCH_ROWS <= confirmed < ROWS
    assert confirmed + job.counts["not_sent"] == ROWS == job.counts["read"]
    if scenario.kind == "keyless":
        assert sum(scenario.records().values()) == confirmed
        return
    rest = run(scenario.sync)
    assert rest.status == Status.SUCCEEDED
    assert rest.counts["inserted"] + rest.counts["updated"] == ROWS - confirmed
    assert rest.counts["unchanged"] + rest.counts["ignored"] == confirmed
    assert scenario.records() == scenario.wanted()


FEW = 1_800


@pytest.fixture
def few(sandbox):
    """A sync of so few rows that they go by collections; the first 900 are known, and have changed since."""
    sync = make_people_sync(sandbox)
    write_csv(sync.organization, "people.csv", people(FEW // 2, title="Before"))
    assert run(sync).status == Status.SUCCEEDED
    write_csv(sync.organization, "people.csv", people(FEW))
    # Salesforce tells times in seconds: what was made before is then older than what is made now.
    time.sleep(2.1)
    return sync


def check_few(job, org, sync):
    assert job.status == Status.SUCCEEDED, (job.reason, job.counts)
    assert (job.counts["inserted"], job.counts["updated"]) == (FEW // 2, FEW // 2)
    found = Counter((each["External_Id__c"], each["Title"]) for each in org.query(CONTACTS))
    assert found == Counter((row[0], row[3]) for row in people(FEW)[1:])
    assert run(sync).counts["unchanged"] == FEW


CONTACTS = "SELECT External_Id__c, Title FROM Contact"
CALL = {"method": "PATCH", "path": "/composite/sobjects/Contact/"}


def test_a_worker_killed_at_calls_of_collections_loses_and_doubles_nothing(few, sandbox, org, worker):
    # The first and the last call, and one in the middle.
    victim = worker(concurrency=1, SFSYNC_LONGEST_CALL_SECONDS="0.2")
    job = start_job(few, by=anybody(few))
    for action in ("hold_before", "hold_after", "hold_before", "hold_after"):
        (rule,) = sandbox.faults({**CALL, "nth": 2, "action": action, "seconds": 120})[-1:]
        wait_for(lambda rule=rule: held(sandbox, rule["id"]), f"a call held by {action}")
        victim.kill()
        sandbox.release(rule["id"])
        victim.start()
    check_few(wait_for_end(job), org, few)


def test_a_worker_that_was_stopped_in_a_call_of_collections_does_no_harm(few, sandbox, org, worker):
    workers = [worker(concurrency=1, SFSYNC_LONGEST_CALL_SECONDS="0.2")]
    armed = sandbox.faults({**CALL, "nth": 3, "action": "hold_before", "seconds": 120})[-1]["id"]
    job = start_job(few, by=anybody(few))
    wait_for(lambda: held(sandbox, armed), "a held call")
    token = Batch.all_objects.get(job=job).token
    workers[0].freeze()
    workers.append(worker(concurrency=1, SFSYNC_LONGEST_CALL_SECONDS="0.2"))
    wait_for(lambda: Batch.all_objects.get(job=job).token != token, "another worker to take over")
    workers[0].thaw()
    sandbox.release(armed)
    check_few(wait_for_end(job), org, few)


def test_a_worker_killed_while_refused_rows_go_again_loses_and_doubles_nothing(sandbox, org, worker):
    """Each fifth row is refused twice for a lock; the second and the third Salesforce job of a batch bring it in."""
    keyless = {"key_fields": (), "mode": "insert", "compare": "nothing"}
    sync = make_people_sync(sandbox, batch_rows=2_500, **keyless)
    rows = people(5_000, identical_every=25)
    write_csv(sync.organization, "people.csv", rows)
    refusal = {"object": "Contact", "field": "LastName", "matches": "5$|^Twin$", "code": "UNABLE_TO_LOCK_ROW"}
    sandbox.faults({"action": "refuse_rows", **refusal, "times": 4})
    victim = worker(concurrency=2)
    job = start_job(sync, by=anybody(sync))
    for call in ("create", "upload", "close", "successes", "failures"):
        wait_for(lambda: not alive(job) or Batch.all_objects.filter(job=job, retries__gte=1).exists(), "a second pass")
        (rule,) = sandbox.faults({**CALLS[call], "nth": 1, "action": "hold_after", "seconds": 120})[-1:]
        wait_for(lambda rule=rule: held(sandbox, rule["id"]), f"a call held at {call}")
        victim.kill()
        sandbox.release(rule["id"])
        victim.start()
    job = wait_for_end(job)
    assert (job.status, job.counts["inserted"], job.counts["failed"]) == (Status.SUCCEEDED, 5_000, 0), job.counts
    found = org.query("SELECT LastName, FirstName FROM Contact")
    assert Counter((each["LastName"], each["FirstName"]) for each in found) == Counter(
        (last, first) for _, last, first, _ in rows[1:]
    )
