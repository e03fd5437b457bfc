from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _hurry(settings):
    """Look at Salesforce jobs often; otherwise as in an installation."""
    settings.SFSYNC_TICK_SECONDS = 0.05
    settings.SFSYNC_RETRY_SECONDS = 0.05
