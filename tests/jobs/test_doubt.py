"""Answers that contradict each other, and moments at which somebody else acts: no row is sent twice on a guess."""

from __future__ import annotations

import dataclasses
import gzip
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from connections.salesforce import bulk
from connections.salesforce.errors import JobGone, TransientError
from connections.salesforce.session import Identity, SalesforceSession
from jobs import finish as finishing
from jobs.bulk_lane import BulkLane
from jobs.leases import Lease
from jobs.load import advance_batch
from jobs.models import Batch, BatchState, Job, Status
from jobs.run import run_job
from jobs.start import approve_job, cancel_job, start_job
from jobs.sweep import claim_due
from tests.factories import anybody
from tests.jobs.scenario import go_on, make_people_sync, people, run, write_csv
from tests.workers import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("by_bulk")]


@pytest.fixture(autouse=True)
def impatient(settings):
    settings.SFSYNC_RETRY_SECONDS = 0.001


@pytest.fixture
def sync(sandbox):
    sync = make_people_sync(sandbox, mode="mirror", batch_rows=50)
    write_csv(sync.organization, "people.csv", people(100))
    return sync


def make_due(job):
    long_ago = timezone.now() - timedelta(seconds=1)
    Job.all_objects.filter(pk=job.pk, next_poll_at__isnull=False).update(next_poll_at=long_ago)


def a_closed_batch(sync):
    """A job under way, with its first batch at Salesforce."""
    job = start_job(sync, by=anybody(sync), wake=False)
    run_job(job.pk)
    batch = Batch.all_objects.filter(job=job).first()
    advance_batch(batch.pk)
    batch.refresh_from_db()
    assert batch.state == BatchState.CLOSED
    return job, batch


def wait_until_processed(sandbox):
    wait_for(lambda: all(job["state"] == "JobComplete" for job in sandbox.state()["jobs"]), "Salesforce")


def without_the_last_row(download):
    """A download whose successful results lack their last row."""

    def short(session, job_id, which, to):
        path = download(session, job_id, which, to)
        if which == "successfulResults":
            opener = gzip.open if path.suffix == ".gz" else open
            with opener(path, "rt") as file:
                lines = file.read().splitlines(keepends=True)
            with opener(path, "wt") as file:
                file.writelines(lines[:-1] if len(lines) > 1 else lines)
        return path

    return short


def raising(error):
    def call(*args, **options):
        raise error

    return call


def test_an_aborted_job_whose_results_lack_a_row_doubles_nothing(sandbox, org, monkeypatch):
    sync = make_people_sync(sandbox, mode="insert", compare="nothing", key_fields=())
    write_csv(sync.organization, "people.csv", people(100))
    job, batch = a_closed_batch(sync)
    wait_until_processed(sandbox)
    state = bulk.state
    monkeypatch.setattr(bulk, "state", lambda *args: dataclasses.replace(state(*args), state="Aborted"))
    monkeypatch.setattr(bulk, "download", without_the_last_row(bulk.download))
    job = go_on(job)
    assert org.count("Contact") == 100
    assert (job.status, job.counts["inserted"], job.counts["unknown"]) == (Status.FAILED, 99, 1)


def test_results_that_lack_a_row_once_are_read_again_although_calls_failed_before(sandbox, sync, monkeypatch):
    job, batch = a_closed_batch(sync)
    with monkeypatch.context() as patched:
        patched.setattr(BulkLane, "_poll", raising(TransientError("503")))
        for _ in range(6):
            advance_batch(batch.pk)
    wait_until_processed(sandbox)
    with monkeypatch.context() as patched:
        patched.setattr(bulk, "download", without_the_last_row(bulk.download))
        advance_batch(batch.pk)
    job = go_on(job)
    assert (job.status, job.counts["unknown"]) == (Status.SUCCEEDED, 0)


def test_one_unexpected_error_after_an_outage_gives_nothing_up(sync, monkeypatch):
    job, batch = a_closed_batch(sync)
    for error in [TransientError("503")] * 20 + [RuntimeError("once")]:
        with monkeypatch.context() as patched:
            patched.setattr(BulkLane, "_poll", raising(error))
            advance_batch(batch.pk)
    assert go_on(job).status == Status.SUCCEEDED


