import pytest

from jobs.errors import JobRefused
from jobs.models import Job, Status
from jobs.parked import parked_count, parked_rows, release_parked
from orgs.models import AuditEvent
from syncs.models import Sync
from tests.factories import anybody, make_job, make_organization, make_sync
from tests.jobs.parking import park
from tests.jobs.scenario import make_people_sync, people, run, write_csv

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sync():
    return make_sync(make_organization())


def test_a_sync_without_a_snapshot_has_no_parked_rows(sync):
    assert (parked_count(sync), parked_rows(sync).rows) == (0, ())
    with pytest.raises(JobRefused, match="No row of the sync 'Accounts' is parked"):
        release_parked(sync, by=anybody(sync))


def test_all_are_released_and_the_old_file_goes(sync):
    old = park(sync, 7, counting=2)
    assert release_parked(sync, by=anybody(sync)) == 7
    sync.refresh_from_db()
    assert (sync.snapshot["rows"], sync.snapshot["refusals"]["rows"], parked_count(sync)) == (100, 2, 0)
    assert not old.exists() and parked_rows(sync).rows == ()
    event = AuditEvent.all_objects.get()
    assert (event.action, event.changes) == ("released parked rows", {"parked": [7, 0]})


def test_some_are_released(sync):
    park(sync, 7)
    assert release_parked(sync, by=anybody(sync), keys=["A001", "A005"]) == 2
    sync.refresh_from_db()
    assert [row.key for row in parked_rows(sync).rows] == ["A002", "A003", "A004", "A006", "A007"]
    assert AuditEvent.all_objects.get().changes["keys"] == [None, ["A001", "A005"]]


def test_an_unknown_key_releases_nothing(sync):
    old = park(sync, 2)
    with pytest.raises(JobRefused, match="No row .* is parked under 'Z9'. Nothing is released"):
        release_parked(sync, by=anybody(sync), keys=["A001", "Z9"])
    sync.refresh_from_db()
    assert parked_count(sync) == 2 and list(old.parent.iterdir()) == [old]
    with pytest.raises(JobRefused, match="Name 1 to"):
        release_parked(sync, by=anybody(sync), keys=[])


def test_nothing_is_released_while_a_job_is_live(sync):
    park(sync, 2)
    make_job(sync, status=Status.WAITING_APPROVAL)
    with pytest.raises(JobRefused, match="has a live job: job .*, waiting for approval"):
        release_parked(sync, by=anybody(sync))


@pytest.mark.parametrize("meanwhile", ["a job started", "a job ended"])
def test_what_changes_while_the_file_is_written_wins(sync, monkeypatch, meanwhile):
    old = park(sync, 2)
    from jobs import parked

    release = parked.engine.release

    def slow(*args):
        if meanwhile == "a job started":
            make_job(sync, status=Status.QUEUED)
        else:
            pointer = {**sync.snapshot["refusals"], "path": str(old.with_name("newer.parquet"))}
            Sync.all_objects.filter(pk=sync.pk).update(snapshot={**sync.snapshot, "refusals": pointer})
        return release(*args)

    monkeypatch.setattr(parked.engine, "release", slow)
    with pytest.raises(JobRefused, match="has a live job|has just changed"):
        release_parked(sync, by=anybody(sync))
    assert list(old.parent.iterdir()) == [old]
    assert not AuditEvent.all_objects.exists()


def test_a_file_that_is_gone_is_told_of(sync):
    park(sync, 2).unlink()
    for ask in (lambda: parked_rows(sync), lambda: release_parked(sync, by=anybody(sync))):
        with pytest.raises(JobRefused, match="changed just now, or its file is damaged"):
            ask()
    assert Job.all_objects.count() == 0


def test_when_nothing_is_left_no_file_is(sync):
    folder = park(sync, 3).parent
    release_parked(sync, by=anybody(sync))
    sync.refresh_from_db()
    assert "refusals" not in sync.snapshot and list(folder.iterdir()) == []


@pytest.mark.slow
def test_rows_that_jobs_parked_are_sent_again_when_they_are_released(sandbox, org):
    sync = make_people_sync(sandbox, park_after=2)
    write_csv(sync.organization, "people.csv", people(5))
    refuse = {"action": "refuse_rows", "object": "Contact", "field": "LastName", "matches": "Person [23]$"}
    sandbox.faults({**refuse, "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "no"})
    assert [run(sync).counts["failed"] for _ in range(2)] == [2, 2]
    assert run(sync).counts["parked"] == 2
    sync.refresh_from_db()
    assert [row.key for row in parked_rows(sync).rows] == ["P0000002", "P0000003"]
    assert release_parked(sync, by=anybody(sync), keys=["P0000002"]) == 1
    sandbox.clear_faults()
    job = run(sync)
    assert (job.counts["parked"], job.counts["inserted"]) == (1, 1)
    assert org.count("Contact") == 4
