"""Reads records from Salesforce: those of keys that it cannot match itself, or all that a sync compares with."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from connections.salesforce import bulk, query
from connections.salesforce.describe import ObjectDescribe
from connections.sessions import salesforce_session
from jobs import files
from jobs.errors import Misconfigured, NotYet
from jobs.leases import Lease
from jobs.models import Job
from syncs.engine import existing as pages_of_records
from syncs.engine.workspace import Workspace

log = logging.getLogger("sfsync.jobs")

# Up to here it costs fewer calls to ask for the keys by name than to read the object's records by a bulk query.
FEW_KEYS = 2_000


class Reader:
    """Reads records of one object for one job, by the holder of its lease.

    name: of the stage; the id of a bulk query stands in the job's manifests under it while it runs.
    """

    def __init__(self, job: Job, lease: Lease, workspace: Workspace, name: str) -> None:
        self.job, self.lease, self.workspace, self.name = job, lease, workspace, name

    def by_key(
        self,
        describe: ObjectDescribe,
        key_fields: Sequence[str],
        paths: Sequence[str],
        keys: dict[str, Any],
        where: str,
        *,
        deleted_too: bool = False,
    ) -> dict[str, Any]:
        """The manifest (path, count) of a Parquet file with the records that hold the keys: r_<i> for the i-th path.

        keys: the manifest (path, count) of the keys, in columns k_<i>. where: a further condition in SOQL, or "".
        deleted_too: also records in the recycle bin. Many keys are read by a bulk query of all records that have one.
        Raises NotYet while that is being answered.
        """
        if keys["count"] > FEW_KEYS:
            filled = " AND ".join(f"{name} != null" for name in key_fields if name.lower() != "id")
            condition = " AND ".join(filter(None, [f"({where})" if where else "", filled]))
            return self.all(describe.name, paths, condition, deleted_too=deleted_too)
        fields = [field for name in key_fields if (field := describe.field(name)) is not None]
        if len(fields) != len(key_fields):
            raise Misconfigured(f"{describe.name} has no field {', '.join(key_fields)} any more.")
        table = pq.read_table(keys["path"])
        wanted = list(zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True))
        self.lease.check()
        session = salesforce_session(self.job.destination)
        found = list(
            query.records_by_key(session, describe.name, paths, fields, wanted, where, deleted_too=deleted_too)
        )
        names = [f"r_{place}" for place in range(len(paths))]
        columns = {name: [record[place] or None for record in found] for place, name in enumerate(names)}
        with files.attempt(self.job, self.name) as folder:
            path = folder / "records.parquet"
            pq.write_table(pa.table(columns, schema=pa.schema([(name, pa.string()) for name in names])), path)
        return {"path": str(path), "count": len(found)}

    def all(self, object: str, paths: Sequence[str], where: str, *, deleted_too: bool = False) -> dict[str, Any]:
        """The manifest of a Parquet file with all records that meet a SOQL condition ("" for all), as `by_key`'s."""
        session = salesforce_session(self.job.destination)
        asked = self.job.manifests.get(f"{self.name}_query")
        if asked is None:
            self.lease.check()
            condition = f" WHERE {where}" if where else ""
            soql = f"SELECT {', '.join(paths)} FROM {object}{condition}"
            created = bulk.create_query(session, soql, deleted_too=deleted_too)
            self._remember({"id": created.id, "polls": 0})
            raise NotYet(0.5)
        state = bulk.query_state(session, asked["id"])
        if not state.terminal:
            self._remember({**asked, "polls": asked["polls"] + 1})
            raise NotYet(min(10.0, 0.5 * 1.3 ** asked["polls"]))
        if state.state != "JobComplete":
            raise Misconfigured(f"Salesforce did not answer the query for records of {object}: {state.error_message}")
        with files.attempt(self.job, self.name) as folder:
            pages = self._download(asked["id"], folder)
            path = folder / "records.parquet"
            names = [f"r_{place}" for place in range(len(paths))]
            count = pages_of_records.from_query_pages(self.workspace, pages, names, path)
            for page in pages:
                page.unlink()
        return {"path": str(path), "count": count}

    def _download(self, query_id: str, folder: Path) -> list[Path]:
        session = salesforce_session(self.job.destination)
        pages: list[Path] = []
        locator = None
        while locator is not None or not pages:
            self.lease.check()
            page, locator = bulk.download_query(session, query_id, folder / f"page-{len(pages)}.csv", locator)
            pages.append(page)
        return pages

    def _remember(self, asked: dict[str, Any]) -> None:
        self.job.manifests = {**self.job.manifests, f"{self.name}_query": asked}
        self.lease.save(manifests=self.job.manifests)