def test_a_connection_that_leads_elsewhere_for_a_while_forgets_nothing(sync, monkeypatch):
    job, batch = a_closed_batch(sync)
    elsewhere = Identity("00D000000000999AAA", "005000000000001AAA", "http://elsewhere")
    with monkeypatch.context() as patched:
        patched.setattr(SalesforceSession, "identity", property(lambda session: elsewhere))
        patched.setattr(bulk, "state", raising(JobGone("404")))
        advance_batch(batch.pk)
    batch.refresh_from_db()
    assert batch.state == BatchState.CLOSED
    assert "Set the connection right again" in batch.reason
    assert go_on(job).status == Status.SUCCEEDED


def test_an_approval_that_comes_before_the_planner_let_go_is_not_overlooked(sync, monkeypatch):
    run(sync)
    write_csv(sync.organization, "people.csv", people(50))
    job = start_job(sync, by=anybody(sync), wake=False)
    release = Lease._release

    def approve_first(lease):
        waiting = Job.all_objects.filter(pk=job.pk, status=Status.WAITING_APPROVAL).first()
        if waiting:
            approve_job(waiting, by=anybody(waiting), wake=False)
        release(lease)

    with monkeypatch.context() as patched:
        patched.setattr(Lease, "_release", approve_first)
        run_job(job.pk)
    job.refresh_from_db()
    assert job.status == Status.LOADING
    make_due(job)
    assert claim_due(), "somebody must look at it"
    make_due(job)
    assert go_on(job).status == Status.SUCCEEDED


def test_a_worker_that_was_stopped_after_a_jobs_end_leaves_later_snapshots_alone(sync, monkeypatch):
    held = []
    run(sync)
    with monkeypatch.context() as patched:
        patched.setattr(finishing, "_drop_old_files", lambda *given: held.append(given))
        write_csv(sync.organization, "people.csv", people(100, title="Analyst"))
        run(sync)
    write_csv(sync.organization, "people.csv", people(100, title="Owner"))
    assert run(sync).status == Status.SUCCEEDED
    finishing._drop_old_files(*held[0])
    sync.refresh_from_db()
    assert Path(sync.snapshot["path"]).exists()
    assert run(sync).counts["unchanged"] == 100


def test_only_the_current_snapshot_is_kept(sync):
    for title in ("Buyer", "Analyst", "Owner"):
        write_csv(sync.organization, "people.csv", people(100, title=title))
        run(sync)
    sync.refresh_from_db()
    current = Path(sync.snapshot["path"])
    assert list(current.parent.iterdir()) == [current]


def test_a_full_resync_that_was_cancelled_forgets_nothing(sync):
    run(sync)
    job = start_job(sync, by=anybody(sync), wake=False, full_resync=True)
    run_job(job.pk)
    job.refresh_from_db()
    cancel_job(job, by=anybody(job))
    assert go_on(job).status == Status.CANCELLED
    write_csv(sync.organization, "people.csv", people(95))
    assert run(sync).counts["dropped"]["deleted"] == 5


def test_a_full_resync_sends_every_row_and_still_knows_what_left_the_source(sync):
    run(sync)
    write_csv(sync.organization, "people.csv", people(95))
    again = run(sync, full_resync=True)
    assert (again.status, again.counts["updated"]) == (Status.SUCCEEDED, 95)
    assert run(sync).counts["dropped"]["deleted"] == 5


def test_a_nul_character_in_the_source_ends_no_job_in_the_middle(sync):
    rows = people(10)
    rows[3][1] = "x" * 90 + "\0"
    rows[4][0] = rows[5][0] = "P9\0"
    path = write_csv(sync.organization, "people.csv", rows)
    with open(path, "a", encoding="utf-8") as file:
        file.write("P11,a\0b,c\r\n")
    job = run(sync)
    assert job.status == Status.PARTIAL, job.reason
    assert job.counts["inserted"] == 7
    assert (job.counts["rejected"], job.counts["malformed"]) == (3, 1)
