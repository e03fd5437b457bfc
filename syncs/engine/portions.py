"""How many rows are worked on at once: as many as their cells, and what is made of them, leave room and time for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from syncs.engine.computed import Work
from syncs.engine.expression_functions import Size
from syncs.engine.expression_types import Matching

# Bytes of what comes out of one portion of rows, and of what is made on the way for one chunk of it by one thread.
_PORTION_BYTES, _CHUNK_BYTES = 128_000_000, 32_000_000
# Between two chunks, the clock can stop the work: about a second of matching, in steps of a program times bytes.
_CHUNK_STEPS = 200_000_000
_CHUNK_ROWS = 8192


def portions(work: Work, table: pa.Table) -> Iterator[pa.Table]:
    """The rows of a table in portions whose results fit into memory. No portion is empty."""
    room = _PORTION_BYTES // max(1, _bound(work.result, _longest(work, table)))
    if room >= min(_CHUNK_ROWS, table.num_rows):
        cuts = _even(table.num_rows, room)
    else:
        cuts = _cuts(_each(work.result, table), _PORTION_BYTES, table.num_rows)
    for start, count in cuts:
        yield table.slice(start, count)


def chunks(work: Work, table: pa.Table) -> Sequence[pa.RecordBatch]:
    """A portion in the pieces that are worked on at once, and between which the work can be stopped."""
    longest = _longest(work, table)
    sizes = [_bound(matching.size, longest) for matching in work.matching]
    steps = sum(_steps(matching, size) for matching, size in zip(work.matching, sizes, strict=True))
    cost = steps / _CHUNK_STEPS + _bound(work.weight, longest) / _CHUNK_BYTES
    if cost * min(_CHUNK_ROWS // 4, table.num_rows) <= 1:
        cuts = _even(table.num_rows, min(_CHUNK_ROWS, int(1 / cost)))
    else:
        cuts = _cuts(_costs(work, table), 1.0, _CHUNK_ROWS)
    table = table.combine_chunks()
    return [batch for start, count in cuts for batch in table.slice(start, count).to_batches()]


def _steps(matching: Matching, size: int) -> int:
    # Looking for all matches can mean to look at the rest of the text from each place anew.
    return size * max(matching.steps, size if matching.everywhere else 1)


def _costs(work: Work, table: pa.Table) -> pa.ChunkedArray:
    """What each row costs, as a share of a chunk."""
    total = pc.divide(_each(work.weight, table), float(_CHUNK_BYTES))
    for matching in work.matching:
        size = _each(matching.size, table)
        per_byte = pc.max_element_wise(size, float(matching.steps)) if matching.everywhere else float(matching.steps)
        total = pc.add(total, pc.divide(pc.multiply(size, per_byte), float(_CHUNK_STEPS)))
    return total


def is_too_much(work: Work, table: pa.Table) -> bool:
    """Whether a row of the table may be more than a line of the mapping, or the filter, takes."""
    longest = _longest(work, table)
    return any(_bound(guard.size, longest) > guard.limit for guard in work.guards)


def _longest(work: Work, table: pa.Table) -> dict[int, int]:
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


def _even(rows: int, most: int) -> Iterator[tuple[int, int]]:
    """Start and number of rows of pieces of at most so many rows."""
    for start in range(0, rows, most):
        yield start, min(most, rows - start)


def _cuts(costs: pa.ChunkedArray, budget: float, most_rows: int) -> Iterator[tuple[int, int]]:
    """Start and number of rows of pieces that cost no more than the budget, or are one row."""
    start, spent = 0, 0.0
    for place, cost in enumerate(costs.to_pylist()):
        if place > start and (spent + cost > budget or place - start >= most_rows):
            yield start, place - start
            start, spent = place, 0.0
        spent += cost
    if start < len(costs):
        yield start, len(costs) - start
