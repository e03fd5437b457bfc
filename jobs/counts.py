"""What a job has done so far, for people to watch."""

from __future__ import annotations

from django.db.models import Sum

from jobs.models import Batch, BatchState, Job


def live_counts(job: Job) -> dict[str, int]:
    """Rows planned to be sent, rows Salesforce has answered for, and rows it refused, as of now."""
    batches = Batch.all_objects.filter(job=job)
    planned = batches.aggregate(rows=Sum("rows"))["rows"] or 0
    answered = failed = 0
    for state, counts, processed in batches.values_list("state", "counts", "records_processed"):
        settled = sum(counts.values())
        # The present attempt's progress, as Salesforce last told, comes on top of what earlier ones settled.
        answered += settled if state in (BatchState.DONE, BatchState.PLANNED) else max(settled, processed)
        failed += counts.get("failed", 0)
    return {"planned": planned, "answered": answered, "failed": failed}


def api_calls(job: Job) -> int:
    """Calls that the job has made to Salesforce so far."""
    return job.api_calls + (Batch.all_objects.filter(job=job).aggregate(calls=Sum("api_calls"))["calls"] or 0)
