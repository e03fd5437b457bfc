"""The rows of one upload on their way into the org: a whole 2.0 job, or one batch of a 1.0 job.

Rows are staged as text and written step by step by `sandbox.rows.write`, which is the one place that writes records.
Who owns the load saves its progress (`facts`) in the same transaction.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import duckdb

from sandbox.bulk import staging
from sandbox.bulk.staging import InvalidBatch, Upload
from sandbox.events.publish import publish
from sandbox.org import Org
from sandbox.rows import rules
from sandbox.rows.relations import ColumnError, Columns, resolve_columns
from sandbox.rows.rules import literal, name
from sandbox.rows.write import BULK_NULL, DELETES, Write, WriteOptions, apply_rows, new_write
from sandbox.schema import Field, ObjectType, Schema


class Load:
    """`document` names object, operation, externalIdFieldName and createdById; `facts` is the progress.

    The facts: `header` (names as written), `total` (rows), `done` (rows written or refused) and `errors`, by status
    code how often it came up and one sample.
    """

    def __init__(self, org: Org, upload: Upload, document: dict[str, Any], facts: dict[str, Any]) -> None:
        self.org = org
        self.upload = upload
        self.document = document
        self.facts = facts
        self.write: Write | None = None
        # The platform event that the rows are, where they are no records.
        self.event: ObjectType | None = None

    @property
    def _columns(self) -> list[str]:
        return [f"c{place}" for place in range(len(self.facts["header"]))]

    def is_staged(self) -> bool:
        sql = "SELECT 1 FROM duckdb_tables() WHERE table_name = ?"
        return "total" in self.facts and bool(self.org.store.rows(sql, [self.upload.table]))

    def parse(self) -> None:
        """Check the header and stage all rows.

        Raises InvalidBatch.
        """
        if not self.upload.path.exists():
            raise InvalidBatch("InvalidBatch : Records not found: the job was closed without an upload")
        self.facts["header"] = staging.read_header(self.upload)
        self._resolve()
        self.facts["total"] = staging.stage(self.org.store, self.upload, len(self.facts["header"]))

    def prepare(self) -> None:
        """Make ready to write, with the keys that stand more than once in the upload set aside.

        Raises InvalidBatch.
        """
        target, columns = self._resolve()
        if self.org.schema.event_named(target.name):
            self.event = target
            return
        operation = self.document["operation"]
        key = target.field_named(self.document["externalIdFieldName"] or "") if operation == "upsert" else None
        duplicates = None
        if key and key.name != "Id":
            column = next((column for column, each in columns.fields if each is key), None)
            if column is None:
                raise InvalidBatch(f"InvalidBatch : Field name not found : {key.name}")
            duplicates = name(f"{self.upload.table}_keys")
            self._collect_duplicates(column, key, duplicates)
        # Bulk runs an assignment rule only when the job names one.
        options = WriteOptions(
            assignment=self.document["assignmentRuleId"],
            origin=f"com/salesforce/api/bulk/{self.document['apiVersion']}",
        )
        user_id = self.document["createdById"]
        self.write = new_write(
            self.org, target, operation, columns, user_id, key=key, duplicates=duplicates, options=options
        )

    def _resolve(self) -> tuple[ObjectType, Columns]:
        """The object and what each column means."""
        schema = seen_schema(self.org, self.document)
        target = schema.object_named(self.document["object"]) or schema.event_named(self.document["object"])
        if target is None:
            name_given = self.document["object"]
            raise InvalidBatch(f"InvalidEntity : Entity '{name_given}' is not supported by the Bulk API.")
        titles = staging.titles(self.facts["header"], self.upload.delimiter)
        try:
            columns = resolve_columns(schema, target, titles)
        except ColumnError as error:
            raise InvalidBatch(f"InvalidBatch : {error}") from None
        if self.document["operation"] in DELETES and [each.name for _, each in columns.fields] != ["Id"]:
            raise InvalidBatch("InvalidBatch : Field name not found : a delete takes the column Id and no other")
        return target, columns

    def _collect_duplicates(self, column: str, key: Field, table: str) -> None:
        text = rules.cell_text(column, BULK_NULL)
        value = rules.key_form(key, "v")
        with self.org.store.writing() as cursor:
            cursor.execute(
                f"CREATE OR REPLACE TABLE {table} AS SELECT k FROM (SELECT {value} AS k FROM (SELECT"
                f" {rules.typed_value(key, 't')} AS v FROM (SELECT {text} AS t FROM {name(self.upload.table)})))"
                " WHERE k IS NOT NULL GROUP BY k HAVING count(*) > 1"
            )

    def source(self, start: int, end: int) -> str:
        """SQL: the staged rows from `start` to before `end`, each with its number n."""
        columns = ", ".join(self._columns)
        return f"SELECT rowid AS n, {columns} FROM {name(self.upload.table)} WHERE rowid >= {start} AND rowid < {end}"

    def apply(self, cursor: duckdb.DuckDBPyConnection, start: int, end: int, batch: str) -> tuple[int, int]:
        """Write rows in the transaction of `cursor`; how many there were, and how many of them were refused.

        `batch` names who holds the row locks.
        """
        if self.event is not None:
            self._publish(cursor, self.event, start, end)
        else:
            assert self.write is not None
            apply_rows(self.org.store, cursor, dataclasses.replace(self.write, batch=batch), self.source(start, end))
        found = cursor.execute("SELECT count(*), count(error) FROM outcome").fetchone()
        rows, failed = found or (0, 0)
        if failed:
            self._count_errors(cursor)
        self.facts["done"] = end
        return rows, failed

    def _publish(self, cursor: duckdb.DuckDBPyConnection, event: ObjectType, start: int, end: int) -> None:
        """Publish rows as platform events, and make `outcome` as a write does."""
        user = self.org.users.with_id(self.document["createdById"])
        if user is None:
            raise InvalidBatch("InvalidUser : The user who made the job is gone")
        _, columns = self._resolve()
        names = [each.name for _, each in columns.fields]
        rows = cursor.execute(f"{self.source(start, end)} ORDER BY n").fetchall()
        given = [{key: text for key, text in zip(names, row[1:], strict=True) if text is not None} for row in rows]
        cells = [{key: None if text == BULK_NULL else text for key, text in row.items()} for row in given]
        done = publish(self.org, user, event, cells)
        cursor.execute(
            "CREATE OR REPLACE TEMP TABLE outcome AS SELECT unnest(?::BIGINT[]) AS n, unnest(?::VARCHAR[]) AS id,"
            " true AS created, unnest(?::VARCHAR[]) AS error",
            [[row[0] for row in rows], [each.id for each in done], [each.error for each in done]],
        )

    def _count_errors(self, cursor: duckdb.DuckDBPyConnection) -> None:
        found = cursor.execute(
            "SELECT split_part(error, ':', 1), count(*), min(error) FROM outcome WHERE error IS NOT NULL GROUP BY 1"
        )
        errors = self.facts.setdefault("errors", {})
        for code, count, sample in found.fetchall():
            known = errors.setdefault(code, {"count": 0, "sample": sample})
            known["count"] += count

    def copy_rest(self, file: Path) -> None:
        """Write the staged rows the load never came to into a CSV file."""
        if self.facts["done"] >= self.facts["total"]:
            return
        cells = ", ".join(f"coalesce({each}, '') AS {each}" for each in self._columns)
        with self.org.store.reading() as cursor:
            sql = f"SELECT {cells} FROM {name(self.upload.table)} WHERE rowid >= {self.facts['done']} ORDER BY rowid"
            copy_csv(cursor, sql, file, self.upload.delimiter)

    def drop(self) -> None:
        """Forget the staged rows and the upload."""
        with self.org.store.writing() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {name(self.upload.table)}")
            cursor.execute(f"DROP TABLE IF EXISTS {name(f'{self.upload.table}_keys')}")
        self.upload.path.unlink(missing_ok=True)


def seen_schema(org: Org, document: dict[str, Any]) -> Schema:
    """The schema as the user sees it who made a job."""
    user = org.users.with_id(document["createdById"])
    return org.permissions.schema_of(user) if user else org.schema


def copy_csv(cursor: duckdb.DuckDBPyConnection, sql: str, file: Path, delimiter: str) -> None:
    """Write the rows of a query as CSV with all values quoted and no header."""
    cursor.execute(
        f"COPY ({sql}) TO {literal(str(file))} (FORMAT csv, HEADER false, FORCE_QUOTE *, DELIM {literal(delimiter)})"
    )
