"""The refused rows of a job as a CSV in the source's own columns, to be corrected and loaded again."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from syncs.engine.encode import encode_header, encode_rows
from syncs.engine.errors import engine_errors
from syncs.engine.files import flush_to_disk, stream
from syncs.engine.sql import parquet
from syncs.engine.stage import Staged
from syncs.engine.workspace import Workspace

ERROR_COLUMNS = ("_error_code", "_error_message", "_error_fields", "_operation", "_row")


def refused_rows_csv(workspace: Workspace, staged: Staged, errors_file: Path, to: Path) -> int:
    """Write a CSV with one line per refused row of the source; return how many there are.

    Its columns are the source's, with the values as the source gave them, then those of `ERROR_COLUMNS`; several
    errors of one row are joined by semicolons. A malformed record has no columns, so those are blank.
    errors_file: a Parquet of row errors, of a plan or of the end of a job.
    """
    names = [*staged.columns, *ERROR_COLUMNS]
    rows = 0
    with workspace.connect(ordered=True) as connection, to.open("xb") as file:
        schema = pa.schema([(name, pa.string()) for name in names])
        file.write(encode_header(schema))
        for batch in stream(connection, _query(staged, errors_file)):
            workspace.check()
            file.write(encode_rows(pa.Table.from_batches([batch]).rename_columns(names).cast(schema)))
            rows += batch.num_rows
    with engine_errors():
        flush_to_disk(to)
    return rows


def _query(staged: Staged, errors_file: Path) -> str:
    errors = (
        "SELECT _row AS e_row, string_agg(DISTINCT code, '; ' ORDER BY code) AS code, "
        "string_agg(message, '; ' ORDER BY field, code) AS message, "
        "string_agg(DISTINCT field, '; ' ORDER BY field) AS fields, any_value(operation) AS operation "
        f"FROM {parquet(errors_file)} WHERE _row IS NOT NULL GROUP BY _row"
    )
    cells = [f"c_{place}" for place in range(len(staged.columns))]
    source = f"SELECT _row, {', '.join(cells)} FROM {parquet(staged.path)}"
    if staged.padded is not None:
        # What was trimmed stands in the source as it was.
        untrimmed = ", ".join(f"c_{place} AS p_{place}" for place in range(len(cells)))
        shown = ", ".join(f"CASE WHEN p_row IS NULL THEN {cell} ELSE p_{cell[2:]} END AS {cell}" for cell in cells)
        padded = f"(SELECT _row AS p_row, {untrimmed} FROM {parquet(staged.padded)})"
        source = f"SELECT _row, {shown} FROM ({source}) LEFT JOIN {padded} ON p_row = _row"
    wanted = f"(SELECT DISTINCT _row AS w FROM {parquet(errors_file)})"
    return (
        f"SELECT {', '.join(cells)}, code, message, fields, operation, e_row FROM ({errors}) "
        f"LEFT JOIN (SELECT * FROM ({source}) SEMI JOIN {wanted} ON w = _row) "
        "ON _row = e_row ORDER BY e_row"
    )
