"""How many rows are worked on at once: as many as their cells, and what is made of them, leave room and time for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from syncs.engine.computed import Work
from syncs.engine.expression_functions import Size

# Bytes of everything that is made of one portion of rows.
_PORTION_BYTES = 64_000_000
# Between two chunks of a portion, the clock can stop the work: about a second of matching, in steps times bytes.
_CHUNK_STEPS = 200_000_000
_CHUNK_ROWS = 8192


def portions(work: Work, table: pa.Table) -> Iterator[pa.Table]:
    """The rows of a table in portions that need a bounded memory. No portion is empty."""
    longest = _longest_row(work, table)
    room = _PORTION_BYTES // max(1, _bound(work.weight, longest))
    if table.num_rows <= room:
        if table.num_rows:
            yield table
        return
    for start, count in _cuts(_each(work.weight, table), _PORTION_BYTES, table.num_rows):
        yield table.slice(start, count)


def chunks(work: Work, table: pa.Table) -> Sequence[pa.RecordBatch]:
    """A portion in the pieces between which it can be stopped."""
    longest = _longest_row(work, table)
    steps = sum(
        (size := _bound(matching.size, longest)) * max(matching.steps, size if matching.everywhere else 1)
        for matching in work.matching
    )
    most = _CHUNK_STEPS // max(1, steps)
    table = table.combine_chunks()
    if most >= min(table.num_rows, _CHUNK_ROWS):
        batches: list[pa.RecordBatch] = table.to_batches(max_chunksize=_CHUNK_ROWS)
        return batches
    total = pa.repeat(pa.scalar(0.0), table.num_rows)
    for matching in work.matching:
        size = _each(matching.size, table)
        per_byte = pc.max_element_wise(size, float(matching.steps)) if matching.everywhere else float(matching.steps)
        total = pc.add(total, pc.multiply(size, per_byte))
    pieces = [table.slice(start, count) for start, count in _cuts(total, _CHUNK_STEPS, _CHUNK_ROWS)]
    return [batch for piece in pieces for batch in piece.to_batches()]


def is_too_much(work: Work, table: pa.Table) -> bool:
    """Whether a row of the table may be more than a line of the mapping, or the filter, takes."""
    longest = _longest_row(work, table)
    return any(_bound(guard.size, longest) > guard.limit for guard in work.guards)


def _longest_row(work: Work, table: pa.Table) -> dict[int, int]:
    """For each column, the bytes of its longest cell."""
    return {place: pc.max(pc.binary_length(table.column(f"c_{place}"))).as_py() or 0 for place in work.columns}


def _bound(size: Size, longest: dict[int, int]) -> int:
    return size.fixed + sum(factor * longest[place] for place, factor in size.factors.items())


def _each(size: Size, table: pa.Table) -> pa.ChunkedArray:
    """The bytes of each row, as floats."""
    total = pa.chunked_array([pa.repeat(pa.scalar(float(size.fixed)), table.num_rows)])
    for place, factor in size.factors.items():
        lengths = pc.fill_null(pc.binary_length(table.column(f"c_{place}")), 0).cast(pa.float64())
        total = pc.add(total, pc.multiply(lengths, float(factor)))
    return total


def _cuts(costs: pa.ChunkedArray, budget: int, most_rows: int) -> Iterator[tuple[int, int]]:
    """Start and number of rows of pieces that cost no more than the budget, or are one row."""
    start, spent = 0, 0.0
    for place, cost in enumerate(costs.to_pylist()):
        if place > start and (spent + cost > budget or place - start >= most_rows):
            yield start, place - start
            start, spent = place, 0.0
        spent += cost
    if start < len(costs):
        yield start, len(costs) - start
