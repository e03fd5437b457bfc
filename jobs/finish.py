"""The end of a job: outcomes are added up, snapshot and history are written, and all count from one transaction on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from connections.salesforce.errors import split_row_error
from jobs import files, history_files
from jobs.advice import advice_for
from jobs.leases import Lease
from jobs.models import Batch, ErrorGroup, HistoryFile, Job, Status
from jobs.planning import Planner
from jobs.states import move
from jobs.storable import storable
from jobs.undoing import planner_of, write_snapshot
from syncs.engine import finish as engine
from syncs.engine import parking, snapshot
from syncs.engine.before import Before
from syncs.engine.plan import Plan
from syncs.models import Sync

log = logging.getLogger("sfsync.jobs")


def finish(job: Job, lease: Lease) -> None:
    """End a job whose batches have all ended.

    Raises the row engine's errors (a full disk: try again), LeaseLost and StatusChanged.
    """
    if "plan" not in job.manifests:
        move(job, Status.CANCELLED, text="Cancelled before anything was sent.", token=lease.token)
        return
    planner = planner_of(job, lease)
    plan = Plan.from_json(job.manifests["plan"])
    batches = list(job.batches.all())
    outcomes = [Path(entry["file"]) for batch in batches for entry in batch.outcomes]
    unresolved = {batch.number: f"{batch.unresolved}: {batch.reason}" for batch in batches if batch.unresolved}
    with files.attempt(job, "final") as folder:
        final = engine.finish(
            planner.workspace, planner.spec, planner.staged, plan, outcomes, unresolved, folder, "final"
        )
    pointer = _write_snapshot(planner, plan, final)
    history = _write_history(planner, plan, final)
    status, reason = _verdict(job, batches, final, plan.violations)
    lease.check()
    replaced = _end(job, lease, final, pointer, history, status, reason)
    if pointer is not None and replaced is not None:
        _drop_old_files(job.sync, replaced, pointer)
    files.remove_rubbish(job)
    _merge_history(planner)


def _write_snapshot(planner: Planner, plan: Plan, final: engine.Final) -> dict[str, Any] | None:
    """The pointer to what is known after the job: a new snapshot with what Salesforce confirmed, and which rows it
    refused again; None for a sync that keeps none, and where nothing is known now that was not known before."""
    job, spec = planner.job, planner.spec
    if not spec.key_fields:
        return None
    if job.is_undo:
        return write_snapshot(planner, plan, Path(final.outcomes_file))
    before = job.manifests["snapshot"]
    read = job.manifests.get("destination")
    told = ("inserted", "updated", "unknown")
    pointer: dict[str, Any] = {}
    if read or before["base"] or plan.baseline or any(final.source[outcome] for outcome in told):
        previous = read["path"] if read else before["base"]
        planner.lease.check()
        with files.new_snapshot(job.sync) as path:
            written = snapshot.commit(
                planner.workspace,
                plan,
                Path(final.outcomes_file),
                Path(previous) if previous else None,
                path,
                planner.snapshot_header,
                only_planned=bool(read),
            )
        pointer = written.to_json()
    refusals = _write_refusals(planner, plan, final)
    if refusals is not None:
        pointer["refusals"] = refusals
    return pointer if pointer or before.get("refusals") else None


def _write_refusals(planner: Planner, plan: Plan, final: engine.Final) -> dict[str, Any] | None:
    """The manifest of the rows that were refused in a row; None when there are none."""
    job = planner.job
    told = job.manifests["snapshot"].get("refusals")
    previous = Path(told["path"]) if told and Path(told["path"]).exists() else None
    if previous is None and not final.source["failed"]:
        return None
    with files.new_snapshot(job.sync) as path:
        written = parking.commit(
            planner.workspace,
            plan,
            Path(final.outcomes_file),
            previous,
            planner.spec.park_after,
            path,
            whole=job.replay_of_id is None,
        )
    return written.to_json() if written else None


def _write_history(planner: Planner, plan: Plan, final: engine.Final) -> HistoryFile | None:
    """What the job did to records; None when it sent nothing, or publishes events, which are no records."""
    job = planner.job
    if plan.baseline or planner.spec.publishes or not plan.batches:
        return None
    planner.lease.check()
    told = job.manifests.get("before")
    before = Before.from_json(told) if told else None
    return history_files.write(
        planner.workspace, job.sync, plan, Path(final.outcomes_file), before, job.pk, timezone.now()
    )


def _merge_history(planner: Planner) -> None:
    """Merge what has become many files. The job has ended: what goes wrong here is left to the end of the next one."""
    try:
        history_files.merge(planner.workspace, planner.job.sync)
    except Exception:
        log.exception("%s: its history could not be merged; the next job tries it again.", planner.job.sync)


def _verdict(job: Job, batches: list[Batch], final: engine.Final, violations: int) -> tuple[Status, str]:
    """How the job ended, and why in plain words when not well."""
    reasons = "; ".join(dict.fromkeys(batch.reason for batch in batches if batch.unresolved and batch.reason))
    if not final.balanced:
        return Status.FAILED, f"The counts of this job do not add up, so do not rely on it: {' '.join(final.imbalance)}"
    if job.status == Status.CANCELLING:
        return Status.CANCELLED, reasons
    source, dropped = final.source, final.dropped
    if source["unknown"] or source["not_sent"] or dropped["unknown"] or dropped["not_sent"]:
        return Status.FAILED, reasons
    if source["malformed"] or source["rejected"] or source["failed"] or dropped["failed"]:
        return Status.PARTIAL, ""
    if violations:
        if job.is_undo:
            kept = "1 record was" if violations == 1 else f"{violations:,} records were"
            return Status.PARTIAL, f"{kept} taken back only in part: somebody has changed the rest since."
        rows = "1 row breaks a rule" if violations == 1 else f"{violations:,} rows break rules"
        return Status.PARTIAL, f"{rows} of a line that is not validated, and went on all the same."
    return Status.SUCCEEDED, ""


def _end(
    job: Job,
    lease: Lease,
    final: engine.Final,
    pointer: dict[str, Any] | None,
    history: HistoryFile | None,
    status: Status,
    reason: str,
) -> dict[str, Any] | None:
    """Write the end, in one transaction. Returns the snapshot pointer that was replaced, if there was one."""
    plan = job.manifests["plan"]
    told = {"trimmed": plan["trimmed"], **plan["adjusted"], "violations": plan["violations"]}
    counts = {**final.source, "dropped": final.dropped, **told}
    groups = [_error_group(job, group) for group in final.groups]
    manifests = {**job.manifests, "final": final.to_json()}
    sync = Sync.all_objects.filter(pk=job.sync_id)
    with transaction.atomic():
        replaced = sync.values_list("snapshot", flat=True).get()
        ErrorGroup.all_objects.bulk_create(groups)
        end = {"reason": reason, "counts": counts, "manifests": manifests, "progress": {}}
        move(job, status, text=reason, token=lease.token, **end)
        if pointer is not None:
            sync.update(snapshot=pointer)
        if history is not None:
            history.save(force_insert=True)
    log.info("%s ended as %s: %s", job, status, counts)
    return replaced


def write_refused(job: Job) -> None:
    """Put on record what a preview would reject, for people to look at."""
    groups = engine.groups_of(files.workspace(), Path(job.manifests["plan"]["errors_file"]))
    with transaction.atomic():
        ErrorGroup.all_objects.filter(job=job).delete()
        ErrorGroup.all_objects.bulk_create([_error_group(job, group) for group in groups])


def _error_group(job: Job, group: engine.ErrorGroup) -> ErrorGroup:
    refused_there = group.source == "salesforce"
    return ErrorGroup(
        organization_id=job.organization_id,
        job=job,
        source=group.source,
        code=storable(group.code[:100]),
        field=storable(group.field[:255]),
        rows=group.count,
        sample_row=group.sample_row,
        sample_message=storable(split_row_error(group.sample_message)[1] if refused_there else group.sample_message),
        advice=advice_for(group.source, group.code, group.sample_message),
    )


def _drop_old_files(sync: Sync, replaced: dict[str, Any], current: dict[str, Any]) -> None:
    """Delete the files that were replaced, and what is older than they: attempts of workers that were killed.

    Never anything younger: this worker may have been stopped for hours, and others gone on.
    """
    kept = _files_of(current)
    ages = [path.stat().st_mtime for path in _files_of(replaced) if path.exists()]
    for path in files.snapshot_folder(sync).glob("*.parquet"):
        if path not in kept and ages and path.stat().st_mtime <= max(ages):
            path.unlink(missing_ok=True)


def _files_of(pointer: dict[str, Any]) -> set[Path]:
    paths = (pointer.get("path"), (pointer.get("refusals") or {}).get("path"))
    return {Path(path) for path in paths if path}
