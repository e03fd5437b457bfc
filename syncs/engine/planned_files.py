"""The files that a plan sends: rows of one operation, one wave and one set of columns in each.

With a canary, its rows have wave 0 for themselves, and every other row waits one wave longer.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from syncs.engine.encode import BatchWriter
from syncs.engine.lanes import lane_of, most_rows
from syncs.engine.plan import Operation, PlannedBatch
from syncs.spec import SyncSpec

_Part = tuple[int, Operation, tuple[str, ...]]


class PlannedFiles:
    """Writes rows into numbered CSV files. folder, prefix: files are called <prefix>-batch-<number>.csv.

    canary: so many rows of wave 0 go into files of their own. one_row: see `lanes.lane_of`.
    """

    def __init__(self, spec: SyncSpec, folder: Path, prefix: str, *, canary: int = 0, one_row: bool = False) -> None:
        self._spec, self._folder, self._prefix = spec, folder, prefix
        self._canary, self._left, self._one_row = canary > 0, canary, one_row
        self._writers: dict[_Part, BatchWriter] = {}
        self._numbers = 0

    def write(self, operation: Operation, table: pa.Table, wave: int = 0) -> pa.ChunkedArray:
        """Append rows, whose columns are all text; return the batch number of each (int32)."""
        if not self._canary:
            return self._append(operation, table, wave)
        first = min(self._left, table.num_rows) if wave == 0 else 0
        self._left -= first
        parts = [(table.slice(0, first), 0), (table.slice(first), wave + 1)]
        numbers = [self._append(operation, part, place) for part, place in parts if part.num_rows]
        return pa.chunked_array([chunk for each in numbers for chunk in each.chunks], pa.int32())

    def cut(self, sent: pa.ChunkedArray) -> int:
        """How many rows from the first on hold what the canary still takes. sent: which rows of wave 0 are sent."""
        if not self._left:
            return 0
        place = pc.index(pc.cumulative_sum(pc.cast(sent, pa.int64())), self._left).as_py()
        return len(sent) if place < 0 else int(place) + 1

    def _append(self, operation: Operation, table: pa.Table, wave: int) -> pa.ChunkedArray:
        part = (wave, operation, tuple(table.column_names))
        if part not in self._writers:
            self._writers[part] = BatchWriter(
                self._next, max_rows=most_rows(self._spec, operation), max_bytes=self._spec.batch_bytes
            )
        return self._writers[part].write(table)

    def close(self) -> tuple[PlannedBatch, ...]:
        """Finish all files; return the batches, in the order of their numbers."""
        rows: Counter[Operation] = Counter()
        for (_, operation, _), writer in self._writers.items():
            writer.close()
            rows[operation] += sum(file.rows for file in writer.done)
        batches = [
            PlannedBatch(
                number=file.number,
                operation=operation,
                file=file.path,
                rows=file.rows,
                bytes=file.bytes,
                lane=lane_of(self._spec, operation, rows[operation], one_row=self._one_row),
                wave=wave,
                marks=file.marks,
            )
            for (wave, operation, _), writer in self._writers.items()
            for file in writer.done
        ]
        return tuple(sorted(batches, key=lambda batch: batch.number))

    def _next(self) -> tuple[Path, int]:
        self._numbers += 1
        return self._folder / f"{self._prefix}-batch-{self._numbers:05d}.csv", self._numbers
