"""The grown form, as far as it can be looked at without a container engine."""

import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands
from django.urls import resolve

from tests.workers import worker_environment

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
KNOWN = set(re.findall(r"SFSYNC_[A-Z_]+", (ROOT / "sfsync" / "settings.py").read_text()))
OURS = [name for name, service in COMPOSE["services"].items() if service.get("image") == "sfsync"]


def test_the_installation_is_whole():
    assert set(COMPOSE["services"]) == {"postgres", "redis", "prepare", "web", "worker", "beat"}
    assert COMPOSE["services"]["worker"]["deploy"]["replicas"] == 2
    assert set(OURS) == {"prepare", "web", "worker", "beat"}
    assert all("healthcheck" in COMPOSE["services"][name] for name in COMPOSE["services"] if name != "prepare")


@pytest.mark.parametrize("name", OURS)
def test_each_command_and_setting_of_a_service_exists(name):
    service = COMPOSE["services"][name]
    command = service.get("command", [])
    if command[:2] == ["python", "manage.py"]:
        assert command[2] in get_commands()
    assert set(service["environment"]) <= KNOWN
    for needed in service["depends_on"]:
        assert needed in COMPOSE["services"]


def test_the_web_server_is_asked_at_a_route_that_exists():
    (url,) = re.findall(r"http://127.0.0.1:8000(/\w+)", str(COMPOSE["services"]["web"]["healthcheck"]))
    assert resolve(url).url_name == "readyz"


def test_each_setting_that_is_told_about_exists():
    text = (ROOT / "docker-compose.yml").read_text() + DOCKERFILE
    assert set(re.findall(r"SFSYNC_[A-Z_]+", text)) <= KNOWN


def test_the_image_copies_what_exists_and_runs_as_nobody_special():
    ignored = (ROOT / ".dockerignore").read_text().split()
    for source in re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE):
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored
    packages = re.search(r"packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text())[1].replace('"', "").split(", ")
    assert all(f"COPY {package} " in DOCKERFILE for package in packages if package != "sandbox")
    assert re.findall(r"^USER (\w+)", DOCKERFILE, re.MULTILINE)[-1] == "sfsync"
    assert DOCKERFILE.index("USER sfsync") < DOCKERFILE.index("CMD")


def test_django_finds_nothing_to_say_about_the_documented_production_settings():
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        env={
            **worker_environment(),
            "SFSYNC_HTTPS": "true",
            "SFSYNC_SECRET_KEY": secrets.token_urlsafe(50),
            "SFSYNC_ALLOWED_HOSTS": "sfsync.example.com",
        },
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout
