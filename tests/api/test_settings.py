"""All settings of a sync by the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from orgs import access
from orgs.models import Membership, Permission
from syncs.models import Sync
from tests.api.conftest import House, client_of, first_error, sync_values
from tests.factories import make_connection
from tests.jobs.scenario import sandbox_values
from tests.sandbox_process import SandboxProcess

SYNCS = "/api/v1/syncs/"
RULE = {"all": [{"left": {"source": "a"}, "operator": "in", "right": {"value": ["x", "y"]}}]}
EVERYTHING: dict[str, Any] = {
    "source_rules": RULE,
    "columns": [{"name": "born", "type": "date", "format": "%d.%m.%Y"}],
    "target_filter": "LastName != null",
    "mode": "custom",
    "compare": "destination",
    "on_new": "insert",
    "on_changed": "conditional",
    "on_dropped": "expire",
    "changed_rule": {"any": [{"left": {"target": "Title"}, "operator": "is null"}, RULE]},
    "expire_field": "Left__c",
    "auto_assign": "default",
    "duplicate_rules": "allow_save",
    "bulk_serial": True,
    "park_after": 0,
    "parameters": [
        {"name": "country", "default": "DE", "description": ""},
        {"name": "day", "default": None, "description": "Of the delivery."},
    ],
}
LINE: dict[str, Any] = {
    "target": "AccountId",
    "expression": "upper(account)",
    "lookup": {"object": "Account", "field": "External_Id__c"},
    "when_blank": "default",
    "default": "none",
    "write_on": "insert",
    "too_long": "truncate",
    "unknown_picklist": "clear",
    "too_precise": "round",
    "missing_parent": "leave",
    "trim": False,
    "replacements": [{"pattern": " +", "replacement": " "}],
    "mandatory": True,
    "validated": False,
}


def test_every_setting_is_answered_as_it_was_sent(house: House, api: APIClient) -> None:
    lines = [{"target": "Key__c", "source_column": "id"}, LINE]
    made = api.post(SYNCS, sync_values(house, **EVERYTHING, mappings=lines))
    assert made.status_code == 201, made.content
    told = api.get(f"{SYNCS}{made.json()['id']}/").json()
    assert {name: told[name] for name in EVERYTHING} == EVERYTHING
    assert told["mappings"][1] == {"source_column": None, "constant": None, **LINE}
    assert told["mappings"][0]["lookup"] is None
    assert "give_up_snapshot" not in told
    changed = api.patch(f"{SYNCS}{made.json()['id']}/", {"parameters": [], "columns": [], "source_rules": None})
    assert (changed.json()["parameters"], changed.json()["columns"], changed.json()["source_rules"]) == ([], [], None)


@pytest.mark.parametrize(
    ("changes", "attr"),
    [
        ({"mode": "custom"}, "on_new"),
        ({"mode": "mirror", "compare": "nothing"}, "compare"),
        ({"source_rules": []}, "source_rules"),
        ({"source_rules": {"all": []}}, "source_rules"),
        ({"columns": [{"name": "a", "type": "when"}]}, "columns.0.type"),
        ({"columns": [{"name": "a", "type": "number", "format": "%d"}]}, "columns"),
        ({"parameters": [{"name": "1st"}]}, "parameters.0.name"),
        ({"parameters": [{"name": "day"}, {"name": "Day"}]}, "parameters"),
        ({"hard_delete": True}, "hard_delete"),
        ({"mappings": [{"target": "A", "source_column": "a", "expression": "b"}]}, "mappings.0.non_field_errors"),
        ({"mappings": [{"target": "A", "source_column": "a", "when_blank": "default"}]}, "mappings.0.default"),
        (
            {"mappings": [{"target": "A", "source_column": "a", "lookup": {"object": "Account", "field": "a b"}}]},
            "mappings.0.lookup.field",
        ),
        ({"mappings": [{"target": "A", "source_column": "a", "replacements": [{"pattern": "("}]}]}, "mappings.0"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(
    house: House, api: APIClient, changes: dict[str, Any], attr: str
) -> None:
    answer = api.post(SYNCS, sync_values(house, **changes))
    assert answer.status_code == 400, answer.content
    assert str(first_error(answer)["attr"]).startswith(attr), answer.content


def test_another_key_is_taken_only_with_the_loss_of_the_snapshot(house: House, api: APIClient) -> None:
    Sync.all_objects.filter(pk=house.sync.pk).update(snapshot={"path": "x", "rows": 7, "header": {}})
    url = f"{SYNCS}{house.sync.pk}/"
    for change, attr in (({"key_fields": ["Name"]}, "key_fields"), ({"object": "Contact"}, "object")):
        refused = api.patch(url, change)
        assert refused.status_code == 400 and first_error(refused)["attr"] == attr
        assert "The snapshot of 7 records" in first_error(refused)["detail"]
    assert api.patch(url, {"object": "ACCOUNT", "description": "x"}).status_code == 200
    assert Sync.all_objects.get(pk=house.sync.pk).known_records == 7
    assert api.patch(url, {"key_fields": ["Name"], "give_up_snapshot": True}).status_code == 200
    assert Sync.all_objects.get(pk=house.sync.pk).known_records is None


def test_only_who_holds_hard_delete_switches_it_on(
    house: House, api: APIClient, joined: Callable[..., Membership]
) -> None:
    bob, url = client_of(joined("bob")), f"{SYNCS}{house.sync.pk}/"
    access.grant(house.team, house.sync, read=True, write=True, execute=True)
    on = {"mode": "mirror", "hard_delete": True}
    refused = bob.patch(url, on)
    assert refused.status_code == 400 and first_error(refused)["attr"] == "hard_delete"
    assert client_of(house.owner, [Permission.READ, Permission.WRITE]).patch(url, on).status_code == 400
    access.grant(house.team, house.sync, hard_delete=True)
    assert bob.patch(url, on).json()["hard_delete"] is True
    access.grant(house.team, house.sync, hard_delete=False)
    # It stands: who may write may leave it so, and switch it off.
    assert bob.patch(url, {"description": "x", "hard_delete": True}).status_code == 200
    assert bob.patch(url, {"hard_delete": False}).json()["hard_delete"] is False
    assert bob.patch(url, {"hard_delete": True}).status_code == 400


def test_a_token_without_hard_delete_makes_no_sync_that_has_it(house: House) -> None:
    values = sync_values(house, mode="mirror", hard_delete=True)
    most = [each for each in Permission if each not in (Permission.HARD_DELETE, Permission.ADMIN)]
    assert first_error(client_of(house.owner, most).post(SYNCS, values))["attr"] == "hard_delete"
    assert client_of(house.owner, [*most, Permission.HARD_DELETE]).post(SYNCS, values).status_code == 201


def test_a_target_filter_is_tried(house: House, api: APIClient, sandbox: SandboxProcess) -> None:
    org = make_connection(house.organization, "salesforce", name="Practice", values=sandbox_values(sandbox))
    url = f"/api/v1/connections/{org.pk}/count/"
    assert api.post(url, {"object": "User", "filter": ""}).json()["records"] > 0
    assert api.post(url, {"object": "Account", "filter": "Name = 'None'"}).json() == {"records": 0}
    wrong = api.post(url, {"object": "Account", "filter": "Name = 'a' AND Nope__c = 1"})
    assert wrong.status_code == 422 and "at character 16" in first_error(wrong)["detail"]
    asked = {"object": "Account", "filter": "Name = @name AND Nope__c = 1", "parameters": {"name": "a rather long one"}}
    wrong = api.post(url, asked)
    assert wrong.status_code == 422 and "at character 18" in first_error(wrong)["detail"]
    asked["filter"] = "Name != @name"
    assert api.post(url, asked).json() == {"records": 0}
    assert "no such parameter" in first_error(api.post(url, {**asked, "parameters": {}}))["detail"]
    assert api.post(url, {"object": "Account Contact", "filter": ""}).status_code == 422
    assert api.post(url, {"filter": ""}).status_code == 400
