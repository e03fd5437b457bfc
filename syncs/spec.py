"""What a job is told to do: a frozen picture of a sync, with no ORM behind it.

A job stores its spec as JSON when it starts. A resume reads that, never the sync as edited since.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, Literal

Mode = Literal["insert", "update", "upsert", "mirror"]
Compare = Literal["snapshot", "nothing"]
WhenBlank = Literal["leave", "clear"]
TooPrecise = Literal["reject", "round"]


@dataclasses.dataclass(frozen=True)
class MappingSpec:
    """One line of the mapping: a Salesforce field and where its value comes from.

    target: API name of the field.
    source_column: name of a column of the source, or None when `constant` is the value.
    constant: the same text for every row, or None.
    when_blank: `leave` does not touch the field, `clear` sets it to null.
    too_precise: what happens to a number with more decimals than the field has.
    """

    target: str
    source_column: str | None = None
    constant: str | None = None
    when_blank: WhenBlank = "leave"
    too_precise: TooPrecise = "reject"


@dataclasses.dataclass(frozen=True)
class SelectionSpec:
    """What of a source is read: exactly one of a table, a query or a path is not empty."""

    table: str = ""
    query: str = ""
    path: str = ""


@dataclasses.dataclass(frozen=True)
class SyncSpec:
    """Everything the row engine needs to know of a sync.

    object: API name of the Salesforce object.
    key_field: API name of the external id by which rows match, or "" (insert with compare = nothing).
    guard_rows, guard_percent: a job that would delete more than `guard_rows` records, or more than
    `guard_percent` % of the known ones (and at least 10), waits for approval.
    batch_rows, batch_bytes: largest Salesforce job to make, in rows and bytes of CSV.
    time_zone: IANA name; in it a date-time without an offset is read.
    """

    selection: SelectionSpec
    object: str
    key_field: str
    mode: Mode
    mappings: tuple[MappingSpec, ...]
    compare: Compare = "snapshot"
    time_zone: str = "UTC"
    guard_rows: int = 100
    guard_percent: int = 10
    batch_rows: int = 1_000_000
    batch_bytes: int = 100_000_000

    def mapping_of(self, target: str) -> MappingSpec | None:
        """The line that feeds the field `target`, or None."""
        return next((line for line in self.mappings if line.target == target), None)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SyncSpec:
        """The spec that `to_json` wrote. Raises TypeError when a name is unknown or missing."""
        mappings = tuple(MappingSpec(**line) for line in data["mappings"])
        selection = SelectionSpec(**data["selection"])
        return cls(**{**data, "mappings": mappings, "selection": selection})

    def hash(self) -> str:
        """SHA-256 of the spec, in hex: two specs are the same exactly when their hashes are."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()
