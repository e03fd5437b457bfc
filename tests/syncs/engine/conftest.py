"""A runner of jobs for the tests of the row engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from .factories import Loads


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    """An upsert of id, name and city into an empty Salesforce org."""
    return Loads(tmp_path)
