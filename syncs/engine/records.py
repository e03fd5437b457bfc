"""A payload as the calls of collections: pieces of at most 200 rows, each row a JSON record, and their answers.

The payload stays the CSV that it is in every lane. A piece is cut by rows and by bytes, and always at the same place,
so that whoever goes on at an offset makes the same call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from syncs.engine.errors import engine_errors
from syncs.engine.families import Family
from syncs.engine.files import flush_to_disk
from syncs.engine.payloads import places, rows_beside
from syncs.engine.plan import Plan
from syncs.engine.results import header_of, rows_of
from syncs.engine.sql import identifier, literal
from syncs.engine.transform import joined_key, normalised_key
from syncs.engine.values import CLEARED
from syncs.engine.workspace import Workspace

# A call of 200 long texts would take long to send, and longer to process.
MOST_BYTES = 5_000_000
# A JSON number as it may stand in a record, digit for digit; any other text goes in quotes.
_NUMBER = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?"

_SUCCESSES = ["_seq", "sf__Id", "sf__Created"]
_FAILURES = ["_seq", "sf__Id", "sf__Error"]


class Answer(Protocol):
    """What a call says of one record: see `connections.salesforce.collections.Result`."""

    @property
    def id(self) -> str: ...
    @property
    def created(self) -> bool: ...
    @property
    def error(self) -> str: ...


@dataclasses.dataclass(frozen=True)
class Piece:
    """The rows of one call.

    offset: place of its first row in the payload, from 0. seqs: `_seq` of each row. records: the JSON of each; the ids
    of records, for a delete or an undelete. rows: the payload's own columns, all text.
    """

    offset: int
    seqs: tuple[int, ...]
    records: tuple[bytes, ...]
    rows: pa.Table

    @property
    def end(self) -> int:
        """The offset of the next piece."""
        return self.offset + len(self.seqs)


def pieces(
    workspace: Workspace,
    plan: Plan,
    batch_number: int,
    payload: Path,
    *,
    offset: int = 0,
    most_rows: int = 200,
    most_bytes: int = MOST_BYTES,
) -> Generator[Piece, None, None]:
    """Cut a payload into calls, from the row at `offset` on.

    payload: the CSV that the attempt sends. most_rows, most_bytes: the largest call to make; a record of more bytes
    goes alone. Raises `ResultsUnreadable`, `DiskFull`, `Interrupted`.
    """
    names = header_of(payload)
    record = identifier("Id")
    if plan.batch(batch_number).operation not in ("delete", "undelete"):
        record = record_sql(plan, batch_number, names)
    knife = _Knife(offset, seqs_of(workspace, plan, batch_number, payload), most_rows, most_bytes)
    place = 0
    with workspace.connect(ordered=True) as connection, rows_of(payload, names) as payload_rows:
        for batch in payload_rows.reader:
            first, place = place, place + batch.num_rows
            table = pa.Table.from_batches([batch]).slice(max(0, offset - first))
            if table.num_rows:
                connection.register("rows_to_send", table)
                texts = connection.execute(f"SELECT {record} FROM rows_to_send").fetchall()
                connection.unregister("rows_to_send")
                knife.add([text.encode() for (text,) in texts], table)
            while knife.has_a_whole_one:
                yield knife.cut()
                workspace.check()
    while knife.records:
        yield knife.cut()


class _Knife:
    """Rows that wait to be cut into pieces."""

    def __init__(self, offset: int, seqs: Sequence[int], most_rows: int, most_bytes: int) -> None:
        self._offset, self._seqs, self._most_rows, self._most_bytes = offset, seqs, most_rows, most_bytes
        self.records: list[bytes] = []
        self._rows: pa.Table | None = None

    def add(self, records: Sequence[bytes], rows: pa.Table) -> None:
        self.records += records
        self._rows = rows if self._rows is None else pa.concat_tables([self._rows, rows])

    @property
    def has_a_whole_one(self) -> bool:
        """What follows would not change where the next piece ends."""
        return len(self.records) >= self._most_rows or sum(map(len, self.records)) > self._most_bytes

    def cut(self) -> Piece:
        count = size = 0
        for record in self.records[: self._most_rows]:
            size += len(record)
            if count and size > self._most_bytes:
                break
            count += 1
        assert self._rows is not None
        seqs = tuple(self._seqs[self._offset : self._offset + count])
        piece = Piece(self._offset, seqs, tuple(self.records[:count]), self._rows.slice(0, count))
        self._offset, self.records, self._rows = piece.end, self.records[count:], self._rows.slice(count)
        return piece


def seqs_of(workspace: Workspace, plan: Plan, batch_number: int, payload: Path) -> list[int]:
    """`_seq` of each row of a payload, in its order."""
    beside = rows_beside(payload)
    if beside is not None:
        found: list[int] = pq.read_table(beside).column("_seq").to_pylist()
        return found
    with workspace.connect(ordered=True) as connection:
        lines = connection.execute(f"SELECT _seq FROM ({places(plan, batch_number)}) ORDER BY place").fetchall()
    return [seq for (seq,) in lines]


def record_sql(plan: Plan, batch_number: int, names: Sequence[str]) -> str:
    """SQL: the JSON text of a row of a payload. A blank cell leaves its field out, `#N/A` sets it to null.

    names: the payload's columns. Numbers go digit for digit as they stand there.
    """
    columns = {column.sent_as.lower(): column for column in plan.columns}
    attributes = literal(f'"attributes":{{"type":"{plan.object}"}}')
    cells = []
    for name in names:
        column = columns.get(name.lower())
        if column is None:  # the id of the record
            cells.append(_cell(name, name, "id", name))
        else:
            cells.append(_cell(name, column.sent_as, column.family, column.field))
    return f"'{{' || concat_ws(',', {', '.join([attributes, *cells])}) || '}}'"


def _cell(name: str, sent_as: str, family: Family, field: str) -> str:
    """SQL: one member of a record, or NULL where the field is left alone."""
    cell = identifier(name)
    before, after = _around(sent_as)
    return (
        f"CASE WHEN {cell} IS NULL THEN NULL WHEN {cell} = '{CLEARED}' THEN {literal(f'{_quoted(field)}:null')} "
        f"ELSE {literal(before)} || {_value(family, cell)} || {literal(after)} END"
    )


def _around(sent_as: str) -> tuple[str, str]:
    """What stands around a value in a record.

    A parent is named by one of its fields, `Account.Ext__c`; where it may be of several objects, with its object
    before: `User:Owner.Username` (Bulk API 2.0 guide, "Relationship Fields in a Header Row").
    """
    path, dot, parent_field = sent_as.partition(".")
    if not dot:
        return f"{_quoted(sent_as)}:", ""
    object, colon, relationship = path.rpartition(":")
    attributes = f'"attributes":{{"type":{_quoted(object)}}},' if colon else ""
    return f"{_quoted(relationship)}:{{{attributes}{_quoted(parent_field)}:", "}"


def _quoted(name: str) -> str:
    return f'"{name}"'


def _value(family: Family, cell: str) -> str:
    text = f"to_json({cell})::VARCHAR"
    match family:
        case "number":
            return f"CASE WHEN regexp_full_match({cell}, '{_NUMBER}') THEN {cell} ELSE {text} END"
        case "boolean":
            return f"CASE WHEN lower({cell}) IN ('true', 'false') THEN lower({cell}) ELSE {text} END"
        case _:
            return text


def write_answers(answers: Iterable[tuple[int, Answer]], successes: Path, failures: Path) -> None:
    """Write what a call said of its records, as a bulk job's results are written; on disk when this returns.

    answers: `_seq` of the row, and its answer.
    """
    good: list[tuple[str, str, str]] = []
    bad: list[tuple[str, str, str]] = []
    for seq, answer in answers:
        if answer.error:
            bad.append((str(seq), answer.id, answer.error))
        else:
            good.append((str(seq), answer.id, "true" if answer.created else "false"))
    _write_csv(_SUCCESSES, good, successes)
    _write_csv(_FAILURES, bad, failures)


def write_unsent(seqs: Sequence[int], to: Path) -> None:
    """Write the rows that were not sent, as a bulk job's unprocessed records are written."""
    _write_csv(["_seq"], [(str(seq),) for seq in seqs], to)


