"""How the rows of a batch and the results of a Salesforce job find each other."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from syncs.engine.echo import content, content_hashes
from syncs.engine.plan import Plan, PlannedBatch, PlannedColumn
from syncs.engine.sql import identifier, parquet
from syncs.engine.transform import joined_key, normalised_key

INSERTED, UPDATED, DELETED, GONE, FAILED = "inserted", "updated", "deleted", "already_gone", "failed"
# Brought back from the recycle bin.
RESTORED = "restored"
# No outcome, but what Salesforce says of rows of a job that ended before it came to them.
UNPROCESSED = "unprocessed"
# It was sent, and nobody can say what became of it.
UNKNOWN = "unknown"

OUTCOME_SCHEMA = pa.schema(
    [
        ("_row", pa.int64()),
        ("_seq", pa.int64()),
        ("nkey", pa.string()),
        ("key", pa.string()),
        ("action", pa.string()),
        ("batch", pa.int32()),
        ("outcome", pa.string()),
        ("record_id", pa.string()),
        ("error", pa.string()),
    ]
)

# Relations that whoever asks a matcher for a query has to register, each to be read once: the three results.
SUCCESSES, FAILURES, RETURNED = "successes", "failures", "returned"

# A delete that Salesforce answers with this came too late, and what was wanted is so (SOAP API guide, "StatusCode").
_ALREADY_GONE = "ENTITY_IS_DELETED"


class Matcher(abc.ABC):
    """The queries that join the rows of one attempt to its results.

    sent: Parquet with `_seq` of the rows that the attempt sent; None for all rows of the batch.
    """

    def __init__(self, plan: Plan, batch: PlannedBatch, sent: Path | None) -> None:
        self.plan, self.batch, self.sent = plan, batch, sent

    @abc.abstractmethod
    def columns(self) -> list[str]:
        """The columns of results by which rows are found."""

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:  # noqa: B027 - most need nothing
        """Make what `outcomes` needs."""

    @abc.abstractmethod
    def outcomes(self) -> str:
        """A query for the lines of the outcome file."""

    def _results(self, identity: str, identified: Callable[[str], str] = "SELECT * FROM {}".format) -> str:
        """A query for all results: the columns that `identity` gives, `outcome`, `r_id`, `error`.

        identified: makes a query for a relation of results that has what `identity` needs.
        """
        match self.batch.operation:
            case "upsert":
                done = f"CASE WHEN lower(sf__Created) = 'true' THEN '{INSERTED}' ELSE '{UPDATED}' END"
            case "insert":
                done = f"'{INSERTED}'"
            case "update":
                done = f"'{UPDATED}'"
            case "delete":
                done = f"'{DELETED}'"
            case "undelete":
                done = f"'{RESTORED}'"
        refused = f"'{FAILED}'"
        if self.batch.operation == "delete":
            refused = f"CASE WHEN starts_with(sf__Error, '{_ALREADY_GONE}') THEN '{GONE}' ELSE '{FAILED}' END"
        return (
            f"SELECT {identity}, {done} AS outcome, sf__Id AS r_id, NULL AS error "
            f"FROM ({identified(SUCCESSES)}) UNION ALL "
            f"SELECT {identity}, {refused}, sf__Id, sf__Error FROM ({identified(FAILURES)}) UNION ALL "
            f"SELECT {identity}, '{UNPROCESSED}', NULL, NULL FROM ({identified(RETURNED)})"
        )

    def _rows(self, *columns: str) -> str:
        """A FROM item with the plan's lines of the rows that were sent."""
        wanted = ", ".join(("_row", "_seq", "nkey", "key", "action", "batch", "record_id", *columns))
        return f"(SELECT {wanted} FROM {rows_sent(self.plan, self.batch, self.sent)})"


def rows_sent(plan: Plan, batch: PlannedBatch, sent: Path | None) -> str:
    """A FROM item with the plan's lines of a batch; of those in `sent` only, if there is such a file."""
    rows = f"(SELECT * FROM {parquet(plan.rows_file)} WHERE batch = {batch.number})"
    return (
        rows
        if sent is None
        else f"(SELECT * FROM {rows} SEMI JOIN (SELECT _seq AS t FROM {parquet(sent)}) ON t = _seq)"
    )


