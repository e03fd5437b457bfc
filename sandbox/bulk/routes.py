"""The addresses of Bulk API 2.0."""

from __future__ import annotations

from sandbox.bulk import ingest_calls, query_calls
from sandbox.route import DATA, Route

ROUTES = [
    Route("POST", f"{DATA}/jobs/ingest", ingest_calls.create),
    Route("GET", f"{DATA}/jobs/ingest", ingest_calls.list_jobs),
    Route("GET", f"{DATA}/jobs/ingest/{{id}}", ingest_calls.info),
    Route("PATCH", f"{DATA}/jobs/ingest/{{id}}", ingest_calls.change_state),
    Route("DELETE", f"{DATA}/jobs/ingest/{{id}}", ingest_calls.delete),
    Route("PUT", f"{DATA}/jobs/ingest/{{id}}/batches", ingest_calls.upload, streams=True),
    Route("GET", f"{DATA}/jobs/ingest/{{id}}/successfulResults", ingest_calls.successful_results),
    Route("GET", f"{DATA}/jobs/ingest/{{id}}/failedResults", ingest_calls.failed_results),
    Route("GET", f"{DATA}/jobs/ingest/{{id}}/unprocessedRecords", ingest_calls.unprocessed_records),
    Route("POST", f"{DATA}/jobs/query", query_calls.create),
    Route("GET", f"{DATA}/jobs/query", query_calls.list_jobs),
    Route("GET", f"{DATA}/jobs/query/{{id}}", query_calls.info),
    Route("PATCH", f"{DATA}/jobs/query/{{id}}", query_calls.change_state),
    Route("DELETE", f"{DATA}/jobs/query/{{id}}", query_calls.delete),
    Route("GET", f"{DATA}/jobs/query/{{id}}/results", query_calls.results),
    Route("GET", f"{DATA}/jobs/query/{{id}}/resultPages", query_calls.result_pages),
]