def _write_csv(names: Sequence[str], rows: Sequence[tuple[str, ...]], to: Path) -> None:
    columns = [pa.array([row[place] for row in rows], pa.string()) for place in range(len(names))]
    with engine_errors():
        pyarrow.csv.write_csv(pa.Table.from_arrays(columns, names=list(names)), to)
        flush_to_disk(to)


def joined(paths: Sequence[Path], names: Sequence[str], to: Path) -> None:
    """Write the rows of several CSV files with the same header as one."""
    with engine_errors(), to.open("wb") as file:
        header = ",".join(f'"{name}"' for name in names).encode() + b"\n"
        file.write(header)
        for path in paths:
            file.write(path.read_bytes().partition(b"\n")[2])


def joined_answers(successes: Sequence[Path], failures: Sequence[Path], folder: Path) -> tuple[Path, Path]:
    """The answers of all calls of an attempt as two files: successes and failures."""
    good, bad = folder / "successes.csv", folder / "failures.csv"
    joined(successes, _SUCCESSES, good)
    joined(failures, _FAILURES, bad)
    return good, bad


def keys_of(plan: Plan, piece: Piece) -> list[tuple[str, ...]]:
    """The key of each row of a piece, a text per field, as it was sent."""
    return list(zip(*(piece.rows.column(key.sent_as).fill_null("").to_pylist() for key in plan.keys), strict=True))


def found_by_key(workspace: Workspace, plan: Plan, piece: Piece, keys: Sequence[Sequence[str]]) -> dict[int, int]:
    """Which of the rows of a piece have one of these keys: `_seq` -> the place of the key.

    keys: each with the fields of the key, as Salesforce returned them.
    """
    names = [f"k_{place}" for place in range(len(plan.keys))]
    theirs = pa.table({name: pa.array([key[place] for key in keys], pa.string()) for place, name in enumerate(names)})
    theirs = theirs.append_column("place", pa.array(range(len(keys)), pa.int64()))
    ours = piece.rows.select([key.sent_as for key in plan.keys]).rename_columns(names)
    ours = ours.append_column("_seq", pa.array(piece.seqs, pa.int64()))
    key = joined_key(
        [
            normalised_key(column.family, column.case_sensitive, name, plan.time_zone)
            for column, name in zip(plan.keys, names, strict=True)
        ]
    )
    with workspace.connect() as connection:
        connection.register("theirs", theirs)
        connection.register("ours", ours)
        found = connection.execute(
            f"SELECT _seq, min(place) FROM (SELECT _seq, {key} AS a FROM ours) "
            f"JOIN (SELECT place, {key} AS b FROM theirs) ON a = b GROUP BY _seq"
        ).fetchall()
    return dict(found)
