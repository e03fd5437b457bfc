"""jsforce 3 from npm, unmodified, over HTTP: scripts of node/ use it, and the tests judge what they print."""

from __future__ import annotations

from tests.sandbox.clients.conftest import Run
from tests.sandbox_process import SandboxProcess


def test_it_logs_in_by_soap_and_oauth(run_script: Run, sandbox: SandboxProcess) -> None:
    found = run_script("login.mjs")
    user, org = found["identity"]["user"], found["identity"]["org"]
    assert (user[:3], org[:3], found["identity"]["name"]) == ("005", "00D", sandbox.username)
    for each in ("soap", "password", "clientCredentials"):
        assert (found[each]["id"], found[each]["organizationId"]) == (user, org)
        assert found[each]["url"].endswith(f"/id/{org}/{user}")
    assert found["soapInstance"] == sandbox.http_url
    assert found["soapVersions"] == 37
    assert found["wrongPassword"].startswith("INVALID_LOGIN: ")
    assert found["limits"] == 1_000_000
    assert found["afterLogout"] == "INVALID_SESSION_ID"


def test_it_describes_writes_and_queries(run_script: Run) -> None:
    found = run_script("records.mjs")
    assert found.pop("global") > 10
    prefix, fields, has_children = found.pop("describe")
    assert (prefix, fields > 60, has_children) == ("003", True, True)
    assert found == {
        "cached": "Contact",
        "layouts": ["layouts", "recordTypeMappings", "recordTypeSelectorRequired"],
        "compactLayouts": ["compactLayouts", "defaultCompactLayoutId", "recordTypeCompactLayoutMappings"],
        "approvalLayouts": {"approvalLayouts": []},
        "listviews": [],
        "quickActions": [],
        "created": [True, []],
        "read": "Single",
        "updated": True,
        "upserted": True,
        "upsertedNew": True,
        "missing": "REQUIRED_FIELD_MISSING",
        "recent": 0,
        "destroyed": True,
        "gone": "ENTITY_IS_DELETED",
        "collection": [True, True, "REQUIRED_FIELD_MISSING"],
        "allOrNone": ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING"],
        "retrieved": ["A", "B"],
        "changed": [True, True],
        "keyed": [False, True],
        "recursive": 450,
        "fetched": [450, 450, True, "Row 449"],
        "found": ["Row 009", "Row 008", "Row 007"],
        "star": True,
        "count": 2,
        "children": [["Parent", ["A"]]],
        "malformed": "MALFORMED_QUERY",
        "unknown": "INVALID_FIELD",
        "search": ["Three"],
        "explained": 1,
        "changedByQuery": [True],
        "csv": "LastName,Title\nB,B x\n",
        "several": "MULTIPLE_CHOICES",
        "renewed": 2,
        "cleared": 450,
        "destroyedMany": [True, True],
        "deleted": 453,
        "updatedLately": 4,
        "withDeleted": 457,
        "left": 4,
    }


def test_its_bulk_loads_and_queries_in_both_versions(run_script: Run) -> None:
    found = run_script("bulk.mjs")
    created, failed, unprocessed = found.pop("upsert2")
    assert sorted(created) == [["false", "K2"], ["true", 'K3, "quoted"']]
    assert (failed, unprocessed) == (["REQUIRED_FIELD_MISSING"], 0)
    assert found == {
        "insert": [True] * 5 + [False],
        "insertError": "REQUIRED_FIELD_MISSING",
        "update": [True] * 5,
        "upsert": [True, True],
        "query": ["K1", "K2", *(f"One {n}" for n in range(5))],
        "delete": [True],
        "hardDelete": [True],
        "opened": "Open",
        "info": ["JobComplete", 1],
        "aborted": "Aborted",
        "query2": 3,
        "hardDelete2": 3,
        "refused": "INVALIDENTITY",
    }


def test_it_hears_topics_events_and_changes(run_script: Run) -> None:
    assert run_script("streaming.mjs") == {
        "topic": [["created", "Told"]],
        "event": ["O1"],
        "change": [["CREATE", "Told"]],
        "replayed": ["O1"],
    }
