"""Bulk queries of both APIs: which SOQL they take, and the result as a file of texts that pages are cut from."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandbox.bulk.jobs import file_chunks
from sandbox.bulk.load import seen_schema
from sandbox.org import Org
from sandbox.rows.rules import literal
from sandbox.schema import NUMBER_TYPES
from sandbox.soql.compiler import compile_query
from sandbox.soql.query import Node, Parent, Query
from sandbox.soql.scope import Expression
from sandbox.store import Store
from sandbox.wire import SalesforceError


class Extract:
    """The result of one bulk query; `facts` is saved by the job or batch it belongs to.

    The facts: `columns` (labels), `types` of their fields, `parents` (path and object of each parent record the query
    reads) and `total`.
    """

    def __init__(self, store: Store, folder: Path, facts: dict[str, Any]) -> None:
        self._store = store
        self._folder = folder
        self.facts = facts

    @property
    def total(self) -> int:
        return int(self.facts.get("total", 0))

    @property
    def header(self) -> list[str]:
        return list(self.facts["columns"])

    @property
    def _file(self) -> str:
        return literal(str(self._folder / "result.parquet"))

    @property
    def _rows(self) -> str:
        return f"read_parquet({self._file}, file_row_number = true)"

    def run(self, compiled: Query) -> None:
        """Read the records, in the order the query gives them."""
        parents = _parents(compiled.nodes)
        listed = [f"{csv_text(each.expression)} AS c{place}" for place, each in enumerate(compiled.columns)]
        listed += [f"({compiled.expressions[at]}) IS NOT NULL AS p{n}" for n, (_, _, at) in enumerate(parents)]
        columns = ", ".join(listed)
        with self._store.reading() as cursor:
            cursor.execute(f"COPY ({compiled.sql(columns)}) TO {self._file} (FORMAT parquet, ROW_GROUP_SIZE 20480)")
            found = cursor.execute(f"SELECT count(*) FROM {self._rows}").fetchone()
        self.facts["columns"] = [each.label for each in compiled.columns]
        self.facts["types"] = [each.expression.type for each in compiled.columns]
        self.facts["parents"] = [[path, kind] for path, kind, _ in parents]
        self.facts["total"] = int(found[0]) if found else 0

    def csv(self, start: int, end: int, delimiter: str = ",", line_ending: str = "LF") -> Iterator[bytes]:
        """The CSV of the rows from `start` to before `end` with the header, by way of a file of its own."""
        head = delimiter.join(f'"{each}"' for each in self.header) + ("\r\n" if line_ending == "CRLF" else "\n")
        file = self._folder / f"page-{start}-{end}-{threading.get_ident()}-{time.monotonic_ns()}.csv"
        columns = ", ".join(f"c{place}" for place in range(len(self.header)))
        try:
            if end > start:
                with self._store.reading() as cursor:
                    cursor.execute(
                        f"COPY (SELECT {columns} FROM {self._rows} WHERE file_row_number >= {start}"
                        f" AND file_row_number < {end} ORDER BY file_row_number) TO {literal(str(file))}"
                        f" (FORMAT csv, HEADER false, FORCE_QUOTE *, DELIM {literal(delimiter)})"
                    )
            yield from file_chunks([file] if file.exists() else [], head.encode(), line_ending)
        finally:
            file.unlink(missing_ok=True)

    def rows(self, size: int = 2000) -> Iterator[list[Any]]:
        """All rows: the texts of the columns, an empty one being a null, and for each parent whether there is one."""
        places = [f"c{place}" for place in range(len(self.header))]
        columns = ", ".join([*places, *(f"p{place}" for place in range(len(self.facts["parents"])))])
        with self._store.reading() as cursor:
            cursor.execute(f"SELECT {columns} FROM {self._rows} ORDER BY file_row_number")
            while found := cursor.fetchmany(size):
                for row in found:
                    yield list(row)


def _parents(nodes: dict[str, Node], above: str = "") -> list[tuple[str, str, int]]:
    """Path, object and place of the id of each parent a query reads: `("Account.Owner", "User", 3)`."""
    found = []
    for key, node in nodes.items():
        if isinstance(node, Parent):
            found.append((above + key, node.type_name, node.id_index))
            found += _parents(node.nodes, f"{above}{key}.")
    return found


def csv_text(each: Expression) -> str:
    """SQL: a value as bulk query results print it; numbers are plain decimals, datetimes end in Z."""
    if each.type == "datetime":
        return f"coalesce(strftime({each.sql}, '%Y-%m-%dT%H:%M:%S.%gZ'), '')"
    text = f"CAST({each.sql} AS VARCHAR)"
    if each.type in NUMBER_TYPES:
        text = f"CASE WHEN contains({text}, '.') THEN rtrim(rtrim({text}, '0'), '.') ELSE {text} END"
    return f"coalesce({text}, '')"


def compile_bulk(org: Org, document: dict[str, Any], text: str) -> Query:
    """Compile the SOQL of a bulk query as its user sees the org; `document` tells operation and createdById.

    Raises SalesforceError for SOQL that cannot be, or not here.
    """
    deleted_too = document["operation"] == "queryAll"
    compiled = compile_query(
        seen_schema(org, document), text, org.clock.now(), deleted_too=deleted_too, user_id=document["createdById"]
    )
    if refusal := compiled.bulk_refusal():
        raise SalesforceError(400, "FUNCTIONALITY_NOT_ENABLED", refusal)
    return compiled
