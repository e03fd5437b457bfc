"""What is known of the records of an object before a plan is made: a snapshot, as the right side of a join."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from syncs.engine.snapshot import read_header
from syncs.engine.sql import parquet

# A record that Salesforce confirmed, and one that was expired since; of `maybe` nobody knows.
PRESENT = "('present', 'expired')"


@dataclasses.dataclass(frozen=True)
class Known:
    """A snapshot as the right side of a join.

    path: its file. places: for each compared field of the plan, the place of its hash in the snapshot, or None for a
    field that was mapped later. same_fields: both have the same fields, so hashes of whole rows can be compared.
    only: a file of `nkey_hash`; records with other keys are left out. None for all records.
    """

    path: Path
    places: tuple[int | None, ...]
    same_fields: bool
    only: Path | None = None

    @classmethod
    def of(cls, path: Path, fields: tuple[str, ...]) -> Known:
        """The snapshot in the file `path`, seen from a plan that compares these fields."""
        known = {field.lower(): place for place, field in enumerate(read_header(path).fields)}
        places = tuple(known.get(field.lower()) for field in fields)
        return cls(path, places, None not in places and len(places) == len(known))

    def columns(self) -> str:
        """A FROM item with s_nkey, s_id, s_state, s_row_hash and s_<i> for the hash of the plan's i-th field."""
        hashes = (
            f"{'NULL::UINTEGER' if place is None else f'h_{place}'} AS s_{i}" for i, place in enumerate(self.places)
        )
        columns = ["nkey AS s_nkey", "id AS s_id", "state AS s_state", "row_hash AS s_row_hash", *hashes]
        source = parquet(self.path)
        if self.only is not None:
            source += f" SEMI JOIN (SELECT nkey_hash FROM {parquet(self.only)}) ON nkey_hash = hash(nkey)"
        return f"(SELECT {', '.join(columns)} FROM {source})"
