"""Bulk API 2.0, one call at a time."""

from __future__ import annotations

import csv
import gzip
import io
import time
from pathlib import Path

import pytest

from connections.salesforce import bulk
from connections.salesforce.bulk import JobInfo
from connections.salesforce.errors import (
    JobGone,
    MisconfiguredError,
    PermanentError,
    TransientError,
    WrongJobState,
)
from connections.salesforce.query import rows
from connections.salesforce.session import SalesforceSession
from tests.connections.salesforce.scripted import ScriptedServer, answer
from tests.connections.salesforce.sessions import sandbox_session, scripted_session
from tests.sandbox_process import SandboxProcess

JOB = "750000000000001AAA"


def ended(session: SalesforceSession, job_id: str) -> JobInfo:
    for _ in range(400):
        job = bulk.state(session, job_id)
        if job.terminal:
            return job
        time.sleep(0.02)
    raise AssertionError("the job did not end")


def table(path: Path) -> list[dict[str, str]]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def loaded(session: SalesforceSession, folder: Path, content: str, operation: bulk.Operation = "insert") -> JobInfo:
    (folder / "batch.csv").write_text(content)
    key = "External_Id__c" if operation == "upsert" else None
    job = bulk.create_job(session, "Account", operation, key)
    assert (job.state, job.operation, job.object, job.terminal) == ("Open", operation, "Account", False)
    bulk.upload(session, job.id, folder / "batch.csv")
    assert bulk.close(session, job.id).state in ("UploadComplete", "InProgress", "JobComplete")
    return ended(session, job.id)


def test_a_job_from_start_to_results(sandbox: SandboxProcess, tmp_path: Path) -> None:
    with sandbox_session(sandbox) as session:
        job = loaded(session, tmp_path, 'External_Id__c,Name\n1,"Zoë, Inc"\n2,\n3,Three\n', "upsert")
        assert job.state == "JobComplete"
        assert (job.records_processed, job.records_failed) == (3, 1)
        good = table(bulk.download(session, job.id, "successfulResults", tmp_path / "good.csv"))
        bad = table(bulk.download(session, job.id, "failedResults", tmp_path / "bad.csv"))
        rest = table(bulk.download(session, job.id, "unprocessedrecords", tmp_path / "rest.csv"))
        assert sorted((row["External_Id__c"], row["Name"]) for row in good) == [("1", "Zoë, Inc"), ("3", "Three")]
        assert [row["External_Id__c"] for row in bad] == ["2"]
        assert bad[0]["sf__Error"].startswith("REQUIRED_FIELD_MISSING:")
        assert rest == []
        bulk.delete_job(session, job.id)
        with pytest.raises(JobGone):
            bulk.state(session, job.id)


def test_a_failed_job_says_why(sandbox: SandboxProcess, tmp_path: Path) -> None:
    with sandbox_session(sandbox) as session:
        job = loaded(session, tmp_path, "Nonsense\n1\n")
        assert job.state == "Failed" and job.terminal
        assert "Nonsense" in job.error_message


def test_a_second_upload_or_close_is_a_wrong_state(sandbox: SandboxProcess, tmp_path: Path) -> None:
    with sandbox_session(sandbox) as session:
        job = loaded(session, tmp_path, "Name\nA\n")
        with pytest.raises(WrongJobState):
            bulk.upload(session, job.id, tmp_path / "batch.csv")
        with pytest.raises(WrongJobState):
            bulk.close(session, job.id)
        twice = bulk.create_job(session, "Account", "insert")
        bulk.upload(session, twice.id, tmp_path / "batch.csv")
        bulk.upload(session, twice.id, tmp_path / "batch.csv")
        with pytest.raises(WrongJobState, match="Found multiple contents"):
            bulk.close(session, twice.id)


def test_an_aborted_job_keeps_its_rows_unprocessed(sandbox: SandboxProcess, tmp_path: Path) -> None:
    (tmp_path / "batch.csv").write_text("Name\nA\nB\n")
    with sandbox_session(sandbox) as session:
        job = bulk.create_job(session, "Account", "insert")
        bulk.upload(session, job.id, tmp_path / "batch.csv")
        assert bulk.abort(session, job.id).state == "Aborted"
        rest = table(bulk.download(session, job.id, "unprocessedrecords", tmp_path / "rest.csv"))
        assert [row["Name"] for row in rest] == ["A", "B"]


