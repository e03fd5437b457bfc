"""The planning of an undo: what a job did -> what the records hold now -> a plan that takes it back.

    describe -> undo_rows -> undo_keys -> undo_claims -> undo_ids -> current -> plan

The source is not read. From the plan on, an undo is a job like any other.
"""

from __future__ import annotations

import logging
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import duckdb
from django.utils.functional import cached_property

from connections.sessions import salesforce_session
from jobs import existing, files
from jobs.errors import Misconfigured
from jobs.leases import Lease
from jobs.models import Job
from jobs.planning import Planner
from jobs.undoable import of_another_salesforce_org, why_not
from syncs.engine import finish as engine_finish
from syncs.engine import snapshot, undo, undo_plan, undo_snapshot
from syncs.engine.plan import Plan
from syncs.engine.stage import Staged
from syncs.engine.undo import Now, UndoField, Undone

log = logging.getLogger("sfsync.jobs")

# Salesforce's clock may be so far behind ours.
_CLOCKS_APART = timedelta(seconds=60)
# And certainly not so far: records that the job touched were modified after this long before its start.
_LONG_BEFORE = timedelta(days=1)


def planner_of(job: Job, lease: Lease) -> Planner:
    """Whoever plans a job of this kind."""
    return UndoPlanner(job, lease) if job.is_undo else Planner(job, lease)


