"""The refused rows of a job as a CSV in the source's own columns, to be corrected and loaded again."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from syncs.engine.encode import encode_header, encode_rows
from syncs.engine.errors import engine_errors
from syncs.engine.files import flush_to_disk, row_ranges, stream
from syncs.engine.rejects import VIOLATION
from syncs.engine.sql import parquet
from syncs.engine.stage import Staged
from syncs.engine.workspace import Workspace

REFUSED = f"source IS DISTINCT FROM '{VIOLATION}'"

ERROR_COLUMNS = ("_error_code", "_error_message", "_error_fields", "_operation", "_row")


def refused_rows_csv(workspace: Workspace, staged: Staged, errors_file: Path, to: Path) -> int:
    """Write a CSV with one line per refused row of the source; return how many there are. Rows that went on with a
    violation are not among them.

    Its columns are the source's, with the values as the source gave them, then those of `ERROR_COLUMNS`; several
    errors of one row are joined by semicolons. A malformed record has no columns, so those are blank.
    errors_file: a Parquet of row errors, of a plan or of the end of a job.
    """
    names = [*staged.columns, *ERROR_COLUMNS]
    rows = 0
    with workspace.connect(ordered=True) as connection, to.open("xb") as file:
        schema = pa.schema([(name, pa.string()) for name in names])
        file.write(encode_header(schema))
        for first, last in row_ranges(connection, f"(SELECT _row FROM {parquet(errors_file)} WHERE {REFUSED})"):
            for batch in stream(connection, _query(staged, errors_file, first, last)):
                workspace.check()
                file.write(encode_rows(pa.Table.from_batches([batch]).rename_columns(names).cast(schema)))
                rows += batch.num_rows
    with engine_errors():
        flush_to_disk(to)
    return rows


def _query(staged: Staged, errors_file: Path, first: int, last: int) -> str:
    """A query for the refused rows from `first` to `last`, with the columns of the CSV."""
    here = f"_row BETWEEN {first} AND {last}"
    errors = (
        f"SELECT _row AS e_row, {_each('code')} AS code, {_each('field')} AS fields, "
        "any_value(operation) AS operation, array_to_string(list_transform(list_sort(list("
        "{'field': coalesce(field, ''), 'code': code, 'message': message})), lambda e: e.message), '; ') AS message "
        f"FROM {parquet(errors_file)} WHERE {here} AND {REFUSED} GROUP BY _row"
    )
    cells = [f"c_{place}" for place in range(len(staged.columns))]
    wanted = f"(SELECT _row AS w_row FROM {parquet(errors_file)} WHERE {here})"
    source = f"SELECT * FROM {parquet(staged.path)} SEMI JOIN {wanted} ON w_row = _row WHERE {here}"
    if staged.padded is not None:
        # What was trimmed stands in the source as it was.
        untrimmed = ", ".join(f"{cell} AS p{cell}" for cell in cells)
        shown = ", ".join(f"CASE WHEN p_row IS NULL THEN {cell} ELSE p{cell} END AS {cell}" for cell in cells)
        padded = f"(SELECT _row AS p_row, {untrimmed} FROM {parquet(staged.padded)} WHERE {here})"
        source = f"SELECT _row, {shown} FROM ({source}) LEFT JOIN {padded} ON p_row = _row"
    return (
        f"SELECT {', '.join(cells)}, code, message, fields, operation, e_row FROM ({errors}) "
        f"LEFT JOIN ({source}) ON _row = e_row ORDER BY e_row"
    )


def _each(column: str) -> str:
    """SQL: the different values of a column, in their order. Sorting lists is cheaper than ordered aggregates."""
    return f"array_to_string(list_sort(list_distinct(list({column}))), '; ')"
