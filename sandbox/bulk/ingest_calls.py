"""Bulk API 2.0 ingest over HTTP: create, upload, close, abort, info, results (Bulk API 2.0 guide)."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from sandbox.bulk import jobs
from sandbox.bulk.ingest import abort_job, header_line, own_columns, settle, start_job
from sandbox.bulk.jobs import TERMINAL, Job
from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.schema import ObjectType
from sandbox.wire import SalesforceError

JOB_TYPE = "V2Ingest"
OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete")
OPTIONS = frozenset(
    ["object", "operation", "externalIdFieldName", "assignmentRuleId", "columnDelimiter", "contentType", "lineEnding"]
)
ASSIGNMENT_VERSION = 49
MAX_MULTIPART = 100_000
OPEN_SECONDS = 86_400
# 150 MB is the limit after base64; raw data above it is refused whatever it is made of.
MAX_UPLOAD = 150_000_000
WRITE_SIZE = 1 << 20
CSV_TYPE = "text/csv; charset=UTF-8"
RESULT_WAIT = 60


def create(org: Org, call: Call) -> Answer:
    """POST jobs/ingest: JSON, or multipart with the data beside it."""
    content_type = call.headers.get("content-type", "")
    if content_type.lower().startswith("multipart/form-data"):
        given, content = _parts(call, content_type)
    else:
        given, content = call.json_object(), None
    job = _new_job(org, call, given)
    if content is None:
        shown = job.public()
    else:
        (job.folder / "upload.csv").write_bytes(content)
        job.inner["uploads"] = 1
        shown = _close(org, job)
    # The answer to a create is shorter than later ones.
    later = ("jobType", "retries", "totalProcessingTime", "apiActiveProcessingTime", "apexProcessingTime")
    hidden = {*later, "numberRecordsProcessed", "numberRecordsFailed"}
    return Answer(200, {key: value for key, value in shown.items() if key not in hidden})


def _parts(call: Call, content_type: str) -> tuple[dict[str, Any], bytes]:
    """The job and the data of a multipart request (Bulk API 2.0 guide, "Create a job": at most 100,000 characters)."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + call.body)
    parts = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        payload = part.get_payload(decode=True)
        parts[part.get_param("name", header="content-disposition")] = payload if isinstance(payload, bytes) else b""
    if set(parts) != {"job", "content"}:
        raise SalesforceError(400, "INVALIDJOB", "A multipart request has the parts job and content, and no other")
    if len(parts["content"].decode("utf-8", "replace")) > MAX_MULTIPART:
        text = f"The content of a multipart request may have at most {MAX_MULTIPART} characters"
        raise SalesforceError(400, "INVALIDJOB", text)
    return dataclasses.replace(call, body=parts["job"], headers={}).json_object(), parts["content"]


def _new_job(org: Org, call: Call, given: dict[str, Any]) -> Job:
    """Open a job.

    Raises SalesforceError for what cannot be.
    """
    if unknown := set(given) - OPTIONS:
        raise SalesforceError(400, "JSON_PARSER_ERROR", f'Unrecognized field "{min(unknown)}", not marked as ignorable')
    operation = given.get("operation")
    if operation not in OPERATIONS:
        raise jobs.bad_value("operation", operation, OPERATIONS)
    target = jobs.ingest_target(org, call, given.get("object"), str(operation))
    given["object"] = target.name
    if operation == "upsert":
        given["externalIdFieldName"] = _key_name(target, given.get("externalIdFieldName"))
    elif given.get("externalIdFieldName"):
        raise SalesforceError(400, "INVALIDJOB", f"An External ID is not used by the operation {operation}")
    rule = given.get("assignmentRuleId")
    if rule is not None and (call.version < ASSIGNMENT_VERSION or target.name not in ("Case", "Lead")):
        text = f"assignmentRuleId is for Case and Lead, from version {ASSIGNMENT_VERSION}.0 on"
        raise SalesforceError(400, "INVALIDJOB", text)
    document = jobs.new_document(org, call, given, JOB_TYPE)
    document["contentUrl"] = f"{call.data_url[1:]}/jobs/ingest/{document['id']}/batches"
    actions = org.faults.for_job(target.name, str(operation))
    job = Job(org, document, {"uploads": 0, "done": 0, "actions": actions, "opened": org.clock.time()})
    job.folder.mkdir(parents=True, exist_ok=True)
    with org.jobs_lock:
        org.jobs[job.id] = job
        job.save()
    return job


def _key_name(target: ObjectType, given: Any) -> str:
    if not given:
        raise SalesforceError(400, "INVALIDJOB", "External ID was blank for " + target.name)
    key = target.field_named(str(given))
    if key is None or not key.is_key:
        text = (
            f"Field name provided, {given} does not match an External ID, Salesforce Id, or indexed field for"
            f" {target.name}"
        )
        raise SalesforceError(400, "INVALIDJOB", text)
    return key.name


