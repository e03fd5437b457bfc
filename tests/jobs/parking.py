"""Parked rows of a sync, without the jobs that parked them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.files import snapshot_folder
from syncs.models import Sync

SCHEMA = pa.schema(
    [
        ("nkey", pa.string()),
        ("key", pa.string()),
        ("failures", pa.uint8()),
        ("row_hash", pa.uint64()),
        ("code", pa.string()),
        ("message", pa.string()),
        ("parked", pa.bool_()),
    ]
)


def write_refusals(path: Path, parked: int, counting: int = 0) -> None:
    """A file of `parked` parked rows A001, A002, ..., and of rows B001, ... that are not parked yet."""
    rows = []
    for letter, count in (("A", parked), ("B", counting)):
        for number in range(1, count + 1):
            key = f"{letter}{number:03}"
            row = {"nkey": key.lower(), "key": key, "row_hash": number, "parked": letter == "A"}
            rows.append(
                {**row, "failures": 10 if letter == "A" else 3, "code": "DUPLICATES_DETECTED", "message": f"Twin {key}"}
            )
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)


def park(sync: Sync, parked: int, counting: int = 0) -> Path:
    """Let a sync have parked rows, as the end of a job leaves them."""
    folder = snapshot_folder(sync)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "refusals-first.parquet"
    write_refusals(path, parked, counting)
    pointer = {"path": str(path), "rows": parked + counting, "parked": parked}
    snapshot = {"path": str(folder / "none.parquet"), "rows": 100, "header": {}, "refusals": pointer}
    Sync.all_objects.filter(pk=sync.pk).update(snapshot=snapshot)
    sync.refresh_from_db()
    return path
