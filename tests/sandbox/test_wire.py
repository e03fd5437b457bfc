"""What clients do on the wire that a plain server would stumble over."""

from __future__ import annotations

import gzip
import json
import re
import socket
from contextlib import closing
from urllib.parse import urlsplit

import pytest
import requests

from sandbox.server import bind
from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess

ZIPPED = {"Content-Encoding": "gzip", "Content-Type": "application/json"}


def test_bodies_may_come_zipped_whole_or_in_chunks(client: Client) -> None:
    body = gzip.compress(json.dumps({"Name": "Zipped", "Description": "x" * 30_000}).encode())
    assert client.call("POST", "/sobjects/Account", data=body, headers=ZIPPED).status_code == 201
    pieces = (body[place : place + 7] for place in range(0, len(body), 7))
    assert client.call("POST", "/sobjects/Account", data=pieces, headers=ZIPPED).status_code == 201
    assert [row["Name"] for row in client.query("SELECT Name FROM Account")] == ["Zipped", "Zipped"]
    job_id = client.open_job("insert")
    upload = gzip.compress(b"LastName\n" + b"".join(b"Name %d\n" % n for n in range(3_000)))
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/csv"}
    assert client.call("PUT", f"/jobs/ingest/{job_id}/batches", data=upload, headers=headers).status_code == 201
    client.set_state(job_id, "UploadComplete")
    assert client.wait(job_id)["numberRecordsProcessed"] == 3_000


def test_a_body_that_only_claims_to_be_zipped_is_refused(client: Client) -> None:
    for body in (b'{"Name": "x"}', gzip.compress(b'{"Name": "x"}')[:-9], b""):
        answer = client.call("POST", "/sobjects/Account", data=body, headers=ZIPPED)
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALID_CONTENT")
    job_id = client.open_job("insert")
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/csv"}
    assert client.call("PUT", f"/jobs/ingest/{job_id}/batches", data=b"plain", headers=headers).status_code == 400
    assert client.info(job_id)["state"] == "Open"


def test_slashes_may_stand_twice_or_at_the_end(sandbox: SandboxProcess, client: Client) -> None:
    for path in ("//services//data/v60.0/limits", "/services/data/v60.0/limits/", "/services/data/v60.0/limits"):
        answer = requests.get(sandbox.http_url + path, headers=dict(client.http.headers), timeout=10)
        assert answer.status_code == 200, path


def test_too_long_an_address_and_too_long_headers_are_told_apart(client: Client) -> None:
    assert client.call("GET", "/query", params={"q": "x" * 17_000}).status_code == 414
    assert client.call("GET", "/limits", headers={"X-Long": "x" * 17_000}).status_code == 431


