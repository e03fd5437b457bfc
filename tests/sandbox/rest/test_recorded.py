"""The sandbox's describes against those recorded from Salesforce: every difference is listed here, with its reason."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from sandbox.schema import field_document
from tests.sandbox.conftest import Client

# Place (as `_differences` writes it) -> why the sandbox says something else.
NEWER = "recorded by an API version that did not have the key yet"
NOT_THERE = "the resource is not in the sandbox"
NO_OBJECT = "the object is not in the sandbox"
DIFFERENCES = {
    "*/childRelationships/*: missing": NO_OBJECT,
    "Account/associateEntityType: added": NEWER,
    "Account/associateParentEntity: added": NEWER,
    "Account/sobjectDescribeOption: added": NEWER,
    "Case/associateEntityType: added": NEWER,
    "Case/associateParentEntity: added": NEWER,
    "Case/sobjectDescribeOption: added": NEWER,
    "Account/urls/defaultValues: missing": NOT_THERE,
    "Case/urls/defaultValues: missing": NOT_THERE,
    "Case/urls/case*ArticleSuggestions: missing": NOT_THERE,
    "User/urls/namedLayouts: missing": NOT_THERE,
    "Account/recordTypeInfos/Household: missing": "the recorded org has a record type of its own",
    "Account/recordTypeInfos/Master/defaultRecordTypeMapping: True": "so that Master is not the default there",
    "Event/keyPrefix: '00U'": "added to the recording by hand, without the prefix",
    "Lead/keyPrefix: '00Q'": "added to the recording by hand, without the prefix",
}
# Objects whose lookups the sandbox has under another name or not at all, though it has the object.
LOOKUPS_LEFT_OUT = {
    "User/AccountId": "only portal users have it",
    "User/ContactId": "only portal users have it",
}


def _recorded(shared: Path, name: str) -> Any:
    text = (shared / "salesforce" / "describe" / f"{name}.json").read_text(encoding="utf-8")
    return json.loads(re.sub(r"/services/data/v(xx|[0-9]+)\.0", "/services/data/v60.0", text))


def _named(values: list[Any]) -> dict[str, Any] | None:
    """A list as a dictionary by what its entries are called; None for a list without names."""
    for keys in (("childSObject", "field"), ("developerName",), ("name",)):
        if values and all(isinstance(each, dict) and set(keys) <= set(each) for each in values):
            return {"/".join(str(each[key]) for key in keys): each for each in values}
    return None


def _differences(place: str, recorded: Any, described: Any) -> Iterator[str]:
    if isinstance(recorded, list) and isinstance(described, list) and (old := _named(recorded)) is not None:
        # The sandbox's own custom fields, and the lookups of custom objects, are no part of the comparison.
        new = (_named(described) or {}).items()
        recorded, described = old, {key: value for key, value in new if key in old or not key.endswith("__c")}
    if isinstance(recorded, dict) and isinstance(described, dict):
        yield from (f"{place}/{key}: missing" for key in recorded if key not in described)
        yield from (f"{place}/{key}: added" for key in described if key not in recorded)
        for key in recorded:
            if key in described:
                yield from _differences(f"{place}/{key}", recorded[key], described[key])
    elif recorded != described:
        yield f"{place}: {described!r}"


def _unexplained(found: list[str]) -> list[str]:
    return [each for each in found if not any(fnmatchcase(each, pattern) for pattern in DIFFERENCES)]


@pytest.mark.parametrize("name", ["Account", "Case", "Contact", "Lead", "Opportunity"])
def test_an_object_is_described_as_recorded(client: Client, shared: Path, name: str) -> None:
    recorded = _recorded(shared, name)
    for key in ("uiDetailTemplate", "uiEditTemplate", "uiNewRecord"):
        recorded["urls"][key] = re.sub("^https?://[^/]+", client.sandbox.http_url, recorded["urls"][key])
    described = client.call("GET", f"/sobjects/{name}/describe").json()
    found = list(_differences(name, recorded, described))
    assert _unexplained(found) == []
    names = {each["name"] for each in client.call("GET", "/sobjects").json()["sobjects"]}
    lost = [each.split("/", 2)[2].removesuffix(": missing") for each in found if "/childRelationships/" in each]
    assert [each for each in lost if each.split("/")[0] in names and each not in LOOKUPS_LEFT_OUT] == []
    order = [each["name"] for each in described["fields"]]
    assert order[: len(recorded["fields"])] == [each["name"] for each in recorded["fields"]]


def test_the_global_describe_says_what_was_recorded(client: Client, shared: Path) -> None:
    recorded, described = _recorded(shared, "_global"), client.call("GET", "/sobjects").json()
    assert set(recorded) == set(described)
    known = {each["name"]: each for each in described["sobjects"]}
    both = [each for each in recorded["sobjects"] if each["name"] in known]
    assert {each["name"] for each in both} == {
        *("Account", "Campaign", "CampaignMember", "Case", "Contact", "Event", "Lead", "Opportunity"),
        *("OpportunityContactRole", "Organization", "User", "UserRole"),
    }
    found = [one for each in both for one in _differences(each["name"], each, known[each["name"]])]
    assert _unexplained(found) == []


def test_a_custom_object_is_described_as_recorded(client: Client, shared: Path) -> None:
    recorded = _recorded(shared, "Custom__c")
    described = client.call("GET", "/sobjects/Airport__c/describe").json()
    assert set(described) == set(recorded)
    assert {key for key in recorded if type(recorded[key]) is not type(described[key])} == set()
    compact = [
        {"name": "Id", "type": "id"},
        {"name": "Name", "length": 80, "idLookup": True, "nameField": True, "defaultedOnCreate": True},
        {"name": "CustomField__c", "label": "Custom Field", "length": 80, "idLookup": True, "nameField": True},
    ]
    for entry, wanted in zip(compact, recorded["fields"], strict=True):
        assert field_document({"permissionable": False, **entry}) == wanted


def test_the_organization_has_the_recorded_fields(client: Client, shared: Path) -> None:
    recorded = _recorded(shared, "_organization_record")
    (row,) = client.query("SELECT Id FROM Organization")
    record = client.call("GET", f"/sobjects/Organization/{row['Id']}").json()
    assert set(recorded) - set(record) == set()
    same = ("OrganizationType", "IsSandbox", "DefaultAccountAccess", "UiSkin", "WebToCaseDefaultOrigin", "Address")
    assert {key: record[key] for key in same} == {key: recorded[key] for key in same}


def test_no_listed_difference_is_past(client: Client, shared: Path) -> None:
    described = {each["name"]: each for each in client.call("GET", "/sobjects").json()["sobjects"]}
    found = [
        one
        for each in _recorded(shared, "_global")["sobjects"]
        if each["name"] in described
        for one in _differences(each["name"], each, described[each["name"]])
    ]
    for name in ("Account", "Case"):
        answer = client.call("GET", f"/sobjects/{name}/describe").json()
        found += _differences(name, _recorded(shared, name), answer)
    past = [pattern for pattern in DIFFERENCES if not any(fnmatchcase(each, pattern) for each in found)]
    assert past == []
