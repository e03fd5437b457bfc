"""Cutting delimited text at the ends of records, whatever the size of the blocks it comes in."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connections.sources.arrow_csv import batches
from connections.sources.base import MalformedRow, PermanentSourceError
from connections.sources.delimited_file.records import RecordCutter

CELLS = st.text(alphabet='ab",;\n\r é', max_size=6)
TABLES = st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=12)


def blocks(text: bytes, size: int) -> Iterator[bytes]:
    return (text[start : start + size] for start in range(0, len(text), size))


def parsed(text: bytes, size: int) -> list[list[str]]:
    malformed: list[MalformedRow] = []
    pieces = RecordCutter(",", '"', "The file").pieces(blocks(text, size))
    found = batches(pieces, ("a", "b", "c"), malformed, name="The file", null_token="never")
    rows = [[row["a"], row["b"], row["c"]] for batch in found for row in batch.to_pylist()]
    assert malformed == []
    return rows


@settings(max_examples=300, deadline=None)
@given(table=TABLES, size=st.integers(1, 40), ending=st.sampled_from(["\n", "\r\n", "\r"]), all_quoted=st.booleans())
def test_a_written_table_is_read_back_cell_by_cell(
    table: list[list[str]], size: int, ending: str, all_quoted: bool
) -> None:

    def written(cell: str) -> str:
        quoted = all_quoted or any(character in cell for character in ',"\r\n')
        return '"' + cell.replace('"', '""') + '"' if quoted else cell

    text = "".join(",".join(map(written, row)) + ending for row in table)
    assert parsed(text.encode(), size) == table


@settings(max_examples=500, deadline=None)
@given(text=st.text(alphabet='ab",\n', max_size=60), size=st.integers(1, 20))
def test_any_text_is_cut_the_same_in_blocks_of_any_size(text: str, size: int) -> None:
    whole = outcome(text.encode(), 1000)
    assert outcome(text.encode(), size) == whole


@settings(max_examples=500, deadline=None)
@given(text=st.text(alphabet='ab",\n', max_size=60))
def test_what_is_accepted_is_what_a_strict_reader_reads(text: str) -> None:
    """Python's strict reader refuses the same quoting; it is kinder only to a quote closed by the end of the file."""
    found = outcome(text.encode(), 1000)
    try:
        strict: list[list[str]] | None = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error:
        strict = None
    assert (found is None) == (strict is None)


def outcome(text: bytes, size: int) -> bytes | None:
    """All the text that came out, or None when it was refused."""
    try:
        pieces = list(RecordCutter(",", '"', "The file").pieces(blocks(text, size)))
    except PermanentSourceError:
        return None
    # A piece that ends in the middle of a record would be a different table.
    assert all(piece.endswith((b"\n", b"\r")) for piece in pieces)
    assert all(piece.count(b'"') % 2 == 0 or b'"' in piece for piece in pieces)
    return b"".join(pieces)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b'1,2\n"3"x,4\n', 2),
        (b'1,2\n3,"4"5"\n', 2),
        (b'1,"2\n3"\n4,"5" \n', 3),
        (b'1,2\r\n3,"4\r\n', 2),
        (b'"', 1),
    ],
)
def test_broken_quoting_names_the_line(text: bytes, line: int) -> None:
    for size in (1, 3, 100):
        with pytest.raises(PermanentSourceError, match=f"line {line}: "):
            list(RecordCutter(",", '"', "The file").pieces(blocks(text, size)))
