"""What keeps a sync from running is told before anything is sent."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from syncs.engine.errors import MisconfiguredEngineError
from syncs.engine.validate import problems
from syncs.spec import Behaviour, MappingSpec, SelectionSpec

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
        ("delete", "deletable", True),
        ("delete", "createable", False),
        ("delete", "updateable", False),
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


def custom(new: Any = "insert", changed: Any = "update", dropped: Any = "ignore", **changes: Any) -> dict[str, Any]:
    return {"mode": "custom", "custom": Behaviour(new, changed, dropped), **changes}


@pytest.mark.parametrize(
    ("changes", "right", "refused"),
    [
        (custom("ignore", "update"), "createable", False),
        (custom("insert", "ignore"), "updateable", False),
        (custom("ignore", "conditional"), "updateable", True),
        (custom("insert", "ignore", "expire"), "updateable", True),
        (custom(dropped="delete"), "deletable", True),
        (custom(changed="delete"), "deletable", True),
        ({"mode": "delete", "compare": "nothing", "action_column": "name"}, "createable", True),
        ({"mode": "upsert", "compare": "nothing", "action_column": "name"}, "deletable", False),
    ],
)
def test_behaviours_must_be_allowed_on_the_object(changes: dict[str, Any], right: str, refused: bool) -> None:
    found = [each for each in told(make_spec(**changes), make_describe(**{right: False})) if "may not" in each]
    assert bool(found) == refused


ONCE = field("Once__c", updateable=False)
LATER = field("Later__c", createable=False)
FORMULA = field("Made__c", calculated=True, createable=False, updateable=False)


@pytest.mark.parametrize(
    ("changes", "target", "write_on", "words"),
    [
        ({}, "Once__c", "insert", ""),
        ({}, "Once__c", "both", "'insert only'"),
        ({}, "Once__c", "update", "'insert only'"),
        ({}, "Once__c", "only_if_empty", "'insert only'"),
        ({}, "Later__c", "update", ""),
        ({}, "Later__c", "both", "'update only'"),
        ({"mode": "update"}, "Later__c", "both", ""),
        ({"mode": "update"}, "Once__c", "both", "Remove the line"),
        ({"mode": "insert"}, "Once__c", "both", ""),
        ({"mode": "delete"}, "Made__c", "both", ""),
        (custom("ignore", "delete"), "Made__c", "both", ""),
        (custom("insert", "ignore", "expire", expire_field="Day__c"), "Once__c", "both", ""),
        (custom("ignore", "conditional", changed_rule={"all": []}), "Made__c", "both", "a formula field"),
    ],
)
def test_a_line_is_asked_for_what_it_writes(changes: dict[str, Any], target: str, write_on: Any, words: str) -> None:
    describe = make_describe(KEY, field("Name"), field("City__c"), ONCE, LATER, FORMULA, field("Day__c", "date"))
    line = MappingSpec(target, "name", write_on=write_on)
    found = [
        each
        for each in told(make_spec(LINES[0], line, **changes), describe)
        if "'write on'" in each or "cannot be written" in each
    ]
    assert bool(found) == bool(words) and all(words in each for each in found), found


def test_a_required_field_that_only_updates_write_is_missing_in_new_records() -> None:
    describe = make_describe(KEY, field("Name", nillable=False), field("City__c"))
    lines = (LINES[0], MappingSpec("Name", "name", write_on="update"), LINES[2])
    assert told(make_spec(*lines), describe) == [
        "Field 'Name': a new Place__c must have a value there, but its line writes on updates only. "
        "Set 'write on' of this line to 'insert and update'."
    ]
    assert told(make_spec(*lines, mode="update"), describe) == []


@pytest.mark.parametrize(
    ("mode", "refused"), [("insert", True), ("upsert", True), ("mirror", True), ("update", False), ("delete", False)]
)
@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (FORMULA, "a formula field"),
        (field("Number__c", auto_number=True, createable=False, updateable=False), "an auto-number field"),
        (field("Id", "id", createable=False, updateable=False), "the record's id"),
    ],
)
def test_a_key_that_cannot_be_written_only_finds_records(key: Any, kind: str, mode: str, refused: bool) -> None:
    spec = make_spec(MappingSpec(key.name, "id"), LINES[1], mode=mode, key_fields=(key.name,))
    found = told(spec, make_describe(key, field("Name")))
    assert found == refused * [
        f"Sync key '{key.name}': {kind} can find records but not be written, and the mode '{mode}' makes new records, "
        "which would be without their key. Choose a key that can be written, or a mode that makes no new records, such "
        "as 'update'."
    ]


def test_a_key_must_be_a_field_that_records_can_be_searched_by() -> None:
    describe = make_describe(field("Long__c", "textarea", length=32768, filterable=False), field("Name"))
    lines = (MappingSpec("Long__c", "id"), LINES[1])
    [problem] = told(make_spec(*lines, key_fields=("Long__c",)), describe)
    assert "Sync key 'Long__c': Salesforce cannot search records by it (it is of the type textarea of 32,768" in problem
    # Nobody searches where every row becomes a new record.
    assert told(make_spec(*lines, key_fields=("Long__c",), mode="insert", compare="nothing"), describe) == []


@pytest.mark.parametrize(
    ("mode", "write_on", "refused"),
    [
        ("upsert", "insert", False),
        ("upsert", "update", True),
        ("update", "update", False),
        ("update", "only_if_empty", True),
    ],
)
def test_the_line_of_a_key_writes_new_records(mode: str, write_on: Any, refused: bool) -> None:
    found = told(make_spec(MappingSpec("Ext__c", "id", write_on=write_on), *LINES[1:], mode=mode))
    assert [each for each in found if "a key is written when a record is created" in each] == found
    assert bool(found) == refused


RULE = {"left": {"target": "Nam"}, "operator": "=", "right": {"source": "nme"}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (custom(dropped="delete", compare="nothing"), ["Compare 'nothing'", "deletes what left the source"]),
        (custom(dropped="expire", compare="nothing"), ["expires what left the source"]),
        ({"mode": "custom"}, ["Mode 'custom'", "Choose one of each"]),
        (custom(dropped="expire"), ["Expire field", "which field takes the date", "Day__c, Time__c"]),
        (custom(dropped="expire", expire_field="Gone__c"), ["Expire field 'Gone__c'", "no such field"]),
        (
            custom(dropped="expire", expire_field="Name"),
            ["Expire field 'Name'", "of the type string", "Day__c, Time__c"],
        ),
        (custom(dropped="expire", expire_field="Fixed__c"), ["Expire field 'Fixed__c'", "cannot be written"]),
        (custom(changed="conditional"), ["Rule of changed rows:", "there is none"]),
        (custom(changed="conditional", changed_rule=RULE), ["Rule of changed rows 'Nam'", "Did you mean 'Name'?"]),
        (custom(changed="conditional", changed_rule=RULE), ["Rule of changed rows 'nme'", "Did you mean 'name'?"]),
        (
            {"selection": SelectionSpec(path="x.csv", rules={"left": {"source": "cty"}, "operator": "is null"})},
            ["Source rules 'cty'", "Did you mean 'city'?"],
        ),
        (
            {"action_column": "do", "compare": "nothing"},
            ["Action column 'do'", "no column of that name", "id, name, city"],
        ),
        ({"action_column": "city"}, ["Action column 'city'", "compare = snapshot", "Choose compare = nothing"]),
        (
            {"mode": "insert", "compare": "nothing", "action_column": "city", "key_fields": ()},
            ["Sync key", "needs one"],
        ),
        ({"target_filter": "Name != null"}, ["Target filter 'Name != null'", "Choose compare = destination"]),
        (
            custom("ignore", "update", key_fields=()),
            ["Sync key", "the mode 'custom' with compare = snapshot needs one"],
        ),
    ],
)
def test_settings_of_behaviours_must_go_together(changes: dict[str, Any], words: list[str]) -> None:
    dates = (field("Day__c", "date"), field("Time__c", "datetime"), field("Fixed__c", "date", updateable=False))
    found = told(make_spec(**changes), make_describe(KEY, field("Name"), field("City__c"), *dates))
    assert any(all(word in each for word in words) for each in found), found


def test_settings_of_behaviours_that_go_together_are_no_problem() -> None:
    describe = make_describe(KEY, field("Name"), field("City__c"), field("Day__c", "date"))
    rule = {"left": {"target": "name"}, "operator": "=", "right": {"parameter": "p"}}
    for changes in (
        custom(changed="conditional", dropped="expire", expire_field="day__c", changed_rule=rule, parameters={"p": ""}),
        custom("ignore", "ignore", "delete"),
        {"compare": "destination", "target_filter": "Name != null"},
        {"compare": "nothing", "action_column": "city"},
        {"mode": "delete"},
    ):
        assert told(make_spec(**changes), describe) == []


@pytest.mark.parametrize("changes", [{"mode": "upsert"}, {"compare": "snapshot"}, {"action_column": "city"}])
def test_a_platform_event_is_published_and_nothing_else(changes: dict[str, Any]) -> None:
    describe = make_describe(field("Text__c"), name="Told__e", updateable=False, deletable=False, queryable=False)
    settings = {"object": "Told__e", "mode": "insert", "compare": "nothing", "key_fields": ()}
    line = MappingSpec("Text__c", "name")
    assert told(make_spec(line, **settings), describe) == []
    found = told(make_spec(line, **{**settings, **changes}), describe)
    assert "Object 'Told__e': a platform event can only be published" in found[0]
