"""What every kind of source has to do, tried on each."""

from __future__ import annotations

import abc
import csv
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from connections.sources.base import MisconfiguredSourceError, Selection, Source
from connections.sources.delimited_file.source import DelimitedFileSource, Settings
from tests.connections.sources import postgres

Cell = str | None


class Kind(abc.ABC):
    """One kind of source that a test may put tables into."""

    @abc.abstractmethod
    def source(self) -> Source: ...

    @abc.abstractmethod
    def put(self, name: str, columns: dict[str, str], rows: list[tuple[Cell, ...]]) -> Selection:
        """Make a table. columns: name -> PostgreSQL type. rows: their values as text."""

    @abc.abstractmethod
    def put_numbers(self, name: str, count: int) -> Selection:
        """Make a table `id, name` of the numbers from 1 to `count`."""


class FileKind(Kind):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def source(self) -> Source:
        return DelimitedFileSource(Settings(), self.folder)

    def put(self, name: str, columns: dict[str, str], rows: list[tuple[Cell, ...]]) -> Selection:
        def cell(value: Cell) -> str:
            return "" if value is None else '"' + value.replace('"', '""') + '"'

        lines = [",".join(cell(column) for column in columns), *(",".join(map(cell, row)) for row in rows)]
        (self.folder / f"{name}.csv").write_bytes(("\n".join(lines) + "\n").encode())
        return Selection(path=f"{name}.csv")

    def put_numbers(self, name: str, count: int) -> Selection:
        with (self.folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "name"])
            writer.writerows((number, f"name, of {number}") for number in range(1, count + 1))
        return Selection(path=f"{name}.csv")


class PostgresKind(Kind):
    def __init__(self, connection: psycopg.Connection[Any], schema: str) -> None:
        self.connection = connection
        self.schema = schema

    def source(self) -> Source:
        return postgres.source()

    def put(self, name: str, columns: dict[str, str], rows: list[tuple[Cell, ...]]) -> Selection:
        table = sql.Identifier(self.schema, name)
        parts = [sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(type_)) for column, type_ in columns.items()]  # type: ignore[arg-type]
        self.connection.execute(sql.SQL("CREATE TABLE {} ({})").format(table, sql.SQL(", ").join(parts)))
        for row in rows:
            values = sql.SQL(", ").join(sql.Literal(value) for value in row)
            self.connection.execute(sql.SQL("INSERT INTO {} VALUES ({})").format(table, values))
        return Selection(table=f"{self.schema}.{name}")

    def put_numbers(self, name: str, count: int) -> Selection:
        self.connection.execute(
            sql.SQL("CREATE TABLE {} AS SELECT i AS id, 'name, of ' || i AS name FROM generate_series(1, {}) i").format(
                sql.Identifier(self.schema, name), sql.Literal(count)
            )
        )
        return Selection(table=f"{self.schema}.{name}")


@pytest.fixture(params=["delimited_file", "postgres"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    if request.param == "delimited_file":
        yield FileKind(tmp_path)
    else:
        with postgres.schema() as (connection, schema):
            yield PostgresKind(connection, schema)


COLUMNS = {
    "Id": "int",
    "big number": "bigint",
    "Näme": "text",
    "born": "date",
    "made": "timestamp",
    "sure": "boolean",
    "price": "numeric(18,4)",
}
ROWS: list[tuple[Cell, ...]] = [
    ("1", "9223372036854775807", "Zoë", "2024-02-29", "2024-02-29 12:34:56.789", "t", "12.3400"),
    ("2", "-1", "", "0001-01-01", "1999-12-31 23:59:59", "f", "0.0000"),
    ("3", None, None, None, None, None, None),
    ("4", "0", 'say "hi",\n\tthen 🎉 \\N \\. ', "9999-12-31", "2024-01-01 00:00:00", "t", "-99999999999999.9999"),
]


def test_the_same_table_reads_the_same_from_every_kind(kind: Kind) -> None:
    selection = kind.put("everything", COLUMNS, ROWS)
    with kind.source().read(selection) as reading:
        assert reading.columns == tuple(COLUMNS)
        table = pa.Table.from_batches(list(reading.batches))
        assert reading.malformed == []
    assert table.schema == pa.schema([*((column, pa.string()) for column in COLUMNS), ("_row", pa.int64())])
    assert table.column("_row").to_pylist() == [1, 2, 3, 4]
    found = [tuple(row[column] for column in COLUMNS) for row in table.to_pylist()]
    assert found == ROWS


def test_nulls_are_apart_from_empty_text(kind: Kind) -> None:
    selection = kind.put("blanks", {"id": "text", "a": "text"}, [("1", None), ("2", ""), ("3", " ")])
    with kind.source().read(selection) as reading:
        values = [row["a"] for batch in reading.batches for row in batch.to_pylist()]
    assert values == [None, "", " "]


def test_a_table_without_rows_has_columns_and_no_rows(kind: Kind) -> None:
    selection = kind.put("empty", {"a": "int", "b": "text"}, [])
    with kind.source().read(selection) as reading:
        assert reading.columns == ("a", "b")
        assert sum(batch.num_rows for batch in reading.batches) == 0


def test_a_column_named_as_the_row_number_is_an_error(kind: Kind) -> None:
    selection = kind.put("taken", {"a": "int", "_row": "int"}, [("1", "1")])
    with pytest.raises(MisconfiguredSourceError, match="column named '_row'.*Rename"):
        kind.source().read(selection)


def test_what_was_put_is_listed_with_its_columns(kind: Kind) -> None:
    selection = kind.put("listed", {"a": "int", "b c": "text"}, [("1", "x")])
    listed = {table.name: table.columns for table in kind.source().tables()}
    assert listed[selection.table or selection.path] == ("a", "b c")
    assert kind.source().check()


def test_a_read_may_end_early(kind: Kind) -> None:
    selection = kind.put_numbers("early", 400_000)
    reading = kind.source().read(selection)
    assert next(reading.batches).num_rows > 0
    reading.close()
    reading.close()
    with kind.source().read(selection) as again:
        assert next(again.batches).column("_row")[0].as_py() == 1


def test_the_same_selection_is_read_again_and_again(kind: Kind) -> None:
    selection = kind.put_numbers("twice", 1000)
    source = kind.source()
    for _ in range(2):
        with source.read(selection) as reading:
            assert sum(batch.num_rows for batch in reading.batches) == 1000


def test_batches_stay_small_and_row_numbers_run_through(kind: Kind) -> None:
    selection = kind.put_numbers("many", 1_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    following = 1
    with kind.source().read(selection) as reading:
        for batch in reading.batches:
            assert batch.nbytes < 32 * 1024 * 1024
            assert batch.column("_row")[0].as_py() == following
            assert batch.column("id")[0].as_py() == str(following)
            following += batch.num_rows
            assert batch.column("_row")[-1].as_py() == following - 1
    assert following == 1_000_001
    # ru_maxrss is in kilobytes on Linux, in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
    assert grown < 150 * 1024 * 1024
