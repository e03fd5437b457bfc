"""Bulk API 1.0 over HTTP: /services/async/XX.0/job… with a session in X-SFDC-Session (Bulk API guide)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sandbox.bulk import classic_text, jobs, pk_chunks
from sandbox.bulk.classic import ENDED, JOB_TYPE, OVER_QUOTA, QUERIES, Batch, ClassicJob, abort
from sandbox.bulk.classic_text import CONTENT_TYPES, control
from sandbox.bulk.records import BadXml, parse_xml
from sandbox.call import Answer, Call
from sandbox.org import FIRST_VERSION, LAST_VERSION, Org
from sandbox.schema import ObjectType
from sandbox.wire import SalesforceError

OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete", *sorted(QUERIES))
# Salesforce tells these codes of 2.0 by other names here.
CODES = {"INVALIDENTITY": "InvalidEntity", "FEATURENOTENABLED": "FeatureNotEnabled", "INVALIDJOB": "InvalidJob"}
MAX_BATCH = 10_000_000
OPTIONS = ("operation", "object", "externalIdFieldName", "concurrencyMode", "contentType", "assignmentRuleId")
MODES = {"0": "Parallel", "1": "Serial", "parallel": "Parallel", "serial": "Serial"}


class Refusal(Exception):
    """A call that is refused, by exceptionCode and exceptionMessage."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def classic(handler: Callable[[Org, Call], Answer]) -> Callable[[Org, Call], Answer]:
    """A handler behind the session check of 1.0, its refusals told in XML, or in JSON to those who speak JSON."""

    def answer(org: Org, call: Call) -> Answer:
        try:
            _enter(org, call)
            return handler(org, call)
        except Refusal as refusal:
            code, message = refusal.code, str(refusal)
        except SalesforceError as error:
            code, message = CODES.get(error.code, "ClientInputError"), error.body[0]["message"]
        values = {"exceptionCode": code, "exceptionMessage": message}
        return control(400, "error", values, as_json=_speaks_json(call))

    return answer


def _enter(org: Org, call: Call) -> None:
    """Check the version and the session, and count the call."""
    release = call.arguments["release"]
    number = release[:-2] if release.endswith(".0") else ""
    if not number.isdecimal() or not FIRST_VERSION <= int(number) <= LAST_VERSION:
        raise Refusal("InvalidVersion", f"Unsupported API version: {release}")
    call.arguments["version"] = f"v{release}"
    call.session = org.sessions.find(call.token)
    if call.session is None:
        raise Refusal("InvalidSessionId", "Invalid session id")
    if not org.permissions.has(call.user, "ApiEnabled"):
        raise Refusal("FeatureNotEnabled", "The Bulk API is not enabled for this Organization.")
    if not org.usage.take(call.session.client_id):
        raise Refusal("ExceededQuota", "TotalRequests Limit exceeded.")


def _speaks_json(call: Call) -> bool:
    given = call.headers.get("content-type") or call.headers.get("accept", "")
    return given.lower().startswith("application/json")


def unknown(org: Org, call: Call) -> Answer:
    raise Refusal("InvalidUrl", f"Unable to find the resource {call.path} for {call.method}")


def create(org: Org, call: Call) -> Answer:
    """POST job."""
    given = _message(call)
    operation = given.get("operation")
    if operation not in OPERATIONS:
        raise Refusal("InvalidJob", f"Unable to parse Job: operation is one of {', '.join(OPERATIONS)}")
    content_type = str(given.get("contentType", "XML")).upper()
    if content_type.startswith("ZIP_"):
        raise Refusal("FeatureNotEnabled", f"Binary content type '{content_type}' is not enabled for this organization")
    if content_type not in CONTENT_TYPES:
        raise Refusal("InvalidJob", f"Unable to parse Job: contentType is one of {', '.join(CONTENT_TYPES)}")
    mode = MODES.get(str(given.get("concurrencyMode", "Parallel")).lower())
    if mode is None:
        raise Refusal("InvalidJob", "Unable to parse Job: concurrencyMode is Parallel or Serial")
    target = _target(org, call, given.get("object"), operation)
    key_name = _key_name(target, operation, given.get("externalIdFieldName"))
    chunk_size = _chunk_size(call, operation)
    options = {
        "operation": operation,
        "object": target.name,
        "externalIdFieldName": key_name,
        "assignmentRuleId": given.get("assignmentRuleId"),
    }
    document = jobs.new_document(org, call, options, JOB_TYPE)
    document.update(concurrencyMode=mode, contentType=content_type)
    actions = org.faults.for_job(target.name, operation)
    job = ClassicJob(org, document, {"actions": actions, "chunk_size": chunk_size})
    job.settled.set()
    job.folder.mkdir(parents=True, exist_ok=True)
    with org.jobs_lock:
        org.jobs[job.id] = job
        job.save()
    return control(201, "jobInfo", classic_text.job_values(job), as_json=_speaks_json(call))


def _target(org: Org, call: Call, given: Any, operation: str) -> ObjectType:
    if operation not in QUERIES:
        return jobs.ingest_target(org, call, given, operation)
    target = org.permissions.schema_of(call.user).object_named(str(given or ""))
    if target is None:
        raise Refusal("InvalidEntity", f"Entity '{given}' is not supported by the Bulk API.")
    return target


def _key_name(target: ObjectType, operation: str, given: Any) -> str | None:
    if operation != "upsert":
        return None
    if not given:
        text = f"External ID was blank for {target.name}. An External ID must be specified for upsert."
        raise Refusal("InvalidJob", text)
    key = target.field_named(str(given))
    if key is None or not key.is_key:
        text = f"Field name provided, {given} does not match an External ID for {target.name}"
        raise Refusal("InvalidJob", text)
    return key.name


