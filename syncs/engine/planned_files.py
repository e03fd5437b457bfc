"""The files that a plan sends: rows of one operation, one wave and one set of columns in each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa

from syncs.engine.encode import BatchWriter
from syncs.engine.lanes import lane_of, most_rows
from syncs.engine.plan import Operation, PlannedBatch
from syncs.spec import SyncSpec

_Part = tuple[int, Operation, tuple[str, ...]]


class PlannedFiles:
    """Writes rows into numbered CSV files. folder, prefix: files are called <prefix>-batch-<number>.csv."""

    def __init__(self, spec: SyncSpec, folder: Path, prefix: str) -> None:
        self._spec, self._folder, self._prefix = spec, folder, prefix
        self._writers: dict[_Part, BatchWriter] = {}
        self._numbers = 0

    def write(self, operation: Operation, table: pa.Table, wave: int = 0) -> pa.ChunkedArray:
        """Append rows, whose columns are all text; return the batch number of each (int32)."""
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
                lane=lane_of(self._spec, operation, rows[operation]),
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
