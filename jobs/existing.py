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
    """The manifest of a Parquet file (id, k_<i>) with the records that hold the keys.

    keys: the manifest of the keys to read (path, count). Raises NotYet while a bulk query is being answered.
    """
    if keys["count"] <= FEW_KEYS:
        return _ask_by_name(job, lease, spec, describe, Path(keys["path"]))
    return _ask_in_bulk(job, lease, workspace, spec)


def _ask_by_name(job: Job, lease: Lease, spec: SyncSpec, describe: ObjectDescribe, keys: Path) -> dict[str, Any]:
    fields = [field for name in spec.key_fields if (field := describe.field(name)) is not None]
    if len(fields) != len(spec.key_fields):
        raise Misconfigured(f"{spec.object} has no field {', '.join(spec.key_fields)} any more.")
    wanted = pq.read_table(keys, columns=["k_0"]).column("k_0").to_pylist()
    lease.check()
    found = list(query.records_by_key(salesforce_session(job.destination), spec.object, fields, wanted))
    names = ["id", *(f"k_{place}" for place in range(len(fields)))]
    columns = {name: [record[place] for record in found] for place, name in enumerate(names)}
    table = pa.table(columns, schema=pa.schema([(name, pa.string()) for name in names]))
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
        filled = " AND ".join(f"{name} != null" for name in spec.key_fields)
        created = bulk.create_query(session, f"SELECT {_selected(spec)} FROM {spec.object} WHERE {filled}")
        _remember(job, lease, {"id": created.id, "polls": 0})
        raise NotYet(0.5)
    state = bulk.query_state(session, asked["id"])
    if not state.terminal:
        _remember(job, lease, {**asked, "polls": asked["polls"] + 1})
        raise NotYet(min(10.0, 0.5 * 1.3 ** asked["polls"]))
    if state.state != "JobComplete":
        raise Misconfigured(f"Salesforce did not answer the query for the keys of {spec.object}: {state.error_message}")
    names = ["id", *(f"k_{place}" for place in range(len(spec.key_fields)))]
    with files.attempt(job, "existing") as folder:
        pages = _download(job, lease, asked["id"], folder)
        path = folder / "existing.parquet"
        count = keys_in_salesforce.from_query_pages(workspace, pages, names, path)
        for page in pages:
            page.unlink()
    return {"path": str(path), "count": count}


def _selected(spec: SyncSpec) -> str:
    """The record's id and its key, each field once."""
    return ", ".join(["Id", *(name for name in spec.key_fields)])


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
