"""The pointer to what Salesforce is known to hold is moved by jobs alone."""

from __future__ import annotations

import pytest

from syncs.models import Sync
from tests.factories import make_organization, make_sync

pytestmark = pytest.mark.django_db


def test_saving_a_sync_that_was_read_before_a_job_ended_does_not_move_its_snapshot_back():
    opened = make_sync(make_organization())
    Sync.all_objects.filter(pk=opened.pk).update(snapshot={"path": "new.parquet"})
    opened.guard_rows = 5
    opened.save()
    stored = Sync.all_objects.get(pk=opened.pk)
    assert (stored.guard_rows, stored.snapshot) == (5, {"path": "new.parquet"})


def test_a_snapshot_is_moved_by_whoever_names_it():
    sync = make_sync(make_organization())
    sync.snapshot = {"path": "new.parquet"}
    sync.save(update_fields=["snapshot"])
    assert Sync.all_objects.get(pk=sync.pk).snapshot == {"path": "new.parquet"}
