"""What keeps a sync from running is told before anything is sent."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from syncs.engine.errors import MisconfiguredEngineError
from syncs.engine.validate import problems
from syncs.spec import MappingSpec

from .factories import KEY, field, make_describe, make_spec

COLUMNS = ("id", "name", "city")
LINES = (MappingSpec("Ext__c", "id"), MappingSpec("Name", "name"), MappingSpec("City__c", "city"))


def told(spec: Any = None, describe: Any = None, columns: tuple[str, ...] = COLUMNS, hint: str = "") -> list[str]:
    return [str(problem) for problem in problems(spec or make_spec(), describe or make_describe(), columns, hint)]


def test_a_sound_sync_has_no_problems() -> None:
    for mode in ("insert", "update", "upsert", "mirror"):
        assert told(make_spec(mode=mode)) == []
    assert told(make_spec(*LINES[1:], mode="insert", compare="nothing", key_fields=())) == []


@pytest.mark.parametrize(
    ("mode", "right", "refused"),
    [
        ("insert", "createable", True),
        ("insert", "updateable", False),
        ("update", "createable", False),
        ("update", "updateable", True),
        ("upsert", "createable", True),
        ("upsert", "updateable", True),
        ("upsert", "deletable", False),
        ("mirror", "deletable", True),
    ],
)
def test_the_mode_must_be_allowed_on_the_object(mode: str, right: str, refused: bool) -> None:
    found = told(make_spec(mode=mode), make_describe(**{right: False}))
    assert bool(found) == refused
    if refused:
        verb = right.removesuffix("able").replace("delet", "delete")
        assert f"Object 'Place__c': the connected user may not {verb}" in found[0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (MappingSpec("Nam", "name"), ["Field 'Nam'", "no such field", "Did you mean 'Name'?"]),
        (MappingSpec("Name", "Name"), ["Source column 'Name'", "no column of that name", "Did you mean 'name'?"]),
        (MappingSpec("Name", "zzz"), ["Source column 'zzz'", "Its columns are: id, name, city."]),
        (MappingSpec("Name"), ["Field 'Name'", "either a source column, or a constant, or an expression"]),
        (MappingSpec("Name", "name", constant="x"), ["either a source column, or a constant, or an expression"]),
        (MappingSpec("City__c", "name"), ["Field 'City__c'", "mapped twice"]),
        (MappingSpec("Where__c", "name"), ["Field 'Where__c'", "type location cannot be mapped"]),
        (MappingSpec("Body__c", "name"), ["type base64 cannot be mapped"]),
        (MappingSpec("Made__c", "name"), ["a formula field cannot be written when a record is created"]),
        (MappingSpec("Once__c", "name"), ["cannot be written when a record is updated", "mode 'insert'"]),
        (MappingSpec("Size__c", constant="big"), ["Constant 'big'", "is no number for Size (Size__c)"]),
        (MappingSpec("Size__c", constant="1.234"), ["Constant '1.234'", "more decimals"]),
        (MappingSpec("Name", constant="x" * 300), ["holds at most 255 characters"]),
        (MappingSpec("Name", constant="#N/A"), ["'clear the field'"]),
    ],
)
def test_a_line_that_cannot_work_is_named(line: MappingSpec, words: list[str]) -> None:
    describe = make_describe(
        KEY,
        field("Name"),
        field("City__c"),
        field("Where__c", "location"),
        field("Body__c", "base64"),
        field("Made__c", calculated=True, createable=False, updateable=False),
        field("Once__c", updateable=False),
        field("Size__c", "double", precision=6, scale=2),
    )
    found = told(make_spec(LINES[0], line, LINES[2]), describe)
    assert len(found) == 1
    assert all(word in found[0] for word in words), found


def test_what_may_be_wrong_with_the_file_is_added_to_a_missing_column() -> None:
    hint = "The first line holds no ';': is the delimiter right?"
    found = told(columns=("id,name,city",), hint=hint)
    assert len(found) == 3 and all(hint in each for each in found)


def test_required_fields_must_be_mapped_where_records_are_made() -> None:
    describe = make_describe(KEY, field("Name"), field("City__c"), field("Must__c", nillable=False))
    assert told(describe=describe) == [
        "Field 'Must__c': a new Place__c must have a value there, but it is not mapped. "
        "Map a source column or a constant to it."
    ]
    assert told(make_spec(mode="update"), describe) == []
    defaulted = make_describe(
        KEY, field("Name"), field("City__c"), field("Must__c", nillable=False, defaulted_on_create=True)
    )
    assert told(describe=defaulted) == []


def test_a_required_field_takes_no_blank_constant() -> None:
    describe = make_describe(KEY, field("Name", nillable=False))
    (problem,) = told(make_spec(LINES[0], MappingSpec("Name", constant=" ")), describe)
    assert "Name (Name) is blank" in problem


@pytest.mark.parametrize(
    ("changes", "lines", "words"),
    [
        ({"key_fields": ()}, LINES, ["Sync key", "needs one", "Ext__c"]),
        ({"key_fields": (), "mode": "insert"}, LINES, ["needs one"]),
        ({"key_fields": ("Gone__c",)}, LINES, ["Sync key 'Gone__c'", "no such field", "Ext__c"]),
        ({}, LINES[1:], ["Sync key 'Ext__c'", "not mapped"]),
        ({}, (MappingSpec("Ext__c", constant="1"), *LINES[1:]), ["Sync key 'Ext__c'", "mapped to a constant"]),
        ({"mode": "mirror", "compare": "nothing"}, LINES, ["Compare 'nothing'", "mirror"]),
        ({"time_zone": "Mars/Olympus"}, LINES, ["Time zone 'Mars/Olympus'", "IANA"]),
        ({"batch_rows": 0}, LINES, ["Batch rows '0'"]),
    ],
)
def test_key_and_settings_must_go_together(
    changes: dict[str, Any], lines: tuple[MappingSpec, ...], words: list[str]
) -> None:
    found = told(make_spec(*lines, **changes))
    assert any(all(word in each for word in words) for each in found), found


def test_a_mapping_without_lines_is_refused() -> None:
    spec = dataclasses.replace(make_spec(mode="insert", compare="nothing", key_fields=()), mappings=())
    assert "Mapping: it has no lines, so there is nothing to send. Map at least one field." in told(spec)


def test_names_of_fields_may_be_spelled_in_any_case() -> None:
    assert told(make_spec(MappingSpec("EXT__C", "id"), MappingSpec("name", "name"), key_fields=("ext__c",))) == []


def test_the_error_says_all_that_is_wrong() -> None:
    found = problems(make_spec(), make_describe(createable=False, updateable=False), COLUMNS)
    error = MisconfiguredEngineError(tuple(found))
    assert error.problems == tuple(found) and str(error).count("may not") == 2
