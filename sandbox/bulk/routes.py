"""The addresses of Bulk API 2.0 and 1.0, and of the sandbox's own settings for both."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.bulk import classic_calls, control, ingest_calls, jobs, query_calls
from sandbox.bulk.classic_calls import classic
from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.route import DATA, Route, open_route
from sandbox.wire import not_found

INGEST = f"{DATA}/jobs/ingest"
QUERY = f"{DATA}/jobs/query"
ASYNC = "/services/async/{release}"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
DEEPEST = 8


def tend(handler: Callable[[Org, Call], Answer], since: int = 0) -> Callable[[Org, Call], Answer]:
    """Before a call is answered: jobs that are too old go, and jobs left open too long are closed.

    `since` is the first API version that has the resource.
    """

    def tended(org: Org, call: Call) -> Answer:
        if since and call.version < since:
            raise not_found()
        jobs.forget_old(org)
        ingest_calls.close_forgotten(org)
        return handler(org, call)

    return tended


def ingest(handler: Callable[[Org, Call], Answer]) -> Callable[[Org, Call], Answer]:
    """A resource of jobs/ingest, which came with version 41 (Bulk API 2.0 guide, "Availability")."""
    return tend(handler, 41)


def query(handler: Callable[[Org, Call], Answer]) -> Callable[[Org, Call], Answer]:
    """A resource of jobs/query, which came with version 47 (Bulk API 2.0 guide, "Availability")."""
    return tend(handler, 47)


def _classic(method: str, path: str, handler: Callable[[Org, Call], Answer]) -> Route:
    return open_route(method, ASYNC + path, tend(classic(handler)))


ROUTES = [
    Route("POST", INGEST, ingest(ingest_calls.create)),
    Route("GET", INGEST, ingest(ingest_calls.list_jobs)),
    Route("GET", f"{INGEST}/{{id}}", ingest(ingest_calls.info)),
    Route("PATCH", f"{INGEST}/{{id}}", ingest(ingest_calls.change_state)),
    Route("DELETE", f"{INGEST}/{{id}}", ingest(ingest_calls.delete)),
    Route("PUT", f"{INGEST}/{{id}}/batches", ingest_calls.upload, streams=True),
    Route("GET", f"{INGEST}/{{id}}/successfulResults", ingest(ingest_calls.successful_results)),
    Route("GET", f"{INGEST}/{{id}}/failedResults", ingest(ingest_calls.failed_results)),
    Route("GET", f"{INGEST}/{{id}}/unprocessedRecords", ingest(ingest_calls.unprocessed_records)),
    Route("POST", QUERY, query(query_calls.create)),
    Route("GET", QUERY, query(query_calls.list_jobs)),
    Route("GET", f"{QUERY}/{{id}}", query(query_calls.info)),
    Route("PATCH", f"{QUERY}/{{id}}", query(query_calls.change_state)),
    Route("DELETE", f"{QUERY}/{{id}}", query(query_calls.delete)),
    Route("GET", f"{QUERY}/{{id}}/results", query(query_calls.results)),
    Route("GET", f"{QUERY}/{{id}}/resultPages", query(query_calls.result_pages)),
    _classic("POST", "/job", classic_calls.create),
    _classic("GET", "/job/{id}", classic_calls.info),
    _classic("POST", "/job/{id}", classic_calls.change_state),
    _classic("POST", "/job/{id}/batch", classic_calls.add_batch),
    _classic("GET", "/job/{id}/batch", classic_calls.list_batches),
    _classic("GET", "/job/{id}/batch/{batch}", classic_calls.batch_info),
    _classic("GET", "/job/{id}/batch/{batch}/request", classic_calls.batch_request),
    _classic("GET", "/job/{id}/batch/{batch}/result", classic_calls.batch_result),
    _classic("GET", "/job/{id}/batch/{batch}/result/{result}", classic_calls.query_result),
    open_route("GET", "/_sandbox/bulk", control.show),
    open_route("POST", "/_sandbox/bulk", control.change),
]
# Whatever else stands below is refused in the manner of Bulk API 1.0.
for _depth in range(DEEPEST):
    _rest = "".join(f"/{{part{number}}}" for number in range(_depth))
    ROUTES += [_classic(method, _rest, classic_calls.unknown) for method in METHODS]
