from __future__ import annotations

import csv
import io
import time

import pytest

from tests.sandbox.conftest import Client

UPSERT = {"externalIdFieldName": "External_Id__c"}


def _numbered(count: int, start: int = 0) -> str:
    return "External_Id__c,LastName\n" + "".join(f"k{n},Name {n}\n" for n in range(start, start + count))


def test_a_job_runs_from_open_to_complete(client: Client) -> None:
    created = client.call(
        "POST",
        "/jobs/ingest",
        json={"object": "contact", "operation": "upsert", "externalIdFieldName": "external_id__C"},
    ).json()
    assert created["id"][:3] == "750"
    assert len(created["id"]) == 18
    assert (created["state"], created["object"], created["externalIdFieldName"]) == (
        "Open",
        "Contact",
        "External_Id__c",
    )
    assert created["contentUrl"] == f"services/data/v60.0/jobs/ingest/{created['id']}/batches"
    assert (created["lineEnding"], created["columnDelimiter"], created["apiVersion"]) == ("LF", "COMMA", 60.0)
    uploaded = client.upload(created["id"], _numbered(3))
    assert (uploaded.status_code, uploaded.content) == (201, b"")
    closed = client.set_state(created["id"], "UploadComplete").json()
    assert closed["state"] == "UploadComplete"
    info = client.wait(created["id"])
    assert (info["state"], info["jobType"], info["retries"]) == ("JobComplete", "V2Ingest", 0)
    assert (info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (3, 0)
    assert "contentUrl" not in info


def test_inserts_updates_upserts_and_deletes_change_the_records(client: Client) -> None:
    ids = [row["sf__Id"] for row in client.load("insert", _numbered(3)).success]
    client.load("update", "Id,Title\n" + "".join(f"{each},T\n" for each in ids))
    assert [row["Title"] for row in client.query("SELECT Title FROM Contact")] == ["T"] * 3
    ended = client.load("upsert", _numbered(3, 1), **UPSERT)
    assert sorted(row["sf__Created"] for row in ended.success) == ["false", "false", "true"]
    ended = client.load("delete", "Id\n" + "\n".join([*ids, ids[0]]) + "\n")
    assert [row["sf__Error"] for row in ended.failed] == ["ENTITY_IS_DELETED:entity is deleted:--"]
    assert [row["External_Id__c"] for row in client.query("SELECT External_Id__c FROM Contact")] == ["k3"]
    assert client.sandbox.state()["objects"]["Contact"] == {"live": 1, "deleted": 3}
    client.load("hardDelete", "Id\n" + "\n".join(ids) + "\n")
    assert client.sandbox.state()["objects"]["Contact"] == {"live": 1, "deleted": 0}


def test_an_upsert_on_id_inserts_where_the_id_is_blank(client: Client) -> None:
    made = client.create("Contact", LastName="Old")
    content = f"Id,LastName\n{made},New\n,Fresh\n"
    ended = client.load("upsert", content, externalIdFieldName="Id")
    assert {row["LastName"]: row["sf__Created"] for row in ended.success} == {"New": "false", "Fresh": "true"}


def test_an_empty_id_column_beside_the_key_is_tolerated(client: Client) -> None:
    content = "Id,External_Id__c,LastName\n,a,A\n003000000000001AAA,b,B\n"
    ended = client.load("upsert", content, **UPSERT)
    assert [row["External_Id__c"] for row in ended.success] == ["a"]
    assert ended.failed[0]["sf__Error"].startswith("INVALID_FIELD:cannot specify both an external ID reference")


def test_a_second_upload_is_taken_but_the_job_cannot_be_closed(client: Client) -> None:
    job_id = client.open_job("insert")
    assert [client.upload(job_id, _numbered(1)).status_code for _ in range(2)] == [201, 201]
    refused = client.set_state(job_id, "UploadComplete")
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "INVALIDJOB")
    assert f"Found multiple contents for job: <{job_id}>" in refused.json()[0]["message"]
    assert client.set_state(job_id, "Aborted").json()["state"] == "Aborted"
    assert client.query("SELECT Id FROM Contact") == []