async def upload(org: Org, call: Call, request: Request) -> Answer:
    """PUT batches: the CSV goes to a file as it comes. A second upload is taken too, and spoils the job."""
    try:
        job = jobs.find_job(org, call, JOB_TYPE)
        _require_open(job, "upload data to")
    except SalesforceError:
        async for _ in request.stream():
            pass
        raise
    part = job.folder / f"upload-{uuid.uuid4().hex}.part"
    size = await _save(request, part)
    if size > MAX_UPLOAD:
        part.unlink(missing_ok=True)
        message = f"The upload is {size} bytes; at most {MAX_UPLOAD} bytes are taken per job"
        raise SalesforceError(413, "REQUEST_ENTITY_TOO_LARGE", message)
    await run_in_threadpool(_accept_upload, org, job, part)
    return Answer(201)


async def _save(request: Request, path: Path) -> int:
    """Write the body to `path`; its size in bytes. Nothing stays of an upload that broke off or is too big."""
    size = 0
    pending: list[bytes] = []
    pending_size = 0
    with path.open("wb") as file:
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size > MAX_UPLOAD:
                    continue
                pending.append(chunk)
                pending_size += len(chunk)
                if pending_size >= WRITE_SIZE:
                    await run_in_threadpool(file.writelines, pending)
                    pending, pending_size = [], 0
        except (ClientDisconnect, SalesforceError):
            path.unlink(missing_ok=True)
            raise
        file.writelines(pending)
    return size


def _accept_upload(org: Org, job: Job, part: Path) -> None:
    with org.jobs_lock:
        _require_open(job, "upload data to")
        part.replace(job.folder / "upload.csv")
        job.inner["uploads"] += 1
        job.save()


def _require_open(job: Job, verb: str) -> None:
    if job.state != "Open":
        message = f"Cannot {verb} a job that is not Open. Current job state is '{job.state}'"
        raise SalesforceError(400, "INVALIDJOBSTATE", message)


def info(org: Org, call: Call) -> Answer:
    """GET jobs/ingest/ID."""
    job = jobs.find_job(org, call, JOB_TYPE)
    shown = job.public()
    if job.state != "Open":
        shown.pop("contentUrl", None)
    return Answer(200, shown)


def list_jobs(org: Org, call: Call) -> Answer:
    return jobs.list_jobs(org, call, JOB_TYPE)


def delete(org: Org, call: Call) -> Answer:
    return jobs.delete_job(org, jobs.find_job(org, call, JOB_TYPE))


def change_state(org: Org, call: Call) -> Answer:
    """PATCH jobs/ingest/ID: close the upload, or abort."""
    job = jobs.find_job(org, call, JOB_TYPE)
    wanted = call.json_object().get("state")
    if wanted == "Aborted":
        abort_job(job)
    elif wanted == "UploadComplete":
        return Answer(200, _close(org, job))
    else:
        raise SalesforceError(
            400, "INVALIDJOB", f"State can only be changed to UploadComplete or Aborted, not {wanted!r}"
        )
    return Answer(200, job.public())


def _close(org: Org, job: Job) -> dict[str, Any]:
    """Close the upload and start the job; how the job looks between the two."""
    with org.jobs_lock:
        _require_open(job, "close")
        if job.inner["uploads"] > 1:
            message = (
                f"Found multiple contents for job: <{job.id}>, please close / abort / delete the current job then"
                " create a new one, or only do 'PUT' once for the same job"
            )
            raise SalesforceError(400, "INVALIDJOB", message)
        job.document["contentUrl"] = None
        job.move("UploadComplete")
        shown = job.public()
    start_job(job)
    return shown


def successful_results(org: Org, call: Call) -> Answer:
    """GET successfulResults: of a job that is being processed, what is done so far."""
    return _results(org, call, "success", TERMINAL | {"InProgress"})


def failed_results(org: Org, call: Call) -> Answer:
    """GET failedResults."""
    return _results(org, call, "failed", TERMINAL)


def unprocessed_records(org: Org, call: Call) -> Answer:
    """GET unprocessedrecords: rows the job never came to."""
    return _results(org, call, "unprocessed", TERMINAL)


def _results(org: Org, call: Call, which: str, states: frozenset[str]) -> Answer:
    job = jobs.find_job(org, call, JOB_TYPE)
    if job.state not in states:
        message = f"Results are available only when the job has ended. Current job state is '{job.state}'"
        raise SalesforceError(400, "INVALIDJOBSTATE", message)
    if job.state in TERMINAL:
        job.settled.wait(RESULT_WAIT)
    # A running job's files are looked at between two steps, when they are whole.
    with contextlib.nullcontext() if job.state in TERMINAL else org.jobs_lock:
        head = header_line(job, own_columns(job, which), which)
        parts = sorted(job.folder.glob(f"{which}-*.csv")) if job.folder.exists() else []
    stream = jobs.file_chunks(parts, head, job.document["lineEnding"])
    return Answer(200, stream=stream, content_type=CSV_TYPE)


def close_forgotten(org: Org) -> None:
    """Close the jobs that were left open for more than a day, and process what was uploaded, as Salesforce does."""
    since = org.clock.time() - OPEN_SECONDS
    for job in list(org.jobs.values()):
        if job.document["jobType"] == JOB_TYPE and job.state == "Open" and job.inner.get("opened", since) < since:
            with contextlib.suppress(SalesforceError):
                _close(org, job)


def resume_job(job: Job) -> None:
    """Bring back a job of an earlier run, and go on with it if it was being processed."""
    if job.state in TERMINAL:
        settle(job)
    elif job.state != "Open":
        start_job(job)
