"""The answer of a bulk query for keys and record Ids, as the table that `compare.plan` joins with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from syncs.engine.files import write_query
from syncs.engine.sql import literal, literals
from syncs.engine.workspace import Workspace


def from_query_pages(workspace: Workspace, pages: Sequence[Path], columns: Sequence[str], to: Path) -> int:
    """Write a Parquet file from the pages of a bulk query; return how many records it has.

    columns: what to call the selected fields, in the order of the SELECT.

    pages: CSV files with a header line each, gzipped when they end in ".gz". Columns come in the order of the SELECT
    (Bulk API 2.0 guide, "Get Results for a Query Job").
    """
    files = f"[{literals(str(page) for page in pages)}]"
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in columns)
    query = (
        f"SELECT * FROM read_csv({files}, header=true, auto_detect=false, delim=',', quote='\"', escape='\"', "
        f"columns={{{types}}}, nullstr='', compression='auto_detect')"
    )
    with workspace.connect() as connection:
        return write_query(connection, query, to)
