from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.sandbox.conftest import Client
from tests.sandbox.login.oauth_client import credentials, post_token, put
from tests.sandbox_process import SandboxProcess

LogIn = Callable[..., Client]


@pytest.fixture
def clerk(sandbox: SandboxProcess) -> LogIn:
    """Logs in as a user with the permissions that are given."""

    def log_in(**permissions: Any) -> Client:
        person = {"username": "clerk@x.example", "password": "pw"}
        put(sandbox, "users", **person, permissions=permissions)
        client = Client(sandbox)
        token = post_token(sandbox, grant_type="password", **credentials(sandbox), **person).json()["access_token"]
        client.http.headers["Authorization"] = f"Bearer {token}"
        return client

    return log_in


def _refusal(answer: requests.Response) -> tuple[int, str, str]:
    (error,) = answer.json()
    return answer.status_code, error["errorCode"], error["message"]


def test_an_object_that_may_not_be_read_does_not_exist(client: Client, clerk: LogIn) -> None:
    lead = client.create("Lead", LastName="L", Company="C")
    limited = clerk(objects={"Lead": {"read": False}})
    names = {each["name"] for each in limited.call("GET", "/sobjects").json()["sobjects"]}
    assert "Lead" not in names
    assert "Contact" in names
    missing = (404, "NOT_FOUND", "The requested resource does not exist")
    for method, path in (
        ("GET", "/sobjects/Lead"),
        ("GET", "/sobjects/Lead/describe"),
        ("GET", f"/sobjects/Lead/{lead}"),
        ("POST", "/sobjects/Lead"),
        ("DELETE", f"/sobjects/Lead/{lead}"),
    ):
        assert _refusal(limited.call(method, path, json={"LastName": "x"})) == missing, (method, path)
    query = limited.call("GET", "/query", params={"q": "SELECT Id FROM Lead"})
    assert _refusal(query)[:2] == (400, "INVALID_TYPE")
    job = limited.call("POST", "/jobs/ingest", json={"object": "Lead", "operation": "insert"})
    assert _refusal(job)[:2] == (400, "INVALIDENTITY")
    assert limited.call("GET", "/limits/recordCount", params={"sObjects": "Lead"}).json() == {"sObjects": []}
    children = limited.call("GET", "/sobjects/User/describe").json()["childRelationships"]
    assert "Lead" not in {each["childSObject"] for each in children}
    assert len(client.query("SELECT Id FROM Lead")) == 1


def test_a_field_that_may_not_be_read_does_not_exist(client: Client, clerk: LogIn) -> None:
    made = client.create("Contact", LastName="L", Title="Boss")
    limited = clerk(fields={"Contact.Title": {"read": False}})
    described = limited.call("GET", "/sobjects/Contact/describe").json()["fields"]
    assert "Title" not in {each["name"] for each in described}
    assert "Title" not in limited.call("GET", f"/sobjects/Contact/{made}").json()
    query = limited.call("GET", "/query", params={"q": "SELECT Title FROM Contact"})
    assert _refusal(query)[:2] == (400, "INVALID_FIELD")
    assert "No such column 'Title'" in query.text
    filtered = limited.call("GET", "/query", params={"q": "SELECT Id FROM Contact WHERE Title = 'Boss'"})
    assert _refusal(filtered)[:2] == (400, "INVALID_FIELD")
    write = limited.call("PATCH", f"/sobjects/Contact/{made}", json={"Title": "x"})
    assert _refusal(write)[:2] == (400, "INVALID_FIELD")
    failed = limited.load("insert", "LastName,Title\nA,B\n").info
    assert (failed["state"], failed["errorMessage"]) == ("Failed", "InvalidBatch : Field name not found : Title")
    assert client.call("GET", f"/sobjects/Contact/{made}").json()["Title"] == "Boss"


def test_a_field_that_may_not_be_edited_is_marked_and_refused(client: Client, clerk: LogIn) -> None:
    made = client.create("Contact", LastName="L", Title="Boss")
    limited = clerk(fields={"Contact.Title": {"edit": False}})
    described = {each["name"]: each for each in limited.call("GET", "/sobjects/Contact/describe").json()["fields"]}
    assert (described["Title"]["createable"], described["Title"]["updateable"]) == (False, False)
    assert described["LastName"]["updateable"] is True
    refused = limited.call("PATCH", f"/sobjects/Contact/{made}", json={"Title": "x"})
    assert _refusal(refused)[:2] == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")
    assert refused.json()[0]["fields"] == ["Title"]
    assert limited.call("PATCH", f"/sobjects/Contact/{made}", json={"LastName": "M"}).status_code == 204
    ended = limited.load("insert", "LastName,Title\nA,B\nC,\n")
    assert ended.errors("LastName")["A"].startswith("INVALID_FIELD_FOR_INSERT_UPDATE:Unable to create/update fields")
    assert [row["LastName"] for row in ended.success] == ["C"]