def _chunk_size(call: Call, operation: str) -> int | None:
    try:
        size = pk_chunks.chunk_size(call.headers.get("sforce-enable-pkchunking"))
    except ValueError as error:
        raise Refusal("InvalidJob", str(error)) from None
    return size if operation in QUERIES else None


def _message(call: Call) -> dict[str, Any]:
    """The values of a jobInfo, in JSON or XML."""
    if _speaks_json(call):
        try:
            given = json.loads(call.body)
        except (ValueError, RecursionError) as error:
            raise Refusal("InvalidJob", f"Unable to parse Job: {error}") from None
        if not isinstance(given, dict):
            raise Refusal("InvalidJob", "Unable to parse Job: a JSON object is expected")
    else:
        try:
            root = parse_xml(call.body)
        except BadXml as error:
            raise Refusal("InvalidXML", f"Unable to parse the XML: {error}") from None
        if root.tag != "jobInfo" or any(len(each) for each in root):
            raise Refusal("InvalidJob", "Unable to parse Job: a jobInfo is expected")
        given = {each.tag: (each.text or "").strip() for each in root}
    return {str(key): value for key, value in given.items() if value is not None and value != ""}


def _job(org: Org, call: Call) -> ClassicJob:
    given = call.arguments["id"]
    for each in [org.jobs.get(given), *(job for job_id, job in list(org.jobs.items()) if job_id[:15] == given)]:
        if isinstance(each, ClassicJob):
            return each
    raise Refusal("InvalidJob", f"Unable to find job for id: {given}")


def _batch(org: Org, call: Call) -> Batch:
    job, given = _job(org, call), call.arguments["batch"]
    found = next((each for key, each in list(job.batches.items()) if given in (key, key[:15])), None)
    if found is None:
        raise Refusal("InvalidBatch", f"Unable to find batch for id: {given}")
    return found


def info(org: Org, call: Call) -> Answer:
    """GET job/ID."""
    return control(200, "jobInfo", classic_text.job_values(_job(org, call)), as_json=_speaks_json(call))


def change_state(org: Org, call: Call) -> Answer:
    """POST job/ID: close or abort; nothing else of a job can be changed."""
    job = _job(org, call)
    given = _message(call)
    wanted = given.pop("state", None)
    given.pop("id", None)
    if wanted not in ("Closed", "Aborted") or given:
        raise Refusal("InvalidJob", "Only the state of a job can be changed, to Closed or Aborted")
    with org.jobs_lock:
        if job.state == "Aborted" or (wanted == "Closed" and job.state == "Closed"):
            verb = "Closing" if wanted == "Closed" else "Aborting"
            raise Refusal("InvalidJobState", f"{verb} already {job.state} Job not allowed")
        if wanted == "Aborted":
            abort(job)
        else:
            job.move("Closed")
    return control(200, "jobInfo", classic_text.job_values(job), as_json=_speaks_json(call))


def add_batch(org: Org, call: Call) -> Answer:
    """POST job/ID/batch."""
    job = _job(org, call)
    if len(call.body) > MAX_BATCH:
        raise Refusal("ClientInputError", f"Failed to read request. Exceeded max size limit of {MAX_BATCH}")
    with org.jobs_lock:
        if job.state != "Open":
            text = f"Failed to create batch, since the Job is not Open. Current job state is '{job.state}'"
            raise Refusal("InvalidJobState", text)
        if not call.body.strip():
            raise Refusal("InvalidBatch", "Failed to create batch: there is no content")
        if not org.bulk.take_batch(0):
            raise Refusal("ExceededQuota", OVER_QUOTA)
        batch = job.add(call.body)
        # How it looks before the work begins, however fast that is done.
        answer = control(201, "batchInfo", classic_text.batch_values(batch), as_json=_speaks_json(call))
    job.start(batch)
    return answer


def list_batches(org: Org, call: Call) -> Answer:
    """GET job/ID/batch."""
    return classic_text.batch_list(list(_job(org, call).batches.values()), as_json=_speaks_json(call))


def batch_info(org: Org, call: Call) -> Answer:
    """GET job/ID/batch/BID."""
    values = classic_text.batch_values(_batch(org, call))
    return control(200, "batchInfo", values, as_json=_speaks_json(call))


def batch_request(org: Org, call: Call) -> Answer:
    """GET job/ID/batch/BID/request: what was sent."""
    batch = _batch(org, call)
    content_type = CONTENT_TYPES[batch.job.document["contentType"]]
    return Answer(200, stream=iter([(batch.folder / "request").read_bytes()]), content_type=content_type)


def batch_result(org: Org, call: Call) -> Answer:
    """GET job/ID/batch/BID/result: the rows' results, or the result ids of a query."""
    batch = _batch(org, call)
    content_type = batch.job.document["contentType"]
    if batch.state not in ENDED:
        raise Refusal("InvalidBatch", "Batch not completed")
    if batch.job.is_query and batch.state == "Completed":
        return classic_text.result_list([batch.inner["result"]], content_type)
    if not (batch.folder / "result.csv").exists():
        raise Refusal("InvalidBatch", f"Batch failed: {batch.document['stateMessage'] or batch.state}")
    return classic_text.ingest_result(batch, content_type)


def query_result(org: Org, call: Call) -> Answer:
    """GET job/ID/batch/BID/result/RID: the records of a query."""
    batch, given = _batch(org, call), call.arguments["result"]
    known = batch.inner.get("result", "")
    if batch.state != "Completed" or given not in (known, known[:15]):
        raise Refusal("InvalidBatch", f"Unable to find result for id: {given}")
    return classic_text.query_result(batch, batch.job.document["contentType"], call.arguments["release"])