def test_calls_in_the_wrong_state_are_refused(client: Client) -> None:
    job_id = client.open_job("insert")
    for path in ("successfulResults", "failedResults", "unprocessedrecords"):
        assert client.call("GET", f"/jobs/ingest/{job_id}/{path}").status_code == 400
    assert client.call("DELETE", f"/jobs/ingest/{job_id}").status_code == 400
    assert client.set_state(job_id, "JobComplete").status_code == 400
    client.upload(job_id, _numbered(1))
    client.set_state(job_id, "UploadComplete")
    client.wait(job_id)
    for answer in (client.upload(job_id, _numbered(1)), client.set_state(job_id, "UploadComplete")):
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALIDJOBSTATE")
    assert client.set_state(job_id, "Aborted").status_code == 400


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"object": "Nothing__c", "operation": "insert"}, "INVALIDENTITY"),
        ({"object": "Organization", "operation": "insert"}, "INVALIDENTITY"),
        ({"object": "Contact", "operation": "merge"}, "INVALIDJOB"),
        ({"object": "Contact", "operation": "upsert"}, "INVALIDJOB"),
        ({"object": "Contact", "operation": "upsert", "externalIdFieldName": "Title"}, "INVALIDJOB"),
        ({"object": "Contact", "operation": "insert", "lineEnding": "CR"}, "INVALIDJOB"),
        ({"object": "Contact", "operation": "insert", "columnDelimiter": "COLON"}, "INVALIDJOB"),
    ],
)
def test_a_job_that_cannot_be_is_not_created(client: Client, options: dict[str, str], code: str) -> None:
    answer = client.call("POST", "/jobs/ingest", json=options)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)
    assert client.sandbox.state()["jobs"] == []


LF, CRLF = {"lineEnding": "LF"}, {"lineEnding": "CRLF"}
BAD_UPLOADS: list[tuple[str, dict[str, str], bytes, str]] = [
    ("insert", LF, b"LastName,Nope\na,b\n", "InvalidBatch : Field name not found : Nope"),
    ("insert", LF, b"LastName,Parent:Account:X\na,b\n", "InvalidBatch : Field name not found : Parent:Account:X"),
    ("insert", LF, b"LastName,Nope.External_Id__c\na,b\n", "InvalidBatch : Unable to find relationship: Nope"),
    (
        "insert",
        LF,
        b"LastName,Account:Account.External_Id__c\na,b\n",
        "InvalidBatch : type is not needed for non polymorphic foreign key references: Account",
    ),
    ("insert", LF, b"LastName,LASTNAME\na,b\n", "InvalidBatch : Duplicate column name in header : LASTNAME"),
    ("insert", LF, b"\xef\xbb\xbfLastName\na\n", "InvalidBatch : Field name not found : \ufeffLastName"),
    ("insert", LF, b'\xef\xbb\xbf"LastName"\na\n', "InvalidBatch : Failed to parse CSV. Found unescaped quote."),
    (
        "insert",
        LF,
        b"LastName\r\na\r\n",
        "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is LF",
    ),
    (
        "insert",
        CRLF,
        b"LastName\na\n",
        "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is CRLF",
    ),
    ("insert", LF, b'LastName,Title\na"b"c,x\n"d"e,y\n', "InvalidBatch : Failed to parse CSV."),
    ("insert", LF, b'LastName,Title\n"open,x\n', "InvalidBatch : Failed to parse CSV."),
    ("insert", LF, b"LastName,Title\na,b,c\n", "InvalidBatch : Failed to parse CSV."),
    ("insert", LF, b"LastName,Title\na\n", "InvalidBatch : Failed to parse CSV."),
    ("insert", LF, b"LastName\n\xff\xfe\n", "InvalidBatch : Failed to parse CSV."),
    ("insert", LF, b"", "InvalidBatch : Records not found"),
    ("insert", LF, b"\nLastName\na\n", "InvalidBatch : Field name not found : "),
    ("upsert", LF, b"LastName\na\n", "InvalidBatch : Field name not found : External_Id__c"),
    ("delete", LF, b"Id,LastName\na,b\n", "InvalidBatch : Field name not found"),
    ("insert", LF, b"LastName," + b"x" * 32_000 + b"\na,b\n", "InvalidBatch : The header is longer than 32000"),
    ("insert", LF, b"LastName,Title\na," + b"x" * 131_073 + b"\n", "InvalidBatch : Failed to parse CSV. A field is"),
    (
        "insert",
        LF,
        b"LastName,Title,Phone,Fax,Department\na" + (b"," + b"x" * 131_000) * 4 + b"\n",
        "InvalidBatch : Failed to parse CSV. A record is",
    ),
]


