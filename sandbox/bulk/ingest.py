"""What happens to a 2.0 ingest job after its upload is closed: parse, write batch by batch, keep the results.

A job's rows are staged as text, then written 10,000 at a time (thirteen batches in one step while nothing asks the job
to be slow or to stop half-way), each step in one transaction with the job's own progress. Results are CSV files per
step.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import duckdb

from sandbox.bulk import staging
from sandbox.bulk.jobs import TERMINAL, Job
from sandbox.bulk.load import Load, copy_csv
from sandbox.bulk.staging import InvalidBatch, Upload
from sandbox.bulk.state import BATCH
from sandbox.wire import SalesforceError

log = logging.getLogger("sandbox.ingest")

# Above the 122,880 rows of a row group, DuckDB takes inserted rows over as they are instead of appending them anew.
STEP = 13 * BATCH
YIELD = 0.005
# From this version on the failed results tell the id of a record that could not be changed (Bulk API 2.0 guide).
FAILED_ID_VERSION = 53
OVER_QUOTA = "ExceededQuota : ApiBatchItems Limit exceeded."


def start_job(job: Job) -> None:
    """Process a closed job in a thread of its own."""
    threading.Thread(target=_process, args=(job,), name=f"job {job.id}", daemon=True).start()


def abort_job(job: Job) -> None:
    """Abort: rows written so far stay, the rest becomes unprocessed.

    Raises SalesforceError when the job has ended already.
    """
    with job.org.jobs_lock:
        if job.state in TERMINAL:
            message = f"Cannot abort a job that has ended. Current job state is '{job.state}'"
            raise SalesforceError(400, "INVALIDJOBSTATE", message)
        never_started = job.state == "Open"
        job.move("Aborted")
        job.stopped.set()
        if never_started:
            if (job.folder / "upload.csv").exists():
                _keep_unparsed(job)
            job.settled.set()


def header_line(job: Job, own_columns: list[str], which: str) -> bytes:
    """The header of a result file: our columns, quoted, then the uploaded names as they were written."""
    names = job.inner.get("header") or []
    order = _column_order(job) if which != "unprocessed" else list(range(len(names)))
    line = job.delimiter.join([*(f'"{each}"' for each in own_columns), *(names[place] for place in order)])
    return (line + "\n").encode() if job.document["lineEnding"] == "LF" else (line + "\r\n").encode()


def own_columns(job: Job, which: str) -> list[str]:
    """The columns Salesforce puts before the uploaded ones in a result file."""
    if which == "success":
        return ["sf__Id", "sf__Created"]
    if which == "failed":
        return ["sf__Id", "sf__Error"] if job.document["apiVersion"] >= FAILED_ID_VERSION else ["sf__Error"]
    return []


def _column_order(job: Job) -> list[int]:
    """Columns of results in an order of the job's own: neither row nor column order is promised."""
    count = len(job.inner.get("header") or [])
    turn = int.from_bytes(job.id[9:15].encode()) % max(count, 1)
    return [*range(turn, count), *range(turn)]


def settle(job: Job) -> None:
    """Bring the files of an ended job in order, where an earlier process ended before it could."""
    with job.org.jobs_lock:
        if job.document["jobType"] == "V2Ingest":
            load = _load(job)
            if load.is_staged():
                _keep_unprocessed(job, load)
            load.drop()
        job.settled.set()


def _load(job: Job) -> Load:
    upload = Upload(job.folder / "upload.csv", f"_stage_{job.id}", job.delimiter, job.document["lineEnding"])
    return Load(job.org, upload, job.document, job.inner)


def _process(job: Job) -> None:
    started = time.monotonic()
    load = _load(job)
    try:
        _run(job, load)
    except InvalidBatch as refusal:
        _end(job, load, "Failed", str(refusal), started)
    except Exception as error:
        if job.org.jobs.get(job.id) is job:
            log.exception("job %s broke", job.id)
        _end(job, load, "Failed", f"InternalServerError : {error}", started)
    else:
        _end(job, load, "JobComplete", None, started)


def _end(job: Job, load: Load, state: str, message: str | None, started: float) -> None:
    """Bring the job to its end, write what is unprocessed, and drop the staged rows."""
    with job.org.jobs_lock:
        if job.org.jobs.get(job.id) is job:
            if not job.settled.is_set():
                _keep_unprocessed(job, load)
            if job.state not in TERMINAL:
                spent = round((time.monotonic() - started) * 1000)
                times = {"totalProcessingTime": spent, "apiActiveProcessingTime": spent}
                job.move(state, errorMessage=message, **times)
        load.drop()
        for start in range(0, int(job.inner.get("total", 0)), BATCH):
            job.org.policy.locks.release(_batch(job, start))
        job.settled.set()


