"""Bulk API 2.0 jobs as both kinds (ingest and query) share them: the job document, its storage, its files."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.store import make_id
from sandbox.wire import SalesforceError, not_found, timestamp

DELIMITERS = {"BACKQUOTE": "`", "CARET": "^", "COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "TAB": "\t"}
LINE_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}
TERMINAL = frozenset({"JobComplete", "Failed", "Aborted"})
PAGE = 1000
CHUNK = 1 << 20


class Job:
    """One bulk job. `document` is what the API shows; `inner` is what only the sandbox knows; both are saved."""

    def __init__(self, org: Org, document: dict[str, Any], inner: dict[str, Any]) -> None:
        self.org = org
        self.document = document
        self.inner = inner
        # Set when the job shall stop waiting: it was aborted, deleted, or the org is reset.
        self.stopped = threading.Event()
        # Set when a terminal job's result files are complete.
        self.settled = threading.Event()

    @property
    def id(self) -> str:
        return str(self.document["id"])

    @property
    def state(self) -> str:
        return str(self.document["state"])

    @property
    def folder(self) -> Path:
        return self.org.job_folder / self.id

    @property
    def delimiter(self) -> str:
        return DELIMITERS[self.document["columnDelimiter"]]

    def move(self, state: str, **changes: Any) -> None:
        """Change the state and other shown facts, and save the job; the caller holds the jobs lock."""
        self.document.update(state=state, systemModstamp=timestamp(self.org.clock.now()), **changes)
        self.save()

    def save(self) -> None:
        with self.org.store.writing() as cursor:
            body = {"document": self.document, "inner": self.inner}
            self.org.store.put_document(cursor, "job", self.id, body)

    def stop(self) -> None:
        """End all waiting, and everything the job still does."""
        self.stopped.set()
        self.settled.set()

    def public(self) -> dict[str, Any]:
        """The job as GET answers it."""
        return {key: value for key, value in self.document.items() if value is not None}

    def remove_files(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def new_document(org: Org, call: Call, given: dict[str, Any], job_type: str) -> dict[str, Any]:
    """The document of a new job, keys in the order of the Bulk API 2.0 guide.

    Raises SalesforceError for options it does not know.
    """
    now = timestamp(org.clock.now())
    delimiter, line_ending = given.get("columnDelimiter", "COMMA"), given.get("lineEnding", "LF")
    if delimiter not in DELIMITERS:
        raise bad_value("columnDelimiter", delimiter, DELIMITERS)
    if line_ending not in LINE_ENDINGS:
        raise bad_value("lineEnding", line_ending, LINE_ENDINGS)
    if given.get("contentType", "CSV") != "CSV":
        raise bad_value("contentType", given["contentType"], ["CSV"])
    with org.store.writing() as cursor:
        number = org.store.reserve(cursor, "job")
    return {
        "id": make_id("750", number),
        "operation": given["operation"],
        "object": given.get("object"),
        "createdById": call.user.id,
        "createdDate": now,
        "systemModstamp": now,
        "state": "Open",
        "externalIdFieldName": given.get("externalIdFieldName"),
        "assignmentRuleId": given.get("assignmentRuleId"),
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": float(call.version),
        "jobType": job_type,
        "contentUrl": None,
        "lineEnding": line_ending,
        "columnDelimiter": delimiter,
        "retries": 0,
        "totalProcessingTime": 0,
        "apiActiveProcessingTime": 0,
        "apexProcessingTime": 0,
        "numberRecordsProcessed": 0,
        "numberRecordsFailed": 0,
        "errorMessage": None,
    }


def bad_value(key: str, value: Any, allowed: Any) -> SalesforceError:
    text = f"Invalid value {value!r} for {key}; allowed are {', '.join(allowed)}"
    return SalesforceError(400, "INVALIDJOB", text)


def find_job(org: Org, call: Call, job_type: str) -> Job:
    """The job the path names (15 or 18 characters), or 404."""
    given = call.arguments["id"]
    for job_id in (given, next((each for each in org.jobs if each[:15] == given), None)):
        job = org.jobs.get(job_id) if job_id else None
        if isinstance(job, Job) and job.document["jobType"] == job_type:
            return job
    raise not_found()


def list_jobs(org: Org, call: Call, own_type: str) -> Answer:
    """The jobs, newest first, at most 1,000 a page."""
    wanted = call.query.get("jobType", own_type)
    jobs = [job for job in list(org.jobs.values())[::-1] if job.document["jobType"] == wanted]
    start = int(call.query["queryLocator"]) if call.query.get("queryLocator", "").isdigit() else 0
    page = jobs[start : start + PAGE]
    answer: dict[str, Any] = {
        "done": start + PAGE >= len(jobs),
        "records": [job.public() for job in page],
        "nextRecordsUrl": None,
    }
    if not answer["done"]:
        answer["nextRecordsUrl"] = f"{call.path}?jobType={wanted}&queryLocator={start + PAGE}"
    return Answer(200, answer)


def delete_job(org: Org, job: Job) -> Answer:
    """DELETE: only when the job has ended or waits to be processed."""
    with org.jobs_lock:
        if job.state not in TERMINAL | {"UploadComplete"}:
            raise SalesforceError(400, "INVALIDJOBSTATE", f"Cannot delete a job in state {job.state}")
        job.stop()
        org.jobs.pop(job.id, None)
        with org.store.writing() as cursor:
            org.store.delete_document(cursor, "job", job.id)
            cursor.execute(f'DROP TABLE IF EXISTS "_stage_{job.id}"')
        job.remove_files()
    return Answer(204)


def file_chunks(paths: list[Path], head: bytes = b"", line_ending: str = "LF") -> Iterator[bytes]:
    """The bytes of `head` and some CSV files, one after the other; line ends outside quotes become CRLF on demand."""
    if head:
        yield head
    inside = False
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                if line_ending == "LF":
                    yield chunk
                    continue
                parts = chunk.split(b'"')
                for place, part in enumerate(parts):
                    if place:
                        inside = not inside
                    if not inside:
                        parts[place] = part.replace(b"\n", b"\r\n")
                yield b'"'.join(parts)
