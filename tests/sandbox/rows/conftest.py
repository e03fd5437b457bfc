"""A sandbox whose schema file brings rules of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess

RULES = Path(__file__).with_name("rules.json")


@pytest.fixture(scope="session")
def running_ruled() -> Iterator[SandboxProcess]:
    with SandboxProcess(schema=RULES, https=False) as sandbox:
        yield sandbox


@pytest.fixture
def ruled(running_ruled: SandboxProcess) -> Client:
    """A client of an empty org with rules."""
    running_ruled.reset()
    return Client(running_ruled)
