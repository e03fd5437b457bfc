"""A running sandbox for each test session, emptied before each test, and a bare client for it."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.sandbox_process import SandboxProcess

VERSION = "v60.0"
SHARED = Path(__file__).resolve().parents[2] / ".." / "shared"


@dataclass
class Ended:
    """A bulk job that came to its end, with its three results as rows by column name."""

    info: dict[str, Any]
    success: list[dict[str, str]]
    failed: list[dict[str, str]]
    unprocessed: list[dict[str, str]]

    def errors(self, column: str) -> dict[str, str]:
        """What was refused: value of `column` -> sf__Error."""
        return {row[column]: row["sf__Error"] for row in self.failed}


class Client:
    """Calls one API version of a sandbox with one session, and nothing else."""

    def __init__(self, sandbox: SandboxProcess, version: str = VERSION) -> None:
        self.sandbox = sandbox
        self.base = f"{sandbox.http_url}/services/data/{version}"
        self.http = requests.Session()
        # A CA bundle named in the environment would win over the sandbox's own.
        self.http.trust_env = False
        self.http.headers["Authorization"] = f"Bearer {sandbox.login()}"

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.http.request(method, self.base + path, timeout=60, **options)

    def create(self, object_name: str, **fields: Any) -> str:
        answer = self.call("POST", f"/sobjects/{object_name}", json=fields)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def query(self, soql: str, resource: str = "query") -> list[dict[str, Any]]:
        answer = self.call("GET", f"/{resource}", params={"q": soql})
        assert answer.status_code == 200, answer.text
        return [{key: value for key, value in row.items() if key != "attributes"} for row in answer.json()["records"]]

    def open_job(self, operation: str, object_name: str = "Contact", **options: Any) -> str:
        answer = self.call("POST", "/jobs/ingest", json={"object": object_name, "operation": operation, **options})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def upload(self, job_id: str, content: str | bytes) -> requests.Response:
        data = content.encode() if isinstance(content, str) else content
        return self.call("PUT", f"/jobs/ingest/{job_id}/batches", data=data, headers={"Content-Type": "text/csv"})

    def set_state(self, job_id: str, state: str) -> requests.Response:
        return self.call("PATCH", f"/jobs/ingest/{job_id}", json={"state": state})

    def start_job(self, operation: str, content: str | bytes, object_name: str = "Contact", **options: Any) -> str:
        job_id = self.open_job(operation, object_name, **options)
        assert self.upload(job_id, content).status_code == 201
        assert self.set_state(job_id, "UploadComplete").status_code == 200
        return job_id

    def info(self, job_id: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/jobs/ingest/{job_id}").json())

    def wait(self, job_id: str, *states: str) -> dict[str, Any]:
        wanted = states or ("JobComplete", "Failed", "Aborted")
        deadline = time.monotonic() + 30
        while (info := self.info(job_id))["state"] not in wanted:
            assert time.monotonic() < deadline, info
            time.sleep(0.02)
        return info

    def rows(self, job_id: str, which: str) -> list[dict[str, str]]:
        answer = self.call("GET", f"/jobs/ingest/{job_id}/{which}")
        assert answer.status_code == 200, answer.text
        return list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))

    def end(self, job_id: str) -> Ended:
        info = self.wait(job_id)
        names = ("successfulResults", "failedResults", "unprocessedrecords")
        return Ended(info, *(self.rows(job_id, each) for each in names))

    def load(self, operation: str, content: str | bytes, object_name: str = "Contact", **options: Any) -> Ended:
        return self.end(self.start_job(operation, content, object_name, **options))


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running_sandbox: SandboxProcess) -> SandboxProcess:
    """An empty sandbox."""
    running_sandbox.reset()
    return running_sandbox


@pytest.fixture
def client(sandbox: SandboxProcess) -> Client:
    return Client(sandbox)


@pytest.fixture
def shared() -> Path:
    """The folder with recorded describes and real data beside the project."""
    if not SHARED.is_dir():
        pytest.skip("the folder 'shared' with recordings and real data is not beside the project")
    return SHARED
