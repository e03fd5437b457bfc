"""Jobs and batches of Bulk API 1.0, and what happens to a batch (Bulk API guide).

Batches are processed while their job is still open: one after the other when the job is Serial, several at a time when
it is Parallel. Their rows go the way of the 2.0 jobs: `Load`, and through it `sandbox.rows.write`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from sandbox.bulk import records
from sandbox.bulk.extract import Extract, compile_bulk
from sandbox.bulk.jobs import Job, new_id
from sandbox.bulk.load import Load, copy_csv, seen_schema
from sandbox.bulk.pk_chunks import chunk_queries
from sandbox.bulk.staging import InvalidBatch, Upload
from sandbox.bulk.state import BATCH
from sandbox.org import Org
from sandbox.wire import SalesforceError, timestamp

log = logging.getLogger("sandbox.classic")

JOB_TYPE = "Classic"
QUERIES = frozenset({"query", "queryAll"})
OVER_QUOTA = "ApiBatchItems Limit exceeded."
PARALLEL = 4
# How long a batch holds its row locks at least, so that others of its time meet them.
LOCKED_SECONDS = 0.1
ENDED = frozenset({"Completed", "Failed", "NotProcessed"})


class Batch:
    """One batch; `document` is what the API shows, `inner` what only the sandbox knows."""

    def __init__(self, job: ClassicJob, document: dict[str, Any], inner: dict[str, Any]) -> None:
        self.job = job
        self.document = document
        self.inner = inner

    @property
    def id(self) -> str:
        return str(self.document["id"])

    @property
    def state(self) -> str:
        return str(self.document["state"])

    @property
    def folder(self) -> Path:
        return self.job.folder / self.id

    @property
    def extract(self) -> Extract:
        """The result of a query batch."""
        return Extract(self.job.org.store, self.folder, self.inner)

    def move(self, state: str, **changes: Any) -> None:
        """Change state and other shown facts, and save; the caller holds the jobs lock."""
        self.document.update(state=state, systemModstamp=timestamp(self.job.org.clock.now()), **changes)
        self.save()

    def save(self) -> None:
        org = self.job.org
        with org.store.writing() as cursor:
            org.store.put_document(cursor, "batch", self.id, {"document": self.document, "inner": self.inner})


class ClassicJob(Job):
    """A job of Bulk API 1.0 with its batches, in the order in which they came."""

    final_states = frozenset({"Closed", "Aborted", "Failed"})

    def __init__(self, org: Org, document: dict[str, Any], inner: dict[str, Any]) -> None:
        super().__init__(org, document, inner)
        self.batches: dict[str, Batch] = {}
        self._queue: deque[Batch] = deque()
        self._workers = 0

    @property
    def is_query(self) -> bool:
        return self.document["operation"] in QUERIES

    @property
    def saved_as(self) -> list[tuple[str, str]]:
        return [*super().saved_as, *(("batch", each) for each in self.batches)]

    def add(self, request: bytes) -> Batch:
        """Add a batch and see to it that it is processed."""
        now = timestamp(self.org.clock.now())
        document = {
            "id": new_id(self.org, "batch", "751"),
            "jobId": self.id,
            "state": "Queued",
            "stateMessage": None,
            "createdDate": now,
            "systemModstamp": now,
            "numberRecordsProcessed": 0,
            "numberRecordsFailed": 0,
            "totalProcessingTime": 0,
            "apiActiveProcessingTime": 0,
            "apexProcessingTime": 0,
        }
        batch = Batch(self, document, {"done": 0, "chunk": False})
        batch.folder.mkdir(parents=True)
        (batch.folder / "request").write_bytes(request)
        with self.org.jobs_lock:
            self.batches[batch.id] = batch
            batch.save()
        return batch

    def start(self, batch: Batch) -> None:
        """Queue a batch."""
        most = PARALLEL if self.document["concurrencyMode"] == "Parallel" else 1
        with self.org.jobs_lock:
            self._queue.append(batch)
            if self._workers < most:
                self._workers += 1
                threading.Thread(target=self._work, name=f"job {self.id}", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self.org.jobs_lock:
                if not self._queue:
                    self._workers -= 1
                    return
                batch = self._queue.popleft()
            _process(batch)


def resume(org: Org, body: dict[str, Any]) -> None:
    """Bring back a job of an earlier run, and process what it had not ended."""
    job = ClassicJob(org, body["document"], body["inner"])
    job.settled.set()
    org.jobs[job.id] = job
    for each in org.store.documents("batch"):
        if each["document"]["jobId"] == job.id:
            batch = Batch(job, each["document"], each["inner"])
            job.batches[batch.id] = batch
            if batch.state not in ENDED:
                batch.document["state"] = "Queued"
                job.start(batch)


def _process(batch: Batch) -> None:
    job = batch.job
    job.org.bulk.wait(job.stopped, job.seconds * 0.2)
    with job.org.jobs_lock:
        if job.stopped.is_set() or batch.state != "Queued":
            return
        batch.move("InProgress")
    started = time.monotonic()
    try:
        (_query if job.is_query else _ingest)(batch)
    except InvalidBatch as refusal:
        _end(batch, "Failed", started, str(refusal))
    except Exception as error:
        if job.org.jobs.get(job.id) is job:
            log.exception("batch %s broke", batch.id)
        _end(batch, "Failed", started, f"InternalServerError : {error}")
    else:
        _end(batch, "NotProcessed" if batch.inner.get("split") else "Completed", started)


def _end(batch: Batch, state: str, started: float, message: str | None = None) -> None:
    job = batch.job
    with job.org.jobs_lock:
        if job.org.jobs.get(job.id) is not job:
            return
        spent = round((time.monotonic() - started) * 1000)
        if batch.state == "InProgress":
            batch.move(state, stateMessage=message, totalProcessingTime=spent, apiActiveProcessingTime=spent)
        for key in ("numberRecordsProcessed", "numberRecordsFailed", "totalProcessingTime", "apiActiveProcessingTime"):
            job.document[key] = sum(each.document[key] for each in job.batches.values())
        job.save()


def _trouble(job: Job) -> dict[str, Any]:
    """What a fault rule has in mind for the job's batches; empty for nothing."""
    return next((each for each in job.inner["actions"] if each["action"] in ("fail_job", "abort_job")), {})


