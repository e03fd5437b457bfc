"""pytest fixtures with a running sandbox, for those who test their own Salesforce code.

pytest loads this module at each start, whether a test asks for a sandbox or not: nothing heavy is imported here.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = "salesforce_sandbox_args"
LOGIN = ("username", "password", "security_token", "client_id", "client_secret")
START_SECONDS = 30
STOP_SECONDS = 10


class SandboxError(RuntimeError):
    """The sandbox did not start, or refused a call; the message says why."""


@dataclass(frozen=True)
class SandboxOrg:
    """A running sandbox. `https_url` and `ca_file` are None unless HTTPS is switched on."""

    url: str
    https_url: str | None
    ca_file: str | None
    username: str
    password: str
    security_token: str
    client_id: str
    client_secret: str

    def token(self) -> str:
        """A fresh access token of the user of the command line, by the client credentials flow."""
        form = {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": self.client_secret}
        content = urllib.parse.urlencode(form).encode()
        return str(self._send("POST", "/services/oauth2/token", content)["access_token"])

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call `/_sandbox/PATH`, with `body` as JSON; its answer.

        Raises SandboxError with what the sandbox has against it.
        """
        return self._send(method, f"/_sandbox/{path}", None if body is None else json.dumps(body).encode())

    def fault(self, **rule: Any) -> str:
        """Add a fault rule; its id. `org.fault(action="status", status=503, path="/query")`"""
        return str(self.control("POST", "faults", rule)["id"])

    def reset(self) -> None:
        """Empty the org: records, jobs, faults, clock and logs. Tokens stay valid."""
        self.control("POST", "reset")

    def _send(self, method: str, path: str, content: bytes | None) -> Any:
        request = urllib.request.Request(self.url + path, content, method=method)
        # A proxy of the environment is none for this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise SandboxError(f"{method} {path}: {error.code} {error.read().decode('utf-8', 'replace')}") from None
        return json.loads(text) if text else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(ARGUMENTS, "flags of the sandbox behind the fixture salesforce_sandbox", default="")


@pytest.fixture(scope="session")
def salesforce_sandbox(pytestconfig: pytest.Config) -> Iterator[SandboxOrg]:
    """One sandbox for the whole session, as a process of its own on a free port."""
    with tempfile.TemporaryDirectory(prefix="sandbox-") as folder:
        given = shlex.split(str(pytestconfig.getini(ARGUMENTS)))
        process = _start(Path(folder), given, pytestconfig.rootpath)
        try:
            yield _when_ready(process, Path(folder), given)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def salesforce_org(salesforce_sandbox: SandboxOrg) -> SandboxOrg:
    """The sandbox of the session, emptied."""
    salesforce_sandbox.reset()
    return salesforce_sandbox


def _start(folder: Path, given: list[str], root: Path) -> subprocess.Popen[bytes]:
    own = ["--port", "0", "--ready-file", str(folder / "ready.json"), "--parent-pid", str(os.getpid())]
    # Below our folder, so that nothing stays even after a kill.
    environment = {**os.environ, "TMPDIR": str(folder)}
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "sandbox", *own, *given]
        return subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log)


def _when_ready(process: subprocess.Popen[bytes], folder: Path, given: list[str]) -> SandboxOrg:
    deadline = time.monotonic() + START_SECONDS
    ready = folder / "ready.json"
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            told = (folder / "log").read_text(encoding="utf-8", errors="replace")
            raise SandboxError(f"the sandbox did not start:\n{told}")
        time.sleep(0.02)
    # Only now: it takes the sandbox's libraries along.
    from sandbox.__main__ import read_arguments

    addresses, options = json.loads(ready.read_text(encoding="utf-8")), read_arguments(given)
    login = {key: getattr(options, key) for key in LOGIN}
    return SandboxOrg(addresses["http_url"], addresses["https_url"], addresses["ca_file"], **login)
