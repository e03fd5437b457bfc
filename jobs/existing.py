"""Reads the record Ids of keys from Salesforce, where Salesforce cannot match them itself."""

from __future__ import annotations

import logging
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
from syncs.engine import existing as keys_in_salesforce
from syncs.engine.workspace import Workspace
from syncs.spec import SyncSpec

log = logging.getLogger("sfsync.jobs")

# Up to here it costs fewer calls to ask for the keys by name than to read the object's keys by a bulk query.
FEW_KEYS = 2_000


def read(
    job: Job, lease: Lease, workspace: Workspace, spec: SyncSpec, describe: ObjectDescribe, keys: dict[str, Any]
) -> dict[str, Any]:
    """The manifest of a Parquet file (key, id) with the records that hold the keys.

    keys: the manifest of the keys to read (path, count). Raises NotYet while a bulk query is being answered.
    """
    if keys["count"] <= FEW_KEYS:
        return _ask_by_name(job, lease, spec, describe, Path(keys["path"]))
    return _ask_in_bulk(job, lease, workspace, spec)


def _ask_by_name(job: Job, lease: Lease, spec: SyncSpec, describe: ObjectDescribe, keys: Path) -> dict[str, Any]:
    field = describe.field(spec.key_field)
    if field is None:
        raise Misconfigured(f"{spec.object} has no field {spec.key_field} any more.")
    wanted = pq.read_table(keys, columns=["key"]).column("key").to_pylist()
    lease.check()
    found = list(query.ids_by_key(salesforce_session(job.destination), spec.object, field, wanted))
    table = pa.table(
        {"key": [key for key, _ in found], "id": [record_id for _, record_id in found]},
        schema=pa.schema([("key", pa.string()), ("id", pa.string())]),
    )
    with files.attempt(job, "existing") as folder:
        path = folder / "existing.parquet"
        pq.write_table(table, path)
    return {"path": str(path), "count": len(found)}


def _ask_in_bulk(job: Job, lease: Lease, workspace: Workspace, spec: SyncSpec) -> dict[str, Any]:
    """Read all keys of the object by one bulk query; its id stands in the job's manifests while it runs."""
    session = salesforce_session(job.destination)
    asked = job.manifests.get("key_query")
    if asked is None:
        lease.check()
        key = spec.key_field
        created = bulk.create_query(session, f"SELECT {key}, Id FROM {spec.object} WHERE {key} != null")
        _remember(job, lease, {"id": created.id, "polls": 0})
        raise NotYet(0.5)
    state = bulk.query_state(session, asked["id"])
    if not state.terminal:
        _remember(job, lease, {**asked, "polls": asked["polls"] + 1})
        raise NotYet(min(10.0, 0.5 * 1.3 ** asked["polls"]))
    if state.state != "JobComplete":
        raise Misconfigured(f"Salesforce did not answer the query for the keys of {spec.object}: {state.error_message}")
    with files.attempt(job, "existing") as folder:
        pages = _download(job, lease, asked["id"], folder)
        path = folder / "existing.parquet"
        count = keys_in_salesforce.from_query_pages(workspace, pages, path)
        for page in pages:
            page.unlink()
    return {"path": str(path), "count": count}


def _download(job: Job, lease: Lease, query_id: str, folder: Path) -> list[Path]:
    session = salesforce_session(job.destination)
    pages: list[Path] = []
    locator = None
    while locator is not None or not pages:
        lease.check()
        page, locator = bulk.download_query(session, query_id, folder / f"page-{len(pages)}.csv", locator)
        pages.append(page)
    return pages


def _remember(job: Job, lease: Lease, asked: dict[str, Any]) -> None:
    job.manifests = {**job.manifests, "key_query": asked}
    lease.save(manifests=job.manifests)
