"""What clients do on the wire that a plain server would stumble over."""

from __future__ import annotations

import gzip
import json
import socket
from contextlib import closing

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