def _ingest(batch: Batch) -> None:
    job, org = batch.job, batch.job.org
    load = Load(org, Upload(batch.folder / "rows.csv", f"_stage_{batch.id}"), job.document, batch.inner)
    try:
        _write_rows(batch, load.upload.path)
        load.parse()
        total = int(batch.inner["total"])
        if total > BATCH:
            raise InvalidBatch(f"InvalidBatch : A batch may have at most {BATCH} records, this one has {total}")
        if not org.bulk.take_records(total):
            raise InvalidBatch(f"ExceededQuota : {OVER_QUOTA}")
        load.prepare()
        trouble = _trouble(job)
        stop_at = min(total, int(trouble.get("after_rows", 0))) if trouble else total
        org.bulk.wait(job.stopped, job.seconds * 0.4)
        with org.policy.locks.batch(batch.id):
            with org.jobs_lock:
                if job.stopped.is_set():
                    return
                _write(batch, load, stop_at)
            # Parents stay locked for as long as the batch is said to take.
            org.bulk.wait(job.stopped, max(job.seconds * 0.4, LOCKED_SECONDS if org.policy.locks.enabled else 0))
    finally:
        load.drop()
    if trouble and trouble["action"] == "abort_job":
        with org.jobs_lock:
            abort(job)
    if trouble:
        raise InvalidBatch(trouble.get("message", "InternalServerError : Retried more than 10 times"))


def _write(batch: Batch, load: Load, end: int) -> None:
    """Write the batch's rows and its results, in the order of the rows, all or nothing."""
    org = batch.job.org
    with org.store.writing() as cursor:
        rows, failed = load.apply(cursor, 0, end, batch.id)
        given_id = "CASE WHEN error IS NOT NULL AND created THEN '' ELSE coalesce(id, '') END"
        done = "CASE WHEN error IS NULL THEN 'true' ELSE 'false' END"
        made = "CASE WHEN error IS NULL AND created THEN 'true' ELSE 'false' END"
        sql = f"SELECT {given_id} AS i, {done} AS s, {made} AS c, coalesce(error, '') AS e FROM outcome ORDER BY n"
        copy_csv(cursor, sql, batch.folder / "result.csv", ",")
        batch.document["numberRecordsProcessed"] = rows
        batch.document["numberRecordsFailed"] = failed
        org.store.put_document(cursor, "batch", batch.id, {"document": batch.document, "inner": batch.inner})


def _write_rows(batch: Batch, file: Path) -> None:
    """The batch's records as CSV, whatever they came as."""
    job = batch.job
    request = (batch.folder / "request").read_bytes()
    kind = job.document["contentType"]
    if kind == "CSV":
        file.write_bytes(request)
        return
    schema = seen_schema(job.org, job.document)
    target = schema.object_named(job.document["object"])
    if target is None:
        raise InvalidBatch(f"InvalidEntity : Entity '{job.document['object']}' is not supported by the Bulk API.")
    found = records.from_json(request) if kind == "JSON" else records.from_xml(request)
    records.write_csv(schema, target, found, file)


def _query(batch: Batch) -> None:
    """Run a query batch, or split it into batches by record id; what is wrong fails the batch."""
    job, org = batch.job, batch.job.org
    text = (batch.folder / "request").read_bytes().decode("utf-8", "replace")
    try:
        compiled = compile_bulk(org, job.document, text)
    except SalesforceError as error:
        text = f"{error.code}: {error.body[0]['message']}"
        raise InvalidBatch(f"InvalidBatch : Failed to process query: {text}") from None
    if compiled.object.name != job.document["object"]:
        raise InvalidBatch(
            "InvalidBatch : Failed to process query: INVALID_TYPE_FOR_OPERATION: The root entity of the requested"
            f" query ({compiled.object.name}) does not match the entity of the requested Bulk API Job"
            f" ({job.document['object']})."
        )
    if job.is_pk_chunked and not batch.inner["chunk"]:
        batch.inner["split"] = True
        for part in chunk_queries(org.store, compiled.object, text, job.inner["chunk_size"]):
            more = job.add(part.encode())
            more.inner["chunk"] = True
            job.start(more)
        return
    org.bulk.wait(job.stopped, job.seconds * 0.8)
    if trouble := _trouble(job):
        raise InvalidBatch(trouble.get("message", "InternalServerError : Retried more than 15 times"))
    batch.extract.run(compiled)
    batch.inner["result"] = new_id(org, "result", "752")
    batch.document["numberRecordsProcessed"] = batch.extract.total


def abort(job: ClassicJob) -> None:
    """Abort a job: what waits is not processed, what is being written is let end. The caller holds the jobs lock."""
    job.move("Aborted")
    job.stopped.set()
    for batch in job.batches.values():
        if batch.state == "Queued" or (batch.state == "InProgress" and not batch.inner["done"]):
            batch.move("NotProcessed")
