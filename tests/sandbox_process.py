"""Starts a sandbox (a practice Salesforce org) as a process of its own, for any test that needs one.

    with SandboxProcess(daily_api_requests=100) as sandbox:
        requests.get(sandbox.http_url + "/services/data")

Flags of `python -m sandbox` are given as keyword arguments: `bulk_delay=2` is `--bulk-delay 2`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 20
STOP_SECONDS = 10


class SandboxProcess:
    """One running sandbox; listens on free ports of 127.0.0.1 and ends with the test process, however that ends."""

    username = "admin@sandbox.example"
    password = "practice"
    security_token = "TOKEN"
    client_id = "sandbox-client"
    client_secret = "sandbox-secret"

    def __init__(self, *, https: bool = True, **flags: Any) -> None:
        self.flags = {"port": 0, "https_port": 0 if https else -1, **flags}
        for name in ("username", "password", "security_token", "client_id", "client_secret"):
            if name in flags:
                setattr(self, name, flags[name])
        self.http_url = ""
        self.https_url: str | None = None
        self.ca_file: str | None = None
        self.proxy_url: str | None = None
        self.addresses: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None

    def __enter__(self) -> SandboxProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        assert self._folder is not None
        return self._folder

    @property
    def log(self) -> str:
        """What the process printed so far."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace") if self._folder else ""

    def start(self) -> None:
        """Start, and wait until it listens. After `kill` or `stop` it may be started again with the same flags."""
        self._folder = self._folder or Path(tempfile.mkdtemp(prefix="sandbox-test-"))
        ready = self._folder / "ready.json"
        ready.unlink(missing_ok=True)
        flags = {"ca_file": self._folder / "ca.pem", "ready_file": ready, "parent_pid": os.getpid(), **self.flags}
        arguments = [part for key, value in flags.items() for part in (f"--{key.replace('_', '-')}", str(value))]
        # Its temporary files go below our folder, so that nothing stays after a kill.
        environment = {**os.environ, "TMPDIR": str(self._folder), "PYTHONPATH": str(ROOT)}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sandbox", *arguments], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the sandbox did not start:\n{self.log}")
            time.sleep(0.02)
        self.addresses = addresses = json.loads(ready.read_text(encoding="utf-8"))
        self.http_url, self.https_url = addresses["http_url"], addresses["https_url"]
        self.ca_file, self.proxy_url = addresses["ca_file"], addresses["proxy_url"]
        # Restarts listen where clients already look.
        self.flags["port"] = int(self.http_url.rpartition(":")[2])
        if self.https_url:
            self.flags["https_port"] = int(self.https_url.rpartition(":")[2])

    def kill(self) -> None:
        """End it at once with SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it in good order, and remove its files."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def login(self) -> str:
        """A fresh access token, by the client credentials flow."""
        form = {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": self.client_secret}
        answer = requests.post(self.http_url + "/services/oauth2/token", data=form, timeout=30)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def faults(self, *rules: dict[str, Any]) -> list[dict[str, Any]]:
        """Add fault rules; the rules as they stand, each with its id."""
        return list(self._control("POST", "faults", list(rules)))

    def fault_rules(self) -> list[dict[str, Any]]:
        """All rules with how often they matched and fired, and how many calls each holds right now."""
        return list(self._control("GET", "faults")["rules"])

    def clear_faults(self) -> None:
        self._control("DELETE", "faults")

    def release(self, rule_id: str | None = None) -> int:
        """Let calls held by a rule (or by any) go on; how many there were."""
        return int(self._control("POST", "release", {"id": rule_id})["released"])

    def state(self) -> dict[str, Any]:
        """Records per object, live and deleted, and the bulk jobs."""
        return dict(self._control("GET", "state"))

    def requests(self) -> dict[str, Any]:
        """The latest calls, and totals per method and path template."""
        return dict(self._control("GET", "requests?limit=2000"))

    def reset(self) -> None:
        """Empty the org, its faults and its log; tokens stay valid."""
        self._control("POST", "reset")

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, f"{self.http_url}/_sandbox/{path}", json=body, timeout=30)
        if answer.status_code >= 400:
            raise RuntimeError(f"{method} /_sandbox/{path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None