class UndoPlanner(Planner):
    """Plans what takes another job back."""

    def plan(self) -> str:
        try:
            return self._plan()
        except (FileNotFoundError, duckdb.IOException):
            raise Misconfigured(
                f"The files of job {self.job.undo_of_id} are missing or damaged, so it cannot be undone any more."
            ) from None

    def _plan(self) -> str:
        reason = why_not(self.other)
        if reason:
            raise Misconfigured(reason)
        self._stage("describe", self._describe)
        if self.job.salesforce_org_id[:15] != self.other.salesforce_org_id[:15]:
            raise Misconfigured(of_another_salesforce_org(self.other, self.job.salesforce_org_id))
        self._stage("undo_rows", self._rows)
        self._stage("undo_keys", self._keys)
        self._stage("undo_found", self._found)
        self._stage("undo_ids", self._ids)
        self._stage("current", self._current)
        if "plan" not in self.job.manifests:
            self._make_plan()
        plan = Plan.from_json(self.job.manifests["plan"])
        return self._decide(plan, plan.guard.reason)

    @cached_property
    def other(self) -> Job:
        """The job that is taken back."""
        other = self.job.undo_of
        if other is None:
            raise Misconfigured("The job that was to be undone was deleted, so nothing was sent.")
        return other

    @cached_property
    def undone(self) -> Undone:
        """What is known of it."""
        other = self.other
        before = other.manifests.get("before") or {}
        path = Path(before["path"]) if before.get("path") else None
        began = (other.started_at or other.created_at).astimezone(UTC) - _CLOCKS_APART
        return Undone(
            plan=Plan.from_json(other.manifests["plan"]),
            before_file=path,
            before_fields=tuple(before.get("fields") or ()) if path else (),
            since=began.strftime("%Y-%m-%dT%H:%M:%S"),
            user_id=salesforce_session(self.job.destination).identity.user_id,
        )

    @cached_property
    def fields(self) -> tuple[UndoField, ...]:
        try:
            return undo.fields_of(self.undone, self.describe)
        except KeyError as error:
            raise Misconfigured(
                f"{self.describe.name} has no field {error.args[0]} any more, or the connected user may not see it, "
                f"but job {self.other.pk} wrote it. Bring it back, or give the user access, and start the undo again."
            ) from None

    @property
    def staged(self) -> Staged:  # type: ignore[override]
        """The records that the job changed, for what is read."""
        return Staged.from_json(self.job.manifests["staged"])

    # --- the stages ---

    def _rows(self) -> dict[str, Any]:
        with files.attempt(self.job, "undo_rows") as folder:
            outcomes_file = self._outcomes_of(self.other, folder)
            path = undo.write_rows(self.workspace, self.undone, self.fields, outcomes_file, folder)
        return {"path": str(path)}

    def _outcomes_of(self, other: Job, folder: Path) -> Path:
        """The final outcomes of a job; added up here for one that could not do so itself."""
        final = other.manifests.get("final")
        if final is not None:
            return Path(final["outcomes_file"])
        plan, batches = Plan.from_json(other.manifests["plan"]), list(other.batches.all())
        outcomes = [Path(entry["file"]) for batch in batches for entry in batch.outcomes]
        unresolved = {batch.number: batch.unresolved for batch in batches if batch.unresolved}
        staged = Staged.from_json(other.manifests["staged"])
        final = engine_finish.finish(self.workspace, self.spec, staged, plan, outcomes, unresolved, folder, "undone")
        return final.outcomes_file

    def _path(self, name: str) -> Path:
        return Path(self.job.manifests[name]["path"])

    def _keys(self) -> dict[str, Any]:
        """The keys of rows that may have become records."""
        with files.attempt(self.job, "undo_keys") as folder:
            path = folder / "keys.parquet"
            count = undo.write_keys(self.workspace, self._path("undo_rows"), len(self.undone.plan.key_fields), path)
        return {"path": str(path), "count": count}

    def _found(self) -> dict[str, Any]:
        """The records that have these keys."""
        keys, names = self.job.manifests["undo_keys"], self.undone.plan.key_fields
        if not keys["count"] or not names:
            return {"path": None}
        return self._reader("undo_found").by_key(self.describe, names, ["Id", *names], keys, "")

    def _ids(self) -> dict[str, Any]:
        """The rows with all the ids that are known, and the ids."""
        found = self.job.manifests["undo_found"]["path"]
        with files.attempt(self.job, "undo_ids") as folder:
            rows, ids = folder / "rows.parquet", folder / "ids.parquet"
            undo.write_claims(
                self.workspace, self.undone.plan, Path(found) if found else None, self._path("undo_rows"), rows
            )
            count = undo.write_ids(self.workspace, rows, ids)
        return {"rows": str(rows), "path": str(ids), "count": count}

    @cached_property
    def paths(self) -> list[str]:
        """What is read of each record."""
        return undo.paths_of(self.fields, self.describe)

    def _current(self) -> dict[str, Any]:
        ids, reader = self.job.manifests["undo_ids"], self._reader("current")
        if ids["count"] <= existing.FEW_KEYS:
            return reader.by_key(self.describe, ["Id"], self.paths, ids, "", deleted_too=True)
        return reader.all(self.describe.name, self.paths, self._touched(Path(ids["rows"])), deleted_too=True)

    def _touched(self, rows: Path) -> str:
        """A condition that all records meet that the job changed; "" where it may have changed none."""
        if self.describe.field("SystemModstamp") is None or undo.has_doubts(self.workspace, rows):
            return ""
        since = (self.other.started_at or self.other.created_at).astimezone(UTC) - _LONG_BEFORE
        return f"SystemModstamp >= {since.strftime('%Y-%m-%dT%H:%M:%SZ')}"

    def _make_plan(self) -> None:
        ids = self.job.manifests["undo_ids"]
        self._still_planning(phase="plan", rows=ids["count"])
        now = Now(self._path("current"), self.paths, self.describe.undeletable)
        with files.attempt(self.job, "plan") as folder:
            made = undo_plan.plan(
                self.workspace, self.spec, self.describe, self.undone, self.fields, Path(ids["rows"]), now, folder
            )
        before = {"path": str(made.before), "fields": list(made.before_fields), "rows": made.before_rows}
        # In the same statement as the plan: whoever finds the one finds all.
        self.job.manifests = {
            **self.job.manifests,
            "staged": made.staged.to_json(),
            "before": before,
            "snapshot": {"path": None, "base": None, "refusals": None},
        }
        self._keep_plan(made.plan)

    def _key_is_not_unique(self) -> bool:
        return False  # every row names its record by id


def write_snapshot(planner: Planner, plan: Plan, outcomes_file: Path) -> dict[str, Any] | None:
    """The pointer to what is known after an undo; None where nothing was known before.

    What is known may have been written by the sync as it was edited since: only records that the undo touched are told
    anew.
    """
    known = planner.job.sync.snapshot
    if not known or not known.get("path") or not Path(known["path"]).exists():
        return None
    previous = Path(known["path"])
    reasons = snapshot.check_header(previous, planner.snapshot_header)
    planner.lease.check()
    with files.new_snapshot(planner.job.sync) as path:
        written = undo_snapshot.commit(planner.workspace, plan, outcomes_file, previous, path, same_keys=not reasons)
    refusals = known.get("refusals")
    return {**written.to_json(), **({"refusals": refusals} if refusals else {})}