def test_create_edit_and_delete_are_refused_each_by_itself(client: Client, clerk: LogIn) -> None:
    made = client.create("Contact", LastName="L")
    limited = clerk(objects={"Contact": {"create": False, "edit": False}, "*": {"delete": False}})
    described = limited.call("GET", "/sobjects/Contact/describe").json()
    assert [described[each] for each in ("createable", "updateable", "deletable", "queryable")] == [False] * 3 + [True]
    refused = limited.call("POST", "/sobjects/Contact", json={"LastName": "x"})
    assert _refusal(refused)[1:] == (
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        "entity type cannot be inserted: Contact",
    )
    readonly = ("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id")
    path = f"/sobjects/Contact/{made}"
    assert _refusal(limited.call("PATCH", path, json={"LastName": "x"})) == (403, *readonly)
    assert _refusal(limited.call("DELETE", path)) == (403, *readonly)
    assert limited.call("GET", path).status_code == 200
    errors = limited.load("upsert", f"Id,LastName\n{made},x\n,new\n", externalIdFieldName="Id").errors("LastName")
    assert errors["x"] == f"{readonly[0]}:{readonly[1]}:--"
    assert errors["new"].startswith("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY:")
    account = limited.create("Account", Name="A")
    assert _refusal(limited.call("DELETE", f"/sobjects/Account/{account}"))[1:] == readonly
    assert client.query("SELECT LastName FROM Contact") == [{"LastName": "L"}]


def test_who_may_not_modify_all_changes_own_records_only(client: Client, clerk: LogIn) -> None:
    others = client.create("Contact", LastName="L")
    limited = clerk(system={"ModifyAllData": False})
    own = limited.create("Contact", LastName="Own")
    assert limited.call("PATCH", f"/sobjects/Contact/{own}", json={"LastName": "Own 2"}).status_code == 204
    for method in ("PATCH", "DELETE"):
        answer = limited.call(method, f"/sobjects/Contact/{others}", json={"LastName": "x"})
        assert _refusal(answer)[1] == "INSUFFICIENT_ACCESS_OR_READONLY"
    everyone = clerk(system={"ModifyAllData": False}, objects={"Contact": {"modifyAll": True}})
    assert everyone.call("PATCH", f"/sobjects/Contact/{others}", json={"LastName": "x"}).status_code == 204


def test_who_may_not_view_all_sees_own_records_only(client: Client, clerk: LogIn) -> None:
    account = client.create("Account", Name="A")
    others = client.create("Contact", LastName="Other")
    limited = clerk(objects={"Contact": {"viewAll": False}, "Account": {"viewAll": False}})
    own = limited.create("Contact", LastName="Own")
    client.call("PATCH", f"/sobjects/Contact/{own}", json={"AccountId": account})
    assert limited.query("SELECT LastName, Account.Name FROM Contact") == [{"LastName": "Own", "Account": None}]
    assert limited.query("SELECT LastName FROM Contact", "queryAll") == [{"LastName": "Own"}]
    assert (
        limited.query(f"SELECT Id FROM Contact WHERE AccountId IN (SELECT Id FROM Account WHERE Id = '{account}')")
        == []
    )
    assert limited.call("GET", f"/sobjects/Contact/{own}").status_code == 200
    assert limited.call("GET", f"/sobjects/Contact/{others}").status_code == 404
    both = {"ids": [own, others], "fields": ["LastName"]}
    found = limited.call("POST", "/composite/sobjects/Contact", json=both).json()
    assert [each and each["LastName"] for each in found] == ["Own", None]
    assert limited.call("PATCH", f"/sobjects/Contact/{others}", json={"LastName": "x"}).status_code == 403
    assert len(client.query("SELECT Id FROM Contact")) == 2


def test_hard_deletes_and_the_api_itself_need_a_permission(client: Client, clerk: LogIn) -> None:
    limited = clerk(system={"BulkApiHardDelete": False})
    job = {"object": "Contact", "operation": "hardDelete"}
    assert _refusal(limited.call("POST", "/jobs/ingest", json=job))[:2] == (400, "FEATURENOTENABLED")
    assert client.call("POST", "/jobs/ingest", json=job).status_code == 200
    disabled = "The REST API is not enabled for this Organization."
    assert _refusal(clerk(system={"ApiEnabled": False}).call("GET", "/limits")) == (
        403,
        "API_DISABLED_FOR_ORG",
        disabled,
    )
    # Permissions hold from the next call on, also for the session that is open.
    put(client.sandbox, "users", username="clerk@x.example", permissions={})
    assert limited.call("GET", "/limits").status_code == 200


@pytest.mark.parametrize(
    ("permissions", "reason"),
    [
        ([], "permissions are an object with the keys objects, fields and system"),
        ({"object": {}}, "permissions are an object with the keys objects, fields and system"),
        ({"objects": []}, "objects is an object of names and their permissions"),
        ({"objects": {"Nothing__c": {}}}, "there is no object 'Nothing__c'"),
        ({"objects": {"Lead": {"see": True}}}, "Lead: unknown permission 'see'"),
        ({"objects": {"Lead": {"read": 1}}}, "Lead: permissions are true or false each"),
        ({"fields": {"Contact.Nothing__c": {}}}, "there is no field 'Contact.Nothing__c'"),
        ({"fields": {"Contact": {}}}, "there is no field 'Contact'"),
        ({"fields": {"Contact.LastName": {"read": False}}}, "Contact.LastName is not permissionable"),
        ({"system": {"Fly": True}}, "system: unknown permission 'Fly'"),
    ],
)
def test_permissions_that_name_nothing_of_the_org_are_refused(
    sandbox: SandboxProcess, permissions: Any, reason: str
) -> None:
    user = {"username": "clerk@x.example", "password": "pw", "permissions": permissions}
    answer = requests.post(f"{sandbox.http_url}/_sandbox/users", json=user, timeout=10)
    assert _refusal(answer)[:2] == (400, "BAD_USER")
    assert reason in answer.text
    listed = requests.get(f"{sandbox.http_url}/_sandbox/users", timeout=10).json()["users"]
    assert [each["username"] for each in listed] == [sandbox.username]
