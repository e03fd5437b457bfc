"""Files of history: merged, whatever is killed meanwhile, and deleted when they are old."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from jobs import files, history, history_files
from jobs.errors import JobRefused
from jobs.models import HistoryFile, Status
from jobs.remove import delete_sync
from tests.factories import anybody, make_job, make_organization, make_sync, write_history
from tests.workers import worker_environment

pytestmark = pytest.mark.django_db(transaction=True)

# Merges in a process that is killed at one line, then at a later one, and so on, until it comes to the end; after each
# it prints what the history says. Each process is forked before it has touched a database.
MERGE = """
import os, signal, sys
import django
django.setup()
from jobs import files, history, history_files
from orgs.access import operator
from syncs.engine import history as engine
from syncs.models import Sync

def forked(action, *arguments):
    child = os.fork()
    if not child:
        try:
            action(*arguments)
            sys.stdout.flush()
        finally:
            os._exit(1 if sys.exc_info()[0] else 0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def merge(line):
    sync, passed = Sync.all_objects.get(), 0
    def trace(frame, event, argument):
        nonlocal passed
        if frame.f_code.co_filename not in (history_files.__file__, engine.__file__):
            return None
        passed += event == "line"
        if passed == line:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    history_files.merge(files.workspace(), sync)
    sys.settrace(None)

def tell():
    print(history.story(operator(Sync.all_objects.get().organization, "alice"), key="K1").changes)

line, ended = 1, -signal.SIGKILL
while ended == -signal.SIGKILL:
    ended = forked(merge, line)
    line += 5
    if forked(tell):
        sys.exit("the history cannot be told")
sys.exit(ended)
"""


@pytest.fixture
def sync():
    return make_sync(make_organization())


def add(sync, job, *rows, ended_at=None):
    """A file of a job's history."""
    at = ended_at or datetime.now(UTC)
    path = history_files.folder_of(sync) / f"{job:012}.parquet"
    usual = {"key": "K1", "job": job, "ended_at": at, "after.Name": f"name {job}"}
    write_history(path, [{**usual, **row} for row in rows])
    values = {"path": str(path), "first_job": job, "last_job": job, "rows": len(rows), "newest": at}
    return HistoryFile.all_objects.create(organization=sync.organization, sync=sync, **values)


def story(sync, **asked):
    return history.story(anybody(sync), **({"key": "K1"} | asked))


def merge(sync):
    return history_files.merge(files.workspace(), sync)


def stored(sync):
    return {path.name.partition(".")[0] for path in history_files.folder_of(sync).iterdir()}


def test_many_small_files_become_few_large_ones_that_tell_the_same(sync, monkeypatch):
    monkeypatch.setattr(history_files, "MERGED_AT_ONCE", 3)
    for job in range(1, 12):
        add(sync, job, {"after.Title": f"t{job % 2}"} if job % 3 else {"key": "K2", "after.Other": "x"}, {"id": None})
        before = story(sync)
        merge(sync)
        assert story(sync) == before
    levels = HistoryFile.all_objects.values_list("level", "first_job", "last_job", "rows")
    assert sorted(levels) == [(0, 10, 10, 2), (0, 11, 11, 2), (2, 1, 9, 18)]
    assert stored(sync) == {Path(file.path).stem for file in HistoryFile.all_objects.all()}


def test_pages_go_on_where_the_last_one_ended(sync):
    for job in range(1, 8):
        add(sync, job, {})
    whole, paged, after = story(sync).changes, [], ""
    while after or not paged:
        page = story(sync, after=after, limit=3)
        paged, after = [*paged, *page.changes], page.following
    assert tuple(paged) == whole and [change.job for change in whole] == [7, 6, 5, 4, 3, 2, 1]
    assert [change.fields[0].before for change in paged] == [f"name {job}" for job in range(6, 0, -1)] + [None]
    with pytest.raises(JobRefused, match="is no place in a history"):
        story(sync, after="5; --")


@pytest.mark.slow
def test_a_merge_that_is_killed_at_any_line_loses_and_doubles_nothing(sync):
    for job in range(1, 17):
        add(sync, job, {})
    wanted = story(sync).changes
    environment = worker_environment(DJANGO_SETTINGS_MODULE="sfsync.settings")
    command = [sys.executable, "-c", MERGE]
    ended = subprocess.run(command, env=environment, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    told = ended.stdout.splitlines()
    assert len(told) > 20 and set(told) == {str(wanted)}
    assert HistoryFile.all_objects.count() == 1
    make_old(sync)
    history_files.remove_old_history()
    assert stored(sync) == {Path(HistoryFile.all_objects.get().path).stem}
    assert story(sync).changes == wanted


def make_old(sync):
    long_ago = time.time() - 2 * history_files.RUBBISH_SECONDS
    for path in history_files.folder_of(sync).iterdir():
        os.utime(path, (long_ago, long_ago))


def test_of_two_that_merge_the_same_files_one_wins(sync, monkeypatch):
    monkeypatch.setattr(history_files, "MERGED_AT_ONCE", 3)
    for job in range(1, 4):
        add(sync, job, {})
    wanted, due = story(sync).changes, history_files._due(sync)
    assert merge(sync) == 1
    for file in due:  # as it was when the other one had read them
        write_history(Path(file.path), [{"key": "K1", "job": file.first_job}])
    assert history_files._merge(files.workspace(), sync, due) is False
    assert story(sync).changes == wanted and HistoryFile.all_objects.count() == 1


def test_rubbish_of_a_sync_stays_while_a_job_may_still_name_it(sync):
    write_history(history_files.folder_of(sync) / "aaaaaaaaaaaa.parquet", [{"key": "K1"}])
    history_files.remove_old_history()
    assert stored(sync) == {"aaaaaaaaaaaa"}
    make_old(sync)
    job = make_job(sync, status=Status.FINISHING)
    history_files.remove_old_history()
    assert stored(sync) == {"aaaaaaaaaaaa"}
    type(job).all_objects.filter(pk=job.pk).update(status=Status.FAILED)
    history_files.remove_old_history()
    assert stored(sync) == set()


def test_what_is_past_the_retention_of_its_organization_is_neither_shown_nor_kept(sync, monkeypatch):
    monkeypatch.setattr(history_files, "MERGED_AT_ONCE", 2)
    ago = [timezone.now() - timedelta(days=days) for days in (400, 100, 1)]
    for job, ended_at in enumerate(ago, start=1):
        add(sync, job, {}, ended_at=ended_at)
    sync.organization.history_days = 50
    sync.organization.save()
    assert [change.job for change in story(sync).changes] == [3]
    assert story(sync).changes[0].fields[0].basis == "unknown"
    sync.organization.history_days = 365
    sync.organization.save()
    assert merge(sync) == 1
    assert sorted(HistoryFile.all_objects.values_list("level", "rows")) == [(0, 1), (1, 1)]
    sync.organization.history_days = 50
    sync.organization.save()
    assert history_files.remove_old_history() == 1
    assert [change.job for change in story(sync).changes] == [3] and len(stored(sync)) == 1


def test_a_deleted_sync_takes_its_history_with_it(sync):
    add(sync, 1, {})
    delete_sync(sync, by=anybody(sync))
    assert not HistoryFile.all_objects.exists() and not history_files.folder_of(sync).exists()


def test_files_that_are_gone_and_indexes_of_other_engines_do_not_end_a_story(sync):
    for job in range(1, 4):
        add(sync, job, {})
    for index in history_files.folder_of(sync).glob("*.index-*"):
        index.rename(index.with_name(index.name.replace("index-", "index-0")))
    assert [change.job for change in story(sync).changes] == [3, 2, 1]
    Path(HistoryFile.all_objects.get(first_job=2).path).unlink()
    assert [change.job for change in story(sync).changes] == [3, 1]


def test_a_question_that_makes_no_sense_is_told_so(sync):
    for asked in ({"key": "", "record_id": ""}, {"key": "a", "record_id": "0" * 18}, {"key": "", "record_id": "no"}):
        with pytest.raises(JobRefused):
            story(sync, **asked)
