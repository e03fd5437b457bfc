"""Clients written for Node, installed once with the versions of node/package-lock.json, beside what git knows."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import required
from tests.sandbox_process import ROOT, SandboxProcess

NODE = Path(__file__).parent / "node"
TRIES = 3

Run = Callable[[str], dict[str, Any]]


def _install() -> Path:
    """The folder with `node_modules`, made by the first test process that needs it.

    Fails or skips the test when Node, npm or the packages cannot be had.
    """
    missing = [each for each in ("node", "npm") if shutil.which(each) is None]
    if missing:
        required("Node", f"{' and '.join(missing)} cannot be found")
    lock = (NODE / "package-lock.json").read_bytes()
    folder = ROOT / ".sfsync" / "node-clients" / hashlib.sha256(lock).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(NODE / name, folder)
            _npm_ci(folder)
            (folder / "ready").touch()
    return folder


def _npm_ci(folder: Path) -> None:
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    for _ in range(TRIES):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode == 0:
            return
    required("jsforce", f"npm ci failed: {done.stderr[-500:]}")


@pytest.fixture(scope="session")
def node_clients() -> Path:
    return _install()


@pytest.fixture
def run_script(node_clients: Path, sandbox: SandboxProcess) -> Run:
    """Runs a script of node/ against the empty sandbox; what it printed."""

    def run(script: str) -> dict[str, Any]:
        facts = {
            "url": sandbox.http_url,
            "token": sandbox.login(),
            "username": sandbox.username,
            "password": sandbox.password,
            "securityToken": sandbox.security_token,
            "clientId": sandbox.client_id,
            "clientSecret": sandbox.client_secret,
        }
        # jsforce sends even what stays on this machine through a proxy that the environment names.
        environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        environment["NODE_CLIENTS"] = str(node_clients)
        done = subprocess.run(
            ["node", str(NODE / script), json.dumps(facts)], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    return run
