from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from connections import sessions
from tests.org_hand import OrgHand
from tests.org_reader import OrgReader
from tests.sandbox_process import SandboxProcess

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def _sandbox_process() -> Iterator[SandboxProcess]:
    with SandboxProcess() as process:
        yield process


@pytest.fixture
def sandbox(_sandbox_process: SandboxProcess) -> Iterator[SandboxProcess]:
    """An empty Salesforce org without faults."""
    _sandbox_process.reset()
    sessions.forget_all()
    yield _sandbox_process
    _sandbox_process.clear_faults()


@pytest.fixture
def org(sandbox: SandboxProcess) -> OrgReader:
    """What the sandbox holds, read by plain HTTP."""
    return OrgReader(sandbox)


@pytest.fixture
def hand(sandbox: SandboxProcess) -> OrgHand:
    """Somebody who edits the sandbox's records by hand."""
    return OrgHand(sandbox)


@pytest.fixture
def shared_data() -> Path:
    """Real data that stands beside the project; not part of it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real data sets are not beside the project")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def _clean_folders() -> Iterator[None]:
    """Files of one test are gone before the next one."""
    yield
    for folder in (settings.SFSYNC_FILES, settings.SFSYNC_STORAGE, settings.SFSYNC_SCRATCH):
        if folder.is_dir() and any(folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)


def required(service: str, reason: str) -> None:
    """Skip a test whose service is not there; where services are required, fail it."""
    if os.environ.get("SFSYNC_TEST_SERVICES") == "required":
        pytest.fail(f"{service} is required here, but {reason}")
    pytest.skip(f"needs {service}: {reason}")
