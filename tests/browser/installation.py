"""A whole demo installation as processes of its own, and a browser to look at it with."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright

from tests.conftest import required

CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
_START_SECONDS = 120


@dataclasses.dataclass(frozen=True)
class Installation:
    """Where the demo answers, and who may enter."""

    address: str
    user: str
    password: str
    data: Path


@contextmanager
def demo_installation(data: Path) -> Iterator[Installation]:
    """`manage.py demo` in the empty folder `data`, from when it is ready to look at until the context ends."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SFSYNC_")}
    environment |= {
        "SFSYNC_ENV_FILE": str(data / "none"),
        "SFSYNC_DATA": str(data),
        "SFSYNC_SECRET_KEY": "only-for-a-demo-in-a-test-" * 3,
        "SFSYNC_ENCRYPTION_KEYS": settings.SFSYNC_ENCRYPTION_KEYS[0],
        "SFSYNC_BIND": "127.0.0.1:0",
    }
    with open(data / "terminal.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "demo"], cwd=settings.BASE_DIR, env=environment, stdout=log, stderr=log
        )
    try:
        yield _when_ready(process, data)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _when_ready(process: subprocess.Popen[bytes], data: Path) -> Installation:
    deadline = time.monotonic() + _START_SECONDS
    ready = data / "demo.json"
    while not ready.exists():
        told = (data / "terminal.log").read_text(errors="replace")
        assert process.poll() is None, f"the demo ended: {told}"
        assert time.monotonic() < deadline, f"the demo was not ready in time: {told}"
        time.sleep(0.2)
    told = json.loads(ready.read_text())
    return Installation(told["address"], told["user"], told["password"], data)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    path = next((path for path in CHROMIUM if Path(path).exists()), None) or shutil.which("chromium")
    if path is None:
        required("Chromium", "it is not installed")
    # Its event loop makes Django believe that the tests are asynchronous.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        try:
            yield browser
        finally:
            browser.close()
            # Processes that later tests start inherit the environment.
            del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


class Watch:
    """What a page does that no page of ours may do: errors in its console, calls to other origins, loose policies."""

    def __init__(self, page: Page, address: str) -> None:
        self.complaints: list[str] = []
        self._address = address
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"script error: {error}"))
        page.on("request", self._request)
        page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console of {message.location.get('url')}: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self._address, "data:", "blob:")):
            self.complaints.append(f"asked another origin: {request.url}")

    def _response(self, response: Response) -> None:
        if response.status >= 500:
            self.complaints.append(f"{response.status} for {response.url}")
        if response.request.resource_type == "document" and response.status == 200:
            policy = response.headers.get("content-security-policy", "")
            if "default-src 'none'" not in policy or "unsafe" in policy:
                self.complaints.append(f"the policy of {response.url} is '{policy}'")
