"""Jobs of an earlier run of the sandbox."""

from __future__ import annotations

from sandbox.bulk import classic, ingest_calls, query_calls
from sandbox.bulk.jobs import Job
from sandbox.org import Org


def resume_jobs(org: Org) -> None:
    """Bring back the jobs of an earlier run, and go on with those that were being processed."""
    for body in org.store.documents("job"):
        kind = body["document"]["jobType"]
        if kind == classic.JOB_TYPE:
            classic.resume(org, body)
            continue
        job = Job(org, body["document"], body["inner"])
        org.jobs[job.id] = job
        if kind == query_calls.JOB_TYPE:
            query_calls.resume(job)
        else:
            ingest_calls.resume_job(job)
