"""Bulk API 2.0 jobs as both kinds (ingest and query) share them: the job document, its storage, its files."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sandbox.call import Answer, Call
from sandbox.login.users import User
from sandbox.org import Org
from sandbox.schema import ObjectType
from sandbox.store import make_id
from sandbox.wire import SalesforceError, not_found, timestamp

DELIMITERS = {"BACKQUOTE": "`", "CARET": "^", "COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "TAB": "\t"}
LINE_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}
TERMINAL = frozenset({"JobComplete", "Failed", "Aborted"})
JOB_TYPES = ("V2Ingest", "V2Query", "Classic", "BigObjectIngest")
KEPT_SECONDS = 7 * 86_400
PAGE = 1000
MAX_DIGITS = 18
CHUNK = 1 << 20


class Job:
    """One bulk job. `document` is what the API shows; `inner` is what only the sandbox knows; both are saved."""

    final_states = TERMINAL

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
    def user(self) -> User:
        """Who created the job."""
        return self.org.users.with_id(self.document["createdById"]) or self.org.admin

    @property
    def state(self) -> str:
        return str(self.document["state"])

    @property
    def folder(self) -> Path:
        return self.org.job_folder / self.id

    @property
    def is_pk_chunked(self) -> bool:
        """Whether a 1.0 query job splits its table by record id."""
        return bool(self.inner.get("chunk_size"))

    @property
    def delimiter(self) -> str:
        return DELIMITERS[self.document["columnDelimiter"]]

    def move(self, state: str, **changes: Any) -> None:
        """Change the state and other shown facts, and save the job; the caller holds the jobs lock."""
        self.document.update(state=state, systemModstamp=timestamp(self.org.clock.now()), **changes)
        if state in self.final_states:
            self.inner["ended"] = self.org.clock.time()
        self.save()

    @property
    def body(self) -> dict[str, Any]:
        """What is saved of the job."""
        return {"document": self.document, "inner": self.inner}

    @property
    def seconds(self) -> float:
        """How long the job shall take at least, on the org's clock."""
        slow = [action["seconds"] for action in self.inner["actions"] if action["action"] == "slow_job"]
        return float(slow[0]) if slow else self.org.bulk.delay

    @property
    def saved_as(self) -> list[tuple[str, str]]:
        """Kind and key of the documents the job is saved in."""
        return [("job", self.id)]

    def save(self) -> None:
        with self.org.store.writing() as cursor:
            self.org.store.put_document(cursor, "job", self.id, self.body)

    def stop(self) -> None:
        """End all waiting, and everything the job still does."""
        self.stopped.set()
        self.settled.set()

    def public(self) -> dict[str, Any]:
        """The job as GET answers it."""
        return {key: value for key, value in self.document.items() if value is not None}


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
    return {
        "id": new_id(org, "job", "750"),
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


def new_id(org: Org, counter: str, prefix: str) -> str:
    """A fresh 18-character id."""
    with org.store.writing() as cursor:
        return make_id(prefix, org.store.reserve(cursor, counter))


def ingest_target(org: Org, call: Call, given: Any, operation: str) -> ObjectType:
    """The object an ingest job writes.

    Raises SalesforceError: INVALIDENTITY for an object that the bulk APIs do not write or the user does not see,
    FEATURENOTENABLED for a hard delete without the permission "Bulk API Hard Delete".
    """
    schema, name = org.permissions.schema_of(call.user), str(given or "")
    if event := schema.event_named(name):
        if operation != "insert":
            raise SalesforceError(400, "INVALIDJOB", f"The operation {operation} is not possible for {event.name}")
        return event
    target = schema.object_named(name)
    # What the user may not do to an object refuses its rows, one by one; what nobody may do refuses the job.
    if target is None or not org.schema.objects[target.name.lower()].facts.get("createable", True):
        raise SalesforceError(400, "INVALIDENTITY", f"Entity '{given}' is not supported by the Bulk API.")
    if operation == "hardDelete" and not org.permissions.has(call.user, "BulkApiHardDelete"):
        text = "hardDelete operation requires special user profile permission, please contact your system administrator"
        raise SalesforceError(400, "FEATURENOTENABLED", text)
    return target


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
    """The jobs, newest first, at most 1,000 a page: those of the API asked, or of the jobType, mode and so on named.

    Raises SalesforceError for a filter it does not know.
    """
    filters = {key: value for key, value in call.query.items() if key != "queryLocator"}
    wanted = filters.get("jobType", own_type)
    if wanted not in JOB_TYPES:
        raise bad_value("jobType", wanted, JOB_TYPES)
    chunked = filters.get("isPkChunkingEnabled", "").lower()
    if chunked not in ("", "true", "false"):
        raise bad_value("isPkChunkingEnabled", filters["isPkChunkingEnabled"], ("true", "false"))
    mode = filters.get("concurrencyMode", "").lower()
    if mode not in ("", "parallel", "serial"):
        raise bad_value("concurrencyMode", filters["concurrencyMode"], ("Parallel", "Serial"))
    jobs = [
        job
        for job in list(org.jobs.values())[::-1]
        if job.document["jobType"] == wanted
        and (not chunked or job.is_pk_chunked == (chunked == "true"))
        and mode in ("", str(job.document["concurrencyMode"]).lower())
    ]
    start = _place(call.query.get("queryLocator"))
    more = start + PAGE < len(jobs)
    again = urlencode({**filters, "jobType": wanted, "queryLocator": start + PAGE})
    answer = {
        "done": not more,
        "records": [job.public() for job in jobs[start : start + PAGE]],
        "nextRecordsUrl": f"{call.path}?{again}" if more else None,
    }
    return Answer(200, answer)


def _place(locator: str | None) -> int:
    if not locator:
        return 0
    if not locator.isdecimal() or len(locator) > MAX_DIGITS:
        raise SalesforceError(400, "INVALID_QUERY_LOCATOR", f"invalid query locator: {locator[:50]}")
    return int(locator)


def delete_job(org: Org, job: Job) -> Answer:
    """DELETE: only when the job has ended or waits to be processed."""
    with org.jobs_lock:
        if job.state not in TERMINAL | {"UploadComplete"}:
            raise SalesforceError(400, "INVALIDJOBSTATE", f"Cannot delete a job in state {job.state}")
        forget_job(org, job)
    return Answer(204)


def forget_job(org: Org, job: Job) -> None:
    """Remove a job with its files; the caller holds the jobs lock."""
    job.stop()
    org.jobs.pop(job.id, None)
    with org.store.writing() as cursor:
        for kind, key in job.saved_as:
            org.store.delete_document(cursor, kind, key)
        cursor.execute(f'DROP TABLE IF EXISTS "_stage_{job.id}"')
    shutil.rmtree(job.folder, ignore_errors=True)


def forget_old(org: Org) -> None:
    """Remove the jobs that ended more than seven days ago, as Salesforce does."""
    since = org.clock.time() - KEPT_SECONDS
    for job in list(org.jobs.values()):
        if job.state in job.final_states and job.inner.get("ended", since) < since:
            # Not before: a job that is being written holds the lock for as long as a step takes.
            with org.jobs_lock:
                forget_job(org, job)


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
