"""Finds the parents of a job's rows in Salesforce, where Salesforce does not find them itself."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from connections.salesforce.describe import ObjectDescribe
from jobs import files
from jobs.errors import NotYet
from jobs.existing import Reader
from jobs.leases import Lease
from jobs.models import Job
from syncs.engine import lookups
from syncs.engine.lookups import Found, Parents
from syncs.engine.stage import Staged
from syncs.engine.workspace import Workspace
from syncs.spec import SyncSpec

log = logging.getLogger("sfsync.jobs")


class Resolver:
    """Resolves the lookups of one job, by the holder of its lease.

    staged: with the prepared table. Parents that several lines look for by the same field are read once; what was read
    stands in the job's manifests, so that a job that goes on does not read it again.
    """

    def __init__(
        self, job: Job, lease: Lease, workspace: Workspace, spec: SyncSpec, describe: ObjectDescribe, staged: Staged
    ) -> None:
        self.job, self.lease, self.workspace = job, lease, workspace
        self.spec, self.describe, self.staged = spec, describe, staged

    def values(self) -> dict[str, Any]:
        """By name of the parents, the manifest (path, count) of the values they are looked for by."""
        wanted = {}
        for name in lookups.parents_of(self.spec, self.describe, self.staged.columns):
            with files.attempt(self.job, "lookup_values") as folder:
                path = folder / f"{name}.parquet"
                count = lookups.values_to_resolve(self.workspace, self.spec, self.describe, self.staged, name, path)
            wanted[name] = {"path": str(path), "count": count}
        return wanted

    def resolve(self) -> dict[str, Any]:
        """The manifest of the table that the plan is made from. Raises NotYet while Salesforce is answering."""
        wanted = self.job.manifests["lookup_values"]
        parents = lookups.parents_of(self.spec, self.describe, self.staged.columns)
        # All are asked for before the first one is waited for.
        waits = [wait for name in wanted if (wait := self._read(parents[name], wanted[name])) is not None]
        if waits:
            raise min(waits, key=lambda wait: wait.seconds)
        read = self.job.manifests.get("parents", {})
        found = {name: Found(Path(told["path"]), Path(read[name]["path"])) for name, told in wanted.items()}
        with files.attempt(self.job, "lookups") as folder:
            table = lookups.resolve(
                self.workspace, self.spec, self.describe, self.staged, found, folder / "rows.parquet"
            )
        return table.to_json()

    def _read(self, parents: Parents, wanted: dict[str, Any]) -> NotYet | None:
        if parents.name in self.job.manifests.get("parents", {}):
            return None
        parent = self.describe.parent(parents.object)
        assert parent is not None
        reader = Reader(self.job, self.lease, self.workspace, f"parents-{parents.name}")
        try:
            told = reader.by_key(parent, [parents.field.name], ["Id", parents.field.name], wanted, "")
        except NotYet as wait:
            return wait
        log.info("%s: read %d records of %s by %s.", self.job, told["count"], parents.object, parents.field.name)
        self.job.manifests = {
            **self.job.manifests,
            "parents": {**self.job.manifests.get("parents", {}), parents.name: told},
        }
        self.lease.save(manifests=self.job.manifests)
        return None
