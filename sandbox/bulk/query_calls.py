"""Bulk API 2.0 query: a SOQL result as CSV, in pages the client sizes (Bulk API 2.0 guide)."""

from __future__ import annotations

import base64
import binascii
import logging
import threading
import time
from typing import Any

from sandbox.bulk import jobs
from sandbox.bulk.extract import Extract, compile_bulk
from sandbox.bulk.jobs import Job
from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.soql.query import Query
from sandbox.wire import SalesforceError, not_found

log = logging.getLogger("sandbox.query")

JOB_TYPE = "V2Query"
CSV_TYPE = "text/csv; charset=UTF-8"
OPTIONS = frozenset(["operation", "query", "contentType", "columnDelimiter", "lineEnding"])
PAGES = 5
PAGES_VERSION = 58


def create(org: Org, call: Call) -> Answer:
    """POST jobs/query."""
    given = call.json_object()
    if unknown := set(given) - OPTIONS:
        raise SalesforceError(400, "JSON_PARSER_ERROR", f'Unrecognized field "{min(unknown)}", not marked as ignorable')
    if given.get("operation") not in ("query", "queryAll"):
        raise jobs.bad_value("operation", given.get("operation"), ("query", "queryAll"))
    text = given.get("query")
    if not isinstance(text, str) or not text.strip():
        raise SalesforceError(400, "INVALIDJOB", "The query is missing")
    compiled = compile_bulk(org, {"operation": given["operation"], "createdById": call.user.id}, text)
    if not org.bulk.take_query_job():
        limit = org.bulk.limits.query_jobs
        raise SalesforceError(400, "LIMIT_EXCEEDED", f"Max bulk v2 query jobs ({limit}) per 24 hrs has been reached")
    document = jobs.new_document(org, call, {**given, "object": compiled.object.name}, JOB_TYPE)
    document["state"] = "UploadComplete"
    job = Job(org, document, {"query": text, "actions": org.faults.for_job(compiled.object.name, given["operation"])})
    job.folder.mkdir(parents=True, exist_ok=True)
    with org.jobs_lock:
        org.jobs[job.id] = job
        job.save()
    hidden = ("jobType", "retries", "totalProcessingTime", "numberRecordsProcessed", "numberRecordsFailed")
    # As it is before the work begins, however fast that is done.
    shown = {key: value for key, value in job.public().items() if key not in hidden}
    _start(job, compiled)
    return Answer(200, shown)


def _process(job: Job, compiled: Query) -> None:
    started = time.monotonic()
    job.org.bulk.wait(job.stopped, job.seconds * 0.2)
    if _move(job, "UploadComplete", "InProgress"):
        job.org.bulk.wait(job.stopped, job.seconds * 0.8)
        state = "JobComplete"
        facts: dict[str, Any] = {}
        trouble = next((each for each in job.inner["actions"] if each["action"] in ("fail_job", "abort_job")), None)
        try:
            _extract(job).run(compiled)
            facts = {"numberRecordsProcessed": _extract(job).total}
        except Exception as error:
            if job.org.jobs.get(job.id) is job:
                log.exception("job %s broke", job.id)
            state, facts = "Failed", {"errorMessage": f"InternalServerError : {error}"}
        if trouble:
            state = "Failed" if trouble["action"] == "fail_job" else "Aborted"
            message = trouble.get("message", "InternalServerError : Retried more than 15 times")
            facts = {"errorMessage": message} if state == "Failed" else {}
        _move(job, "InProgress", state, totalProcessingTime=round((time.monotonic() - started) * 1000), **facts)
    job.settled.set()


def _move(job: Job, before: str, after: str, **facts: Any) -> bool:
    """Change the state, unless the job has left `before` meanwhile; whether it was so."""
    with job.org.jobs_lock:
        if job.org.jobs.get(job.id) is not job or job.state != before:
            return False
        job.move(after, **facts)
        return True


def _extract(job: Job) -> Extract:
    return Extract(job.org.store, job.folder, job.inner)


def resume(job: Job) -> None:
    """Run a query again that an earlier process did not bring to its end."""
    if job.state in jobs.TERMINAL:
        job.settled.set()
        return
    with job.org.jobs_lock:
        job.move("UploadComplete")
    compiled = compile_bulk(job.org, job.document, job.inner["query"])
    _start(job, compiled)


