"""Bulk API 2.0: one HTTP call per function, no sleeping, no loops. Source: Bulk API 2.0 guide."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import requests

from connections.salesforce.errors import PermanentError, TransientError
from connections.salesforce.session import SalesforceSession
from connections.salesforce.wire import is_network_error, network_error

Operation = Literal["insert", "update", "upsert", "delete", "hardDelete"]
Results = Literal["successfulResults", "failedResults", "unprocessedrecords"]

_TERMINAL = frozenset({"JobComplete", "Failed", "Aborted"})
_JOB_ID = re.compile(r"[0-9A-Za-z]{15,18}")
_READ_BYTES = 256 * 1024


@dataclasses.dataclass(frozen=True)
class JobInfo:
    """What Salesforce says about one of its jobs.

    state: Open, UploadComplete, InProgress, JobComplete, Failed or Aborted.
    records_processed: includes `records_failed`; both are 0 until Salesforce tells. error_message: of the whole job.
    """

    id: str
    state: str
    operation: str
    object: str
    records_processed: int = 0
    records_failed: int = 0
    error_message: str = ""

    @property
    def terminal(self) -> bool:
        """Nothing will change any more: results may be read."""
        return self.state in _TERMINAL


def create_job(
    session: SalesforceSession,
    object: str,
    operation: Operation,
    external_id_field: str | None = None,
    *,
    assignment_rule_id: str | None = None,
) -> JobInfo:
    """Open an ingest job for CSV with commas and LF.

    object: API name. external_id_field: API name, for upsert only. assignment_rule_id: the rule to run on cases or
    leads; None for none. Raises SalesforceError; with `effect_unknown` an empty job may be open at Salesforce, which
    harms nobody.
    """
    if (operation == "upsert") != (external_id_field is not None):
        raise ValueError("an upsert needs an external id field, and only an upsert")
    body = {
        "object": object,
        "operation": operation,
        "contentType": "CSV",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    }
    if external_id_field is not None:
        body["externalIdFieldName"] = external_id_field
    if assignment_rule_id is not None:
        body["assignmentRuleId"] = assignment_rule_id
    return _job_info(session.request("POST", "jobs/ingest", json=body))


def upload(session: SalesforceSession, job_id: str, path: Path) -> None:
    """Send the whole CSV file, streamed. Once per job, ever: a second upload makes the job unusable.

    Raises SalesforceError; unless it says otherwise by `effect_unknown`, the job is still empty.
    """
    with path.open("rb") as file:
        headers = {"Content-Type": "text/csv; charset=UTF-8"}
        session.request("PUT", f"{_ingest(job_id)}/batches", data=file, headers=headers)


def close(session: SalesforceSession, job_id: str) -> JobInfo:
    """Say that the upload is complete; Salesforce begins. Raises SalesforceError."""
    return _job_info(session.request("PATCH", _ingest(job_id), json={"state": "UploadComplete"}))


def abort(session: SalesforceSession, job_id: str) -> JobInfo:
    """Ask Salesforce to stop the job; rows already saved stay saved. Raises SalesforceError."""
    return _job_info(session.request("PATCH", _ingest(job_id), json={"state": "Aborted"}))


def state(session: SalesforceSession, job_id: str) -> JobInfo:
    """How the job stands. Raises JobGone when Salesforce does not know it, else SalesforceError."""
    return _job_info(session.request("GET", _ingest(job_id)))


def delete_job(session: SalesforceSession, job_id: str) -> None:
    """Delete a job that has ended, with its results. Raises SalesforceError."""
    session.request("DELETE", _ingest(job_id))


def download(session: SalesforceSession, job_id: str, which: Results, to: Path) -> Path:
    """Save one of the three result files of a job.

    to: where; a gzipped answer is saved as it came, under this name with ".gz" added. Returns the path written, on
    disk to the last byte. Raises TransientError when the answer broke off (nothing is left behind then), OSError when
    the disk is full, else SalesforceError.
    """
    path, _ = _save(session, f"{_ingest(job_id)}/{which}/", None, to)
    return path


def create_query(session: SalesforceSession, soql: str, *, deleted_too: bool = False) -> JobInfo:
    """Start a query job. deleted_too: also records in the recycle bin. Raises SalesforceError."""
    body = {
        "operation": "queryAll" if deleted_too else "query",
        "query": soql,
        "contentType": "CSV",
        "lineEnding": "LF",
    }
    return _job_info(session.request("POST", "jobs/query", json=body))


def query_state(session: SalesforceSession, job_id: str) -> JobInfo:
    """How the query job stands. Raises JobGone when Salesforce does not know it, else SalesforceError."""
    return _job_info(session.request("GET", _query(job_id)))


def abort_query(session: SalesforceSession, job_id: str) -> JobInfo:
    """Ask Salesforce to stop a query job. Raises SalesforceError."""
    return _job_info(session.request("PATCH", _query(job_id), json={"state": "Aborted"}))


def delete_query(session: SalesforceSession, job_id: str) -> None:
    """Delete a query job that has ended, with its results. Raises SalesforceError."""
    session.request("DELETE", _query(job_id))


def download_query(
    session: SalesforceSession, job_id: str, to: Path, locator: str | None = None, *, max_records: int | None = None
) -> tuple[Path, str | None]:
    """Save one page of a query's result as CSV.

    to: where, as for `download`. locator: None for the first page, then what the page before returned. max_records:
    largest number of records on the page; Salesforce decides otherwise. Returns the path written and the locator of
    the next page, None after the last. Raises as `download`.
    """
    params: dict[str, str] = {}
    if locator is not None:
        params["locator"] = locator
    if max_records is not None:
        params["maxRecords"] = str(max_records)
    path, headers = _save(session, f"{_query(job_id)}/results", params, to)
    following = headers.get("Sforce-Locator", "null")
    return path, None if following in ("null", "") else following


def _ingest(job_id: str) -> str:
    return f"jobs/ingest/{_checked(job_id)}"


def _query(job_id: str) -> str:
    return f"jobs/query/{_checked(job_id)}"


def _checked(job_id: str) -> str:
    if not _JOB_ID.fullmatch(job_id):
        raise ValueError(f"'{job_id}' is not the id of a Salesforce job")
    return job_id


def _job_info(answer: requests.Response) -> JobInfo:
    try:
        body: Any = answer.json()
        return JobInfo(
            id=body["id"],
            state=body["state"],
            operation=body.get("operation") or "",
            object=body.get("object") or "",
            records_processed=int(body.get("numberRecordsProcessed") or 0),
            records_failed=int(body.get("numberRecordsFailed") or 0),
            error_message=body.get("errorMessage") or "",
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        changes = answer.request.method != "GET"
        raise TransientError("Salesforce's answer about a job was not understood.", effect_unknown=changes) from None


def _save(
    session: SalesforceSession, path: str, params: dict[str, str] | None, to: Path
) -> tuple[Path, requests.structures.CaseInsensitiveDict[str]]:
    headers = {"Accept": "text/csv", "Accept-Encoding": "gzip"}
    with session.request("GET", path, params=params, headers=headers, stream=True) as answer:
        encoding = answer.headers.get("Content-Encoding", "identity").lower()
        if encoding not in ("identity", "gzip", ""):
            raise PermanentError(f"The result came encoded as '{encoding}', which was not asked for.")
        target = to.with_name(f"{to.name}.gz") if encoding == "gzip" else to
        try:
            _write(answer, target, gzipped=encoding == "gzip")
        except BaseException as error:
            with contextlib.suppress(OSError):
                target.unlink()
            if is_network_error(error) and isinstance(error, Exception):
                raise network_error(error, f"GET {path}", changes=False) from None
            raise
        return target, answer.headers


def _write(answer: requests.Response, target: Path, *, gzipped: bool) -> None:
    # With a Content-Length or chunks the HTTP layer itself raises when the end is missing. An answer that just ends
    # with its connection proves nothing, so there the content has to.
    framed = "Content-Length" in answer.headers or "chunked" in answer.headers.get("Transfer-Encoding", "").lower()
    ending = _Ending(gzipped) if not framed else None
    with target.open("wb") as file:
        for piece in _pieces(answer):
            file.write(piece)
            if ending is not None:
                ending.feed(piece)
        file.flush()
        os.fsync(file.fileno())
    if ending is not None and not ending.complete:
        raise TransientError("A result broke off before its end.")


def _pieces(answer: requests.Response) -> Iterator[bytes]:
    return answer.raw.stream(_READ_BYTES, decode_content=False)


class _Ending:
    """Tells from the content alone whether a body is complete: a gzip trailer, or a last line that ended."""

    def __init__(self, gzipped: bool) -> None:
        self._unzip = zlib.decompressobj(wbits=31) if gzipped else None
        self._last = b""

    def feed(self, piece: bytes) -> None:
        self._last = piece or self._last
        if self._unzip is not None:
            try:
                self._unzip.decompress(piece)
            except zlib.error:
                raise TransientError("A result came damaged.") from None

    @property
    def complete(self) -> bool:
        return self._unzip.eof if self._unzip is not None else self._last.endswith((b"\n", b"\r"))
