from __future__ import annotations

import pytest


@pytest.fixture
def by_bulk(monkeypatch):
    """However few rows there are, they go by bulk."""
    monkeypatch.setattr("syncs.engine.lanes.FEW_ROWS", 0)
