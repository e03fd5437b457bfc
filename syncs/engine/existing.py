"""The answer of a bulk query for keys and record Ids, as the table that `compare.plan` joins with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from syncs.engine.files import write_query
from syncs.engine.sql import literals
from syncs.engine.workspace import Workspace


def from_query_pages(workspace: Workspace, pages: Sequence[Path], to: Path) -> int:
    """Write the Parquet file (key, id) from the pages of a query `SELECT <key>, Id`; return how many records it has.

    pages: CSV files with a header line each, gzipped when they end in ".gz". Columns come in the order of the SELECT
    (Bulk API 2.0 guide, "Get Results for a Query Job").
    """
    files = f"[{literals(str(page) for page in pages)}]"
    query = (
        f"SELECT key, id FROM read_csv({files}, header=true, auto_detect=false, delim=',', quote='\"', escape='\"', "
        "columns={'key': 'VARCHAR', 'id': 'VARCHAR'}, nullstr='', compression='auto_detect') WHERE key IS NOT NULL"
    )
    with workspace.connect() as connection:
        return write_query(connection, query, to)