def _run(job: Job, load: Load) -> None:
    """Parse and write; returns early when the job was aborted meanwhile."""
    bulk = job.org.bulk
    seconds = job.seconds
    bulk.wait(job.stopped, min(seconds * 0.2, 5.0))
    with job.org.jobs_lock:
        if job.stopped.is_set() or job.state not in ("UploadComplete", "InProgress"):
            return
        job.move("InProgress")
    if not load.is_staged():
        load.parse()
        with job.org.jobs_lock:
            job.save()
    total = int(job.inner["total"])
    load.prepare()
    trouble = _planned_trouble(job, total)
    stop_at = int(trouble.get("after_rows", 0)) if trouble else total
    locks = job.org.policy.locks
    step = BATCH if seconds or job.inner["actions"] or locks.enabled else STEP
    pause = seconds * 0.8 / max(1, -(-total // step))
    if not total:
        bulk.wait(job.stopped, pause)
    while (done := int(job.inner["done"])) < stop_at:
        end = _within_quota(job, done, min(done + step, stop_at))
        # Between two steps others get at the lock, and an abort is noticed.
        job.stopped.wait(YIELD)
        bulk.wait(job.stopped, pause)
        with job.org.jobs_lock:
            if job.state != "InProgress" or job.stopped.is_set():
                return
            _write_step(job, load, done, end)
        # Two batches of a job run at the same time, as far as row locks tell.
        locks.release(_batch(job, done - step))
    if trouble and trouble["action"] == "fail_job":
        raise InvalidBatch(trouble.get("message", "InternalServerError : Retried more than 20 times"))
    if trouble:
        with job.org.jobs_lock:
            if job.state == "InProgress":
                job.move("Aborted")


def _batch(job: Job, start: int) -> str:
    """The name of the internal batch that begins at a row."""
    return f"{job.id}/{start}"


def _within_quota(job: Job, start: int, end: int) -> int:
    """How far the day's limits let this step go. Raises InvalidBatch when they are used up."""
    allowed = start
    while allowed < end:
        upto = min(allowed + BATCH, end)
        if not job.org.bulk.take_batch(upto - allowed):
            break
        allowed = upto
    if allowed == start:
        raise InvalidBatch(OVER_QUOTA)
    return allowed


def _planned_trouble(job: Job, total: int) -> dict[str, Any] | None:
    """The fault rule that ends this job after some of its rows, if any."""
    for action in job.inner["actions"]:
        if action["action"] in ("fail_job", "abort_job") and int(action.get("after_rows", 0)) <= total:
            return dict(action)
    return None


def _write_step(job: Job, load: Load, start: int, end: int) -> None:
    """Write the rows from `start` to before `end`, keep their results, and save the progress, all or nothing."""
    source = load.source(start, end)
    with job.org.store.writing() as cursor:
        rows, failed = load.apply(cursor, start, end, _batch(job, start))
        if failed < rows:
            created = "CASE WHEN o.created THEN 'true' ELSE 'false' END"
            _export(job, cursor, source, ["coalesce(o.id, '')", created], "o.error IS NULL", f"success-{start:09d}")
        if failed:
            given_id = "CASE WHEN o.created THEN '' ELSE coalesce(o.id, '') END"
            own = [given_id, "o.error"][-len(own_columns(job, "failed")) :]
            _export(job, cursor, source, own, "o.error IS NOT NULL", f"failed-{start:09d}")
        job.document["numberRecordsProcessed"] += rows
        job.document["numberRecordsFailed"] += failed
        job.org.store.put_document(cursor, "job", job.id, job.body)


def _export(job: Job, cursor: duckdb.DuckDBPyConnection, source: str, own: list[str], which: str, file: str) -> None:
    cells = [f"coalesce(s.c{place}, '')" for place in _column_order(job)]
    listed = ", ".join(f"{expression} AS x{place}" for place, expression in enumerate([*own, *cells]))
    sql = f"SELECT {listed} FROM outcome o JOIN ({source}) s ON s.n = o.n WHERE {which}"
    # No row order is promised either, and odd rows before even ones take no sorting.
    for part, odd in enumerate((1, 0)):
        copy_csv(cursor, f"{sql} AND o.n % 2 = {odd}", job.folder / f"{file}-{part}.csv", job.delimiter)


def _keep_unprocessed(job: Job, load: Load) -> None:
    """Write the rows the job never came to."""
    if load.is_staged():
        load.copy_rest(_unprocessed(job))
    elif load.upload.path.exists() and job.state == "Aborted":
        _keep_unparsed(job)


def _unprocessed(job: Job) -> Path:
    return job.folder / "unprocessed-0.csv"


def _keep_unparsed(job: Job) -> None:
    """All rows of an upload that was never parsed are unprocessed: the file without its header line."""
    upload = _load(job).upload
    try:
        job.inner["header"] = staging.read_header(upload)
    except InvalidBatch:
        return
    with upload.path.open("rb") as file:
        line, _ = staging.first_line(file.read(4 * staging.MAX_HEADER + 4))
        file.seek(len(line) + (2 if job.document["lineEnding"] == "CRLF" else 1))
        _unprocessed(job).write_bytes(file.read())
    job.save()