def test_a_body_of_another_kind_than_json_is_refused(client: Client) -> None:
    answer = client.call("POST", "/sobjects/Account", data="Name=x", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_answers_are_laid_out_in_lines_on_demand(client: Client) -> None:
    plain, pretty = client.call("GET", "/limits"), client.call("GET", "/limits", headers={"X-PrettyPrint": "1"})
    assert plain.json().keys() == pretty.json().keys() and len(pretty.text.splitlines()) > len(plain.json())


def test_an_answer_does_not_wait_for_more_to_send() -> None:
    # asyncio sets TCP_NODELAY only where the socket names its protocol; without it each call takes 40 ms longer.
    with closing(bind("127.0.0.1", 0)) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_an_answer_without_a_body_has_none_for_head(client: Client) -> None:
    answer = client.call("HEAD", "/limits")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_method_that_a_resource_does_not_take_is_told_which_it_takes(client: Client) -> None:
    answer = client.call("PUT", "/sobjects/Account/", json={})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, POST")
    message = "HTTP Method 'PUT' not allowed. Allowed are GET,HEAD,POST"
    assert answer.json() == [{"message": message, "errorCode": "METHOD_NOT_ALLOWED"}]
    overridden = client.call("POST", "/limits?_HttpMethod=DELETE")
    assert overridden.json()[0]["message"] == "HTTP Method 'DELETE' not allowed. Allowed are GET,HEAD"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "The HTTP entity body is required, but this request has no entity body."),
        (b"[]", "Can not deserialize SObject out of START_ARRAY token at [line:1, column:1]"),
        (
            b'{"Name": "x",\n  oops}',
            "Unexpected character ('o' (code 111)): was expecting double-quote to start field name at"
            " [line:2, column:3]",
        ),
        (
            b'{"Name" "x"}',
            "Unexpected character ('\"' (code 34)): was expecting a colon to separate field name and value at"
            " [line:1, column:9]",
        ),
        (b'{"Name": "x"', "Unexpected end-of-input at [line:1, column:13]"),
        (
            b'{"Name": \xed\xa0\x80}',
            "Unexpected character ('\\ud800' (code 55296)): expected a valid value (number, String, array, object,"
            " 'true', 'false' or 'null') at [line:1, column:10]",
        ),
    ],
)
def test_a_mistake_in_json_is_told_with_its_place(client: Client, body: bytes, message: str) -> None:
    answer = client.call("POST", "/sobjects/Account", data=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()) == (400, [{"message": message, "errorCode": "JSON_PARSER_ERROR"}])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1e999999999", "Numeric value (1e999999999) out of range"),
        ("9" * 5000, "Numeric value out of range"),
        ("NaN", "Non-standard token 'NaN'"),
        ("[" * 100_000, "The HTTP entity body is nested too deeply"),
        ('"\\ud800"', "The HTTP entity body is not valid UTF-8"),
        ("[1]", "Cannot deserialize instance of double from START_ARRAY value [ or request may be missing a required"),
    ],
)
def test_json_that_no_field_can_hold_is_refused_at_once(client: Client, value: str, message: str) -> None:
    body = f'{{"Name": "x", "AnnualRevenue": {value}}}'
    answer = client.call("POST", "/sobjects/Account", data=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")
    assert answer.json()[0]["message"].startswith(message)


def send(client: Client, text: bytes, pause_after: bytes = b"") -> bytes:
    """Send bytes as they are, and read until the server is through; the head is sent apart from what follows."""
    address = urlsplit(client.sandbox.http_url)
    head, mark, rest = text.partition(pause_after) if pause_after else (text, b"", b"")
    with closing(socket.create_connection((address.hostname, address.port), timeout=10)) as connection:
        connection.sendall(head + mark)
        received = connection.recv(65536) if pause_after else b""
        connection.sendall(rest)
        while more := connection.recv(65536):
            received += more
    return received


def test_old_and_terse_http_is_understood(client: Client) -> None:
    token = str(client.http.headers["Authorization"]).removeprefix("Bearer ").encode()
    head = b"Authorization: OAuth " + token + b"\r\nConnection: close\r\nContent-Type: application/json\r\n"
    path = b"/services/data/v60.0/sobjects/Account"
    # No Host at all, as in HTTP/1.0; a whole address, as to a proxy; a client that asks before it sends.
    answers = [
        send(client, b"GET " + path + b" HTTP/1.0\r\n" + head + b"\r\n"),
        send(client, b"GET http://other" + path + b" HTTP/1.1\r\nHost: other\r\n" + head + b"\r\n"),
        send(
            client,
            b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + head + b"Expect: 100-continue\r\n"
            b'Content-Length: 13\r\n\r\n{"Name": "x"}',
            pause_after=b"\r\n\r\n",
        ),
    ]
    assert [answer.split(b"\r\n")[0].split(b" ", 1)[1] for answer in answers] == [b"200 OK", b"200 OK", b"100 Continue"]
    assert b"201 Created" in answers[2]


def test_two_calls_may_come_at_once_on_one_connection(client: Client) -> None:
    token = str(client.http.headers["Authorization"]).encode()
    call = b"GET /services/data/v60.0/%s HTTP/1.1\r\nHost: x\r\nAuthorization: " + token + b"\r\n%s\r\n"
    received = send(client, call % (b"limits/recordCount", b"") + call % (b"nothing", b"Connection: close\r\n"))
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"404"]


def test_a_path_is_split_before_it_is_decoded(client: Client) -> None:
    path = "/sobjects/Contact/External_Id__c/a%2Fb+c%20%C3%A9"
    assert client.call("PATCH", path, json={"LastName": "x"}).status_code == 201
    # A plus sign is a blank in a query, and itself in a path.
    soql = "SELECT+External_Id__c+FROM+Contact+WHERE+LastName='x'"
    rows = client.call("GET", f"/query?q={soql}").json()["records"]
    assert [row["External_Id__c"] for row in rows] == ["a/b+c \u00e9"]
    assert client.call("GET", "/SObjects/contact/external_id__c/A%2fB%2BC%20%c3%89").json()["LastName"] == "x"


def test_a_version_that_never_was_is_not_found_whatever_it_is_made_of(sandbox: SandboxProcess, client: Client) -> None:
    for version, status in {"v30.0": 410, "v99.0": 404, "v60": 404, "v6\u00b2.0": 404, "v\u0666\u0660.0": 404}.items():
        address = f"{sandbox.http_url}/services/data/{version}/limits"
        assert requests.get(address, headers=dict(client.http.headers), timeout=10).status_code == status, version
        part = {"method": "GET", "url": f"/services/data/{version}/limits", "referenceId": "a"}
        told = client.call("POST", "/composite", json={"compositeRequest": [part]}).json()["compositeResponse"]
        assert told[0]["httpStatusCode"] == status, version
