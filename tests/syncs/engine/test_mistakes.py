"""Mistakes in expressions, filters, rules, replacements and date formats are told before a job runs."""

from __future__ import annotations

from typing import Any

import pytest

from syncs.engine.validate import problems
from syncs.spec import ColumnSpec, MappingSpec, ReplacementSpec, SelectionSpec, SyncSpec

from .factories import KEY, field, make_describe, make_spec

COLUMNS = ("id", "name", "price", "born")
TYPES = (ColumnSpec("price", "number"), ColumnSpec("born", "date", "%d.%m.%Y"))
DESCRIBE = make_describe(KEY, field("Name"), field("Size__c", "double", precision=6, scale=2))


def told(*lines: MappingSpec, **changes: Any) -> list[str]:
    spec: SyncSpec = make_spec(MappingSpec("Ext__c", "id"), *lines, **{"columns": TYPES, **changes})
    return [str(problem) for problem in problems(spec, DESCRIBE, COLUMNS)]


def file(**changes: Any) -> SelectionSpec:
    return SelectionSpec(path="places.csv", **changes)


def replaced(pattern: str, by: str = "") -> MappingSpec:
    return MappingSpec("Name", "name", replacements=(ReplacementSpec(pattern, by),))


def compared(field: Any, operator: str, value: Any) -> dict[str, Any]:
    left = field if isinstance(field, dict) else {"source": field}
    return {"left": left, "operator": operator, "right": value if isinstance(value, dict) else {"value": str(value)}}


def test_a_target_filter_with_an_unknown_parameter_is_told() -> None:
    changes = {"compare": "destination", "parameters": {"region": ""}}
    assert told(MappingSpec("Name", "name"), target_filter="Name = @region", **changes) == []
    [found] = told(MappingSpec("Name", "name"), target_filter="Name = @regoin", **changes)
    assert "Target filter 'Name = @regoin': it uses @regoin" in found and "region" in found


def test_a_sound_sync_has_no_problems() -> None:
    rule = {"all": [compared("price", ">", 5), compared({"target": "Size__c"}, "<", {"source": "price"})]}
    found = told(
        MappingSpec("Name", expression="upper(name) || @region", replacements=(ReplacementSpec("(A)", r"\1"),)),
        MappingSpec("Size__c", expression="price * 2"),
        selection=file(filter="born > '2024-01-01' AND name <> @region"),
        parameters={"region": ""},
        changed_rule=rule,
    )
    assert found == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (MappingSpec("Name", "name", expression="name"), "either a source column, or a constant, or an expression"),
        (
            MappingSpec("Name", expression="upper(nmae)"),
            "Expression 'upper(nmae)': for Name it has a mistake at character 7. The source has no column 'nmae'. "
            "Did you mean name?",
        ),
        (MappingSpec("Name", expression="upper(price)"), "upper() does not take a number"),
        (MappingSpec("Name", expression="name || @region"), "The sync has no parameter 'region'. It has none."),
        (MappingSpec("Name", expression=""), "The expression is empty."),
        (MappingSpec("Name", expression="x" * 20_000), "longer than 10,000 characters"),
        (replaced("("), "Replacement '(': for Name: missing )"),
        (replaced(""), "it has nothing to look for"),
        (replaced("a", r"\1"), "has no groups"),
        (replaced("a", "\\x"), "holds '\\x'"),
        (replaced("[a-z]{0,900}" * 20), "repeats too much"),
    ],
)
def test_a_mistake_in_a_line(line: MappingSpec, words: str) -> None:
    [problem] = told(line)
    assert words in problem and len(problem) < 600


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"selection": file(filter="nmae = 'x'")}, "Expression 'nmae = 'x'': as the source's filter it has a mistake"),
        ({"selection": file(filter="price")}, "A filter has to be true or false for each row"),
        ({"selection": file(filter="(SELECT true)")}, "A subquery has no place"),
        (
            {"selection": file(rules=compared("nmae", "=", "x"))},
            "Source rules 'nmae': a rule looks at this column",
        ),
        (
            {"selection": file(rules=compared("price", "=", "x"))},
            "'x': a rule compares it with price, which is a number.",
        ),
        ({"selection": file(rules=compared({"target": "Name"}, "=", "x"))}, "cannot look at fields in Salesforce"),
        ({"selection": file(rules={"all": [compared("name", "=", "x")]}, filter="true")}, "there are rules beside it"),
        ({"changed_rule": compared({"target": "Nam"}, "=", "x")}, "'Nam': a rule looks at this field"),
        (
            {"changed_rule": compared({"target": "Size__c"}, "=", "x")},
            "'x': a rule compares it with Size__c, which is a number.",
        ),
        ({"columns": (ColumnSpec("born", "date", "%Q"),)}, "Date format '%Q': of the column 'born'"),
        ({"columns": (ColumnSpec("born", "text", "%d"),)}, "only dates and date-times have a format"),
        ({"time_zone": "Mars/Olympus"}, "Time zone 'Mars/Olympus'"),
    ],
)
def test_a_mistake_in_a_setting(changes: dict[str, Any], words: str) -> None:
    [problem] = told(MappingSpec("Name", expression="name"), **changes)
    assert words in problem


def test_the_filter_of_a_table_is_in_the_language_of_its_source() -> None:
    assert told(MappingSpec("Name", "name"), selection=SelectionSpec(table="places", filter="SYSDATE > x")) == []
