"""Parents that are found before anything is planned, the waves of rows that point to each other, and their order."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connections.salesforce.describe import Field, ObjectDescribe
from syncs.engine import lookups, rules, validate
from syncs.engine.families import lines_of
from syncs.engine.lookups import Found
from syncs.engine.stage import Staged
from syncs.engine.waves import MOST_WAVES
from syncs.spec import LookupSpec, MappingSpec, SyncSpec

from .factories import KEY, Loads, errors, field, make_describe, make_spec, read_csv, table

ACCOUNT = make_describe(
    field("Id", "id"),
    KEY,
    field("Name"),
    field("Code__c", case_sensitive=True),
    field("Number__c", "double", precision=10, scale=2),
    field("Email__c", "email", length=80, id_lookup=True),
    field("Notes__c", "textarea", length=32000),
    name="Account",
)
PLACE = make_describe(name="Place__c")
PARENT = field("Account__c", "reference", reference_to=("Account",), relationship_name="Account__r")
WHAT = field("What__c", "reference", reference_to=("Account", "Place__c"), relationship_name="What__r")
ABOVE = field("Above__c", "reference", reference_to=("Place__c",), relationship_name="Above__r")
IDS = [f"001{number:012d}AAA" for number in range(20)]


def describe(*fields: Field) -> ObjectDescribe:
    """The object Place__c with these fields, and its parents."""
    found = make_describe(KEY, field("Name"), *fields)
    return dataclasses.replace(found, parents={"Account": ACCOUNT, "Place__c": PLACE})


def lookup(target: str = "Account__c", by: str = "Name", of: str = "Account", **options: Any) -> MappingSpec:
    return MappingSpec(target, "parent", lookup=LookupSpec(of, by), **options)


def make_sync(*lines: MappingSpec, **changes: Any) -> SyncSpec:
    return make_spec(MappingSpec("Ext__c", "id"), *lines, **changes)


class Sync:
    """A sync with a column for the parent, and what Salesforce answers when it is asked for parents."""

    def __init__(self, tmp_path: Path, *lines: MappingSpec, fields: Sequence[Field] = (PARENT,), **changes: Any):
        self.loads = Loads(tmp_path, make_sync(*lines, **changes), describe(*fields))
        self.loads.columns = ("id", "parent")
        assert validate.problems(self.loads.spec, self.loads.describe, self.loads.columns) == []
        self.asked: dict[str, list[str]] = {}

    def resolve(self, rows: Sequence[tuple[str, str | None]], records: Sequence[tuple[str, str]] = ()) -> Staged:
        """The staged table with parents, of which Salesforce holds these: id and value each."""
        return self.find(self.loads.stage(rows), records)

    def find(self, staged: Staged, records: Sequence[tuple[str, str]]) -> Staged:
        """The same, of a table that is staged already."""
        loads, (folder, _) = self.loads, self.loads.attempt()
        found = {}
        for name in lookups.parents_of(loads.spec, loads.describe, staged.columns):
            wanted, read = folder / f"wanted-{name}.parquet", folder / f"read-{name}.parquet"
            lookups.values_to_resolve(loads.workspace, loads.spec, loads.describe, staged, name, wanted)
            self.asked[name] = sorted(pq.read_table(wanted).column("k_0").to_pylist())
            texts = pa.schema([("r_0", pa.string()), ("r_1", pa.string())])
            pq.write_table(pa.table(list(zip(*records, strict=True)) or [[], []], schema=texts), read)
            found[name] = Found(wanted, read)
        return lookups.resolve(loads.workspace, loads.spec, loads.describe, staged, found, folder / "rows.parquet")

    def sent(self, staged: Staged, column: str = "Account__c") -> dict[str, str]:
        """What is sent for the parent, by key."""
        self.plan = self.loads.plan(staged)
        return {row["Ext__c"]: row[column] for batch in self.plan.batches for row in read_csv(batch.file)}


def line(mapping: MappingSpec, reference: Field = PARENT, **changes: Any) -> Any:
    return lines_of(make_sync(mapping, **changes), describe(reference), ("id", "parent"))[1]


def test_an_external_id_goes_as_a_relationship(tmp_path: Path) -> None:
    found = line(lookup(by="ext__c"))
    assert (found.sent_as, found.selected, found.family, found.is_resolved) == (
        "Account__r.Ext__c",
        "Account__r.Ext__c",
        "text",
        False,
    )
    sync = Sync(tmp_path, lookup(by="Ext__c"))
    staged = sync.loads.stage([("1", "A1"), ("2", None), ("3", "x" * 41)])
    assert sync.sent(staged, "Account__r.Ext__c") == {"1": "A1", "2": ""}
    assert errors(sync.plan.errors_file) == [(3, rules.TOO_LONG, "Account__c")]
    [_, column] = sync.plan.columns
    assert (column.field, column.sent_as, column.family) == ("Account__c", "Account__r.Ext__c", "text")


def test_a_field_marked_as_id_lookup_goes_as_a_relationship_too() -> None:
    assert line(lookup(by="Email__c")).sent_as == "Account__r.Email__c"


def test_a_polymorphic_relationship_names_its_object() -> None:
    found = line(lookup("What__c", by="Ext__c"), WHAT)
    assert (found.sent_as, found.selected) == ("Account:What__r.Ext__c", "What__r.Ext__c")


@pytest.mark.parametrize(
    "options",
    [{"missing_parent": "leave"}, {"when_blank": "clear"}, {"validated": False}, {"write_on": "only_if_empty"}],
)
def test_what_a_relationship_cannot_do_is_resolved_by_sfsync(options: dict[str, Any]) -> None:
    assert line(lookup(by="Ext__c", **options)).is_resolved


def test_a_key_and_a_polymorphic_field_that_is_compared_are_resolved_by_sfsync() -> None:
    assert line(lookup(by="Ext__c"), key_fields=("Ext__c", "Account__c")).is_resolved
    assert line(lookup("What__c", by="Ext__c"), WHAT, compare="destination").is_resolved
    nameless = dataclasses.replace(PARENT, relationship_name=None)
    assert line(lookup(by="Ext__c"), nameless).is_resolved


def test_any_other_field_is_resolved_by_sfsync(tmp_path: Path) -> None:
    sync = Sync(tmp_path, lookup())
    rows = [("1", "Acme"), ("2", "ACME "), ("3", None), ("4", "Umbrella"), ("5", "Nobody")]
    records = [(IDS[1], "Acme"), (IDS[2], "umbrella"), (IDS[3], "Other"), (IDS[4], "Other")]
    staged = sync.resolve(rows, records)
    assert [value.lower() for value in sync.asked["Account.Name"]] == ["acme", "nobody", "umbrella"]
    assert sync.sent(staged) == {"1": IDS[1], "2": IDS[1], "3": "", "4": IDS[2]}
    assert errors(sync.plan.errors_file) == [(5, rules.UNRESOLVED_LOOKUP, "Account__c")]


def test_a_value_of_several_records_is_ambiguous(tmp_path: Path) -> None:
    sync = Sync(tmp_path, lookup())
    records = [(IDS[1], "Acme"), (IDS[2], "acme"), *((IDS[3 + number], "Many") for number in range(12))]
    assert sync.sent(sync.resolve([("1", "Acme"), ("2", "Many")], records)) == {}
    [few, many] = table(sync.plan.errors_file)
    assert (few["code"], few["value"]) == (rules.AMBIGUOUS_LOOKUP, "Acme")
    assert f"{IDS[1]}, {IDS[2]}." in few["message"]
    assert f"{IDS[12]} and more." in many["message"] and IDS[13] not in many["message"]


def test_a_case_sensitive_field_tells_its_values_apart(tmp_path: Path) -> None:
    sync = Sync(tmp_path, lookup(by="Code__c"))
    staged = sync.resolve([("1", "a"), ("2", "A")], [(IDS[1], "a"), (IDS[2], "A")])
    assert sync.sent(staged) == {"1": IDS[1], "2": IDS[2]}


def test_numbers_are_compared_as_numbers(tmp_path: Path) -> None:
    sync = Sync(tmp_path, lookup(by="Number__c"))
    staged = sync.resolve([("1", "007.50"), ("2", "7.5"), ("3", "seven")], [(IDS[1], "7.5")])
    assert sync.asked == {"Account.Number__c": ["7.5"]}
    assert sync.sent(staged) == {"1": IDS[1], "2": IDS[1]}
    assert errors(sync.plan.errors_file) == [(3, rules.UNRESOLVED_LOOKUP, "Account__c")]


def test_a_blank_takes_its_default_before_the_parent_is_looked_for(tmp_path: Path) -> None:
    sync = Sync(tmp_path, lookup(when_blank="default", default="Acme"))
    assert sync.sent(sync.resolve([("1", " "), ("2", "Acme")], [(IDS[1], "Acme")])) == {"1": IDS[1], "2": IDS[1]}


def test_a_blank_clears_where_it_is_to(tmp_path: Path) -> None:
    sync = Sync(tmp_path, lookup(when_blank="clear"))
    assert sync.sent(sync.resolve([("1", None), ("2", "Acme")], [(IDS[1], "Acme")])) == {"1": "#N/A", "2": IDS[1]}


@pytest.mark.parametrize("when_blank", ["leave", "clear"])
def test_a_missing_parent_leaves_the_field_alone_where_it_may(when_blank: str, tmp_path: Path) -> None:
    sync = Sync(tmp_path, lookup(missing_parent="leave", when_blank=when_blank))
    rows = [("1", "Nobody"), ("2", "Acme"), ("3", "Twin"), ("4", "#N/A")]
    staged = sync.resolve(rows, [(IDS[1], "Acme"), (IDS[2], "Twin"), (IDS[3], "Twin")])
    assert sync.sent(staged) == {"1": "", "2": IDS[1]}
    assert sync.plan.adjusted["parents"] == {"Account__c": 1}
    assert errors(sync.plan.errors_file) == [
        (3, rules.AMBIGUOUS_LOOKUP, "Account__c"),
        (4, rules.RESERVED, "Account__c"),
    ]


def test_a_missing_parent_is_a_blank_to_a_mandatory_line(tmp_path: Path) -> None:
    sync = Sync(tmp_path, lookup(missing_parent="leave", mandatory=True))
    sync.sent(sync.resolve([("1", "Nobody")]))
    assert errors(sync.plan.errors_file) == [(1, rules.MANDATORY, "Account__c")]


def test_a_missing_parent_is_not_left_blank_where_a_new_record_must_have_one(tmp_path: Path) -> None:
    master = dataclasses.replace(PARENT, nillable=False)
    sync = Sync(tmp_path, lookup(missing_parent="leave"), fields=[master])
    sync.sent(sync.resolve([("1", "Nobody")]))
    assert errors(sync.plan.errors_file) == [(1, rules.UNRESOLVED_LOOKUP, "Account__c")]


def test_lines_that_look_for_the_same_share_what_is_read(tmp_path: Path) -> None:
    fields = [PARENT, dataclasses.replace(PARENT, name="Payer__c")]
    sync = Sync(tmp_path, lookup(), MappingSpec("Payer__c", "id", lookup=LookupSpec("account", "name")), fields=fields)
    staged = sync.resolve([("Umbrella", "Acme")], [(IDS[1], "Acme"), (IDS[2], "Umbrella")])
    assert sync.asked == {"Account.Name": ["Acme", "Umbrella"]}
    assert sync.sent(staged) == {"Umbrella": IDS[1]}
    assert sync.sent(staged, "Payer__c") == {"Umbrella": IDS[2]}


def test_rows_are_ordered_by_their_parent(tmp_path: Path) -> None:
    loads = Loads(tmp_path, make_sync(MappingSpec("Account__c", "parent")), describe(PARENT))
    loads.columns = ("id", "parent")
    staged = loads.stage([("1", IDS[2]), ("2", IDS[1]), ("3", None), ("4", IDS[1]), ("5", IDS[2])])
    assert lookups.is_needed(loads.spec, loads.describe, staged.columns)
    ordered = lookups.resolve(loads.workspace, loads.spec, loads.describe, staged, {}, tmp_path / "rows.parquet")
    plan = loads.plan(ordered)
    assert [row["Ext__c"] for row in read_csv(plan.batches[0].file)] == ["2", "4", "1", "5", "3"]


def test_an_owner_and_a_constant_order_nothing() -> None:
    owner = field("OwnerId", "reference", reference_to=("User", "Group"), relationship_name="Owner")
    spec = make_sync(MappingSpec("OwnerId", "parent"), MappingSpec("Account__c", constant=IDS[0]))
    assert not lookups.is_needed(spec, describe(PARENT, owner), ("id", "parent"))


def waves(tmp_path: Path, rows: Sequence[tuple[str, str | None]]) -> dict[str, int]:
    """The wave of each row, by key."""
    sync = Sync(tmp_path, lookup("Above__c", by="Ext__c", of="Place__c"), fields=[ABOVE])
    staged = sync.resolve(rows)
    if not staged.waves:
        return {}
    return {row["c_0"]: row["_wave"] for row in table(staged.path)}


def test_parents_go_before_their_children(tmp_path: Path) -> None:
    rows = [("leaf", "BRANCH"), ("branch", "root"), ("root", None), ("other", "elsewhere"), ("twig", "branch")]
    assert waves(tmp_path, rows) == {"leaf": 2, "branch": 1, "root": 0, "other": 0, "twig": 2}


def test_rows_that_point_to_nothing_here_have_no_waves(tmp_path: Path) -> None:
    assert waves(tmp_path, [("1", "elsewhere"), ("2", None), ("", "")]) == {}


def test_circles_go_last(tmp_path: Path) -> None:
    rows = [("1", "2"), ("2", "1"), ("3", "3"), ("root", None), ("4", "root"), ("5", "1")]
    found = waves(tmp_path, rows)
    assert found == {"root": 0, "4": 1, "1": 2, "2": 2, "3": 2, "5": 2}


def test_what_is_deeper_than_the_last_wave_goes_in_it(tmp_path: Path) -> None:
    depth = MOST_WAVES + 10
    found = waves(tmp_path, [(str(number), str(number - 1)) for number in range(depth)])
    assert [found[str(number)] for number in range(depth)] == [min(number, MOST_WAVES) for number in range(depth)]


def test_each_wave_has_batches_of_its_own(tmp_path: Path) -> None:
    sync = Sync(tmp_path, lookup("Above__c", by="Ext__c", of="Place__c"), fields=[ABOVE])
    staged = sync.resolve([("leaf", "branch"), ("branch", "root"), ("root", None)])
    plan = sync.loads.plan(staged)
    assert [(batch.wave, batch.rows) for batch in plan.batches] == [(0, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize(
    ("mapping", "place", "reason"),
    [
        (MappingSpec("Name", "parent", lookup=LookupSpec("Account", "Name")), "Lookup", "points to no parent"),
        (lookup(of="Place__c"), "Parent object", "cannot point to such records"),
        (lookup("What__c", of=""), "Parent object", "not said what object"),
        (lookup(by="Nam"), "Parent field", "no such field"),
        (lookup(by="Id"), "Parent field", "needs no lookup"),
        (lookup(by="Notes__c"), "Parent field", "cannot be found by it"),
        (lookup("Above__c", of="Place__c", by="City__c"), "Lookup", "new in the same job"),
        (lookup("Above__c", of="Place__c", by="Ext__c", missing_parent="leave"), "Lookup", "new in the same job"),
        (lookup(by="Ext__c", when_blank="default", default="x" * 50), "Default", "holds at most 40"),
    ],
)
def test_lookups_that_cannot_work_are_problems(mapping: MappingSpec, place: str, reason: str) -> None:
    spec = make_sync(mapping)
    [problem] = validate.problems(spec, describe(PARENT, WHAT, ABOVE), ("id", "parent"))
    assert problem.place == place and reason in problem.reason


def test_a_parent_that_may_not_be_read_is_a_problem() -> None:
    hidden = dataclasses.replace(ACCOUNT, queryable=False)
    for parents in ({}, {"Account": hidden}):
        described = dataclasses.replace(describe(PARENT), parents=parents)
        [problem] = validate.problems(make_sync(lookup()), described, ("id", "parent"))
        assert problem.place == "Parent object" and "may not read its records" in problem.reason


def test_an_update_may_point_to_records_of_its_own_object_by_any_field() -> None:
    spec = make_sync(lookup("Above__c", of="Place__c", by="City__c"), mode="update")
    assert validate.problems(spec, describe(ABOVE), ("id", "parent")) == []


def test_the_parents_that_a_sync_needs_are_told() -> None:
    spec = make_sync(lookup(of="account"), lookup("Name"), lookup("What__c", of="Nothing"))
    assert lookups.objects_of(spec, describe(PARENT, WHAT)) == ("Account",)


def test_a_describe_keeps_its_parents() -> None:
    described = describe(PARENT)
    assert ObjectDescribe.from_json(described.to_json()) == described


def test_a_value_that_was_worked_out_finds_its_parent(tmp_path: Path) -> None:
    sync = Sync(tmp_path, lookup(when_blank="default", default="Umbrella"))
    staged = sync.loads.stage([("1", "a"), ("2", "b"), ("3", "c")])
    read = pq.read_table(staged.path)
    worked_out = pa.array(["Acme", "", None], pa.string()), pa.array([False, False, True])
    prepared = tmp_path / "prepared.parquet"
    pq.write_table(read.append_column("x_1", worked_out[0]).append_column("xe_1", worked_out[1]), prepared)
    staged = sync.find(dataclasses.replace(staged, path=prepared), [(IDS[1], "Acme"), (IDS[2], "Umbrella")])
    assert sync.asked == {"Account.Name": ["Acme", "Umbrella"]}
    found = [(row["x_1"], row["xe_1"]) for row in sorted(table(staged.path), key=lambda row: row["_row"])]
    # What could not be worked out is no blank, so it takes no default.
    assert found == [(IDS[1], False), (IDS[2], False), (None, True)]
