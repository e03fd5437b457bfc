from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess


@pytest.fixture(scope="session")
def event_sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(pubsub_port=0, pubsub_keep_alive=0.2) as sandbox:
        yield sandbox


@pytest.fixture
def client(event_sandbox: SandboxProcess) -> Client:
    """A client of an empty org whose changes of contacts are captured."""
    event_sandbox.reset()
    client = Client(event_sandbox)
    client.http.post(f"{event_sandbox.http_url}/_sandbox/change-data", json={"objects": ["Contact"]}, timeout=10)
    return client