def test_an_upload_that_cannot_be_read_fails_the_whole_job(client: Client) -> None:
    for operation, options, content, message in BAD_UPLOADS:
        more = UPSERT if operation == "upsert" else {}
        ended = client.load(operation, content, **options, **more)
        assert (ended.info["state"], ended.info["numberRecordsProcessed"]) == ("Failed", 0), content[:80]
        assert ended.info["errorMessage"].startswith(message), (content[:80], ended.info)
        assert ended.success == ended.failed == []
    assert client.query("SELECT Id FROM Contact") == []


def test_a_job_closed_without_an_upload_fails(client: Client) -> None:
    job_id = client.open_job("insert")
    client.set_state(job_id, "UploadComplete")
    assert client.wait(job_id)["errorMessage"].startswith("InvalidBatch : Records not found")


def test_a_header_without_rows_completes_with_nothing(client: Client) -> None:
    ended = client.load("insert", "LastName\n")
    assert (ended.info["state"], ended.info["numberRecordsProcessed"]) == ("JobComplete", 0)


@pytest.mark.parametrize("delimiter", ["BACKQUOTE", "CARET", "COMMA", "PIPE", "SEMICOLON", "TAB"])
def test_each_delimiter_works_both_ways(client: Client, delimiter: str) -> None:
    mark = {"BACKQUOTE": "`", "CARET": "^", "COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "TAB": "\t"}[delimiter]
    content = f'LastName{mark}Title\n"a{mark}b"{mark}c\n'
    job_id = client.start_job("insert", content, columnDelimiter=delimiter)
    client.wait(job_id)
    text = client.call("GET", f"/jobs/ingest/{job_id}/successfulResults").content.decode()
    row = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=mark))[0]
    assert (row["LastName"], row["Title"]) == (f"a{mark}b", "c")


def test_crlf_jobs_are_answered_in_crlf_and_keep_line_breaks_inside_values(client: Client) -> None:
    content = 'LastName,Description\r\n"a","one\ntwo ""quoted"""\r\n"b","three\r\nfour"\r\n'
    job_id = client.start_job("insert", content, lineEnding="CRLF")
    client.wait(job_id)
    text = client.call("GET", f"/jobs/ingest/{job_id}/successfulResults").content.decode()
    assert text.count("\r\n") == 4
    stored = client.query("SELECT LastName, Description FROM Contact ORDER BY LastName")
    assert [row["Description"] for row in stored] == ['one\ntwo "quoted"', "three\r\nfour"]


def test_results_echo_the_uploaded_header_and_quote_every_value(client: Client) -> None:
    job_id = client.start_job("insert", '"LastName",title\nA,\n"#N/A",x\n')
    client.wait(job_id)
    success = client.call("GET", f"/jobs/ingest/{job_id}/successfulResults/").content.decode().splitlines()
    assert success[0].startswith('"sf__Id","sf__Created",')
    assert set(success[0].split(",")[2:]) == {'"LastName"', "title"}
    assert sorted(success[1].split(",")[1:]) == ['""', '"A"', '"true"']
    failed = client.rows(job_id, "failedResults")
    assert [(row["sf__Id"], row["LastName"], row["title"]) for row in failed] == [("", "#N/A", "x")]
    unprocessed = client.call("GET", f"/jobs/ingest/{job_id}/unprocessedRecords")
    assert unprocessed.content == b'"LastName",title\n'
    assert unprocessed.headers["Content-Type"] == "text/csv; charset=UTF-8"


def test_results_come_in_an_order_of_their_own(client: Client) -> None:
    ended = client.load("insert", _numbered(2_000))
    names = [row["LastName"] for row in ended.success]
    assert names != [f"Name {n}" for n in range(2_000)]
    assert sorted(names) == sorted(f"Name {n}" for n in range(2_000))
    orders = {
        client.call("GET", f"/jobs/ingest/{client.start_job('insert', 'LastName,Title,Fax,Phone' + chr(10))}").json()[
            "id"
        ]
        for _ in range(6)
    }
    headers = set()
    for job_id in orders:
        client.wait(job_id)
        headers.add(client.call("GET", f"/jobs/ingest/{job_id}/successfulResults").text)
    assert len(headers) > 1


def test_unicode_goes_through_unharmed(client: Client) -> None:
    values = ["Søren Ångström", "李小龍", "🦄🇩🇪", "a\u0301e\u200d", "tab\tin", "x'y--;", "\\N", "ﬀ İ ß"]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([["LastName"], *([value] for value in values)])
    ended = client.load("insert", text.getvalue())
    assert sorted(row["LastName"] for row in ended.success) == sorted(values)
    assert sorted(row["LastName"] for row in client.query("SELECT LastName FROM Contact")) == sorted(values)


