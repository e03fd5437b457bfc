"""How a batch is sent: chosen here, and nowhere else."""

from __future__ import annotations

from syncs.engine.plan import Lane, Operation
from syncs.spec import SyncSpec

# Up to here collections of 200 cost fewer calls, and less waiting, than a Bulk API job (Bulk API 2.0 guide, "Bulk API
# 2.0 and Bulk API": recommended above 2,000 records).
FEW_ROWS = 2_000
# Most rows of a Salesforce job where batches lock each other out (Bulk API 2.0 processes 10,000 at a time).
SERIAL_ROWS = 10_000

# Most rows of a batch of restores: ten calls.
RESTORED_ROWS = 2_000


def lane_of(spec: SyncSpec, operation: Operation, rows: int, *, one_row: bool = False) -> Lane:
    """The lane for rows of one operation. rows: how many the job sends with it, in all batches together.

    A plain insert goes by bulk, because one can ask a Salesforce job what became of it; only duplicate rules that are
    to be overridden force it into collections. one_row: somebody wants to see the request and the answer of a row, so
    an insert with a key goes by a call, too: after a lost answer its record is looked up by that key.
    """
    if spec.publishes:
        return "events"
    if operation == "undelete":
        return "collections"  # neither Bulk API knows it
    if operation == "delete":
        return "collections" if rows <= FEW_ROWS and not spec.hard_delete else "bulk"
    if spec.duplicate_rules == "allow_save" or (one_row and spec.key_fields):
        return "collections"
    return "collections" if rows <= FEW_ROWS and operation != "insert" else "bulk"


def most_rows(spec: SyncSpec, operation: Operation) -> int:
    """The largest batch to make, in rows."""
    if operation == "undelete":
        return min(spec.batch_rows, RESTORED_ROWS)
    if spec.publishes or (spec.duplicate_rules == "allow_save" and operation != "delete"):
        return min(spec.batch_rows, FEW_ROWS)
    return min(spec.batch_rows, SERIAL_ROWS) if spec.bulk_serial else spec.batch_rows
