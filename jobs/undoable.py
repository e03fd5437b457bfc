"""Which jobs can be undone, what an undo would take back, and why another cannot be."""

from __future__ import annotations

import dataclasses

from jobs.models import BatchState, Job


@dataclasses.dataclass(frozen=True)
class Done:
    """How many records a job changed, by how. unknown: of so many nobody knows."""

    inserted: int
    updated: int
    deleted: int
    restored: int
    unknown: int

    @property
    def total(self) -> int:
        return self.inserted + self.updated + self.deleted + self.restored + self.unknown


def done_by(job: Job) -> Done:
    """What a job did, by what its batches were answered: the job's own counts call a row that asked to delete a record
    deleted also where there was no such record any more."""
    counts = dict.fromkeys((field.name for field in dataclasses.fields(Done)), 0)
    for batch in job.batches.only("counts", "rows", "state", "unresolved"):
        for name in counts:
            counts[name] += batch.counts.get(name, 0)
        if batch.state != BatchState.PLANNED and batch.unresolved != "not_sent":
            counts["unknown"] += max(0, batch.rows - sum(batch.counts.values()))
    return Done(**counts)


def why_not(job: Job) -> str:
    """Why a job cannot be undone, in a sentence or two with the way out; "" when it can be."""
    number = f"Job {job.pk}"
    if job.is_live:
        return f"{number} is {job.get_status_display().lower()}. It can be undone when it has ended."
    if job.preview:
        return f"{number} is a preview. It sent nothing, so there is nothing to undo."
    if str(job.spec.get("object", "")).lower().endswith("__e"):
        return f"{number} published events, and what was published cannot be taken back."
    done = done_by(job)
    if "plan" not in job.manifests or not done.total:
        return f"{number} changed nothing in Salesforce, so there is nothing to undo."
    if job.files_removed_at is not None:
        return (
            f"The files of job {job.pk} were deleted on {job.files_removed_at:%Y-%m-%d}, because they were past their "
            "retention, so nobody knows any more what it changed. A longer retention keeps them for later jobs."
        )
    if job.spec.get("hard_delete") and (done.deleted or done.unknown):
        return f"{number} deleted records past the recycle bin, and those cannot be restored."
    if not (job.manifests.get("before") or {}).get("path") and _needs_before(job, done):
        return (
            f"{number} did not keep what its records held before, so what it changed cannot be put back. Switch on "
            "'Keep before-images' in the sync; then later jobs can be undone."
        )
    there = job.destination.salesforce_org_id
    if there and job.salesforce_org_id and there[:15] != job.salesforce_org_id[:15]:
        return of_another_salesforce_org(job, there)
    return ""


def _needs_before(job: Job, done: Done) -> bool:
    """Whether it changed values: what it inserted, deleted or restored can be told without what was there before."""
    operations = {batch["operation"] for batch in job.manifests["plan"]["batches"]}
    return bool(done.updated or done.restored or (done.unknown and operations & {"update", "upsert"}))


def of_another_salesforce_org(job: Job, org_id: str) -> str:
    """Why a job of one Salesforce org is not undone in another."""
    return (
        f"Job {job.pk} changed the Salesforce org {job.salesforce_org_id}, but its connection leads to {org_id} by "
        "now. Set the connection right again; then it can be undone."
    )
