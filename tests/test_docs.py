"""The documentation knows everything there is, and its links lead somewhere."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import subprocess
import unicodedata
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.utils.module_loading import import_string

from connections.kinds import KINDS
from jobs.models import BatchState, Status
from sandbox.__main__ import _parser
from syncs.engine import rules
from syncs.engine.expression_functions import FUNCTIONS
from syncs.models import FieldMapping, Parameter, Schedule, Sync

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
OURS = ("sfsync", "orgs", "connections", "syncs", "jobs")
ERROR_MODULES = ("connections.salesforce.errors", "connections.sources.base", "syncs.engine.errors", "jobs.errors")
NOT_FOR_PEOPLE = {"id", "snapshot", "created_at", "sync"}
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def text(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """The part of a reference page below a heading, up to the next one of the same level."""
    match = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", text(name), re.DOTALL | re.MULTILINE)
    assert match, f"{name} has no part called '{heading}'"
    return match[2]


def pages() -> list[Path]:
    """All Markdown files that belong to the project."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    found = [ROOT / name for name in listed.stdout.splitlines()] or [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return [path for path in found if path.is_file()]


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    plain = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {_slug(heading) for heading in re.findall(r"^#+ (.+)$", plain, re.MULTILINE)}


def _slug(heading: str) -> str:
    kept = (
        character for character in heading.lower() if character in " -_" or unicodedata.category(character)[0] in "LN"
    )
    return "".join(kept).strip().replace(" ", "-")


SETTINGS = sorted(set(re.findall(r"SFSYNC_[A-Z_]+", (ROOT / "sfsync" / "settings.py").read_text(encoding="utf-8"))))
COMMANDS = sorted(name for name, app in get_commands().items() if app in OURS)
ERRORS = [
    (module, name)
    for module in ERROR_MODULES
    for name, found in inspect.getmembers(importlib.import_module(module), inspect.isclass)
    if issubclass(found, Exception) and found.__module__ == module
]


def test_there_is_something_to_look_for():
    assert len(SETTINGS) > 15
    assert len(COMMANDS) >= 9
    assert {module for module, _ in ERRORS} == set(ERROR_MODULES)
    assert len(pages()) > 20


@pytest.mark.parametrize("setting", SETTINGS)
def test_each_setting_has_a_line(setting):
    assert re.search(rf"^\| `{setting}` \|", text("settings.md"), re.MULTILINE)


@pytest.mark.parametrize("kind", KINDS)
def test_each_connection_kind_has_a_part_with_a_line_for_each_setting(kind):
    described = section("kinds.md", kind)
    for field in dataclasses.fields(import_string(KINDS[kind][1])):
        line = re.search(rf"^\| `{field.name}` \|.*$", described, re.MULTILINE)
        assert line, f"{kind} has no line for {field.name}"
        assert ("secret" in line[0].split("|")[2]) == field.metadata["secret"]
        assert ("required" in line[0].split("|")[2]) == (field.default is dataclasses.MISSING)
    known = {field.name for field in dataclasses.fields(import_string(KINDS[kind][1]))}
    assert set(re.findall(r"^\| `(\w+)` \|", described, re.MULTILINE)) == known


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_part(command):
    assert f"`{command}" in section("commands.md", command)


def test_each_flag_of_the_sandbox_has_a_line():
    described = section("commands.md", "python -m sandbox")
    flags = {flag for action in _parser()._actions for flag in action.option_strings} - {"-h", "--help"}
    assert set(re.findall(r"^\| `(--[\w-]+)` \|", described, re.MULTILINE)) == flags


@pytest.mark.parametrize(("part", "members"), [("Statuses of a job", Status), ("States of a batch", BatchState)])
def test_each_status_and_each_batch_state_has_a_line(part, members):
    described = section("job-statuses.md", part)
    assert set(re.findall(r"^\| `(\w+)` \|", described, re.MULTILINE)) == set(members.values)


def test_each_status_is_shown_under_its_own_name():
    described = section("job-statuses.md", "Statuses of a job")
    assert all(f"| `{status.value}` | {status.label} |" in described for status in Status)


@pytest.mark.parametrize(("module", "name"), ERRORS)
def test_each_error_class_has_a_line(module, name):
    assert f"`{module}`" in text("errors.md")
    assert re.search(rf"^\| `{name}` \|", text("errors.md"), re.MULTILINE)


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (Sync, "Settings of a sync"),
        (FieldMapping, "Field mappings"),
        (Parameter, "Parameters"),
        (Schedule, "Schedule"),
    ],
)
def test_each_setting_of_a_sync_of_a_field_mapping_and_of_a_schedule_has_a_line(model, part):
    described = section("sync.md", part)
    names = {field.verbose_name for field in model._meta.concrete_fields if field.name not in NOT_FOR_PEOPLE}
    if model is not Sync:
        names -= {"organization"}
    assert {line.strip() for line in re.findall(r"^\| ([a-z ]+) \|", described, re.MULTILINE)} - {"setting"} == names


def test_each_rule_that_rejects_a_row_has_a_line():
    codes = {value for name, value in vars(rules).items() if name.isupper() and isinstance(value, str)}
    assert len(codes) > 10
    assert codes == set(re.findall(r"^\| `([^`]+)` \|", section("sync.md", "Rules that reject a row"), re.MULTILINE))


def test_each_function_of_an_expression_is_listed():
    listed = set(re.findall(r"`(\w+)`", section("expressions.md", "Operators and functions")))
    assert {name for name in FUNCTIONS if name[0].isalpha() and not name.endswith("_escape")} <= listed


def test_the_front_page_leads_to_each_guide_and_each_reference():
    front = (ROOT / "README.md").read_text(encoding="utf-8")
    led_to = {(ROOT / target.partition("#")[0]).resolve() for target in LINK.findall(front)}
    assert {path for folder in ("howto", "reference") for path in (ROOT / "docs" / folder).glob("*.md")} <= led_to


def test_no_setting_is_described_that_does_not_exist():
    described = {word for path in pages() for word in re.findall(r"SFSYNC_[A-Z_]+", path.read_text(encoding="utf-8"))}
    elsewhere = {"SFSYNC_TEST_SERVICES", "SFSYNC_TESTS_ON", "SFSYNC_TEST_POSTGRES"}
    assert described - elsewhere <= set(SETTINGS)


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_each_relative_link_leads_to_a_file_and_a_heading(path):
    plain = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in LINK.findall(plain):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        to = (path.parent / name).resolve() if name else path
        assert to.is_relative_to(ROOT), f"{target} leads out of the project"
        assert to.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in anchors(to), f"{target}: no such heading"
