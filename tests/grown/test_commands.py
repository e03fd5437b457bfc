"""The very commands of the container installation, on the real servers, without the containers."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml
from django.conf import settings
from django.contrib.auth.models import User

from jobs.models import Status
from jobs.start import start_job
from tests.factories import anybody
from tests.grown.conftest import free_port
from tests.jobs.scenario import make_people_sync, people, write_csv
from tests.workers import Process, wait_for, wait_for_end, worker_environment

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.grown]

ROOT: Path = settings.BASE_DIR
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
# The image's own command: what `web` runs.
WEB = json.loads(re.search(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[1])


def of_service(name: str) -> list[str]:
    """The arguments of a service's command, after the Python interpreter."""
    python, *arguments = SERVICES[name]["command"]
    assert python == "python"
    return arguments


def is_alive(file: Path) -> bool:
    """What the container's health check says of a file."""
    _, python, *check, _ = SERVICES["worker"]["healthcheck"]["test"]
    assert python == "python"
    done = subprocess.run([sys.executable, *check, str(file)], cwd=ROOT, env=worker_environment(), timeout=60)
    assert done.returncode in (0, 1)
    return done.returncode == 0


@pytest.fixture
def installation(redis_server, tmp_path):
    """Web, worker and beat; the address of the web server, and the files where the other two say that they live."""
    port = free_port()
    gunicorn, *arguments = [part.replace("0.0.0.0:8000", f"127.0.0.1:{port}") for part in WEB]
    alive = {name: tmp_path / name for name in ("worker", "beat")}
    parts = [Process("web", "-m", gunicorn, *arguments)]
    parts += [Process(name, *of_service(name), SFSYNC_ALIVE_FILE=str(file)) for name, file in alive.items()]
    yield f"http://127.0.0.1:{port}", alive
    for part in parts:
        part.stop()


def test_web_worker_and_beat_do_their_work_and_say_so(installation, sandbox, org, tmp_path):
    address, alive = installation
    sync = make_people_sync(sandbox)
    write_csv(sync.organization, "people.csv", people(100))

    def answer() -> requests.Response | None:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{address}/readyz", timeout=10)
        return None

    ready = wait_for(answer, "the web server")
    assert (ready.status_code, ready.json()["status"]) == (200, "ok"), ready.text
    login = requests.get(f"{address}/admin/login/", timeout=10)
    assert login.status_code == 200
    assert requests.get(f"{address}/static/admin/css/base.css", timeout=10).status_code == 200

    assert wait_for_end(start_job(sync, by=anybody(sync))).status == Status.SUCCEEDED
    assert org.count("Contact") == 100
    for file in alive.values():
        wait_for(file.exists, f"a sign of life in {file.name}")
        assert is_alive(file)
    assert not is_alive(tmp_path / "nobody")


@pytest.mark.usefixtures("redis_server")
def test_preparing_twice_does_no_harm():
    def prepare() -> str:
        done = subprocess.run(
            [sys.executable, *of_service("prepare")],
            cwd=ROOT,
            env=worker_environment(SFSYNC_FIRST_PASSWORD="Only-4-a-test!"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert prepare() == "Made the first user: admin.\n"
    assert prepare() == ""
    assert User.objects.get().check_password("Only-4-a-test!")
