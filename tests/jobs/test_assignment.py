"""Auto assign, through jobs in both lanes: who owns a lead afterwards, in an org with assignment rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from connections import sessions
from jobs.models import Batch, Status
from tests.org_reader import OrgReader
from tests.sandbox_process import SandboxProcess

from .scenario import make_people_sync, run, write_csv

pytestmark = pytest.mark.django_db(transaction=True)

ACTIVE, INACTIVE = "01Q5s0000000001AAA", "01Q5s0000000002AAA"
ORG = {
    "objects": [
        {"name": "User", "records": [{"Username": "web@sandbox.example", "LastName": "Web", "Alias": "web"}]},
        {
            "name": "Lead",
            "fields": [{"name": "External_Id__c", "length": 40, "externalId": True, "unique": True}],
            "assignmentRules": [
                {
                    "name": "By_Source",
                    "id": ACTIVE,
                    "entries": [{"when": 'ISPICKVAL(LeadSource, "Web")', "owner": "web@sandbox.example"}],
                },
                {"name": "All", "id": INACTIVE, "active": False, "entries": [{"owner": "web@sandbox.example"}]},
            ],
        },
    ]
}
MAPPINGS = {"External_Id__c": "id", "LastName": "last", "Company": "company", "LeadSource": "source"}
ROWS = [["id", "last", "company", "source"], ["L1", "Ana", "Acme", "Web"], ["L2", "Ben", "Acme", "Other"]]


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    schema: Path = tmp_path_factory.mktemp("schema") / "org.json"
    schema.write_text(json.dumps(ORG))
    with SandboxProcess(schema=schema, https=False) as sandbox:
        yield sandbox


@pytest.mark.parametrize("lane", ["collections", "bulk"])
@pytest.mark.parametrize(
    ("auto_assign", "assigned"), [("off", set()), ("default", {"Ana"}), (INACTIVE, {"Ana", "Ben"})]
)
def test_a_lead_goes_to_whom_the_chosen_rule_says(
    auto_assign: str, assigned: set[str], lane: str, ruled: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    ruled.reset()
    sessions.forget_all()
    monkeypatch.setattr("syncs.engine.lanes.FEW_ROWS", 2_000 if lane == "collections" else 0)
    sync = make_people_sync(ruled, object="Lead", mappings=MAPPINGS, auto_assign=auto_assign)
    write_csv(sync.organization, "people.csv", ROWS)
    job = run(sync)
    assert job.status == Status.SUCCEEDED, job.reason
    assert set(Batch.all_objects.filter(job=job).values_list("lane", flat=True)) == {lane}
    owners = OrgReader(ruled).query("SELECT LastName, Owner.Username FROM Lead")
    assert {each["LastName"] for each in owners if each["Owner"]["Username"] == "web@sandbox.example"} == assigned
