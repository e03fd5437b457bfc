"""What a plan is: the manifest of the files that say what a job is going to do."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from syncs.engine.families import Family

Operation = Literal["insert", "update", "upsert", "delete", "undelete"]
Lane = Literal["bulk", "collections", "events"]
Action = Literal[
    "insert",
    "update",
    "upsert",
    "delete",
    "undelete",
    "expire",
    "baseline",
    "unchanged",
    "ignored",
    "parked",
    "filtered",
    "rejected",
    "withheld",
]


@dataclasses.dataclass(frozen=True)
class PlannedBatch:
    """One file of rows to send together. It is the plan, byte for byte.

    The plan's lines of a batch stand in the order of its rows.
    number: from 1, over all operations. rows, bytes: what the file holds, its header line included in the bytes.
    lane: how it is sent. wave: it is sent when every batch of a lower wave has ended: parents before their children.
    marks: places from which the file can be read: how many rows stand before, and how many bytes.
    """

    number: int
    operation: Operation
    file: Path
    rows: int
    bytes: int
    lane: Lane = "bulk"
    wave: int = 0
    marks: tuple[tuple[int, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class PlannedColumn:
    """A mapped field: its API name, what its column is called in a payload, and how its values are compared."""

    field: str
    sent_as: str
    family: Family
    case_sensitive: bool


@dataclasses.dataclass(frozen=True)
class Guard:
    """Whether the plan deletes so much that a person has to approve it.

    deletes: records the plan deletes. known: records in the snapshot. reason: a sentence, "" when not exceeded.
    """

    deletes: int
    known: int
    exceeded: bool
    reason: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a job is going to do.

    rows_file: Parquet, one line for each source row and each known record that left the source: `_row` (NULL for
    the latter), `_seq` (_row, or a negative number of its own), `action`, `nkey`, `key`, `record_id`, `batch`,
    `content_hi` and `content_lo` (only without a key), `row_hash`, `h_<i>` for the i-th of `fields`, `bad_<m>`,
    `soft_<m>` (only with lines that are not validated). Of rows that Salesforce holds already it says no more than the
    key, and `soft_<m>`.
    errors_file: Parquet, the row errors of rejected and malformed rows, and violations of rows that went on.
    counts: by name: read, malformed, filtered, rejected, parked, unchanged, ignored, insert, update, upsert,
    source_delete and undelete (in an undo) of source rows; dropped, delete, expire, dropped_ignored and withheld of
    known records that left the source.
    trimmed: how many cells lost blanks at their edges, by field. adjusted: how many cells were made to fit their
    fields, by how (a key of `families.ADJUSTMENTS`) and by field. violations: how many rows break a rule of a line that
    is not validated, and were not rejected.
    columns: the mapped fields, in the order of the mapping. fields: those with a hash, which are compared.
    unread_keys: rows whose key could not be read. withheld_reason: why no deletes were planned, or "".
    fingerprint: the same for two plans that do the same to the same rows, whatever source they came from.
    baseline: rows are put on record as what Salesforce holds, and nothing is sent. only_updated: fields that inserts do
    not write, so that nothing is known of them in a new record.
    """

    rows_file: Path
    errors_file: Path
    object: str
    key_fields: tuple[str, ...]
    time_zone: str
    columns: tuple[PlannedColumn, ...]
    fields: tuple[str, ...]
    batches: tuple[PlannedBatch, ...]
    counts: dict[str, int]
    trimmed: dict[str, int]
    adjusted: dict[str, dict[str, int]]
    violations: int
    known: int
    unread_keys: int
    guard: Guard
    withheld_reason: str
    fingerprint: str
    baseline: bool = False
    only_updated: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[PlannedColumn, ...]:
        """The columns of the sync key, in its order; empty for a sync without one."""
        by_name = {column.field: column for column in self.columns}
        return tuple(by_name[name] for name in self.key_fields)

    def batch(self, number: int) -> PlannedBatch:
        """The batch of this number. Raises KeyError when there is none."""
        for batch in self.batches:
            if batch.number == number:
                return batch
        raise KeyError(number)

    def at(self, folder: Path) -> Plan:
        """The same plan with its files in another folder, where they were copied under their names."""
        batches = tuple(dataclasses.replace(batch, file=folder / batch.file.name) for batch in self.batches)
        return dataclasses.replace(
            self,
            rows_file=folder / self.rows_file.name,
            errors_file=folder / self.errors_file.name,
            batches=batches,
        )

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        data = dataclasses.asdict(self)
        data["rows_file"], data["errors_file"] = str(self.rows_file), str(self.errors_file)
        for batch in data["batches"]:
            batch["file"] = str(batch["file"])
        data["batches"], data["columns"] = list(data["batches"]), list(data["columns"])
        for name in ("fields", "key_fields", "only_updated"):
            data[name] = list(data[name])
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """The plan that `to_json` wrote."""
        changed = {
            "rows_file": Path(data["rows_file"]),
            "errors_file": Path(data["errors_file"]),
            "columns": tuple(PlannedColumn(**column) for column in data["columns"]),
            "fields": tuple(data["fields"]),
            "key_fields": tuple(data["key_fields"]),
            "only_updated": tuple(data["only_updated"]),
            "batches": tuple(_batch(batch) for batch in data["batches"]),
            "guard": Guard(**data["guard"]),
        }
        return cls(**{**data, **changed})


def _batch(data: dict[str, Any]) -> PlannedBatch:
    marks = tuple((rows, bytes) for rows, bytes in data.get("marks", ()))
    return PlannedBatch(**{**data, "file": Path(data["file"]), "marks": marks})
