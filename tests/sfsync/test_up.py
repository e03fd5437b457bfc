"""`manage.py up` as processes of its own: killed, one by one, and looked at with the eyes of the kernel."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection

from jobs.models import Status
from jobs.start import start_job
from orgs.models import Membership
from tests.factories import anybody
from tests.jobs.scenario import make_people_sync, people, write_csv
from tests.workers import wait_for, wait_for_end, worker_environment

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

PARTS = {
    "web": "gunicorn sfsync.wsgi",
    "worker": "manage.py worker",
    "beat": "manage.py beat",
    "broker": "valkey-server",
}


class Up:
    """One `manage.py up` on the test's database."""

    def __init__(self, tmp_path: Path) -> None:
        self.terminal = tmp_path / f"terminal-{time.monotonic_ns()}"
        # A broker of its own, in a data folder of its own.
        self.data = tmp_path / "data"
        self.data.mkdir(exist_ok=True)
        environment = {**worker_environment(), "SFSYNC_DATA": str(self.data), "SFSYNC_FIRST_PASSWORD": "Only-4-a-test!"}
        environment.pop("SFSYNC_BROKER_URL")
        with open(self.terminal, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--bind", "127.0.0.1:0"],
                env=environment,
                cwd=settings.BASE_DIR,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        told = wait_for(lambda: re.search(r"(http://\S+)/admin/", self.said) or self._ended(), "the address")
        self.address = told[1]
        wait_for(lambda: all(self.pids(part) for part in PARTS), "all parts")
        wait_for(self.answers, "the web server")

    def _ended(self) -> None:
        assert self.process.poll() is None, self.said

    @property
    def said(self) -> str:
        return self.terminal.read_text(errors="replace")

    def answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.address}/readyz", timeout=5).json()["status"] == "ok"
        return False

    def everything(self) -> dict[int, str]:
        """All processes that belong to this installation, by their data folder: number and command line."""
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal() and int(folder.name) != os.getpid():
                with contextlib.suppress(OSError):
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    # The broker writes its title over its environment.
                    belongs = str(self.data) in command
                    belongs = belongs or f"SFSYNC_DATA={self.data}".encode() in (folder / "environ").read_bytes()
                    state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                    if belongs and state != "Z":
                        found[int(folder.name)] = command
        return found

    def pids(self, part: str) -> list[int]:
        return sorted(pid for pid, command in self.everything().items() if PARTS[part] in command)

    def end(self, how: signal.Signals) -> None:
        os.killpg(self.process.pid, how)  # as the terminal does at Ctrl-C
        self.process.wait(timeout=30)


@pytest.fixture
def up(tmp_path):
    started = []

    def start() -> Up:
        started.append(Up(tmp_path))
        return started[-1]

    yield start
    for each in started:
        for pid in each.everything():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        each.process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_whichever_process_is_killed_the_others_go_on_and_none_is_left_behind(up, sandbox, org):
    sync = make_people_sync(sandbox, batch_rows=100)
    write_csv(sync.organization, "people.csv", people(1_000))
    first = up()
    user = User.objects.get()
    assert (user.username, user.is_superuser) == ("admin", True)
    assert Membership.all_objects.get().role == "owner"
    assert "Only-4-a-test!" not in first.said

    # Each part is killed once; it comes back, there is never a second beat, and the address stays.
    for part in PARTS:
        before = wait_for(lambda part=part: first.pids(part), f"the {part}")
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda part=part, gone=before[0]: set(first.pids(part)) - {gone}, f"a new {part}")
        assert len(first.pids("beat")) <= 1
    # A web worker alone, which its master replaces.
    os.kill(first.pids("web")[-1], signal.SIGKILL)
    wait_for(first.answers, "the web server again", 30)
    assert "The beat ended by signal 9; it is started again" in first.said

    # `up` itself is killed in the middle of a job: nothing is left behind, and the next one goes on with the job.
    sandbox.faults({"method": "PUT", "path": "/batches/?$", "every": 1, "action": "hold_before", "seconds": 2})
    job = start_job(sync, by=anybody(sync), wake=False)
    wait_for(lambda: job.refresh_from_db() or job.status == Status.LOADING, "the load to begin", 30)
    first.end(signal.SIGKILL)
    wait_for(lambda: not first.everything(), "the end of everything", 20)
    sandbox.clear_faults()
    second = up()
    assert wait_for_end(job).status == Status.SUCCEEDED
    assert org.count("Contact") == 1_000

    # A second one on the same data is refused; Ctrl-C and SIGTERM end all.
    refused = subprocess.run(
        [sys.executable, "manage.py", "up", "--bind", "127.0.0.1:0"],
        env={**worker_environment(), "SFSYNC_DATA": str(second.data)},
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert refused.returncode != 0 and "runs on" in refused.stderr and "Traceback" not in refused.stderr
    web_log = second.data / "web.log"
    so_far = len(web_log.read_text())
    second.end(signal.SIGINT)
    wait_for(lambda: not second.everything(), "the end of everything", 10)
    assert "Shutting down" in web_log.read_text()[so_far:] and "SIGKILL" not in web_log.read_text()[so_far:]
    third = up()
    third.end(signal.SIGTERM)
    wait_for(lambda: not third.everything(), "the end of everything", 10)


def test_a_taken_or_impossible_address_is_told_in_a_sentence(tmp_path):
    for bind, told in (("127.0.0.1:99999", "is no address to listen at"), ("192.0.2.1:80", "Nothing can listen at")):
        done = subprocess.run(
            [sys.executable, "manage.py", "up", "--bind", bind],
            env={**worker_environment(), "SFSYNC_DATA": str(tmp_path)},
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1
        assert told in done.stderr and "Traceback" not in done.stderr
    connection.close()
