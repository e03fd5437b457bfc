"""Bulk API 2.0 query: a SOQL result as CSV, in pages the client sizes (Bulk API 2.0 guide)."""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandbox.bulk import jobs
from sandbox.bulk.jobs import Job
from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.rows.rules import literal, name
from sandbox.schema import Field
from sandbox.soql.compiler import Query, compile_query
from sandbox.wire import SalesforceError

JOB_TYPE = "V2Query"
CSV_TYPE = "text/csv; charset=UTF-8"


def create(org: Org, call: Call) -> Answer:
    """POST jobs/query."""
    given = call.json_object()
    if given.get("operation") not in ("query", "queryAll"):
        raise jobs.bad_value("operation", given.get("operation"), ("query", "queryAll"))
    text = given.get("query")
    if not isinstance(text, str) or not text.strip():
        raise SalesforceError(400, "INVALIDJOB", "The query is missing")
    schema, deleted_too = org.permissions.schema_of(call.user), given["operation"] == "queryAll"
    compiled = compile_query(schema, text, org.clock.now(), deleted_too=deleted_too)
    _check_supported(compiled)
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
    threading.Thread(target=_process, args=(job, compiled), name=f"job {job.id}", daemon=True).start()
    return Answer(200, shown)


def _check_supported(compiled: Query) -> None:
    if compiled.counts_all or compiled.count_column or compiled.offset is not None:
        message = "Bulk API 2.0 does not support aggregate functions or OFFSET in a query"
        raise SalesforceError(400, "INVALIDJOB", message)
    if any(each.type in ("address", "location") for each in compiled.fields):
        message = "Selecting compound data not supported in Bulk Query"
        raise SalesforceError(400, "INVALIDJOB", message)


def _process(job: Job, compiled: Query) -> None:
    started = time.monotonic()
    slow = [action["seconds"] for action in job.inner["actions"] if action["action"] == "slow_job"]
    job.stopped.wait(float(slow[0]) if slow else job.org.settings.bulk_delay)
    if job.stopped.is_set():
        return
    state = "JobComplete"
    facts: dict[str, Any] = {}
    try:
        columns = ", ".join(f"{csv_text(each)} AS c{place}" for place, each in enumerate(compiled.fields))
        with job.org.store.reading() as cursor:
            cursor.execute(
                f"COPY ({compiled.sql(columns)}) TO {literal(str(_file(job)))} (FORMAT parquet, ROW_GROUP_SIZE 20480)"
            )
            found = cursor.execute(f"SELECT count(*) FROM {_read(job)}").fetchone()
        facts = {"numberRecordsProcessed": int(found[0]) if found else 0}
        job.inner["header"] = [each.name for each in compiled.fields]
    except Exception as error:
        state, facts = "Failed", {"errorMessage": f"InternalServerError : {error}"}
    with job.org.jobs_lock:
        if job.org.jobs.get(job.id) is job and job.state == "UploadComplete":
            job.move(state, totalProcessingTime=round((time.monotonic() - started) * 1000), **facts)
            job.settled.set()


def _file(job: Job) -> Path:
    return job.folder / "result.parquet"


def _read(job: Job) -> str:
    return f"read_parquet({literal(str(_file(job)))}, file_row_number = true)"


def csv_text(each: Field) -> str:
    """SQL: a field as bulk query results print it; numbers are plain decimals, datetimes end in Z."""
    column = name(each.name)
    if each.type == "datetime":
        return f"coalesce(strftime({column}, '%Y-%m-%dT%H:%M:%S.%gZ'), '')"
    if each.is_number and each.scale:
        return f"coalesce(rtrim(rtrim(CAST({column} AS VARCHAR), '0'), '.'), '')"
    return f"coalesce(CAST({column} AS VARCHAR), '')"


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
    total = int(job.document["numberRecordsProcessed"])
    start = _offset(call.query.get("locator"))
    given = call.query.get("maxRecords")
    if given is not None and (not given.isdigit() or int(given) < 1):
        raise SalesforceError(400, "INVALIDJOB", f"maxRecords must be a whole number from 1, not {given!r}")
    end = min(total, start + int(given)) if given else total
    locator = "null" if end >= total else base64.b64encode(str(end).encode()).decode().rstrip("=")
    headers = {"Sforce-Locator": locator, "Sforce-NumberOfRecords": str(max(0, end - start))}
    return Answer(200, headers=headers, stream=_page(job, start, end), content_type=CSV_TYPE)


def _offset(locator: str | None) -> int:
    if not locator or locator == "null":
        return 0
    try:
        return int(base64.b64decode(locator + "=" * (-len(locator) % 4), validate=True))
    except (binascii.Error, ValueError):
        raise SalesforceError(400, "INVALID_QUERY_LOCATOR", f"invalid query locator: {locator}") from None


def _page(job: Job, start: int, end: int) -> Iterator[bytes]:
    """The CSV of the rows from `start` to before `end`, by way of a file of its own."""
    ending = "\r\n" if job.document["lineEnding"] == "CRLF" else "\n"
    head = job.delimiter.join(f'"{each}"' for each in job.inner["header"]) + ending
    file = job.folder / f"page-{start}-{end}-{threading.get_ident()}-{time.monotonic_ns()}.csv"
    columns = ", ".join(f"c{place}" for place in range(len(job.inner["header"])))
    try:
        if end > start:
            with job.org.store.reading() as cursor:
                cursor.execute(
                    f"COPY (SELECT {columns} FROM {_read(job)} WHERE file_row_number >= {start}"
                    f" AND file_row_number < {end} ORDER BY file_row_number) TO {literal(str(file))}"
                    f" (FORMAT csv, HEADER false, FORCE_QUOTE *, DELIM {literal(job.delimiter)})"
                )
        yield from jobs.file_chunks([file] if file.exists() else [], head.encode(), job.document["lineEnding"])
    finally:
        file.unlink(missing_ok=True)


def result_pages(org: Org, call: Call) -> Answer:
    """GET resultPages: the one page there is by default."""
    job = _complete(org, call)
    url = f"{call.data_url}/jobs/query/{job.id}/results"
    pages: list[dict[str, Any]] = [{"resultUrl": url}]
    return Answer(200, {"resultPages": pages, "nextRecordsUrl": None, "done": True})
