"""Rows that point to other rows of the same source: in which wave each is sent, so that parents go first."""

from __future__ import annotations

import duckdb

# Deeper trees, and rows that point to each other in a circle, all go in the last wave.
MOST_WAVES = 50


def make_waves(connection: duckdb.DuckDBPyConnection, edges: str) -> bool:
    """Make a table `waves` of `w_row` and `wave` for the rows that have to wait for others; return whether any has to.

    edges: a query for `row`, `own` (a hash of what the row is called by) and `parent` (one of what it points to), a
    line for each reference of a row. A row waits for all rows it points to. Rows that are in no line of the table are
    of wave 0.
    """
    _table(connection, "edges", edges)
    pairs = "SELECT * FROM edges WHERE parent IS NOT NULL"
    _table(connection, "waiting", f"SELECT * FROM ({pairs}) SEMI JOIN (SELECT own AS k FROM edges) ON k = parent")
    _table(connection, "edges", "SELECT 1")
    _table(connection, "waves", "SELECT NULL::BIGINT AS w_row, NULL::INTEGER AS wave WHERE false")
    for wave in range(1, MOST_WAVES + 1):
        if not _count(connection, "waiting"):
            break
        blocked = "SELECT row AS b_row FROM waiting SEMI JOIN (SELECT own AS k FROM waiting) ON k = parent"
        ready = (
            f"SELECT DISTINCT row AS w_row, {wave}::INTEGER AS wave FROM waiting ANTI JOIN ({blocked}) ON b_row = row"
        )
        _table(connection, "ready", ready)
        if wave == MOST_WAVES or not _count(connection, "ready"):
            _table(connection, "ready", f"SELECT DISTINCT row AS w_row, {wave}::INTEGER AS wave FROM waiting")
        connection.execute("INSERT INTO waves SELECT * FROM ready").fetchall()
        _table(connection, "still", "SELECT * FROM waiting ANTI JOIN ready ON w_row = row")
        _table(connection, "waiting", "SELECT * FROM still")
    return _count(connection, "waves") > 0


def _table(connection: duckdb.DuckDBPyConnection, name: str, query: str) -> None:
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}").fetchall()


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    [(rows,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(rows)
