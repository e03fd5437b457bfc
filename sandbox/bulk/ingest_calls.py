"""Bulk API 2.0 ingest over HTTP: create, upload, close, abort, info, results (Bulk API 2.0 guide)."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from sandbox.bulk import jobs
from sandbox.bulk.ingest import abort_job, header_line, settle, start_job
from sandbox.bulk.jobs import TERMINAL, Job
from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.wire import SalesforceError

JOB_TYPE = "V2Ingest"
OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete")
# 150 MB is the limit after base64; raw data above it is refused whatever it is made of.
MAX_UPLOAD = 150_000_000
WRITE_SIZE = 1 << 20
CSV_TYPE = "text/csv; charset=UTF-8"
RESULT_WAIT = 60


def create(org: Org, call: Call) -> Answer:
    """POST jobs/ingest."""
    given = call.json_object()
    if given.get("operation") not in OPERATIONS:
        raise jobs.bad_value("operation", given.get("operation"), OPERATIONS)
    target = org.schema.object_named(str(given.get("object") or ""))
    if target is None or not target.facts.get("createable", True):
        raise SalesforceError(400, "INVALIDENTITY", f"Entity '{given.get('object')}' is not supported by the Bulk API.")
    given["object"] = target.name
    if given["operation"] == "upsert":
        key_name = given.get("externalIdFieldName")
        if not key_name:
            raise SalesforceError(400, "INVALIDJOB", "External ID was blank for " + target.name)
        key = target.field_named(str(key_name))
        if key is None or not key.is_key:
            message = (
                f"Field name provided, {key_name} does not match an External ID, Salesforce Id, or indexed field for"
                f" {target.name}"
            )
            raise SalesforceError(400, "INVALIDJOB", message)
        given["externalIdFieldName"] = key.name
    document = jobs.new_document(org, call, given, JOB_TYPE)
    document["contentUrl"] = f"{call.data_url[1:]}/jobs/ingest/{document['id']}/batches"
    actions = org.faults.for_job(target.name, given["operation"])
    job = Job(org, document, {"uploads": 0, "done": 0, "actions": actions})
    job.folder.mkdir(parents=True, exist_ok=True)
    with org.jobs_lock:
        org.jobs[job.id] = job
        job.save()
    # The answer to a create is shorter than later ones.
    later = ("jobType", "retries", "totalProcessingTime", "apiActiveProcessingTime", "apexProcessingTime")
    hidden = {*later, "numberRecordsProcessed", "numberRecordsFailed"}
    return Answer(200, {key: value for key, value in job.public().items() if key not in hidden})


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
        except ClientDisconnect:
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
    """GET successfulResults."""
    return _results(org, call, "success", '"sf__Id","sf__Created"')


def failed_results(org: Org, call: Call) -> Answer:
    """GET failedResults."""
    return _results(org, call, "failed", '"sf__Id","sf__Error"')


def unprocessed_records(org: Org, call: Call) -> Answer:
    """GET unprocessedrecords: rows the job never came to."""
    return _results(org, call, "unprocessed", "")


def _results(org: Org, call: Call, which: str, own_columns: str) -> Answer:
    job = jobs.find_job(org, call, JOB_TYPE)
    if job.state not in TERMINAL:
        message = f"Results are available only when the job has ended. Current job state is '{job.state}'"
        raise SalesforceError(400, "INVALIDJOBSTATE", message)
    job.settled.wait(RESULT_WAIT)
    head = header_line(job, own_columns, which)
    parts = sorted(job.folder.glob(f"{which}-*.csv")) if job.folder.exists() else []
    stream = jobs.file_chunks(parts, head, job.document["lineEnding"])
    return Answer(200, stream=stream, content_type=CSV_TYPE)


def resume_jobs(org: Org) -> None:
    """Bring back the jobs of an earlier run, and go on with those that were being processed."""
    for body in org.store.documents("job"):
        job = Job(org, body["document"], body["inner"])
        org.jobs[job.id] = job
        if job.state in TERMINAL:
            settle(job)
        elif job.document["jobType"] == JOB_TYPE and job.state != "Open":
            start_job(job)
