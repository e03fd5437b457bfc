from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _hurry(settings):
    """Look at Salesforce jobs often; otherwise as in an installation."""
    settings.SFSYNC_TICK_SECONDS = 0.05
    settings.SFSYNC_RETRY_SECONDS = 0.05


@pytest.fixture
def by_bulk(monkeypatch):
    """However few rows there are, they go by bulk, so that Salesforce's own list of jobs tells how many it got."""
    monkeypatch.setattr("syncs.engine.lanes.FEW_ROWS", 0)