def test_what_cannot_be_loaded_is_told_before_a_row_is_sent(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        with pytest.raises(MisconfiguredError, match="object that the Bulk API supports"):
            bulk.create_job(session, "NoSuch__c", "insert")
        with pytest.raises(PermanentError, match="External ID") as caught:
            bulk.create_job(session, "Account", "upsert", "Phone")
        assert not isinstance(caught.value, WrongJobState)
        with pytest.raises(ValueError, match="external id"):
            bulk.create_job(session, "Account", "upsert")
        with pytest.raises(ValueError, match="not the id"):
            bulk.state(session, "../limits")
        with pytest.raises(JobGone):
            bulk.state(session, JOB)


def test_an_upload_that_is_cut_off_has_an_unknown_effect(sandbox: SandboxProcess, tmp_path: Path) -> None:
    (tmp_path / "batch.csv").write_text("Name\n" + "A name of some length\n" * 200_000)
    with sandbox_session(sandbox) as session:
        job = bulk.create_job(session, "Account", "insert")
        sandbox.faults({"action": "cut", "method": "PUT", "path": "/batches", "after_bytes": 100_000})
        with pytest.raises(TransientError) as caught:
            bulk.upload(session, job.id, tmp_path / "batch.csv")
        assert caught.value.effect_unknown
        assert bulk.state(session, job.id).state == "Open"


def test_a_large_upload_is_streamed_from_the_file(sandbox: SandboxProcess, tmp_path: Path) -> None:
    with (tmp_path / "batch.csv").open("w") as file:
        file.write("Name,Phone\n")
        file.writelines(f"Company number {number},{number}\n" for number in range(30_000))
    with sandbox_session(sandbox) as session:
        job = bulk.create_job(session, "Account", "insert")
        bulk.upload(session, job.id, tmp_path / "batch.csv")
        bulk.close(session, job.id)
        done = ended(session, job.id)
        assert (done.records_processed, done.records_failed) == (30_000, 0)
        path = bulk.download(session, job.id, "successfulResults", tmp_path / "good.csv")
        assert path.name == "good.csv.gz"
        assert not (tmp_path / "good.csv").exists()
        assert len(table(path)) == 30_000


def test_a_query_is_read_page_by_page(sandbox: SandboxProcess, tmp_path: Path) -> None:
    with sandbox_session(sandbox) as session:
        loaded(session, tmp_path, "Name\n" + "".join(f"N{number}\n" for number in range(25)))
        job = bulk.create_query(session, "SELECT Id, Name FROM Account")
        for _ in range(400):
            job = bulk.query_state(session, job.id)
            if job.terminal:
                break
            time.sleep(0.02)
        names: list[str] = []
        locator: str | None = None
        pages = 0
        while pages == 0 or locator is not None:
            path, locator = bulk.download_query(session, job.id, tmp_path / f"page{pages}.csv", locator, max_records=10)
            names += [row["Name"] for row in table(path)]
            pages += 1
        assert pages == 3
        assert sorted(names) == sorted(f"N{number}" for number in range(25))
        bulk.delete_query(session, job.id)
        with pytest.raises(JobGone):
            bulk.query_state(session, job.id)
        assert len(list(rows(session, "SELECT Id FROM Account"))) == 25


ZIPPED = gzip.compress(b"a,b\n" + b"1,2\n" * 20_000)


@pytest.mark.parametrize(
    "broken",
    [
        answer("200 OK", b"a,b\n1,2\n", length=5000),
        answer("200 OK", ZIPPED[:-20], "Content-Encoding: gzip", length=len(ZIPPED)),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na,b\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\na,b\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + ZIPPED[:-20],
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot gzip at all",
        b"HTTP/1.1 200 OK\r\n\r\na,b\n1,2",
    ],
)
def test_a_result_that_breaks_off_is_transient_and_leaves_no_file(broken: bytes, tmp_path: Path) -> None:
    with ScriptedServer(broken) as server, scripted_session(server.url) as session:
        with pytest.raises(TransientError) as caught:
            bulk.download(session, JOB, "failedResults", tmp_path / "result.csv")
        assert not caught.value.effect_unknown
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("whole", "name", "content"),
    [
        (answer("200 OK", b"a,b\n1,2\n"), "result.csv", b"a,b\n1,2\n"),
        (answer("200 OK", ZIPPED, "Content-Encoding: gzip"), "result.csv.gz", ZIPPED),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + ZIPPED, "result.csv.gz", ZIPPED),
        (b"HTTP/1.1 200 OK\r\n\r\na,b\n", "result.csv", b"a,b\n"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na,b\n\r\n0\r\n\r\n",
            "result.csv",
            b"a,b\n",
        ),
    ],
)
def test_a_whole_result_is_saved_as_it_came(whole: bytes, name: str, content: bytes, tmp_path: Path) -> None:
    with ScriptedServer(whole) as server, scripted_session(server.url) as session:
        path = bulk.download(session, JOB, "failedResults", tmp_path / "result.csv")
        assert path == tmp_path / name
        assert path.read_bytes() == content
        assert "Accept-Encoding: gzip" in server.seen[-1]


def test_only_an_ended_job_is_terminal() -> None:
    states = {
        state: JobInfo(JOB, state, "insert", "Account").terminal
        for state in ("Open", "UploadComplete", "InProgress", "JobComplete", "Failed", "Aborted")
    }
    assert [state for state, terminal in states.items() if terminal] == ["JobComplete", "Failed", "Aborted"]
