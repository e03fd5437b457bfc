"""The options of a line of the mapping: what becomes of blanks, and of values that do not fit or break a rule."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from syncs.engine import rules, validate
from syncs.engine.plan import Plan
from syncs.engine.refused import refused_rows_csv
from syncs.spec import MappingSpec

from .factories import KEY, Loads, actions, errors, field, make_describe, make_spec, read_csv, table

PICKLIST = {"restricted_picklist": True, "picklist_values": ("Gold", "Silver", "Basic")}


def make_loads(tmp_path: Path, type: str = "string", *, required: bool = False, **options: Any) -> Loads:
    """A sync of an id and a cell x into X__c, a field of this type."""
    facts = {name: options.pop(name) for name in ("length", "scale", "precision") if name in options}
    picklist = PICKLIST if "picklist" in type else {}
    target = field("X__c", type, nillable=not required, **{**picklist, **facts})
    changes = {"mode": options.pop("mode")} if "mode" in options else {}
    spec = make_spec(MappingSpec("Ext__c", "id"), MappingSpec("X__c", "x", **options), **changes)
    loads = Loads(tmp_path, spec, make_describe(KEY, target))
    loads.columns = ("id", "x")
    assert validate.problems(loads.spec, loads.describe, loads.columns) == []
    return loads


def sent(plan: Plan) -> dict[str, str]:
    """What is sent to X__c, by key."""
    return {row["Ext__c"]: row["X__c"] for batch in plan.batches for row in read_csv(batch.file)}


def cells(loads: Loads, *values: str | None) -> list[str | None]:
    """What is sent for each cell; None for a row that is not sent."""
    plan = loads.plan(loads.stage([(str(number), value) for number, value in enumerate(values)]))
    found = sent(plan)
    return [found.get(str(number)) for number in range(len(values))]


SOURCES = (None, "", " \t", "Oslo")
EXISTING = ("no record", "blank", "Oslo", "Rome")
UNCHANGED = None
# For each option, a line per source value, and in it what is sent over each existing value.
BLANKS = {
    "leave": [["", UNCHANGED, UNCHANGED, UNCHANGED]] * 3 + [["Oslo", "Oslo", UNCHANGED, "Oslo"]],
    "clear": [["#N/A", UNCHANGED, "#N/A", "#N/A"]] * 3 + [["Oslo", "Oslo", UNCHANGED, "Oslo"]],
    "default": [["Rome", UNCHANGED, "Rome", UNCHANGED]] * 3 + [["Oslo", "Oslo", UNCHANGED, "Oslo"]],
}


@pytest.mark.parametrize("option", BLANKS)
def test_what_a_blank_does_depends_on_the_option_and_on_what_is_there(option: str, tmp_path: Path) -> None:
    loads = make_loads(tmp_path, when_blank=option, default="Rome" if option == "default" else "")
    pairs = list(itertools.product(SOURCES, EXISTING))
    known = {"blank": "", "Oslo": "Oslo", "Rome": "Rome"}
    loads.run([(str(number), known[there]) for number, (_, there) in enumerate(pairs) if there in known])
    plan, _ = loads.run([(str(number), cell) for number, (cell, _) in enumerate(pairs)])
    found = sent(plan)
    expected = [cell for line in BLANKS[option] for cell in line]
    assert [found.get(str(number)) for number in range(len(pairs))] == expected
    assert [actions(plan)[number + 1] for number in range(len(pairs))] == [
        "unchanged" if cell is UNCHANGED else "upsert" for cell in expected
    ]


def test_a_default_is_read_as_a_cell_would_be(tmp_path: Path) -> None:
    loads = make_loads(tmp_path, "double", precision=5, scale=2, when_blank="default", default=" 1.50 ")
    assert cells(loads, None, "2") == ["1.5", "2"]


def test_a_default_fills_what_a_new_record_must_have(tmp_path: Path) -> None:
    assert cells(make_loads(tmp_path, required=True, when_blank="default", default="n/a"), " ") == ["n/a"]


def test_a_long_text_is_cut_and_counted(tmp_path: Path) -> None:
    loads = make_loads(tmp_path, length=5, too_long="truncate")
    plan = loads.plan(loads.stage([("1", "abcdefg"), ("2", "abcde"), ("3", "abcd efg"), ("4", "äöüßéè")]))
    assert sent(plan) == {"1": "abcde", "2": "abcde", "3": "abcd", "4": "äöüßé"}
    assert plan.adjusted == {"rounded": {}, "truncated": {"X__c": 3}, "picklist": {}, "parents": {}}


def test_a_character_of_two_units_is_never_cut_in_two(tmp_path: Path) -> None:
    loads = make_loads(tmp_path, length=4, too_long="truncate")
    cut = {"😀😀😀": "😀😀", "a😀😀": "a😀", "ab😀c": "ab😀", "abc😀": "abc", "😀😀": "😀😀", "abcd😀": "abcd"}
    assert cells(loads, *cut) == list(cut.values())


def test_a_text_that_cannot_be_sent_is_not_made_to_fit(tmp_path: Path) -> None:
    loads = make_loads(tmp_path, length=4, too_long="truncate")
    staged = loads.stage([("1", "#N/A"), ("2", "#N/Abc"), ("3", "a\0bcdef")])
    assert [code for _, code, _ in errors(loads.plan(staged).errors_file)] == [
        rules.RESERVED,
        rules.TOO_LONG,
        rules.INVALID_CHARACTER,
    ]


def test_an_address_is_not_cut(tmp_path: Path) -> None:
    loads = make_loads(tmp_path, "email", length=8, too_long="truncate")
    plan = loads.plan(loads.stage([("1", "ana@example.com")]))
    assert errors(plan.errors_file) == [(1, rules.TOO_LONG, "X__c")]


@pytest.mark.parametrize(
    ("option", "expected"),
    [("reject", ["Gold", None, None]), ("clear", ["Gold", "#N/A", "#N/A"]), ("default", ["Gold", "Basic", "Basic"])],
)
def test_an_unknown_picklist_value_is_rejected_cleared_or_replaced(
    option: str, expected: list[str | None], tmp_path: Path
) -> None:
    loads = make_loads(tmp_path, "picklist", unknown_picklist=option, default="Basic")
    assert cells(loads, "Gold", "gold", "Tin") == expected


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("reject", ["Gold;Silver", None, None]),
        ("clear", ["Gold;Silver", "Gold", "#N/A"]),
        ("default", ["Gold;Silver", "Gold;Basic", "Basic"]),
    ],
)
def test_of_several_picklist_values_the_known_ones_stay(
    option: str, expected: list[str | None], tmp_path: Path
) -> None:
    loads = make_loads(tmp_path, "multipicklist", length=100, unknown_picklist=option, default="Basic")
    assert cells(loads, "Gold ; Silver", "Gold;Tin", "Tin;Lead") == expected


def test_replaced_picklist_values_are_counted(tmp_path: Path) -> None:
    loads = make_loads(tmp_path, "picklist", unknown_picklist="default", default="Basic")
    plan, _ = loads.run([("1", "Gold"), ("2", "Tin"), ("3", "Lead"), ("4", None)])
    assert plan.adjusted["picklist"] == {"X__c": 2}
    plan, _ = loads.run([("1", "Gold"), ("2", "Tin"), ("3", "Lead"), ("4", None)])
    assert plan.adjusted["picklist"] == {"X__c": 2} and plan.batches == ()


def test_the_sign_that_clears_is_rejected_whatever_the_line_allows(tmp_path: Path) -> None:
    loads = make_loads(tmp_path, "picklist", unknown_picklist="clear", validated=True)
    plan = loads.plan(loads.stage([("1", "#N/A")]))
    assert errors(plan.errors_file) == [(1, rules.RESERVED, "X__c")]


@pytest.mark.parametrize("when_blank", ["leave", "clear"])
def test_a_blank_in_a_mandatory_line_rejects_the_row(when_blank: str, tmp_path: Path) -> None:
    loads = make_loads(tmp_path, mandatory=True, when_blank=when_blank)
    plan, final = loads.run([("1", " "), ("2", "Oslo")])
    assert errors(plan.errors_file) == [(1, rules.MANDATORY, "X__c")]
    assert (plan.violations, final.source["rejected"], sent(plan)) == (0, 1, {"2": "Oslo"})


def test_a_default_satisfies_a_mandatory_line(tmp_path: Path) -> None:
    assert cells(make_loads(tmp_path, mandatory=True, when_blank="default", default="Rome"), None) == ["Rome"]


def test_an_unknown_picklist_value_that_is_cleared_is_a_blank_to_a_mandatory_line(tmp_path: Path) -> None:
    loads = make_loads(tmp_path, "multipicklist", length=100, mandatory=True, unknown_picklist="clear")
    plan = loads.plan(loads.stage([("1", "Tin"), ("2", "Tin;Gold")]))
    assert errors(plan.errors_file) == [(1, rules.MANDATORY, "X__c")] and sent(plan) == {"2": "Gold"}


@pytest.mark.parametrize(("when_blank", "expected"), [("leave", ""), ("clear", "#N/A")])
def test_a_blank_in_a_mandatory_line_without_validation_goes_on_record(
    when_blank: str, expected: str, tmp_path: Path
) -> None:
    loads = make_loads(tmp_path, mandatory=True, validated=False, when_blank=when_blank)
    plan, final = loads.run([("1", None), ("2", "Oslo")])
    assert sent(plan) == {"1": expected, "2": "Oslo"}
    assert (plan.violations, final.source["inserted"], final.source["rejected"]) == (1, 2, 0)
    [error] = table(final.errors_file)
    assert (error["_row"], error["source"], error["code"]) == (1, "violation", rules.MANDATORY)
    assert [(group.source, group.code, group.count) for group in final.groups] == [("violation", rules.MANDATORY, 1)]


def test_a_bad_value_in_a_line_without_validation_is_left_out(tmp_path: Path) -> None:
    loads = make_loads(tmp_path, "date", validated=False, when_blank="clear")
    plan, final = loads.run([("1", "soon"), ("2", "2026-02-28"), ("3", None)])
    assert sent(plan) == {"1": "", "2": "2026-02-28", "3": "#N/A"}
    assert (plan.violations, final.source["inserted"]) == (1, 3)
    [error] = table(plan.errors_file)
    assert (error["code"], error["value"]) == (rules.DATE, "soon")
    assert error["message"].endswith("The rest of the row went on without it.")


def test_a_row_that_is_not_sent_has_its_violation_on_record_too(tmp_path: Path) -> None:
    loads = make_loads(tmp_path, "date", validated=False)
    loads.run([("1", "soon"), ("2", None)])
    plan, final = loads.run([("1", "soon"), ("2", None)])
    assert plan.batches == () and plan.violations == 1
    assert [row["_row"] for row in table(final.errors_file)] == [1]


def test_a_new_record_must_have_its_value_even_without_validation(tmp_path: Path) -> None:
    loads = make_loads(tmp_path, "date", required=True, validated=False, mandatory=True)
    loads.run([("1", "2026-01-01"), ("2", "2026-01-01")])
    plan, final = loads.run([("1", "soon"), ("2", None), ("3", "soon"), ("4", None)])
    assert [(row["_row"], row["source"], row["code"]) for row in table(plan.errors_file)] == [
        (1, "violation", rules.DATE),
        (2, "violation", rules.MANDATORY),
        (3, "rule", rules.DATE),
        (4, "rule", rules.REQUIRED),
    ]
    assert (plan.violations, final.source["unchanged"], final.source["rejected"]) == (2, 2, 2)


def test_a_blank_does_not_clear_what_must_have_a_value_even_without_validation(tmp_path: Path) -> None:
    loads = make_loads(tmp_path, required=True, validated=False, when_blank="clear")
    loads.run([("1", "Oslo"), ("2", "Rome")])
    plan, _ = loads.run([("1", None), ("2", "Bonn")])
    assert sent(plan) == {"2": "Bonn"} and plan.violations == 1


def test_a_key_is_checked_though_its_line_is_not_validated(tmp_path: Path) -> None:
    lines = (MappingSpec("Ext__c", "id", validated=False, mandatory=True), MappingSpec("X__c", "x"))
    loads = Loads(tmp_path, make_spec(*lines), make_describe(KEY, field("X__c")))
    loads.columns = ("id", "x")
    plan = loads.plan(loads.stage([("", "a"), ("k" * 41, "b")]))
    assert errors(plan.errors_file) == [(1, rules.BLANK_KEY, "Ext__c"), (2, rules.TOO_LONG, "Ext__c")]
    assert plan.violations == 0


def test_a_row_with_a_violation_is_not_among_the_refused_ones(tmp_path: Path) -> None:
    loads = make_loads(tmp_path, mandatory=True, validated=False)
    staged = loads.stage([("1", None), ("", None), ("3", "c")])
    plan = loads.plan(staged)
    assert refused_rows_csv(loads.workspace, staged, plan.errors_file, tmp_path / "refused.csv") == 1
    [refused] = read_csv(tmp_path / "refused.csv")
    assert (refused["_row"], refused["_error_code"]) == ("2", rules.BLANK_KEY)
    assert plan.violations == 1


def test_more_lines_than_a_mask_has_bits_are_all_counted(tmp_path: Path) -> None:
    names = [f"F{number}__c" for number in range(130)]
    lines = (MappingSpec("Ext__c", "id"), *(MappingSpec(each, "x", too_long="truncate") for each in names[:-1]))
    lines += (MappingSpec(names[-1], "x", validated=False),)
    described = make_describe(KEY, *(field(each, length=3) for each in names))
    loads = Loads(tmp_path, make_spec(*lines), described)
    loads.columns = ("id", "x")
    plan, _ = loads.run([("1", "abcdef"), ("2", "abc")])
    assert plan.adjusted["truncated"] == dict.fromkeys(names[:-1], 1) and plan.violations == 1
    plan, _ = loads.run([("1", "abcdef"), ("2", "abc")])
    assert plan.violations == 1 and plan.batches == ()


@pytest.mark.parametrize(
    ("type", "facts", "options", "place", "reason"),
    [
        ("double", {"precision": 3}, {"when_blank": "default", "default": "x"}, "Default", "is no number"),
        ("string", {}, {"when_blank": "default", "default": " "}, "Default", "none is given"),
        ("picklist", PICKLIST, {"unknown_picklist": "default", "default": "Tin"}, "Default", "not among"),
        ("picklist", PICKLIST, {"unknown_picklist": "default"}, "Default", "none is given"),
        ("picklist", {**PICKLIST, "nillable": False}, {"unknown_picklist": "clear"}, "Unknown picklist value", "must"),
        ("string", {"length": 2}, {"when_blank": "default", "default": "abc", "too_long": "truncate"}, "Default", "2"),
    ],
)
def test_options_that_cannot_work_are_problems(
    type: str, facts: dict[str, Any], options: dict[str, Any], place: str, reason: str
) -> None:
    spec = make_spec(MappingSpec("Ext__c", "id"), MappingSpec("X__c", "x", **options))
    [problem] = validate.problems(spec, make_describe(KEY, field("X__c", type, **facts)), ("id", "x"))
    assert problem.place == place and reason in problem.reason


LONG = 131_072


@pytest.mark.parametrize("options", [{}, {"too_long": "truncate"}, {"when_blank": "clear"}, {"mandatory": True}])
def test_a_row_whose_texts_are_too_long_together_is_rejected_alone(options: dict[str, Any], tmp_path: Path) -> None:
    names = [f"L{number}__c" for number in range(4)]
    lines = [MappingSpec(name, name, **options) for name in names]
    fields = [field(name, "textarea", length=LONG, filterable=False) for name in names]
    loads = Loads(tmp_path, make_spec(MappingSpec("Ext__c", "id"), *lines), make_describe(KEY, *fields))
    loads.columns = ("id", *names)
    rest = 400_000 - 3 * LONG - 1
    # The last character of three bytes is one character.
    plan = loads.plan(
        loads.stage(
            [
                ("1", "a" * LONG, "b" * LONG, "c" * LONG, "d" * (rest - 1) + "€"),
                ("2", "a" * LONG, "b" * LONG, "c" * LONG, "d" * (rest + 1)),
                ("3", "a" * (rest + 1), "b" * LONG, "c" * LONG, "d" * LONG),
                ("4", "x", "x", "x", "x"),
            ]
        )
    )
    assert [row["Ext__c"] for batch in plan.batches for row in read_csv(batch.file)] == ["1", "4"]
    assert [error[:2] for error in errors(plan.errors_file)] == [(2, "Record Too Long"), (3, "Record Too Long")]
