from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from sandbox.rest.describe import version_label
from sandbox.schema import FIELD_DEFAULTS, Schema, SchemaError
from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess


def test_versions_ascend_and_need_no_login(sandbox: SandboxProcess) -> None:
    answer = requests.get(sandbox.http_url + "/services/data", timeout=10)
    versions = [float(each["version"]) for each in answer.json()]
    assert versions == sorted(versions)
    assert (versions[0], versions[-1]) == (31.0, 67.0)
    assert answer.json()[-1]["label"] == "Summer '26"
    assert "Sforce-Limit-Info" not in answer.headers


@pytest.mark.parametrize(("version", "label"), [(20, "Winter '11"), (65, "Winter '26"), (66, "Spring '26")])
def test_a_version_is_named_after_its_release(version: int, label: str) -> None:
    assert version_label(version) == label


@pytest.mark.parametrize(("version", "status"), [("v29.0", 410), ("v99.0", 404), ("v60.5", 404), ("60.0", 404)])
def test_retired_and_unknown_versions_are_refused(sandbox: SandboxProcess, version: str, status: int) -> None:
    assert Client(sandbox, version).call("GET", "/limits").status_code == status


def test_the_version_lists_its_resources(client: Client) -> None:
    resources = client.call("GET", "/").json()
    assert resources["sobjects"] == "/services/data/v60.0/sobjects"
    assert "/id/00D" in resources["identity"]


def test_global_describe_has_28_keys_per_object(client: Client) -> None:
    body = client.call("GET", "/sobjects/").json()
    assert (body["encoding"], body["maxBatchSize"]) == ("UTF-8", 200)
    names = {each["name"] for each in body["sobjects"]}
    assert {"Account", "Campaign", "Contact", "Lead", "Task", "User", "Airport__c", "Airline__c"} <= names
    assert {len(each) for each in body["sobjects"]} == {28}


def test_all_fields_of_all_objects_have_the_57_keys() -> None:
    assert len(FIELD_DEFAULTS) == 57
    for each in Schema():
        for one in each.fields.values():
            assert set(one.document) == set(FIELD_DEFAULTS), f"{each.name}.{one.name}"


def test_added_external_ids_are_described_as_such(client: Client) -> None:
    fields = {each["name"]: each for each in client.call("GET", "/sobjects/Contact/describe").json()["fields"]}
    flags = ("externalId", "unique", "caseSensitive", "idLookup")
    assert [fields["External_Id__c"][flag] for flag in flags] == [True, True, False, True]
    assert [fields["Legacy_Code__c"][flag] for flag in flags] == [True, False, False, True]
    assert [fields["Case_Code__c"][flag] for flag in flags] == [True, True, True, True]
    assert (fields["Score__c"]["precision"], fields["Score__c"]["scale"]) == (5, 2)
    assert fields["Tier__c"]["restrictedPicklist"]
    assert [each["value"] for each in fields["Tier__c"]["picklistValues"]] == ["Bronze", "Silver", "Gold"]


def test_an_object_knows_its_children(client: Client) -> None:
    children = client.call("GET", "/sobjects/Account/describe").json()["childRelationships"]
    assert {"childSObject": "Contact", "field": "AccountId"}.items() <= {
        key: value for each in children if each["childSObject"] == "Contact" for key, value in each.items()
    }.items()


def test_an_unknown_object_or_resource_is_not_found(client: Client) -> None:
    expected = [{"message": "The requested resource does not exist", "errorCode": "NOT_FOUND"}]
    for path in ("/sobjects/Nothing__c/describe", "/nothing", "/sobjects/Contact/describe/too/deep"):
        answer = client.call("GET", path)
        assert (answer.status_code, answer.json()) == (404, expected)
    assert client.call("DELETE", "/limits").status_code == 405


def test_every_answer_names_its_type_and_the_api_usage(client: Client) -> None:
    first = client.call("GET", "/sobjects/Contact/describe")
    assert first.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert first.headers["Content-Encoding"] == "gzip"
    plain = client.call("GET", "/limits", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    used = int(plain.headers["Sforce-Limit-Info"].removeprefix("api-usage=").split("/")[0])
    limits = client.call("GET", "/limits/").json()["DailyApiRequests"]
    assert limits["Max"] - limits["Remaining"] == used + 1


def test_the_daily_limit_ends_in_403() -> None:
    with SandboxProcess(https=False, daily_api_requests=2) as sandbox:
        client = Client(sandbox)
        assert [client.call("GET", "/limits").status_code for _ in range(3)] == [200, 200, 403]
        refused = client.call("GET", "/limits").json()
        assert refused == [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]


def test_record_counts_leave_out_empty_objects(client: Client) -> None:
    client.create("Account", Name="One")
    answer = client.call("GET", "/limits/recordCount?sObjects=Account,Contact").json()
    assert answer == {"sObjects": [{"count": 1, "name": "Account"}]}


def test_a_describe_the_caller_has_is_not_sent_again(client: Client) -> None:
    for path in ("/sobjects", "/sobjects/Contact/describe"):
        first = client.call("GET", path)
        again = client.call("GET", path, headers={"If-Modified-Since": first.headers["Last-Modified"]})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
        older = {"If-Modified-Since": "Sat, 1 Jan 2000 00:00:01 GMT"}
        assert client.call("GET", path, headers=older).json() == first.json()


def test_pages_are_described_by_layouts(client: Client) -> None:
    page = client.call("GET", "/sobjects/Contact/describe/layouts").json()
    (layout,) = page["layouts"]
    assert layout["id"].startswith("00h") and page["recordTypeMappings"][0]["layoutId"] == layout["id"]
    by_type = client.call("GET", "/sobjects/Contact/describe/layouts/012000000000000AAA")
    assert by_type.json() == layout
    items = [row["layoutItems"][0] for row in layout["editLayoutSections"][0]["layoutRows"]]
    required = [each["layoutComponents"][0]["value"] for each in items if each["required"]]
    assert required == ["LastName"]
    compact = client.call("GET", "/sobjects/Contact/describe/compactLayouts").json()
    assert (compact["defaultCompactLayoutId"], compact["compactLayouts"][0]["name"]) == (None, "SYSTEM")
    assert compact["compactLayouts"][0]["fieldItems"][0]["label"] == "Full Name"
    assert client.call("GET", "/sobjects/Contact/listviews").json()["listviews"] == []
    assert client.call("GET", "/sobjects/Contact/quickActions").json() == []
    for path in ("Organization/describe/layouts", "Contact/describe/layouts/012000000000001AAA", "No__c/listviews"):
        assert client.call("GET", f"/sobjects/{path}").status_code == 404


def test_every_url_of_the_global_describe_answers(client: Client) -> None:
    for each in client.call("GET", "/sobjects").json()["sobjects"]:
        for url in each["urls"].values():
            if "{ID}" not in url:
                answer = client.http.get(client.sandbox.http_url + url, timeout=30)
                assert answer.status_code == 200, url


@pytest.mark.parametrize("wrong", [{"noUrls": "listviews"}, {"moreUrls": ["x"]}, {"moreUrls": {"x": 1}}])
def test_wrong_urls_of_an_object_are_refused_with_its_name(tmp_path: Path, wrong: dict[str, object]) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps({"name": "Plant__c", **wrong}))
    with pytest.raises(SchemaError, match="Plant__c"):
        Schema([file])
