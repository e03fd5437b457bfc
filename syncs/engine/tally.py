"""Counts the cells that were made to fit their fields, from the masks of the rows as they go by."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from syncs.engine.families import ADJUSTMENTS, Line
from syncs.engine.transform import MASK_BITS, bit_of


class Tally:
    """How many cells of each field were changed, by how: a key of `ADJUSTMENTS`, then a field's API name."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = [line for line in lines if line.adjustment is not None]
        self.counts: dict[str, dict[str, int]] = {name: {} for name in ADJUSTMENTS}

    def look_at(self, table: pa.Table) -> None:
        """Add the cells of rows with the columns `adjusted_<m>`; each row of a source is to be looked at once."""
        for number in sorted({line.index // MASK_BITS for line in self._lines}):
            mask = table.column(f"adjusted_{number}")
            if not pc.max(mask).as_py():
                continue
            for line in self._lines:
                if line.index // MASK_BITS != number or line.adjustment is None:
                    continue
                cells = pc.sum(pc.not_equal(pc.bit_wise_and(mask, bit_of(line)), 0)).as_py()
                if cells:
                    counts = self.counts[line.adjustment]
                    counts[line.field.name] = counts.get(line.field.name, 0) + cells
