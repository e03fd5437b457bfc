from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conftest import Client


def node(kind: str, reference: str, **fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": kind, "referenceId": reference}, **fields}


def post(client: Client, records: list[dict[str, Any]], kind: str = "Account") -> tuple[int, Any]:
    answer = client.call("POST", f"/composite/tree/{kind}", json={"records": records})
    return answer.status_code, answer.json()


def family(**last: Any) -> list[dict[str, Any]]:
    children = {"records": [node("Contact", "ada", LastName="Ada"), node("Contact", "bob", **last)]}
    return [node("Account", "acme", Name="Acme", Contacts=children), node("Account", "solo", Name="Solo")]


def test_children_are_written_with_their_parents(client: Client) -> None:
    status, told = post(client, family(LastName="Bob"))
    assert (status, told["hasErrors"]) == (201, False)
    ids = {each["referenceId"]: each["id"] for each in told["results"]}
    assert list(ids) == ["acme", "ada", "bob", "solo"]
    found = client.query("SELECT LastName, AccountId FROM Contact ORDER BY LastName")
    assert found == [{"LastName": "Ada", "AccountId": ids["acme"]}, {"LastName": "Bob", "AccountId": ids["acme"]}]


def test_nothing_is_written_of_a_tree_with_a_bad_record(client: Client) -> None:
    status, told = post(client, family(FirstName="x"))
    errors = told["results"][0]["errors"]
    assert (status, told["hasErrors"], [each["referenceId"] for each in told["results"]]) == (400, True, ["bob"])
    assert errors[0]["statusCode"] == "REQUIRED_FIELD_MISSING" and errors[0]["fields"] == ["LastName"]
    assert client.query("SELECT Id FROM Account") == [] == client.query("SELECT Id FROM Contact")


@pytest.mark.parametrize(
    "records",
    [
        [node("Account", f"r{n}", Name="x") for n in range(201)],
        [node("Account", "a", Name="x"), node("Account", "a", Name="x")],
        [node("Contact", "a", LastName="x")],
        [{"Name": "x"}],
        [node("Account", "a", Name="x", Nothings={"records": []})],
        [],
    ],
)
def test_a_tree_that_cannot_be_is_refused_whole(client: Client, records: Any) -> None:
    assert post(client, records)[0] == 400
    assert client.query("SELECT Id FROM Account") == []
