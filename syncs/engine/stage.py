"""Source batches to one staged table: text as the source gave it, trimmed at its edges, with row numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connections.sources.base import MalformedRow, Reading
from syncs.engine.errors import engine_errors
from syncs.engine.files import TableWriter
from syncs.engine.nul import visible
from syncs.engine.workspace import Workspace


@dataclasses.dataclass(frozen=True)
class Staged:
    """A source as it was read, once.

    path: Parquet with `_row` (int64, the number of the record in the source, from 1, in ascending order) and, for the
    i-th column of the source, `c_<i>` (text, trimmed of white space at its edges; null or empty when blank).
    padded: Parquet with the same columns, untrimmed, of the rows in which something was trimmed; None when there
    are none.
    columns: names of the source's columns. rows: how many were staged. malformed: records that are no rows. NUL
    characters in their texts are shown as a sign.
    trimmed: how many cells of a column were trimmed, by column name. hint: what may be wrong when columns are missing.
    filtered: how many rows the source filter left out. waves: there is a column `_wave`: rows of a higher one wait for
    those of a lower one.
    has_filter: the table went through a filter, see `syncs/engine/prepare.py`. file_name: of the source, or "".
    """

    path: Path
    padded: Path | None
    columns: tuple[str, ...]
    rows: int
    malformed: tuple[MalformedRow, ...]
    trimmed: dict[str, int]
    hint: str = ""
    filtered: int = 0
    waves: bool = False
    has_filter: bool = False
    file_name: str = ""

    def at(self, folder: Path) -> Staged:
        """The same table with its files in another folder, where they were copied under their names."""
        padded = folder / self.padded.name if self.padded else None
        return dataclasses.replace(self, path=folder / self.path.name, padded=padded)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        return {
            "path": str(self.path),
            "padded": str(self.padded) if self.padded else None,
            "columns": list(self.columns),
            "rows": self.rows,
            "malformed": [dataclasses.asdict(row) for row in self.malformed],
            "trimmed": self.trimmed,
            "hint": self.hint,
            "filtered": self.filtered,
            "waves": self.waves,
            "has_filter": self.has_filter,
            "file_name": self.file_name,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Staged:
        """The table that `to_json` wrote."""
        changed = {
            "path": Path(data["path"]),
            "padded": Path(data["padded"]) if data["padded"] else None,
            "columns": tuple(data["columns"]),
            "malformed": tuple(MalformedRow(**row) for row in data["malformed"]),
        }
        return cls(**{**data, **changed})


def stage(workspace: Workspace, reading: Reading, to: Path, *, progress: Callable[[int], None] | None = None) -> Staged:
    """Read a source to its end into the Parquet file `to`; memory does not grow with the source.

    progress: called with the number of rows staged so far, about once per 100,000 rows.
    Raises whatever the source raises, `DiskFull`, and `Interrupted`. The file is on disk when this returns; untrimmed
    rows, if any, are in a file beside it, `<to's name>-padded.parquet`.
    """
    columns = tuple(reading.columns)
    trimmed = [0] * len(columns)
    rows = 0
    schema = _schema(len(columns))
    beside = to.with_name(f"{to.stem}-padded.parquet")
    with engine_errors(), TableWriter(to, schema) as table, TableWriter(beside, schema) as padded:
        for batch in reading.batches:
            workspace.check()
            raw = _positional(batch, columns)
            staged, changed = _trim(raw, trimmed)
            full = table.add(staged)
            if changed is not None:
                padded.add(raw.filter(changed))
            rows += batch.num_rows
            if full and progress is not None:
                progress(rows)
        table.finish()
        has_padded = padded.rows > 0
        if has_padded:
            padded.finish()
    if progress is not None:
        progress(rows)
    counts = {visible(column): count for column, count in zip(columns, trimmed, strict=True) if count}
    malformed = tuple(MalformedRow(row.row, visible(row.text), visible(row.reason)) for row in reading.malformed)
    shown = tuple(map(visible, columns))
    return Staged(
        to,
        beside if has_padded else None,
        shown,
        rows,
        malformed,
        counts,
        visible(reading.hint),
        file_name=reading.file_name,
    )


def _schema(columns: int) -> pa.Schema:
    return pa.schema([("_row", pa.int64()), *((f"c_{place}", pa.string()) for place in range(columns))])


def _positional(batch: pa.RecordBatch, columns: tuple[str, ...]) -> pa.Table:
    # By position, because DuckDB does not tell names apart that differ in case only, and sources do.
    arrays = [batch.column("_row").cast(pa.int64()), *(batch.column(name).cast(pa.string()) for name in columns)]
    return pa.Table.from_arrays(arrays, schema=_schema(len(columns)))


def _trim(raw: pa.Table, counts: list[int]) -> tuple[pa.Table, pa.ChunkedArray | None]:
    """The trimmed table, and which rows of it differ from `raw` (None when none does); adds to `counts` per column."""
    staged, changed = raw, None
    for place in range(len(counts)):
        column = raw.column(place + 1)
        short = pc.utf8_trim_whitespace(column)
        differs = pc.not_equal(pc.binary_length(column), pc.binary_length(short))
        count = pc.sum(differs).as_py() or 0
        if count:
            counts[place] += count
            staged = staged.set_column(place + 1, staged.schema.field(place + 1), short)
            differs = differs.fill_null(False)
            changed = differs if changed is None else pc.or_(changed, differs)
    return staged, changed