def _start(job: Job, compiled: Query) -> None:
    threading.Thread(target=_process, args=(job, compiled), name=f"job {job.id}", daemon=True).start()


def info(org: Org, call: Call) -> Answer:
    return Answer(200, jobs.find_job(org, call, JOB_TYPE).public())


def list_jobs(org: Org, call: Call) -> Answer:
    return jobs.list_jobs(org, call, JOB_TYPE)


def delete(org: Org, call: Call) -> Answer:
    return jobs.delete_job(org, jobs.find_job(org, call, JOB_TYPE))


def change_state(org: Org, call: Call) -> Answer:
    """PATCH jobs/query/ID: a query can only be aborted."""
    job = jobs.find_job(org, call, JOB_TYPE)
    if call.json_object().get("state") != "Aborted":
        raise SalesforceError(400, "INVALIDJOB", "A query job's state can only be changed to Aborted")
    with org.jobs_lock:
        if job.state in jobs.TERMINAL:
            message = f"Cannot abort a job that has ended. Current job state is '{job.state}'"
            raise SalesforceError(400, "INVALIDJOBSTATE", message)
        job.move("Aborted")
        job.stop()
    return Answer(200, job.public())


def _complete(org: Org, call: Call) -> Job:
    job = jobs.find_job(org, call, JOB_TYPE)
    if job.document["apiVersion"] != float(call.version):
        message = f"The job was created with API version {job.document['apiVersion']}; use the same version to read it"
        raise SalesforceError(409, "API_ERROR", message)
    if job.state != "JobComplete":
        message = f"Results are available only when the job is complete. Current job state is '{job.state}'"
        raise SalesforceError(400, "INVALIDJOBSTATE", message)
    return job


def results(org: Org, call: Call) -> Answer:
    """GET results[?locator=&maxRecords=]: one page. By default a page holds everything."""
    job = _complete(org, call)
    total = _extract(job).total
    start = _offset(call.query.get("locator"), total)
    given = call.query.get("maxRecords")
    if given is not None and (not given.isdecimal() or len(given) > jobs.MAX_DIGITS or int(given) < 1):
        raise SalesforceError(400, "INVALIDJOB", f"maxRecords must be a whole number from 1, not {given[:50]!r}")
    size = int(given) if given else org.bulk.result_rows
    end = min(total, start + size) if size else total
    headers = {
        "Sforce-Locator": "null" if end >= total else _locator(end),
        "Sforce-NumberOfRecords": str(end - start),
    }
    stream = _extract(job).csv(start, end, job.delimiter, job.document["lineEnding"])
    return Answer(200, headers=headers, stream=stream, content_type=CSV_TYPE)


def _locator(place: int) -> str:
    return base64.b64encode(str(place).encode()).decode().rstrip("=")


def _offset(locator: str | None, total: int) -> int:
    if not locator or locator == "null":
        return 0
    try:
        place = int(base64.b64decode(locator + "=" * (-len(locator) % 4), validate=True))
    except (binascii.Error, ValueError):
        place = -1
    if not 0 <= place <= total:
        raise SalesforceError(400, "INVALID_QUERY_LOCATOR", f"invalid query locator: {locator}")
    return place


def result_pages(org: Org, call: Call) -> Answer:
    """GET resultPages[?locator=]: the addresses of up to five pages, to be read at the same time (v58 and later)."""
    if call.version < PAGES_VERSION:
        raise not_found()
    job = _complete(org, call)
    total, size = _extract(job).total, org.bulk.result_rows
    place = _offset(call.query.get("locator"), total)
    url = f"{call.data_url}/jobs/query/{job.id}"
    pages: list[dict[str, Any]] = []
    more = True
    while more and len(pages) < PAGES:
        pages.append({"resultUrl": f"{url}/results" + (f"?locator={_locator(place)}" if place else "")})
        place = min(total, place + size) if size else total
        more = place < total
    again = f"{url}/resultPages?locator={_locator(place)}" if more else None
    return Answer(200, {"resultPages": pages, "nextRecordsUrl": again, "done": not more})
