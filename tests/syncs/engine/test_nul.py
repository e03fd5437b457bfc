"""NUL characters are refused, and nothing that is told or kept holds one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connections.sources.base import MalformedRow
from syncs.engine import rules
from syncs.engine.validate import problems
from syncs.spec import MappingSpec

from .factories import KEY, Loads, actions, errors, field, make_describe, make_spec, table


def test_a_cell_with_a_nul_character_is_refused(loads: Loads) -> None:
    plan, final = loads.run([("1", "A\0na", "Rome"), ("2", "Bert", "Oslo")])
    assert actions(plan) == {1: "rejected", 2: "upsert"}
    assert errors(final.errors_file) == [(1, rules.INVALID_CHARACTER, "Name")]
    (row,) = table(final.errors_file)
    assert row["value"] == "A␀na"
    assert row["message"] == (
        "Column 'name' holds a NUL character (shown as ␀), which Salesforce does not store, so it cannot go into "
        "Name (Name). Remove it."
    )


@pytest.mark.parametrize("type", ["string", "email", "picklist", "multipicklist", "double", "date", "boolean"])
def test_every_family_refuses_it(tmp_path: Path, type: str) -> None:
    describe = make_describe(KEY, field("Name"), field("City__c", type, length=255))
    loads = Loads(tmp_path, describe=describe)
    plan = loads.plan(loads.stage([("1", "n", "a\0@b.org")]))
    assert errors(plan.errors_file) == [(1, rules.INVALID_CHARACTER, "City__c")]


def test_keys_with_a_nul_character_are_not_read_and_no_duplicates(loads: Loads) -> None:
    plan, final = loads.run([("K\0K", "n", "c"), ("K\0K", "n", "c")])
    assert [code for _, code, _ in errors(final.errors_file)] == [rules.INVALID_CHARACTER] * 2
    assert plan.unread_keys == 2
    assert shows_no_nul(table(final.errors_file))


def test_all_messages_show_it_as_a_sign(loads: Loads) -> None:
    loads.org.refuse = lambda row: "FIELD_X:a\0b:Name --"
    long = "x" * 255 + "\0"
    staged = loads.stage([("1", "Anna", "Rome"), ("2", long, "c")], malformed=[MalformedRow(2, "a\0,b", "a \0 in it")])
    plan = loads.plan(staged)
    final = loads.end(staged, plan, [answer.file for answer in loads.send(plan)])
    assert final.errors == 3 and {group.code for group in final.groups} == {
        rules.MALFORMED,
        rules.INVALID_CHARACTER,
        "FIELD_X",
    }
    assert shows_no_nul([group.sample_message for group in final.groups], table(final.errors_file), staged.to_json())
    assert "FIELD_X:a␀b:Name --" in [group.sample_message for group in final.groups]


def test_a_column_with_a_nul_character_in_its_name_can_be_told_and_mapped(loads: Loads) -> None:
    loads.columns = ("id", "na\0me", "city")
    (problem,) = problems(loads.spec, loads.describe, loads.columns)
    assert "na␀me" in str(problem)
    loads.spec = make_spec(MappingSpec("Ext__c", "id"), MappingSpec("Name", "na␀me"))
    assert problems(loads.spec, loads.describe, loads.columns) == []
    plan, final = loads.run([("1", "Anna ", "Rome"), ("2", "\0", "Rome")])
    assert plan.trimmed == {"Name": 1} and shows_no_nul(table(final.errors_file))


def test_a_constant_with_a_nul_character_is_a_problem(loads: Loads) -> None:
    spec = make_spec(MappingSpec("Ext__c", "id"), MappingSpec("Name", constant="a\0b"))
    (problem,) = problems(spec, loads.describe, loads.columns)
    assert "The constant holds a NUL character" in problem.reason and problem.value == "a␀b"


def shows_no_nul(*data: object) -> bool:
    return "\\u0000" not in json.dumps(data)
