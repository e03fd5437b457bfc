"""Null, absent, empty and default: what becomes of a field, by what the source says and what the record holds."""

from __future__ import annotations

import pytest

from jobs.models import Batch, Job, Status
from syncs.models import Sync
from tests.org_hand import OrgHand
from tests.org_reader import OrgReader
from tests.sandbox_process import SandboxProcess

from .scenario import file_of, make_people_sync, run

pytestmark = pytest.mark.django_db(transaction=True)

# What the source says of the field. In CSV, null is an empty cell without quotes; absent is a field without a line.
CELLS = {"null": "", "empty": '""', "blank": '"\t \u00a0"', "value": '"v"'}
SOURCES = (*CELLS, "absent")
# What the record holds: there is none; it holds nothing; what the source says; something else.
EXISTING = ("new", "null", "same", "other")
HELD = {"null": None, "same": "v", "other": "x"}

# By option and by what the source says: what the field holds in the end, for each of EXISTING.
Ends = tuple[str | None, str | None, str | None, str | None]
UNTOUCHED: Ends = (None, None, "v", "x")
WRITTEN: Ends = ("v", "v", "v", "v")
WHEN_BLANK: dict[str, dict[str, Ends]] = {
    "leave": {"null": UNTOUCHED, "empty": UNTOUCHED, "blank": UNTOUCHED, "value": WRITTEN},
    "clear": dict.fromkeys(("null", "empty", "blank"), (None,) * 4) | {"value": WRITTEN},  # type: ignore[dict-item]
    "default": dict.fromkeys(("null", "empty", "blank"), ("d",) * 4) | {"value": WRITTEN},  # type: ignore[dict-item]
}
# By write_on: what a value, a blank that clears, and a blank that takes the default come to.
WRITE_ON: dict[str, dict[str, Ends]] = {
    "insert": {"value": ("v", None, "v", "x"), "clear": (None, None, "v", "x"), "default": ("d", None, "v", "x")},
    "update": {"value": (None, "v", "v", "v"), "clear": (None, None, None, None), "default": (None, "d", "d", "d")},
    "only_if_empty": {"value": ("v", "v", "v", "x"), "clear": (None, None, "v", "x"), "default": ("d", "d", "v", "x")},
}
# A text field for each pair of write_on and when_blank.
FIELDS = {
    ("both", "leave"): "Title",
    ("both", "clear"): "Department",
    ("both", "default"): "AssistantName",
    ("insert", "leave"): "Phone",
    ("insert", "clear"): "Fax",
    ("insert", "default"): "MobilePhone",
    ("update", "leave"): "HomePhone",
    ("update", "clear"): "OtherPhone",
    ("update", "default"): "AssistantPhone",
    ("only_if_empty", "leave"): "MailingCity",
    ("only_if_empty", "clear"): "MailingState",
    ("only_if_empty", "default"): "MailingCountry",
}
ABSENT = "OtherCity"


def ends(write_on: str, when_blank: str, source: str) -> Ends:
    """What the field holds in the end, for each of EXISTING."""
    if write_on == "both":
        return WHEN_BLANK[when_blank][source]
    if source != "value":
        return UNTOUCHED if when_blank == "leave" else WRITE_ON[write_on][when_blank]
    return WRITE_ON[write_on]["value"]


def make(sandbox: SandboxProcess, hand: OrgHand, fields: dict[tuple[str, str], str], compare: str) -> Sync:
    """A sync of one row for each pair of what the source says and what the record holds."""
    lines = {
        name: {
            "source_column": "cell",
            "write_on": write_on,
            "when_blank": blank,
            "default": "d" * (blank == "default"),
        }
        for (write_on, blank), name in fields.items()
    }
    sync = make_people_sync(sandbox, mappings={"External_Id__c": "id", "LastName": "id", **lines}, compare=compare)
    text = "id,cell\n"
    for source, cell in CELLS.items():
        for existing in EXISTING:
            key = f"{source} {existing}"
            text += f"{key},{cell}\n"
            if existing != "new":
                held = dict.fromkeys((*fields.values(), ABSENT), HELD[existing])
                hand.insert("Contact", External_Id__c=key, LastName=key, **held)
    file_of(sync.organization, "people.csv").write_text(text, encoding="utf-8")
    return sync


