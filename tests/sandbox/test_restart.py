from __future__ import annotations

import time
from pathlib import Path

from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess

COUNT = 60_000
CONTENT = "External_Id__c,LastName\n" + "".join(f"k{n},Name {n}\n" for n in range(COUNT))


def test_records_jobs_results_and_sessions_survive_a_kill(tmp_path: Path) -> None:
    with SandboxProcess(data=tmp_path / "org") as sandbox:
        client = Client(sandbox)
        made = client.create("Contact", LastName="Kept", Score__c=1.5)
        ended = client.load("insert", "LastName,Email\na,a@b.io\nb,bad\n")
        sandbox.kill()
        sandbox.start()
        assert client.call("GET", f"/sobjects/Contact/{made}").json()["Score__c"] == 1.5
        again = client.end(ended.info["id"])
        assert (again.info, again.success, again.failed) == (ended.info, ended.success, ended.failed)
        assert client.create("Contact", LastName="Next") not in {made, ended.success[0]["sf__Id"]}


def test_a_job_killed_half_way_is_finished_after_the_restart_and_no_row_is_doubled(tmp_path: Path) -> None:
    with SandboxProcess(data=tmp_path / "org", https=False) as sandbox:
        client = Client(sandbox)
        sandbox.faults({"action": "slow_job", "seconds": 1.5})
        job_id = client.start_job("insert", CONTENT)
        while client.info(job_id)["numberRecordsProcessed"] < 10_000:
            time.sleep(0.01)
        sandbox.kill()
        sandbox.start()
        ended = client.end(job_id)
        assert (ended.info["state"], ended.info["numberRecordsProcessed"]) == ("JobComplete", COUNT)
        assert len({row["External_Id__c"] for row in ended.success}) == COUNT
        assert sandbox.state()["objects"]["Contact"]["live"] == COUNT


def test_a_changed_schema_file_adds_its_columns_to_a_kept_org(tmp_path: Path) -> None:
    with SandboxProcess(data=tmp_path / "org", https=False) as sandbox:
        made = Client(sandbox).create("Contact", LastName="Old")
        sandbox.kill()
        schema = tmp_path / "more.json"
        schema.write_text(
            '{"name": "Contact", "fields": [{"name": "Shoe__c", "type": "double", "precision": 4, "scale": 1}]}'
        )
        sandbox.flags["schema"] = schema
        sandbox.start()
        client = Client(sandbox)
        client.call("PATCH", f"/sobjects/Contact/{made}", json={"Shoe__c": 42.5})
        assert client.query("SELECT LastName, Shoe__c FROM Contact") == [{"LastName": "Old", "Shoe__c": 42.5}]


def test_a_reset_empties_the_org_and_gives_no_id_twice(sandbox: SandboxProcess, client: Client) -> None:
    made = client.create("Account", Name="A")
    client.load("insert", "LastName\na\n")
    sandbox.reset()
    state = sandbox.state()
    assert state["objects"]["Account"] == {"live": 0, "deleted": 0}
    assert state["objects"]["User"] == {"live": 1, "deleted": 0}
    assert state["jobs"] == []
    assert sandbox.requests()["total"] == 0
    assert client.create("Account", Name="A") != made
