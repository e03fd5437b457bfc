"""The last stages of planning: reads what records hold that the plan changes or deletes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from connections.salesforce.describe import ObjectDescribe
from jobs import existing, files
from jobs.leases import Lease
from jobs.models import Job
from syncs.engine import before
from syncs.engine.plan import Plan
from syncs.engine.transform import Transform
from syncs.engine.workspace import Workspace
from syncs.spec import SyncSpec


@dataclasses.dataclass(frozen=True)
class BeforeImages:
    """Reads before-images for one job, by the holder of its lease."""

    job: Job
    lease: Lease
    workspace: Workspace
    spec: SyncSpec
    describe: ObjectDescribe
    transform: Transform

    @property
    def plan(self) -> Plan:
        return Plan.from_json(self.job.manifests["plan"])

    @property
    def may_be_wanted(self) -> bool:
        """Whether there may be such records, and somebody may want to see them."""
        asked = self.were_read or self.spec.keep_before or self.job.preview
        return asked and not (self.job.baseline or self.spec.publishes) and bool(self.plan.batches)

    @property
    def were_read(self) -> bool:
        """The records were read to compare with them."""
        return self.spec.compare == "destination"

    def targets(self) -> dict[str, Any]:
        """Which records are to be read: counts, and paths of their ids and keys."""
        with files.attempt(self.job, "before_targets") as folder:
            ids, keys = folder / "ids.parquet", folder / "keys.parquet"
            by_id, by_key = before.records_to_read(self.workspace, self.plan, ids, keys)
        return {"ids": {"path": str(ids), "count": by_id}, "keys": {"path": str(keys), "count": by_key}}

    def is_wanted(self) -> bool:
        """Whether they are read: where the sync asks for it, and for a preview as long as it costs a few calls."""
        if self.were_read or self.spec.keep_before:
            return True
        targets = self.job.manifests["before_targets"]
        return self.job.preview and targets["ids"]["count"] + targets["keys"]["count"] <= existing.FEW_KEYS

    def read_by_id(self) -> dict[str, Any]:
        """The manifest of the records whose ids are known; of all records where there are many."""
        targets = self.job.manifests["before_targets"]
        paths = before.columns_of(self.spec, self.describe, self.transform).paths
        reader = existing.Reader(self.job, self.lease, self.workspace, "before_by_id")
        if targets["ids"]["count"] + targets["keys"]["count"] > existing.FEW_KEYS:
            return {**reader.all(self.describe.name, paths, ""), "all": True}
        if not targets["ids"]["count"]:
            return {"path": None}
        return reader.by_key(self.describe, ("Id",), paths, targets["ids"], "")

    def read_by_key(self) -> dict[str, Any]:
        """The manifest of the records of which only the key is known."""
        targets, told = self.job.manifests["before_targets"], self.job.manifests["before_by_id"]
        if told.get("all") or not targets["keys"]["count"]:
            return {"path": None}
        paths = before.columns_of(self.spec, self.describe, self.transform).paths
        reader = existing.Reader(self.job, self.lease, self.workspace, "before_by_key")
        return reader.by_key(self.describe, self.spec.key_fields, paths, targets["keys"], "")

    def write(self) -> dict[str, Any]:
        """The manifest of the before-images."""
        stages = ("existing",) if self.were_read else ("before_by_id", "before_by_key")
        paths = [self.job.manifests[stage].get("path") for stage in stages]
        with files.attempt(self.job, "before") as folder:
            written = before.write(
                self.workspace,
                self.spec,
                self.describe,
                self.transform,
                self.plan,
                [Path(path) for path in paths if path],
                folder / "before.parquet",
            )
        return written.to_json()
