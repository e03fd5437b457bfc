"""sfsync-sandbox as its own distribution: built, installed where there is no Django, started, and used with pytest."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import time
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
USER_TEST = """
import urllib.request


def test_it_is_there(salesforce_org):
    request = urllib.request.Request(
        salesforce_org.url + "/services/data/v60.0/sobjects/Contact",
        b'{"LastName": "Lovelace"}',
        {"Authorization": "Bearer " + salesforce_org.token(), "Content-Type": "application/json"},
    )
    assert urllib.request.urlopen(request).status == 201
    assert salesforce_org.control("GET", "state")["objects"]["Contact"]["live"] == 1


def test_it_is_empty_again_and_fails_on_demand(salesforce_org):
    assert salesforce_org.control("GET", "state")["objects"]["Contact"]["live"] == 0
    assert salesforce_org.fault(action="status", status=503) == "rule-1"
    assert salesforce_org.username == "someone@example.com"
"""
START = """
import sys, sandbox.__main__, sandbox.server, sandbox.web.archive
print(sorted(each for each in ("django", "pyarrow", "celery", "sfsync", "requests") if each in sys.modules))
try:
    import django
except ImportError:
    print("no django")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    built = subprocess.run([*command, "packaging/sandbox"], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("sfsync_sandbox-*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel and what it needs, and nothing else of ours."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    site = next((folder / "lib").glob("python*")) / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    facts = importlib.metadata.Distribution.at(next(site.glob("sfsync_sandbox-*.dist-info")))
    for distribution in _with_dependencies([*(facts.requires or ()), "pytest"]):
        for part in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__", "sandbox"}:
            source, link = Path(str(distribution.locate_file(part))), site / part
            if source.exists() and not link.exists():
                link.symlink_to(source)
    return folder / "bin" / "python"


def _with_dependencies(wanted: list[str]) -> list[importlib.metadata.Distribution]:
    """What some requirements lead to, as installed here."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [Requirement(each) for each in wanted]
    while waiting:
        requirement = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        distribution = importlib.metadata.distribution(requirement.name)
        key = f"{requirement.name} {sorted(requirement.extras)}"
        if key in found:
            continue
        found[key] = distribution
        for each in map(Requirement, distribution.requires or ()):
            extras = requirement.extras or {""}
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                each.marker = None
                waiting.append(each)
    return list(found.values())


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "DJANGO", "PYTEST"))}


def test_the_wheel_brings_all_the_sandbox_has(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        facts = next(archive.read(each).decode() for each in names if each.endswith("METADATA"))
        entries = next(archive.read(each).decode() for each in names if each.endswith("entry_points.txt"))
    listed = subprocess.run(["git", "ls-files", "sandbox"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert len(listed) > 100
    assert set(listed) <= names
    assert "Requires-Dist: duckdb" in facts
    assert "jango" not in facts
    assert "sfsync-sandbox = sandbox.__main__:main" in entries
    assert "salesforce_sandbox = sandbox.pytest_plugin" in entries
    assert any(each.endswith("licenses/LICENSE") for each in names)


def test_its_dependencies_are_those_of_the_project() -> None:
    import tomllib

    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    its = tomllib.loads((ROOT / "packaging" / "sandbox" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(its["dependencies"]) <= set(ours["dependencies"])
    assert its["version"] == ours["version"]


def test_it_starts_and_serves_without_django(python: Path, tmp_path: Path) -> None:
    told = subprocess.run([python, "-c", START], cwd=tmp_path, env=_environment(), capture_output=True, text=True)
    assert told.stdout.split("\n")[:2] == ["[]", "no django"], told.stderr
    ready = tmp_path / "ready.json"
    started = time.monotonic()
    command = [python, "-m", "sandbox", "--port", "0", "--ready-file", ready]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=_environment(), stdout=log, stderr=log)
    try:
        while not ready.exists():
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.005)
        print(f"\nlistening after {time.monotonic() - started:.2f} s")
        address = json.loads(ready.read_text())["http_url"]
        with urllib.request.urlopen(address + "/_sandbox/static/style.css", timeout=10) as answer:
            assert answer.status == 200
    finally:
        process.terminate()
        process.wait(10)


def test_users_get_an_org_from_the_pytest_plugin(python: Path, wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(USER_TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\nsalesforce_sandbox_args = --username someone@example.com\n")
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    ran = subprocess.run(command, cwd=tmp_path, env=_environment(), capture_output=True, text=True)
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr
