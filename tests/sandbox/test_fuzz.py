"""Nonsense of every kind: each call is answered, none with a fault of the sandbox, and a refused one changes nothing.

SFSYNC_FUZZ multiplies the number of examples, and makes them new ones.
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.route import Route
from sandbox.routes import ROUTES
from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess

TIMES = int(os.environ.get("SFSYNC_FUZZ", "1"))
# The same examples each time, unless somebody looks for new ones.
ALWAYS_THE_SAME = "SFSYNC_FUZZ" not in os.environ
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def one_of(*lines: str) -> st.SearchStrategy[str]:
    """One of the words of some lines."""
    return st.sampled_from(" ".join(lines).split())


# What would end the test's own means, or waits on purpose.
SPARED = ("/_sandbox", "/cometd")
FUZZED = [route for route in ROUTES if not route.template.startswith(SPARED)]

OBJECTS = st.sampled_from(
    ["Account", "Contact", "contact", "Airline__c", "User", "Organization", "Nothing__c", "Order_Event__e"]
)
FIELDS = st.sampled_from(
    ["Id", "Name", "LastName", "External_Id__c", "AccountId", "IsDeleted", "Nothing__c", "Account.Name"]
)
IDS = st.sampled_from(
    ["001000000000001AAA", "0035s0000000001", "7505s0000000001AAA", "7515s0000000001AAA", "x", "01g5s-2000", "%"]
)
VALUES = st.one_of(
    TEXT, st.sampled_from(["a/b", "..", "%2F", "' OR 1=1", '"', "\0", "a" * 300, "null", "#N/A", "0", "-1"])
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT, OBJECTS, IDS)
KEYS = st.one_of(
    FIELDS,
    TEXT,
    one_of(
        "records attributes type allOrNone compositeRequest batchRequests method url referenceId body ids fields",
        "id state object operation query externalIdFieldName graphs graphId richInput columnDelimiter Account",
    ),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=12,
)
SHAPES: st.SearchStrategy[Any] = st.one_of(
    JSON,
    st.fixed_dictionaries({"LastName": LEAVES, "AccountId": LEAVES}),
    st.fixed_dictionaries(
        {"allOrNone": LEAVES, "records": st.lists(st.dictionaries(KEYS, JSON, max_size=4), max_size=3)}
    ),
    st.fixed_dictionaries(
        {
            "records": st.lists(
                st.fixed_dictionaries(
                    {
                        "attributes": st.fixed_dictionaries({"type": OBJECTS}),
                        "LastName": LEAVES,
                        "Name": LEAVES,
                        "id": IDS,
                    }
                ),
                max_size=3,
            )
        }
    ),
    st.fixed_dictionaries(
        {
            "compositeRequest": st.lists(
                st.fixed_dictionaries(
                    {
                        "method": st.sampled_from(["GET", "POST", "PATCH", "DELETE", "PUT", "x"]),
                        "url": st.sampled_from(
                            [
                                "/services/data/v60.0/sobjects/Contact",
                                "/services/data/v60.0/query?q=SELECT+Id+FROM+Contact",
                                "/services/data/v60.0/composite",
                                "/services/data/v60.0/sobjects/Contact/@{a.id}",
                                "nonsense",
                            ]
                        ),
                        "referenceId": st.sampled_from(["a", "b", "", "a b"]),
                        "body": JSON,
                    }
                ),
                max_size=3,
            )
        }
    ),
    st.fixed_dictionaries(
        {"object": OBJECTS, "operation": st.sampled_from(["insert", "upsert", "query", "x"]), "query": TEXT}
    ),
)
XML_PIECES = st.sampled_from(
    [
        "<jobInfo xmlns='http://www.force.com/2009/06/asyncapi/dataload'>",
        "<operation>insert</operation>",
        "<object>Contact</object>",
        "<contentType>CSV</contentType>",
        "</jobInfo>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]>",
        "<soapenv:Envelope xmlns:soapenv='http://schemas.xmlsoap.org/soap/envelope/'><soapenv:Body>",
        "<login xmlns='urn:partner.soap.sforce.com'><username>x</username><password>y</password></login>",
        "</soapenv:Body></soapenv:Envelope>",
        "&b;",
        "<",
        "\0",
    ]
)
BODIES: st.SearchStrategy[tuple[str, bytes]] = st.one_of(
    SHAPES.map(lambda value: ("application/json", json.dumps(value).encode())),
    st.lists(XML_PIECES, max_size=6).map(lambda parts: ("application/xml; charset=UTF-8", "".join(parts).encode())),
    st.binary(max_size=40).map(lambda raw: ("text/csv", raw)),
    st.dictionaries(
        one_of("grant_type client_id client_secret username password code token assertion"),
        st.one_of(
            TEXT, st.sampled_from(["password", "refresh_token", "authorization_code", "sandbox-client", "device"])
        ),
        max_size=5,
    ).map(
        lambda form: (
            "application/x-www-form-urlencoded",
            urlencode(form).encode(),
        )
    ),
)
HEADERS = st.dictionaries(
    one_of(
        "Sforce-Query-Options Sforce-Auto-Assign Sforce-Duplicate-Rule-Header Sforce-Call-Options If-Modified-Since",
        "If-None-Match X-PrettyPrint Accept Content-Encoding X-SFDC-Session Sforce-Enable-PKChunking",
    ),
    st.sampled_from(["", "TRUE", "batchSize=1", "x=y=z", "gzip", "Sat, 1 Jan 2000 00:00:01 GMT", ";;;", "client="]),
    max_size=2,
)
SOQL = st.lists(
    st.one_of(
        one_of(
            "SELECT Id Name LastName COUNT() COUNT(Id) FROM Contact Account , ( ) WHERE AND OR NOT = != < > LIKE",
            "IN 'x' 'O\\'N' 5 null true TODAY LAST_N_DAYS:3 2024-01-01 2024-01-01T00:00:00Z GROUP BY HAVING ORDER",
            "LIMIT 1 OFFSET Account.Name FIELDS(ALL) TYPEOF END WHEN THEN ELSE INCLUDES ROLLUP( SUM( ALL ROWS VIEW '",
        ),
        st.just("(SELECT Id FROM Contacts)"),
    ),
    max_size=14,
).map(" ".join)


@st.composite
def calls(draw: Any) -> tuple[Route, str, dict[str, str]]:
    """A route with its path filled in, and a query string."""
    route = draw(st.sampled_from(FUZZED))
    parts = []
    for part in route.template.split("/"):
        if not part.startswith("{"):
            parts.append(part)
            continue
        kind = {"version": st.sampled_from(["v60.0", "v60.0", "v60.0", "v31.0", "v67.0", "60.0", "v99.0", "vx"])}
        kind |= {"object": OBJECTS, "field": FIELDS}
        text = draw(st.one_of(kind.get(part[1:-1], IDS), VALUES)) if draw(st.integers(0, 9)) == 0 else None
        text = text if text is not None else draw(kind.get(part[1:-1], st.one_of(IDS, VALUES)))
        parts.append(quote(text, safe=""))
    query = draw(
        st.dictionaries(st.sampled_from(["q", "fields", "ids", "jobType", "maxRecords", "locator"]), VALUES, max_size=2)
    )
    return route, "/".join(parts), query


@settings(max_examples=250 * TIMES, deadline=None, derandomize=ALWAYS_THE_SAME, suppress_health_check=QUIET)
@given(call=calls(), body=BODIES, headers=HEADERS, with_session=st.integers(0, 9))
def test_no_call_finds_a_fault_and_no_refused_one_changes_anything(
    running_sandbox: SandboxProcess, caller: Client, call: Any, body: Any, headers: dict[str, str], with_session: int
) -> None:
    route, path, query = call
    content_type, content = body
    before = running_sandbox.state()["objects"]
    token = caller.http.headers["Authorization"]
    session = (
        {"Authorization": str(token), "X-SFDC-Session": str(token).removeprefix("Bearer ")} if with_session else {}
    )
    answer = requests.request(
        route.method,
        running_sandbox.http_url + path,
        params=query,
        data=content if route.method not in ("GET", "HEAD", "DELETE") else None,
        headers={**session, "Content-Type": content_type, **headers},
        timeout=20,
        allow_redirects=False,
    )
    is_fault = "/soap/" in path.lower() and b"faultcode" in answer.content
    assert answer.status_code < 500 or is_fault, f"{route.method} {path} {query} {content!r}: {answer.text[:500]}"
    if answer.status_code >= 400:
        assert running_sandbox.state()["objects"] == before, f"{route.method} {path} {content!r}"


@settings(max_examples=250 * TIMES, deadline=None, derandomize=ALWAYS_THE_SAME, suppress_health_check=QUIET)
@given(text=SOQL)
def test_no_query_finds_a_fault(caller: Client, text: str) -> None:
    answer = caller.call("GET", "/query", params={"q": text})
    assert answer.status_code in (200, 400), f"{text}: {answer.text[:500]}"


CELLS = st.one_of(
    TEXT, st.sampled_from(["", "#N/A", "a\nb", '"', '""', "0035s0000000001AAA", "2024-01-01", "1e400", "\ufeff"])
)
TITLES = st.sampled_from(
    [
        "LastName",
        "External_Id__c",
        "Id",
        "lastname",
        "AccountId",
        "Account.External_Id__c",
        "Email",
        "Birthdate",
        "Nope",
        "",
        '"',
    ]
)


@settings(max_examples=40 * TIMES, deadline=None, derandomize=ALWAYS_THE_SAME, suppress_health_check=QUIET)
@given(
    operation=st.sampled_from(["insert", "upsert", "update", "delete"]),
    titles=st.lists(TITLES, min_size=1, max_size=4),
    rows=st.lists(st.lists(CELLS, max_size=5), max_size=5),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_an_upload_of_nonsense_ends_and_every_row_is_accounted_for(
    running_sandbox: SandboxProcess,
    caller: Client,
    operation: str,
    titles: list[str],
    rows: list[list[str]],
    ending: str,
) -> None:
    key = {"externalIdFieldName": "External_Id__c"} if operation == "upsert" else {}
    content = ending.join(",".join(line) for line in [titles, *rows])
    before = running_sandbox.state()["objects"]["Contact"]
    job_id = caller.open_job(operation, **key)
    assert caller.upload(job_id, content).status_code == 201
    assert caller.set_state(job_id, "UploadComplete").status_code == 200
    info = caller.wait(job_id)
    assert info["state"] in ("JobComplete", "Failed") and "InternalServerError" not in str(info), f"{content!r} {info}"
    counts = [len(caller.rows(job_id, each)) for each in ("successfulResults", "failedResults")]
    told = (info["numberRecordsProcessed"], info["numberRecordsFailed"])
    assert (sum(counts), counts[1]) == told, f"{content!r} {info} {counts}"
    if info["state"] == "Failed":
        assert running_sandbox.state()["objects"]["Contact"] == before, f"{content!r} {info}"


@pytest.fixture
def caller(running_sandbox: SandboxProcess) -> Client:
    """A client of the org as the examples before have left it."""
    return Client(running_sandbox)