def test_a_chunked_upload_is_taken(client: Client) -> None:
    job_id = client.open_job("insert")
    parts = (part.encode() for part in ("Last", "Name\nA\n", "B\n"))
    answer = client.call("PUT", f"/jobs/ingest/{job_id}/batches", data=parts)
    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    client.set_state(job_id, "UploadComplete")
    assert client.wait(job_id)["numberRecordsProcessed"] == 2


def test_an_upload_above_150_megabytes_is_refused(client: Client) -> None:
    job_id = client.open_job("insert")
    block = b"LastName\n" + b"x" * 999_990 + b"\n"
    answer = client.call("PUT", f"/jobs/ingest/{job_id}/batches", data=(block for _ in range(151)))
    assert answer.status_code == 413
    assert "150000000 bytes" in answer.json()[0]["message"]
    assert client.upload(job_id, _numbered(1)).status_code == 201


def test_a_big_job_is_one_whole_and_lets_other_calls_through(client: Client) -> None:
    job_id = client.start_job("upsert", _numbered(140_000), **UPSERT)
    slowest = 0.0
    while client.info(job_id)["state"] in ("UploadComplete", "InProgress"):
        answer = client.call("GET", "/query?q=SELECT Id FROM Account LIMIT 1")
        slowest = max(slowest, answer.elapsed.total_seconds())
        time.sleep(0.02)
    assert slowest < 2
    info = client.info(job_id)
    assert (info["numberRecordsProcessed"], info["numberRecordsFailed"]) == (140_000, 0)
    rows = client.call("GET", f"/jobs/ingest/{job_id}/successfulResults").text.splitlines()[1:]
    assert len({row.partition(",")[0] for row in rows}) == 140_000
    known = {row.split(",")[0].strip('"') for row in rows if '"k1399' in row}
    again = client.load(
        "upsert", "External_Id__c,LastName\n" + "".join(f"k1399{n:02},N\n" for n in range(100)), **UPSERT
    )
    assert {row["sf__Id"] for row in again.success} < known
    assert {row["sf__Created"] for row in again.success} == {"false"}


def test_an_abort_keeps_what_was_written_and_lists_the_rest(client: Client) -> None:
    client.sandbox.faults({"action": "slow_job", "seconds": 1.5})
    job_id = client.start_job("insert", _numbered(30_000))
    while (info := client.info(job_id))["numberRecordsProcessed"] < 10_000:
        assert info["state"] in ("UploadComplete", "InProgress"), info
        time.sleep(0.02)
    assert client.set_state(job_id, "Aborted").json()["state"] == "Aborted"
    ended = client.end(job_id)
    written = ended.info["numberRecordsProcessed"]
    assert written in (10_000, 20_000)
    assert (len(ended.success), len(ended.unprocessed)) == (written, 30_000 - written)
    keys = {row["External_Id__c"] for row in [*ended.success, *ended.unprocessed]}
    assert len(keys) == 30_000
    assert client.sandbox.state()["objects"]["Contact"]["live"] == written


def test_an_abort_before_the_close_leaves_all_rows_unprocessed(client: Client) -> None:
    job_id = client.open_job("insert")
    client.upload(job_id, _numbered(5))
    client.set_state(job_id, "Aborted")
    assert len(client.rows(job_id, "unprocessedrecords")) == 5
    assert client.rows(job_id, "successfulResults") == []


def test_jobs_are_listed_and_deleted(client: Client) -> None:
    ids = [client.start_job("insert", _numbered(1)) for _ in range(2)]
    for each in ids:
        client.wait(each)
    listed = client.call("GET", "/jobs/ingest?jobType=V2Ingest").json()
    assert listed["done"] is True
    assert [each["id"] for each in listed["records"]] == ids[::-1]
    assert client.call("DELETE", f"/jobs/ingest/{ids[0]}").status_code == 204
    assert client.call("GET", f"/jobs/ingest/{ids[0]}").status_code == 404
    assert client.call("GET", f"/jobs/ingest/{ids[1][:15]}").json()["id"] == ids[1]


def test_mixed_line_endings_fail_the_job_and_lose_no_row_silently(client: Client) -> None:
    ended = client.load("insert", "LastName,Title\na,b\r\nc,d\n")
    assert ended.info["state"] == "Failed"
    assert "Line endings are mixed" in ended.info["errorMessage"]
