from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conftest import Client

DATA = "/services/data/v60.0"
HALTED = {
    "errorCode": "PROCESSING_HALTED",
    "message": "The transaction was rolled back since another operation in the same transaction failed.",
}


def part(reference: str, method: str, url: str, body: Any = None, **more: Any) -> dict[str, Any]:
    return {"method": method, "url": DATA + url, "referenceId": reference, "body": body, **more}


def run(client: Client, parts: list[dict[str, Any]], **more: Any) -> dict[str, dict[str, Any]]:
    answer = client.call("POST", "/composite", json={"compositeRequest": parts, **more})
    assert answer.status_code == 200, answer.text
    told = answer.json()["compositeResponse"]
    assert [each["referenceId"] for each in told] == [each["referenceId"] for each in parts]
    return {each["referenceId"]: each for each in told}


FAMILY = [
    part("acme", "POST", "/sobjects/Account", {"Name": "Acme"}),
    part("ada", "POST", "/sobjects/Contact", {"LastName": "Ada", "AccountId": "@{acme.id}"}),
    part("found", "GET", "/query?q=SELECT+Id,LastName+FROM+Contact+WHERE+AccountId='@{acme.id}'"),
    part("changed", "PATCH", "/sobjects/Contact/@{found.records[0].Id}", {"Title": "née @{found.records[0].LastName}"}),
    part("read", "GET", "/sobjects/Contact/@{ada.id}?fields=Title"),
]


@pytest.mark.parametrize("all_or_none", [False, True])
def test_parts_use_values_of_the_answers_before_them(client: Client, all_or_none: bool) -> None:
    told = run(client, FAMILY, allOrNone=all_or_none)
    assert [each["httpStatusCode"] for each in told.values()] == [201, 201, 200, 204, 200]
    assert told["acme"]["httpHeaders"] == {"Location": f"{DATA}/sobjects/Account/{told['acme']['body']['id']}"}
    assert told["changed"]["body"] is None
    assert told["read"]["body"]["Title"] == "née Ada"
    assert len(client.query("SELECT Id FROM Contact")) == 1


def test_a_part_that_fails_spoils_what_needs_it_and_with_all_or_none_everything(client: Client) -> None:
    parts = [
        part("good", "POST", "/sobjects/Account", {"Name": "Good"}),
        part("bad", "POST", "/sobjects/Account", {"Site": "x"}),
        part("child", "POST", "/sobjects/Contact", {"LastName": "x", "AccountId": "@{bad.id}"}),
        part("last", "POST", "/sobjects/Account", {"Name": "Last"}),
    ]
    told = run(client, parts)
    assert [each["httpStatusCode"] for each in told.values()] == [201, 400, 400, 201]
    missing = {
        "message": "Required fields are missing: [Name]",
        "errorCode": "REQUIRED_FIELD_MISSING",
        "fields": ["Name"],
    }
    assert told["bad"]["body"] == [missing]
    assert told["child"]["body"][0]["message"] == "Invalid reference specified. No value for bad.id found in bad"
    assert len(client.query("SELECT Id FROM Account")) == 2
    told = run(client, parts, allOrNone=True)
    assert [each["httpStatusCode"] for each in told.values()] == [400] * 4
    assert told["good"]["body"] == told["last"]["body"] == [HALTED] and told["bad"]["body"] == [missing]
    assert len(client.query("SELECT Id FROM Account")) == 2
    records = [{"attributes": {"type": "Account"}, "Name": "In a collection"}]
    collection = part("many", "POST", "/composite/sobjects", {"records": records})
    run(client, [collection, part("wrong", "GET", "/sobjects/Nope/describe")], allOrNone=True)
    assert len(client.query("SELECT Id FROM Account")) == 2


def test_any_resource_may_be_a_part_but_for_composites_and_streams(client: Client) -> None:
    told = run(
        client,
        [
            part("describe", "GET", "/sobjects/Account/describe"),
            part("limits", "GET", "/limits"),
            part("missing", "GET", "/nothing"),
            part("method", "PUT", "/limits"),
            part("itself", "POST", "/composite", {"compositeRequest": []}),
            part("login", "GET", "/../../oauth2/userinfo"),
            part("upload", "PUT", "/jobs/ingest/7505s0000000001AAA/batches", "x"),
        ],
    )
    assert [each["httpStatusCode"] for each in told.values()] == [200, 200, 404, 405, 400, 404, 400]
    assert told["describe"]["body"]["name"] == "Account"


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([], "JSON_PARSER_ERROR"),
        ([part(f"r{n}", "GET", "/limits") for n in range(26)], "LIMIT_EXCEEDED"),
        ([part(f"r{n}", "GET", "/query?q=x") for n in range(6)], "LIMIT_EXCEEDED"),
        ([part("a", "GET", "/limits"), part("a", "GET", "/limits")], "INVALID_INPUT"),
        ([part("a b", "GET", "/limits")], "INVALID_INPUT"),
        ([part("a", "BREW", "/limits")], "INVALID_INPUT"),
        ([{**part("a", "GET", "/limits"), "url": "/elsewhere"}], "INVALID_INPUT"),
        ([part("a", "GET", "/limits", httpHeaders={"Authorization": "Bearer x"})], "INVALID_INPUT"),
    ],
)
def test_a_composite_that_cannot_be_is_refused_whole(client: Client, parts: Any, code: str) -> None:
    answer = client.call("POST", "/composite", json={"compositeRequest": parts})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


def test_a_batch_runs_calls_that_know_nothing_of_each_other(client: Client) -> None:
    requests = [
        {"method": "POST", "url": "v60.0/sobjects/Account", "richInput": {"Name": "Acme"}},
        {"method": "GET", "url": "v60.0/sobjects/Nope/describe"},
        {"method": "GET", "url": "v60.0/query?q=SELECT+Name+FROM+Account"},
    ]
    before = int(client.call("GET", "/limits").headers["Sforce-Limit-Info"].split("=")[1].split("/")[0])
    answer = client.call("POST", "/composite/batch", json={"batchRequests": requests})
    told = answer.json()
    assert (answer.status_code, told["hasErrors"]) == (200, True)
    assert [each["statusCode"] for each in told["results"]] == [201, 404, 200]
    assert told["results"][2]["result"]["records"][0]["Name"] == "Acme"
    assert answer.headers["Sforce-Limit-Info"].startswith(f"api-usage={before + 4}/")
    told = client.call("POST", "/composite/batch", json={"batchRequests": requests, "haltOnError": True}).json()
    assert [each["statusCode"] for each in told["results"]] == [201, 404, 412]
    assert told["results"][2]["result"][0]["errorCode"] == "BATCH_PROCESSING_HALTED"


def test_a_graph_is_written_whole_or_not_at_all_whatever_becomes_of_the_others(client: Client) -> None:
    bad = [FAMILY[0], part("bad", "POST", "/sobjects/Contact", {})]
    graphs = [{"graphId": "1", "compositeRequest": FAMILY}, {"graphId": "2", "compositeRequest": bad}]
    answer = client.call("POST", "/composite/graph", json={"graphs": graphs})
    told = answer.json()["graphs"]
    assert [(each["graphId"], each["isSuccessful"]) for each in told] == [("1", True), ("2", False)]
    assert [each["httpStatusCode"] for each in told[1]["graphResponse"]["compositeResponse"]] == [400, 400]
    assert len(client.query("SELECT Id FROM Account")) == 1
    answer = client.call("POST", "/composite/graph", json={"graphs": [graphs[0], graphs[0]]})
    assert answer.status_code == 400
