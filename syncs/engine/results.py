"""Reading CSV files of Salesforce jobs: what was sent, and the results that came back."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from syncs.engine.errors import PermanentEngineError

# Larger than any record that Salesforce takes (400,000 characters), so that none is cut in two.
_BLOCK_BYTES = 4 << 20


class ResultsUnreadable(PermanentEngineError):
    """A result file is no CSV, or lacks a column that is needed to find out whose results it holds."""


class CsvRows:
    """Columns of a CSV file, to be read once.

    reader: the batches. count: how many rows were read so far. error: what broke the reading off, or None.
    """

    def __init__(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        self.count = 0
        self.error: Exception | None = None
        self.reader = pa.RecordBatchReader.from_batches(schema, self._counted(schema, batches))

    def _counted(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            for batch in batches:
                self.count += batch.num_rows
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
        except Exception as error:
            self.error = error
            raise


def header_of(path: Path) -> list[str]:
    """The names in the first line of a CSV file, plain or `.gz`; none for an empty file."""
    with _records(path) as records:
        return next(records, [])


def _is_only_a_header(path: Path) -> bool:
    with _records(path) as records:
        next(records, None)
        return next(records, None) is None


@contextlib.contextmanager
def _records(path: Path) -> Iterator[Iterator[list[str]]]:
    with contextlib.ExitStack() as stack:
        binary = stack.enter_context(path.open("rb"))
        unzipped = stack.enter_context(gzip.open(binary, "rb")) if path.suffix == ".gz" else binary
        text = stack.enter_context(io.TextIOWrapper(unzipped, encoding="utf-8-sig", newline=""))
        try:
            yield csv.reader(text)
        except (EOFError, UnicodeDecodeError, gzip.BadGzipFile, zlib.error) as error:
            raise ResultsUnreadable(f"The file {path.name} cannot be read as CSV: {error}.") from error


@contextlib.contextmanager
def rows_of(path: Path | None, columns: Sequence[str]) -> Iterator[CsvRows]:
    """The wanted columns of a CSV file: all text, blank cells null, under the names asked for.

    path: plain or `.gz`; None for no rows. columns: names as they are wanted; those in the file may differ in case
    and order. Raises `ResultsUnreadable` when one is missing, or the file is no CSV.
    """
    schema = pa.schema([(name, pa.string()) for name in columns])
    header = header_of(path) if path is not None else []
    places = {name.lower(): name for name in reversed(header)}
    missing = [name for name in columns if name.lower() not in places]
    # A job that was aborted before its upload has results without the upload's columns, and without rows.
    if path is None or not header or (missing and _is_only_a_header(path)):
        yield CsvRows(schema, iter(()))
        return
    if missing:
        raise ResultsUnreadable(
            f"The file {path.name} has no column {', '.join(missing)}; its columns are {', '.join(header)}."
        )
    found = [places[name.lower()] for name in columns]
    with pa.input_stream(str(path), compression="gzip" if path.suffix == ".gz" else None) as stream:
        rows = CsvRows(schema, _batches(stream, path.name, found))
        try:
            yield rows
        except Exception:
            # A query that reads from here knows the text of our error only, and raises one of its own.
            if rows.error is not None:
                raise rows.error from None
            raise


@contextlib.contextmanager
def rows_from(path: Path, offset: int) -> Iterator[Iterator[pa.RecordBatch]]:
    """All columns of a plain CSV file from the record on that begins at the byte `offset`: all text, blank is null."""
    header = header_of(path)
    with pa.memory_map(str(path)) as file:
        file.seek(offset)
        yield _batches(file, path.name, header, titles=header)


def _batches(
    stream: pa.NativeFile, name: str, columns: list[str], titles: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """titles: of the columns, where the stream does not begin with them."""
    options = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(columns, pa.string()),
        include_columns=columns,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )
    try:
        yield from pyarrow.csv.open_csv(
            stream,
            read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES, column_names=titles),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=options,
        )
    except (pa.ArrowInvalid, OSError) as error:
        # An error of the system has a number; one of unpacking has none.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ResultsUnreadable(f"The file {name} cannot be read as CSV: {error}.") from error
