"""Stands in for the stage `before` until it is there: what the records of a plan hold before it is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from connections.salesforce import query
from connections.sessions import salesforce_session
from jobs.planning import Planner
from syncs.engine.plan import Plan
from syncs.engine.results import header_of

_make_plan = Planner._make_plan


def make_plan_and_keep(planner: Planner) -> None:
    """`Planner._make_plan`, and behind it the before-images."""
    _make_plan(planner)
    if planner.spec.keep_before:
        planner._save_manifest("before", _before(planner, Plan.from_json(planner.job.manifests["plan"])))


def _before(planner: Planner, plan: Plan) -> dict[str, Any]:
    lines = pq.read_table(plan.rows_file).select(["_seq", "action", "record_id", "key"]).to_pylist()
    lines = [line for line in lines if line["action"] in ("update", "upsert", "delete", "expire")]
    fields = list(dict.fromkeys(name for batch in plan.batches for name in header_of(batch.file) if name != "Id"))
    fields += [column.field for column in plan.columns if column.sent_as in fields and column.field not in fields]
    session = salesforce_session(planner.job.destination)
    key_fields = [planner.describe.fields[name] for name in plan.key_fields]
    held = {}
    for names, keys in (
        ([planner.describe.fields["Id"]], [(line["record_id"],) for line in lines if line["record_id"]]),
        (key_fields, [(line["key"],) for line in lines if not line["record_id"]]),
    ):
        paths = ["Id", *(field.name for field in names), *fields]
        paths = list(dict.fromkeys(paths))
        for found in query.records_by_key(session, plan.object, paths, names, keys) if keys else ():
            record = dict(zip(paths, found, strict=True))
            held[record[names[0].name].lower()] = record
    rows = []
    for line in lines:
        record = held.get((line["record_id"] or line["key"] or "").lower())
        if record:
            values = {f"b_{place}": _spelled(record[name]) for place, name in enumerate(fields)}
            rows.append({"_seq": line["_seq"], "record_id": record["Id"], **values})
    names_ = [("_seq", pa.int64()), ("record_id", pa.string()), *((f"b_{i}", pa.string()) for i in range(len(fields)))]
    path = Path(planner.job.manifests["plan"]["rows_file"]).with_name("before.parquet")
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(names_)), path)
    return {"path": str(path), "fields": fields, "rows": len(rows)}


def _spelled(text: str) -> str | None:
    return text.replace("+0000", "Z") or None
