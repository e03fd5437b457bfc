"""Each row of the tables that say what a sync means, held to its meaning by jobs against the sandbox, in both lanes."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from jobs.models import Batch, ErrorGroup, Job, Status
from jobs.results import open_refused_rows_csv, row_errors
from syncs.models import Sync
from tests.org_hand import OrgHand
from tests.org_reader import OrgReader
from tests.sandbox_process import SandboxProcess

from .scenario import make_people_sync, run, write_csv
from .semantics_table import ACME, MODES, OPTIONS, VALUES, WRITE_ON, Group, Row, col

pytestmark = pytest.mark.django_db(transaction=True)

LANES = ["collections", "bulk"]
KEYED_LINES = {"External_Id__c": "id", "LastName": "last"}
KEYS_AND_NAMES = "SELECT External_Id__c, LastName FROM Contact"


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


def test_an_action_column_says_what_becomes_of_each_row(
    lane: str, sandbox: SandboxProcess, org: OrgReader, hand: OrgHand
) -> None:
    for key in ("changed", "left", "gone"):
        hand.insert("Contact", External_Id__c=key, LastName="before")
    sync = make_people_sync(sandbox, mappings=KEYED_LINES, compare="nothing", action_column="do")
    rows = [["new", "INSERT"], ["changed", "UPDATE"], ["gone", "DELETE"], ["none", "UPDATE"], ["left", "?"]]
    write_csv(sync.organization, "people.csv", [["id", "last", "do"], *([key, "after", do] for key, do in rows)])
    job = run(sync)
    counts = {name: job.counts[name] for name in ("inserted", "updated", "deleted", "ignored", "rejected")}
    assert counts == {"inserted": 1, "updated": 1, "deleted": 1, "ignored": 1, "rejected": 1}
    assert lanes_of(job) == {("insert", "bulk"), ("update", lane), ("delete", lane)}
    found = {each["External_Id__c"]: each["LastName"] for each in org.query(KEYS_AND_NAMES)}
    assert found == {"new": "after", "changed": "after", "left": "before"}


def test_a_row_that_is_filtered_out_left_the_source_and_one_that_is_rejected_did_not(
    lane: str, sandbox: SandboxProcess, org: OrgReader
) -> None:
    sync = make_people_sync(sandbox, mappings=LINES, mode="mirror", guard_percent=100)
    write_csv(sync.organization, "people.csv", [HEADER, *([key, key, "x"] for key in ("filtered", "bad", "same"))])
    assert run(sync).counts["inserted"] == 3
    Sync.all_objects.filter(pk=sync.pk).update(source_filter="title <> 'out'")
    rows = [["filtered", "filtered", "out"], ["bad", "bad", "x" * 129], ["same", "same", "x"]]
    write_csv(sync.organization, "people.csv", [HEADER, *rows])
    job = run(sync)
    assert (job.counts["filtered"], job.counts["rejected"], job.counts["dropped"]["deleted"]) == (1, 1, 1)
    assert lanes_of(job) == {("delete", lane)}
    assert {each["External_Id__c"] for each in org.query(KEYS_AND_NAMES)} == {"bad", "same"}


@pytest.mark.parametrize(
    ("guards", "gone", "waits"),
    [
        ({"guard_rows": 2, "guard_percent": 100}, 2, False),
        ({"guard_rows": 2, "guard_percent": 100}, 3, True),
        ({"guard_rows": 100, "guard_percent": 10}, 9, False),
        ({"guard_rows": 100, "guard_percent": 10}, 11, True),
        ({"guard_rows": 100, "guard_percent": 60}, 11, False),
    ],
)
def test_a_job_that_would_delete_too_much_waits_for_a_person(
    guards: dict[str, int], gone: int, waits: bool, sandbox: SandboxProcess, org: OrgReader, hand: OrgHand
) -> None:
    keys = [f"K{number:02}" for number in range(20)]
    for key in keys:
        hand.insert("Contact", External_Id__c=key, LastName=key)
    sync = make_people_sync(sandbox, mappings=KEYED_LINES, mode="mirror", compare="destination", **guards)
    write_csv(sync.organization, "people.csv", [["id", "last"], *([key, key] for key in keys[gone:])])
    job = run(sync)
    assert (job.status == Status.WAITING_APPROVAL, org.count("Contact")) == (waits, 20 - gone * (not waits))
    if waits:
        assert f"would delete {gone} of 20 known records" in job.reason


# --- section 6: rows that fail ---


@pytest.fixture
def impatient(settings: Any) -> None:
    settings.SFSYNC_RETRY_SECONDS = 0.02


def refused_csv(job: Job) -> list[dict[str, str]]:
    with open_refused_rows_csv(job) as file:
        return list(csv.DictReader(io.TextIOWrapper(file, encoding="utf-8-sig")))


REJECTED = {
    "Duplicate Key": "same",
    "Mandatory Rule Violation": "mandatory",
    "Max Length Violation": "x" * 129,
    "Invalid Date": "31.12.2024",
    "Invalid Picklist Value": "Tin",
    "Unresolved Lookup": "None such",
    "Malformed Row": "one cell too many",
}


def test_rows_that_sfsync_rejects_come_again_while_they_are_in_the_source(
    lane: str, sandbox: SandboxProcess, org: OrgReader, hand: OrgHand
) -> None:
    mappings = {
        "External_Id__c": "id",
        "LastName": "last",
        "Department": col("dep", mandatory=True),
        "Title": "title",
        "Birthdate": "date",
        "Tier__c": "tier",
        "AccountId": col("account", lookup_object="Account", lookup_field="Name"),
    }
    hand.insert("Contact", External_Id__c="good", LastName="before")
    sync = make_people_sync(sandbox, mappings=mappings)
    rows = [
        ["id", "last", "dep", "title", "date", "tier", "account"],
        ["good", "after", "d", "", "", "", ""],
        ["same", "x", "d", "", "", "", ""],
        ["SAME ", "x", "d", "", "", "", ""],
        ["A", "x", "", "", "", "", ""],
        ["B", "x", "d", "x" * 129, "", "", ""],
        ["C", "x", "d", "", "31.12.2024", "", ""],
        ["D", "x", "d", "", "", "Tin", ""],
        ["E", "x", "d", "", "", "", "None such"],
        ["F", "x", "d", "", "", "", "", "one cell too many"],
    ]
    write_csv(sync.organization, "people.csv", rows)
    codes = [*REJECTED]
    for times in (1, 2):
        job = run(sync)
        assert job.status == Status.PARTIAL and (job.counts["rejected"], job.counts["malformed"]) == (7, 1)
        assert job.counts["updated"] == (times == 1) and job.counts["inserted"] == 0
        found = row_errors(job).errors
        assert [(error.row, error.code) for error in found] == list(zip(range(2, 10), [codes[0], *codes], strict=True))
    by_code = {error.code: error for error in found}
    assert "stands in rows 2, 3" in by_code["Duplicate Key"].message
    date = by_code["Invalid Date"]
    assert (date.source, date.column, date.field, date.value) == ("rule", "date", "Birthdate", "31.12.2024")
    told = {line["_row"]: line for line in refused_csv(job)}
    assert told["6"]["date"] == "31.12.2024" and told["6"]["_error_code"] == "Invalid Date"
    assert {"_error_code", "_error_message", "_error_fields", "_operation", "_row", *rows[0]} == set(told["6"])
    assert lanes_of(job) == set() and org.count("Contact") == 1
    groups = {group.code: group for group in ErrorGroup.all_objects.filter(job=job)}
    assert {code: group.rows for code, group in groups.items()} == {**dict.fromkeys(codes, 1), "Duplicate Key": 2}
    assert all(group.sample_message and group.advice for group in groups.values())
    # Corrected, they go.
    write_csv(
        sync.organization, "people.csv", [rows[0], rows[1], *([key, "x", "d", "", "", "", ""] for key in "ABCDEF")]
    )
    job = run(sync)
    assert (job.status, job.counts["inserted"]) == (Status.SUCCEEDED, 6) and lanes_of(job) == {("upsert", lane)}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("code", ["UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"])
def test_rows_that_are_refused_for_a_passing_reason_go_again_within_the_job(
    code: str, lane: str, sandbox: SandboxProcess, org: OrgReader
) -> None:
    rule = {"object": "Contact", "field": "LastName", "matches": "^busy$", "code": code, "times": 1}
    sandbox.faults({"action": "refuse_rows", **rule})
    sync = make_people_sync(sandbox, mappings=KEYED_LINES)
    write_csv(sync.organization, "people.csv", [["id", "last"], ["A", "busy"], ["B", "free"]])
    job = run(sync)
    assert (job.status, job.counts["inserted"], job.counts["failed"]) == (Status.SUCCEEDED, 2, 0)
    assert not row_errors(job).errors and org.count("Contact") == 2
    assert "1 row was refused because" in "\n".join(event.text for event in job.events.all())


@pytest.mark.usefixtures("impatient")
def test_rows_that_are_refused_for_good_come_again_until_they_are_parked(
    lane: str, sandbox: SandboxProcess, org: OrgReader
) -> None:
    codes = {
        "A": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "B": "REQUIRED_FIELD_MISSING",
        "C": "DUPLICATES_DETECTED",
    }
    sandbox.faults(
        *(
            {"action": "refuse_rows", "object": "Contact", "field": "LastName", "matches": f"^{key}$", "code": code}
            for key, code in codes.items()
        )
    )
    sync = make_people_sync(sandbox, mappings=KEYED_LINES, park_after=2)
    rows = [["id", "last"], ["A", "A"], ["B", "B"], ["C", "C"], ["D", "D"]]
    write_csv(sync.organization, "people.csv", rows)
    for _ in range(2):
        job = run(sync)
        assert (job.status, job.counts["failed"], job.counts["inserted"] + job.counts["unchanged"]) == ("partial", 3, 1)
        found = {error.key: error for error in row_errors(job).errors}
        assert {key: error.code for key, error in found.items()} == codes
        assert all(error.source == "salesforce" and error.operation == "upsert" for error in found.values())
        assert {line["_error_code"] for line in refused_csv(job)} == set(codes.values())
    assert run(sync).counts["parked"] == 3
    # One that changes goes again.
    write_csv(sync.organization, "people.csv", [*rows[:1], ["A", "better"], *rows[2:]])
    job = run(sync)
    assert (job.counts["inserted"], job.counts["parked"], job.counts["unchanged"]) == (1, 2, 1)


# --- section 8: lanes ---

EVENT_LINES = {"Order_Number__c": "id"}


@pytest.mark.parametrize(
    ("name", "settings", "rows", "lanes"),
    [
        ("collections: up to so many rows of an upsert", {}, 3, {("upsert", "collections")}),
        ("bulk: above that", {}, 4, {("upsert", "bulk")}),
        ("collections: of an update", {"mode": "update"}, 3, {("update", "collections")}),
        ("bulk: of an update", {"mode": "update"}, 4, {("update", "bulk")}),
        ("collections: of a delete", {"mode": "delete"}, 3, {("delete", "collections")}),
        ("bulk: of a delete", {"mode": "delete"}, 4, {("delete", "bulk")}),
        ("a plain insert always goes by bulk", {"mode": "insert"}, 1, {("insert", "bulk")}),
        (
            "collections: duplicate rules must be overridden",
            {"mode": "insert", "duplicate_rules": "allow_save"},
            4,
            {("insert", "collections")},
        ),
        ("serial: bulk serial", {"bulk_serial": True, "batch_rows": 2}, 4, {("upsert", "bulk")}),
        (
            "events: platform events",
            {"object": "Order_Event__e", "mode": "insert", "compare": "nothing", "key_fields": []},
            4,
            {("insert", "events")},
        ),
    ],
)
def test_the_lane_is_chosen_as_its_row_says(
    name: str,
    settings: dict[str, Any],
    rows: int,
    lanes: set[tuple[str, str]],
    sandbox: SandboxProcess,
    org: OrgReader,
    hand: OrgHand,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("syncs.engine.lanes.FEW_ROWS", 3)
    if settings.get("mode") in ("update", "delete"):
        for number in range(rows):
            hand.insert("Contact", External_Id__c=f"K{number}", LastName="before")
    lines = EVENT_LINES if "object" in settings else KEYED_LINES
    sync = make_people_sync(sandbox, mappings=lines, **settings)
    write_csv(sync.organization, "people.csv", [["id", "last"], *([f"K{number}", "after"] for number in range(rows))])
    job = run(sync)
    assert (job.status, lanes_of(job)) == (Status.SUCCEEDED, lanes), name
    assert job.counts["inserted"] + job.counts["updated"] + job.counts["deleted"] == rows
    assert job.serial == ("bulk_serial" in settings)
    # A batch of calls or events is no larger than what goes by calls.
    cut = "batch_rows" in settings or (rows > 3 and lanes & {("insert", "collections"), ("insert", "events")})
    assert Batch.all_objects.filter(job=job).count() == (2 if cut else 1)


def test_compound_fields_are_not_offered(sandbox: SandboxProcess, org: OrgReader) -> None:
    sync = make_people_sync(sandbox, mappings={**KEYED_LINES, "MailingAddress": "last"})
    write_csv(sync.organization, "people.csv", [["id", "last"], ["A", "A"]])
    job = run(sync)
    assert job.status == Status.FAILED and org.count("Contact") == 0
    assert "Field 'MailingAddress': fields of the type address cannot be mapped. Map its parts" in job.reason