class _ByIdentity(Matcher):
    """Rows that can be told apart: by their key, or by the id of their record."""

    def columns(self) -> list[str]:
        return ["Id"] if self._by_id else [key.sent_as for key in self.plan.keys]

    def outcomes(self) -> str:
        return (
            "SELECT _row, _seq, nkey, key, action, batch, outcome, coalesce(r_id, record_id) AS record_id, error "
            f"FROM {self._rows()} JOIN ({self._results(self._theirs)}) ON r_identity = {self._ours}"
        )

    @property
    def _by_id(self) -> bool:
        return self.batch.operation in ("update", "delete", "undelete")

    @property
    def _ours(self) -> str:
        """SQL over the plan's lines: what tells rows apart."""
        return "left(record_id, 15)" if self._by_id else "nkey"

    @property
    def _theirs(self) -> str:
        """SQL over results: the same."""
        if self._by_id:
            return 'left("Id", 15) AS r_identity'
        parts = [
            normalised_key(key.family, key.case_sensitive, identifier(key.sent_as), self.plan.time_zone)
            for key in self.plan.keys
        ]
        return f"{joined_key(parts)} AS r_identity"


class _ByPlace(Matcher):
    """Results that name the row themselves: those of calls that answer in the order of their records."""

    def columns(self) -> list[str]:
        return ["_seq"]

    def outcomes(self) -> str:
        results = self._results("_seq::BIGINT AS r_seq")
        return (
            "SELECT _row, _seq, nkey, key, action, batch, outcome, coalesce(r_id, record_id) AS record_id, error "
            f"FROM {self._rows()} JOIN ({results}) ON r_seq = _seq"
        )


class _ByContent(Matcher):
    """Rows without a key: equal ones are interchangeable, and get their results in the order of the source."""

    def columns(self) -> list[str]:
        return [column.sent_as for column in self._sent]

    @property
    def _sent(self) -> list[PlannedColumn]:
        """The columns of an insert: without those that only updates write."""
        return [column for column in self.plan.columns if column.field not in self.plan.only_updated]

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        results = self._results("content_hi, content_lo", self._identified)
        connection.execute(f"CREATE TEMP TABLE results AS {results}").fetchall()
        # Rows that have no equal need no numbers, and most have none.
        equals = (
            f"SELECT content_hi, content_lo FROM {self._rows('content_hi', 'content_lo')} "
            "GROUP BY ALL HAVING count(*) > 1 UNION "
            "SELECT content_hi, content_lo FROM results GROUP BY ALL HAVING count(*) > 1"
        )
        equals = f"SELECT content_hi AS e_hi, content_lo AS e_lo FROM ({equals})"
        connection.execute(f"CREATE TEMP TABLE equals AS {equals}").fetchall()

    def outcomes(self) -> str:
        ours, theirs = self._rows("content_hi", "content_lo"), "results"
        columns = "_row, _seq, nkey, key, action, batch, outcome, r_id AS record_id, error"
        renamed = "SELECT content_hi AS r_hi, content_lo AS r_lo, outcome, r_id, error"
        alone = (
            f"SELECT {columns} FROM (SELECT * FROM {ours} ANTI JOIN equals ON {_same('e')}) "
            f"JOIN ({renamed} FROM {theirs}) ON {_same('r')}"
        )
        numbered = (
            "SELECT *, row_number() OVER (PARTITION BY content_hi, content_lo ORDER BY _seq) AS number "
            f"FROM (SELECT * FROM {ours} SEMI JOIN equals ON {_same('e')})"
        )
        # What Salesforce did comes before what it left undone.
        done_first = f"outcome = '{UNPROCESSED}', outcome DESC, r_id"
        ranked = (
            f"{renamed}, row_number() OVER (PARTITION BY content_hi, content_lo ORDER BY {done_first}) AS place "
            f"FROM (SELECT * FROM {theirs} SEMI JOIN equals ON {_same('e')})"
        )
        return (
            f"{alone} UNION ALL SELECT {columns} FROM ({numbered}) JOIN ({ranked}) ON {_same('r')} AND place = number"
        )

    def _identified(self, relation: str) -> str:
        """A query for the columns of results, and the hashes of each row's content."""
        columns = [(column.family, identifier(column.sent_as)) for column in self._sent]
        row = content(columns, self.plan.time_zone)
        return f"SELECT *, {content_hashes('_content')} FROM (SELECT *, {row} AS _content FROM {relation})"


def _same(prefix: str) -> str:
    """SQL condition: the content is that of the other side, whose columns carry this prefix."""
    return f"{prefix}_hi = content_hi AND {prefix}_lo = content_lo"


def matcher_of(plan: Plan, batch: PlannedBatch, sent: Path | None, columns: Sequence[str]) -> Matcher:
    """How rows find their results. sent: as for a Matcher. columns: of the results."""
    if "_seq" in columns:
        return _ByPlace(plan, batch, sent)
    if not plan.key_fields and batch.operation == "insert":
        return _ByContent(plan, batch, sent)
    return _ByIdentity(plan, batch, sent)