def wrong(org: OrgReader, fields: dict[tuple[str, str], str]) -> list[str]:
    """The cells of the table that Salesforce does not hold."""
    names = [*fields.values(), ABSENT]
    found = org.query(f"SELECT External_Id__c, {', '.join(names)} FROM Contact")
    records = {record["External_Id__c"]: record for record in found}
    told = []
    for source in CELLS:
        for place, existing in enumerate(EXISTING):
            record = records[f"{source} {existing}"]
            wanted = {name: ends(*options, source)[place] for options, name in fields.items()}
            wanted[ABSENT] = UNTOUCHED[place]
            told += [
                f"{source}, {existing}, {name}: {record[name]}, not {value}"
                for name, value in wanted.items()
                if record[name] != value
            ]
    return told


def updates(fields: dict[tuple[str, str], str]) -> int:
    """How many of the records that are there have to change."""
    return sum(
        any(ends(*options, source)[place] != HELD[existing] for options in fields)
        for source in CELLS
        for place, existing in enumerate(EXISTING)
        if existing != "new"
    )


def lanes(job: Job) -> set[str]:
    return set(Batch.all_objects.filter(job=job).exclude(operation="insert").values_list("lane", flat=True))


@pytest.mark.parametrize("compare", ["snapshot", "destination"])
@pytest.mark.parametrize("lane", ["collections", "bulk"])
@pytest.mark.parametrize("which", ["when blank", "write on"])
def test_each_source_and_each_existing_value_end_as_the_table_says(
    which: str,
    lane: str,
    compare: str,
    sandbox: SandboxProcess,
    org: OrgReader,
    hand: OrgHand,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("syncs.engine.lanes.FEW_ROWS", 2_000 if lane == "collections" else 0)
    fields = {options: name for options, name in FIELDS.items() if options[0] == "both" or which == "write on"}
    sync = make(sandbox, hand, fields, compare)
    job = run(sync)
    assert wrong(org, fields) == [] and lanes(job) == {lane}
    assert (job.status, job.counts["inserted"]) == (Status.SUCCEEDED, 4)
    if compare == "destination":
        # Only records that differ are written, so that a blank that is left alone is equal.
        assert job.counts["updated"] == updates(fields)
    again = run(sync)
    # What only updates write is not in the new records yet.
    later = 4 if which == "write on" else 0
    assert (again.counts["updated"], again.counts["unchanged"]) == (later, 16 - later), again.counts


@pytest.mark.parametrize("lane", ["collections", "bulk"])
def test_rows_that_leave_a_field_alone_and_rows_that_clear_it_go_side_by_side(
    lane: str, sandbox: SandboxProcess, org: OrgReader, hand: OrgHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncs.engine.lanes.FEW_ROWS", 2_000 if lane == "collections" else 0)
    for key in ("a", "b", "c"):
        hand.insert("Contact", External_Id__c=key, LastName=key, Title="old", Department="old")
    lines = {"Title": "title", "Department": {"source_column": "dep", "when_blank": "clear"}}
    sync = make_people_sync(sandbox, mappings={"External_Id__c": "id", "LastName": "id", **lines})
    text = "id,title,dep\na,,new\nb,new,\nc,,\n"
    file_of(sync.organization, "people.csv").write_text(text, encoding="utf-8")
    assert run(sync).counts["updated"] == 3
    found = {each["LastName"]: each for each in org.query("SELECT LastName, Title, Department FROM Contact")}
    assert {key: (each["Title"], each["Department"]) for key, each in found.items()} == {
        "a": ("old", "new"),
        "b": ("new", None),
        "c": ("old", None),
    }
