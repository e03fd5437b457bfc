"""How many rows are worked on at once: as many as their cells, and what is made of them, leave room and time for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from syncs.engine.computed import Work
from syncs.engine.expression_functions import Size

# Bytes of what comes out of one portion of rows, and of what is made on the way for one chunk of it by one thread.
_PORTION_BYTES, _CHUNK_BYTES = 128_000_000, 32_000_000
# Between two chunks, the clock can stop the work: about a second of matching, in steps of a program times bytes.
_CHUNK_STEPS = 200_000_000
_CHUNK_ROWS = 8192
# So many chunks that are full make a portion, which has to be done before its time is over.
_PORTION_CHUNKS = 30


def portions(work: Work, table: pa.Table) -> Iterator[pa.Table]:
    """The rows of a table in portions whose results fit into memory, and that are soon done. No portion is empty."""
    longest = _longest(work, table)
    share = _bound(work.result, longest) / _PORTION_BYTES + _share(work, longest, worst=False) / _PORTION_CHUNKS
    if share * min(_CHUNK_ROWS, table.num_rows) <= 1:
        cuts = _even(table.num_rows, int(1 / share))
    else:
        results = pc.divide(_each(work.result, table), float(_PORTION_BYTES))
        shares = pc.add(results, pc.divide(_shares(work, table, worst=False), float(_PORTION_CHUNKS)))
        cuts = _cuts(shares, table.num_rows)
    for start, count in cuts:
        yield table.slice(start, count)


def chunks(work: Work, table: pa.Table) -> Sequence[pa.RecordBatch]:
    """A portion in the pieces that are worked on at once, and between which the work can be stopped."""
    share = _share(work, _longest(work, table), worst=True)
    if share * min(_CHUNK_ROWS // 4, table.num_rows) <= 1:
        cuts = _even(table.num_rows, min(_CHUNK_ROWS, int(1 / share)))
    else:
        cuts = _cuts(_shares(work, table, worst=True), _CHUNK_ROWS)
    table = table.combine_chunks()
    return [batch for start, count in cuts for batch in table.slice(start, count).to_batches()]


def _share(work: Work, longest: dict[int, int], *, worst: bool) -> float:
    """The most that a row can cost, as a share of a chunk. Above 0.

    worst: looking for all matches means to look at the rest of the text from each place anew, which it can, but seldom
    does.
    """
    steps = 0
    for matching in work.matching:
        size = _bound(matching.size, longest)
        steps += size * max(matching.steps, size if worst and matching.everywhere else 1)
    return steps / _CHUNK_STEPS + _bound(work.weight, longest) / _CHUNK_BYTES


def _shares(work: Work, table: pa.Table, *, worst: bool) -> pa.ChunkedArray:
    """What each row costs, as a share of a chunk; see `_share`."""
    total = pc.divide(_each(work.weight, table), float(_CHUNK_BYTES))
    for matching in work.matching:
        size = _each(matching.size, table)
        squared = worst and matching.everywhere
        per_byte = pc.max_element_wise(size, float(matching.steps)) if squared else float(matching.steps)
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


def _cuts(shares: pa.ChunkedArray, most_rows: int) -> Iterator[tuple[int, int]]:
    """Start and number of rows of pieces whose shares are no more than 1 together, or that are one row."""
    start, spent = 0, 0.0
    for place, share in enumerate(shares.to_pylist()):
        if place > start and (spent + share > 1 or place - start >= most_rows):
            yield start, place - start
            start, spent = place, 0.0
        spent += share
    if start < len(shares):
        yield start, len(shares) - start
