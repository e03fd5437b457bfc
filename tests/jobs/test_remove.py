import threading
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from jobs import files, start
from jobs.errors import JobRefused
from jobs.models import Job, Status
from jobs.remove import delete_sync, remove_old_files
from jobs.start import start_job
from orgs import audit
from orgs.access import Denied
from orgs.models import AuditEvent
from syncs.models import Sync
from tests.factories import anybody, make_job, make_organization, make_sync

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sync():
    return make_sync(make_organization())


def with_files(job, ended_ago=timedelta(0)):
    (job.folder / "plan").mkdir(parents=True)
    (job.folder / "plan" / "rows.parquet").write_bytes(b"rows")
    Job.all_objects.filter(pk=job.pk).update(ended_at=timezone.now() - ended_ago)
    return job


def test_a_deleted_sync_takes_its_jobs_files_and_snapshot_with_it(sync):
    job = with_files(make_job(sync, status=Status.SUCCEEDED))
    snapshots = files.snapshot_folder(sync)
    snapshots.mkdir(parents=True)
    delete_sync(sync, by=anybody(sync))
    assert not Sync.all_objects.exists() and not Job.all_objects.exists()
    assert not job.folder.exists() and not snapshots.exists()
    assert AuditEvent.all_objects.get(action="deleted").object_label == "Accounts"


def test_a_sync_with_a_live_job_is_not_deleted(sync):
    job = with_files(make_job(sync, status=Status.WAITING_APPROVAL))
    with pytest.raises(JobRefused, match=f"has a live job: job {job.pk}"):
        delete_sync(sync, by=anybody(sync))
    assert Sync.all_objects.exists() and job.folder.exists()


def meanwhile(monkeypatch, module, name, action):
    """Let another thread do `action` when `module` is about to call its `name`; returns what it was refused with."""
    refusals, real = [], getattr(module, name)

    def act():
        try:
            action()
        except JobRefused as refused:
            refusals.append(str(refused))
        finally:
            connection.close()

    thread = threading.Thread(target=act)

    def first(*args):
        monkeypatch.setattr(module, name, real)
        thread.start()
        thread.join(0.5)
        return real(*args)

    def outcome():
        thread.join(20)
        assert not thread.is_alive()
        return refusals

    monkeypatch.setattr(module, name, first)
    return outcome


def test_a_job_that_is_started_while_its_sync_is_being_deleted_does_not_begin(sync, monkeypatch):
    by = anybody(sync)
    again = Sync.all_objects.get(pk=sync.pk)
    started = meanwhile(monkeypatch, audit, "record", lambda: start_job(again, by=by, wake=False))
    delete_sync(sync, by=by)
    assert started() == ["The sync 'Accounts' was deleted meanwhile."]
    assert not Sync.all_objects.exists() and not Job.all_objects.exists()


def test_a_sync_of_which_a_job_is_being_started_is_not_deleted(sync, monkeypatch):
    by = anybody(sync)
    again = Sync.all_objects.get(pk=sync.pk)
    deleted = meanwhile(monkeypatch, start, "note", lambda: delete_sync(again, by=by))
    job = start_job(sync, by=by, wake=False)
    assert deleted() == [f"The sync 'Accounts' has a live job: job {job.pk}. Cancel it, or wait for its end."]
    assert Job.all_objects.get() == job


def test_the_files_of_a_sync_stay_when_its_deletion_is_undone(sync):
    job = with_files(make_job(sync, status=Status.SUCCEEDED))
    with transaction.atomic():
        delete_sync(sync, by=anybody(sync))
        transaction.set_rollback(True)
    assert Sync.all_objects.exists() and job.folder.exists()


def test_another_organizations_sync_does_not_exist(sync):
    with pytest.raises(Denied) as denied:
        delete_sync(sync, by=anybody(make_sync(make_organization("beta"))))
    assert not denied.value.exists
    assert Sync.all_objects.filter(pk=sync.pk).exists()


def test_files_of_old_ended_jobs_are_deleted_and_no_others(sync):
    old = with_files(make_job(sync, status=Status.PARTIAL), timedelta(days=31))
    young = with_files(make_job(sync, status=Status.SUCCEEDED), timedelta(days=29))
    live = with_files(make_job(sync, status=Status.LOADING), timedelta(days=99))
    assert remove_old_files() == 1
    assert [job.folder.exists() for job in (old, young, live)] == [False, True, True]
    assert Job.all_objects.get(files_removed_at__isnull=False) == old
    assert remove_old_files() == 0


def test_files_are_kept_for_ever_when_the_setting_says_so(sync, monkeypatch):
    old = with_files(make_job(sync, status=Status.PARTIAL), timedelta(days=9999))
    monkeypatch.setattr(settings, "SFSYNC_RETENTION_DAYS", 0)
    assert remove_old_files() == 0
    assert old.folder.exists()
