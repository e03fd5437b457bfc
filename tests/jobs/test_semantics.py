"""Each row of the tables that say what a sync means, held to its meaning by jobs against the sandbox, in both lanes."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.models import Batch, Job, Status
from jobs.results import row_errors
from syncs.models import Sync
from tests.org_hand import OrgHand
from tests.org_reader import OrgReader
from tests.sandbox_process import SandboxProcess

from .scenario import make_people_sync, run, write_csv
from .semantics_table import ACME, MODES, OPTIONS, VALUES, WRITE_ON, Group, Row

pytestmark = pytest.mark.django_db(transaction=True)

LANES = ["collections", "bulk"]


@pytest.fixture(params=LANES)
def lane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Few rows go by collections, unless none are few. Plain inserts always go by bulk."""
    choose(request.param, monkeypatch)
    return str(request.param)


def choose(lane: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncs.engine.lanes.FEW_ROWS", 2_000 if lane == "collections" else 0)


def lanes_of(job: Job) -> set[tuple[str, str]]:
    return set(Batch.all_objects.filter(job=job).values_list("operation", "lane"))


def at(record: dict[str, Any], path: str) -> Any:
    """What a record holds at a path such as Account.Name."""
    value: Any = record
    for name in path.split("."):
        value = value and value.get(name)
    return value


def keys_of(group: Group) -> dict[str, Row]:
    return {f"K{number:03}": row for number, row in enumerate(group.rows, start=1)}


def run_group(group: Group, sandbox: SandboxProcess, hand: OrgHand) -> Job:
    """Make the records that are there before, and run the job of all rows."""
    account = hand.insert("Account", Name=ACME)
    for key, row in keys_of(group).items():
        if row.before is not None:
            hand.insert("Contact", External_Id__c=key, LastName="before", **row.before)
    sync = make_people_sync(sandbox, mappings=group.mappings, **group.settings)
    columns = {column for row in group.rows for column in row.cells} | set(group.cells)
    for line in group.mappings.values():
        columns |= {line["source_column"]} if isinstance(line, dict) and "source_column" in line else set()
    names = sorted(columns)
    lines = [["id", "last", *names]]
    for key, row in keys_of(group).items():
        cells = dict.fromkeys(names, "") | group.cells | row.cells
        lines.append([key, "after", *(cells[name].replace("{account15}", account[:15]) for name in names)])
    write_csv(sync.organization, "people.csv", lines)
    return run(sync)


def wrong_of(group: Group, job: Job, org: OrgReader) -> list[str]:
    """The rows of which Salesforce does not hold what it should, or whose error is another one."""
    paths = {path for row in group.rows for path in (row.after or {})} | {
        path for row in group.rows for path in (row.before or {})
    }
    found = org.query(f"SELECT External_Id__c, LastName, {', '.join(sorted(paths))} FROM Contact")
    records = {record["External_Id__c"]: record for record in found}
    codes: dict[int, str] = {error.row: error.code for error in row_errors(job, limit=500).errors}
    wrong = []
    for number, (key, row) in enumerate(keys_of(group).items(), start=1):
        record = records.get(key)
        wanted = row.after if row.after is not None else row.before
        held = None if record is None or wanted is None else {path: at(record, path) for path in wanted}
        if (record is None) != (wanted is None) or held != wanted:
            wrong.append(f"{row.name}: holds {held}, not {wanted}")
        if codes.get(number, "") != row.code:
            wrong.append(f"{row.name}: its error is '{codes.get(number, '')}', not '{row.code}'")
        if record is not None and (record["LastName"] == "after") != (row.after is not None):
            wrong.append(f"{row.name}: the rest of the row is {record['LastName']}")
    return wrong


@pytest.mark.parametrize("group", [OPTIONS, WRITE_ON, VALUES], ids=["options", "write on", "values"])
def test_each_option_and_each_value_means_what_its_row_says(
    group: Group, lane: str, sandbox: SandboxProcess, org: OrgReader, hand: OrgHand
) -> None:
    job = run_group(group, sandbox, hand)
    assert wrong_of(group, job, org) == []
    rejected = sum(row.after is None for row in group.rows)
    through = sum(row.after is not None and bool(row.code) for row in group.rows)
    new = sum(row.before is None and row.after is not None for row in group.rows)
    counts = job.counts
    assert (counts["read"], counts["rejected"], counts["inserted"]) == (len(group.rows), rejected, new)
    assert counts["updated"] == len(group.rows) - rejected - new and counts["failed"] == 0
    assert counts.get("violations", 0) == through
    assert job.status == (Status.PARTIAL if rejected or through else Status.SUCCEEDED)
    assert all(sent in (lane, "bulk") for _, sent in lanes_of(job))
    assert lane in {sent for _, sent in lanes_of(job)}


# --- section 5: what becomes of new, changed and dropped records ---

HEADER = ["id", "last", "title"]
LINES = {"External_Id__c": "id", "LastName": "last", "Title": "title"}
RULE = {"left": {"source": "title"}, "operator": "!=", "right": {"value": "held back"}}


class Town:
    """A sync whose mode changes from job to job, and a source that is as the org when a job has ended."""

    def __init__(self, sandbox: SandboxProcess, org: OrgReader, compare: str) -> None:
        self.org = org
        self.sync = make_people_sync(
            sandbox, mappings=LINES, compare=compare, changed_rule=RULE, expire_field="Last_Seen__c", guard_percent=100
        )
        self.rows = {f"{what} {mode}": "old" for mode in MODES for what in ("changed", "dropped", "same")}
        self.rows |= {"held back": "old"}
        self.job()

    def job(self, **options: Any) -> Job:
        lines = [[key, key, title] for key, title in self.rows.items()]
        write_csv(self.sync.organization, "people.csv", [HEADER, *lines])
        return run(self.sync, **options)

    def set(self, **settings: Any) -> None:
        Sync.all_objects.filter(pk=self.sync.pk).update(**settings)

    def records(self) -> dict[str, tuple[str, str | None]]:
        found = self.org.query("SELECT External_Id__c, Title, Last_Seen__c FROM Contact")
        return {each["External_Id__c"]: (each["Title"], each["Last_Seen__c"]) for each in found}

    def step(self, mode: str) -> list[str]:
        """Run a job in which one row is new, one changed and one gone; what is not as the table says."""
        settings, new, changed, dropped = MODES[mode]
        self.set(**{"on_new": "", "on_changed": "", "on_dropped": "", **settings})
        rows = {**self.rows, f"new {mode}": "new", f"changed {mode}": "new"}
        del rows[f"dropped {mode}"]
        if changed == "conditional":
            rows["held back"] = "held back"
        self.rows, before = rows, self.records()
        job = self.job()
        after = self.records()
        self.rows = {key: title for key, (title, _) in after.items()}
        is_so = {
            "new": {"inserted": after.get(f"new {mode}") == ("new", None), "ignored": f"new {mode}" not in after}[new],
            "changed": after[f"changed {mode}"] == ("old" if changed == "ignored" else "new", None),
            "dropped": {
                "ignored": after.get(f"dropped {mode}") == ("old", None),
                "deleted": f"dropped {mode}" not in after,
                "expired": f"dropped {mode}" in after and bool(after[f"dropped {mode}"][1]),
            }[dropped],
            "held back": after["held back"] == ("old", None),
            "same": {key: value for key, value in after.items() if mode not in key}
            == {key: value for key, value in before.items() if mode not in key},
            "counts": sent(job)
            == {
                "inserted": int(new == "inserted"),
                "updated": int(changed in ("updated", "conditional")),
                "deleted": int(dropped == "deleted"),
                "expired": int(dropped == "expired"),
            },
        }
        return [f"{mode}, {what}: {sent(job)}, {after}" for what, holds in is_so.items() if not holds]


def sent(job: Job) -> dict[str, int]:
    counts, dropped = job.counts, job.counts["dropped"]
    return {
        "inserted": counts["inserted"],
        "updated": counts["updated"],
        "deleted": dropped.get("deleted", 0),
        "expired": dropped.get("expired", 0),
    }


@pytest.mark.parametrize(
    ("lane", "compare"),
    [
        ("collections", "snapshot"),
        ("bulk", "destination"),
        pytest.param("collections", "destination", marks=pytest.mark.slow),
        pytest.param("bulk", "snapshot", marks=pytest.mark.slow),
    ],
)
def test_each_mode_does_with_new_changed_and_dropped_records_what_its_row_says(
    lane: str, compare: str, sandbox: SandboxProcess, org: OrgReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(lane, monkeypatch)
    town = Town(sandbox, org, compare)
    assert len(town.records()) == len(town.rows)
    for mode in MODES:
        assert town.step(mode) == []


def test_delete_deletes_the_match_of_each_source_row_into_the_recycle_bin(
    lane: str, sandbox: SandboxProcess, org: OrgReader, hand: OrgHand
) -> None:
    for key in ("a", "b"):
        hand.insert("Contact", External_Id__c=key, LastName=key)
    sync = make_people_sync(sandbox, mappings={"External_Id__c": "id"}, mode="delete", compare="nothing")
    write_csv(sync.organization, "people.csv", [["id"], ["a"], ["none"]])
    job = run(sync)
    assert (job.counts["deleted"], job.counts["ignored"]) == (1, 1) and lanes_of(job) == {("delete", lane)}
    assert [each["LastName"] for each in org.query("SELECT LastName FROM Contact")] == ["b"]
    assert sandbox.state()["objects"]["Contact"]["deleted"] == 1


def test_hard_delete_leaves_nothing_in_the_recycle_bin(sandbox: SandboxProcess, org: OrgReader, hand: OrgHand) -> None:
    hand.insert("Contact", External_Id__c="a", LastName="a")
    sync = make_people_sync(
        sandbox, mappings={"External_Id__c": "id"}, mode="delete", compare="nothing", hard_delete=True
    )
    write_csv(sync.organization, "people.csv", [["id"], ["a"]])
    job = run(sync)
    # Only the Bulk API knows it.
    assert job.counts["deleted"] == 1 and lanes_of(job) == {("delete", "bulk")}
    assert sandbox.state()["objects"]["Contact"]["deleted"] == 0


def test_insert_with_compare_nothing_inserts_every_source_row(
    lane: str, sandbox: SandboxProcess, org: OrgReader
) -> None:
    sync = make_people_sync(sandbox, key_fields=[], mappings={"LastName": "last"}, mode="insert", compare="nothing")
    write_csv(sync.organization, "people.csv", [["last"], ["a"], ["a"], [""]])
    for times in (1, 2):
        job = run(sync)
        assert (job.counts["inserted"], job.counts["rejected"]) == (2, 1) and lanes_of(job) == {("insert", "bulk")}
        assert org.count("Contact") == 2 * times
