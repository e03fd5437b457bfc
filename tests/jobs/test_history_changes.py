"""Every change that Salesforce recorded is in the history, and none that is not: held against its change events."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb
import pytest
import requests

from jobs import history
from jobs.models import HistoryFile, Job, Status
from syncs.models import Sync
from tests.factories import anybody
from tests.jobs.scenario import KEYED, KEYLESS, make_people_sync, run, write_csv
from tests.sandbox.conftest import Client
from tests.sandbox.events.test_cometd import Bayeux
from tests.sandbox_process import SandboxProcess

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

CHANNEL = "/data/ContactChangeEvent"
FIELDS = {"External_Id__c", "LastName", "FirstName", "Title", "Last_Seen__c"}
# Of a record, in order: what was done, and the fields that became other ones, with their values.
Changes = dict[str, list[tuple[str, dict[str, str | None]]]]


@pytest.fixture
def recorded(sandbox: SandboxProcess) -> Bayeux:
    """Salesforce, which records changes of contacts; and refuses titles that are `bad`."""
    requests.post(f"{sandbox.http_url}/_sandbox/change-data", json={"objects": ["Contact"]}, timeout=10)
    rule = {"action": "refuse_rows", "object": "Contact", "field": "Title", "matches": "^bad$", "times": None}
    sandbox.faults({**rule, "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "no"})
    bayeux = Bayeux(Client(sandbox))
    assert bayeux.subscribe(CHANNEL, -2)["successful"]
    return bayeux


def in_salesforce(bayeux: Bayeux) -> Changes:
    found: Changes = defaultdict(list)
    while events := bayeux.connect():
        for payload in (event["payload"] for event in events):
            header = payload["ChangeEventHeader"]
            told = set(payload) if header["changeType"] == "CREATE" else set(header["changedFields"])
            fields = {name: payload.get(name) for name in sorted(told & FIELDS)}
            for record_id in header["recordIds"]:
                found[record_id].append((header["changeType"], fields))
    return found


def in_history(sync: Sync) -> tuple[Changes, list[str]]:
    """What the history says, asked record by record; and the refusals that stand in it."""
    kinds = {"inserted": "CREATE", "updated": "UPDATE", "expired": "UPDATE", "deleted": "DELETE"}
    found: Changes = defaultdict(list)
    refused: list[str] = []
    for record_id in _ids():
        for change in reversed(history.story(anybody(sync), record_id=record_id, limit=1_000).changes):
            if change.outcome not in kinds:
                refused.append(change.outcome)
                continue
            fields = {field.name: field.after for field in change.changed_fields}
            if change.outcome == "inserted":
                fields = {name: value for name, value in fields.items() if value is not None}
            found[record_id].append((kinds[change.outcome], dict(sorted(fields.items()))))
    return found, refused


def _ids() -> list[str]:
    paths = [Path(path) for path in HistoryFile.all_objects.values_list("path", flat=True)]
    query = (
        f"SELECT DISTINCT id FROM read_parquet({[str(path) for path in paths]}, union_by_name = true) WHERE id <> ''"
    )
    with duckdb.connect() as connection:
        return [record_id for (record_id,) in connection.execute(query).fetchall()]


def edited(chance: random.Random, rows: dict[str, list[str]]) -> dict[str, list[str]]:
    """The source a day later: some rows changed, some gone, some new."""
    later = dict(rows)
    for number in range(40):
        key = f"K{number:02}"
        match chance.randrange(6):
            case 0:
                later.pop(key, None)
            case 1 | 2:
                title = chance.choice(["Buyer", "Head, of\nSales", "", "bad", 'the "Boss"'])
                later[key] = [key, f"Name {chance.randrange(3)}", chance.choice(["Ana", "Bo", ""]), title]
    return later


def lines(sync: Sync, blank: str) -> None:
    sync.mappings.filter(target__in=["FirstName", "Title"]).update(when_blank=blank)


@pytest.mark.parametrize(
    ("seed", "settings", "blank"),
    [
        (1, {"mode": "mirror"}, "clear"),
        (2, {"mode": "mirror", "key_fields": ["LastName", "External_Id__c"]}, "leave"),
        (
            3,
            {"mode": "custom", "on_new": "insert", "on_changed": "update", "on_dropped": "expire",
             "expire_field": "Last_Seen__c"},
            "clear",
        ),
        (4, {"mode": "insert", "compare": "nothing", "key_fields": [], "mappings": KEYLESS}, "leave"),
    ],
    ids=["mirror", "two keys", "expire", "no key"],
)  # fmt: skip
def test_each_change_that_salesforce_recorded_is_in_the_history_and_no_other(
    sandbox: SandboxProcess,
    recorded: Bayeux,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    blank: str,
    seed: int,
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr("jobs.history_files.MERGED_AT_ONCE", 3)
    sync = make_people_sync(sandbox, **{"mappings": KEYED, "guard_percent": 100, "batch_rows": 7, **settings})
    lines(sync, blank)
    rows: dict[str, list[str]] = {}
    for number in range(6):
        monkeypatch.setattr("syncs.engine.lanes.FEW_ROWS", chance.choice([0, 2_000]))
        rows = edited(chance, rows)
        write_csv(sync.organization, "people.csv", [["id", "last", "first", "title"], *rows.values()])
        job = run(sync)
        assert job.status in (Status.SUCCEEDED, Status.PARTIAL), (number, job.reason)
    told, refused = in_history(sync)
    wanted = in_salesforce(recorded)
    assert plain(told) == plain(wanted)
    assert sum(len(changes) for changes in wanted.values()) > 40
    assert set(refused) <= {"failed"}
    assert Job.all_objects.count() == 6 > HistoryFile.all_objects.count()


def plain(changes: Changes) -> Changes:
    """Moments as their day and time, however they are written."""

    def text(name: str, value: str | None) -> str | None:
        return value[:19] if name == "Last_Seen__c" and value else value

    return {
        record_id: [(kind, {name: text(name, value) for name, value in fields.items()}) for kind, fields in some]
        for record_id, some in changes.items()
    }
