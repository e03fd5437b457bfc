"""How the rows of a batch and the results of a Salesforce job find each other."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from syncs.engine.echo import content, content_hashes
from syncs.engine.plan import Plan, PlannedBatch
from syncs.engine.results import rows_of
from syncs.engine.sql import identifier, parquet
from syncs.engine.transform import joined_key, normalised_key

INSERTED, UPDATED, DELETED, GONE, FAILED = "inserted", "updated", "deleted", "already_gone", "failed"
# No outcome, but what Salesforce says of rows of a job that ended before it came to them.
UNPROCESSED = "unprocessed"

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

# Relations that whoever asks a matcher for a query has to register, each to be read once: the three results of a
# Salesforce job, or the payload that rows are taken from.
SUCCESSES, FAILURES, RETURNED, PAYLOAD = "successes", "failures", "returned", "payload"
RESENT = "resent"

# A delete that Salesforce answers with this came too late, and what was wanted is so (SOAP API guide, "StatusCode").
_ALREADY_GONE = "ENTITY_IS_DELETED"

_NOBODY = "SELECT NULL::BIGINT AS s WHERE false"


class Matcher(abc.ABC):
    """The queries that join one batch of a plan to results and payloads."""

    def __init__(self, plan: Plan, batch: PlannedBatch) -> None:
        self.plan, self.batch = plan, batch

    @abc.abstractmethod
    def columns(self) -> list[str]:
        """The columns of payloads and results by which rows are found."""

    @abc.abstractmethod
    def prepare(self, connection: duckdb.DuckDBPyConnection, resent: Path | None) -> int:
        """Make what `outcomes` needs; return how many rows the attempt sent.

        resent: the payload, when it is not the batch's own.
        """

    @abc.abstractmethod
    def outcomes(self) -> str:
        """A query for the lines of the outcome file."""

    @abc.abstractmethod
    def remaining(self, names: list[str], outcome_files: Sequence[Path], only_unprocessed: bool) -> str:
        """A query for those rows of the payload, with the columns `names`, that are to be sent again."""

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
        """A FROM item with the batch's lines of the plan."""
        wanted = ", ".join(("_row", "_seq", "nkey", "key", "action", "batch", "record_id", *columns))
        return f"(SELECT {wanted} FROM {parquet(self.plan.rows_file)} WHERE batch = {self.batch.number})"

    def _settled(self, outcome_files: Sequence[Path], only_unprocessed: bool) -> str:
        """A query for `s`, the `_seq` of the batch's rows that are not to be sent again."""
        if not outcome_files:
            return f"SELECT _seq AS s FROM {self._rows()}" if only_unprocessed else _NOBODY
        told = parquet(*outcome_files)
        done = f"SELECT _seq AS s FROM {told} WHERE batch = {self.batch.number} AND outcome <> '{UNPROCESSED}'"
        if not only_unprocessed:
            return done
        # Whatever is not known to be unprocessed may have arrived.
        returned = f"SELECT _seq AS u FROM {told} WHERE batch = {self.batch.number} AND outcome = '{UNPROCESSED}'"
        return f"SELECT _seq AS s FROM {self._rows()} ANTI JOIN ({returned}) ON u = _seq UNION ALL {done}"


class _ByIdentity(Matcher):
    """Rows that can be told apart: by their key, or by the id of their record."""

    def columns(self) -> list[str]:
        return ["Id"] if self._by_id else [key.sent_as for key in self.plan.keys]

    def prepare(self, connection: duckdb.DuckDBPyConnection, resent: Path | None) -> int:
        if resent is None:
            return self.batch.rows
        with rows_of(resent, self.columns()) as rows:
            return sum(part.num_rows for part in rows.reader)

    def outcomes(self) -> str:
        return (
            "SELECT _row, _seq, nkey, key, action, batch, outcome, coalesce(r_id, record_id) AS record_id, error "
            f"FROM {self._rows()} JOIN ({self._results(self._theirs)}) ON r_identity = {self._ours}"
        )

    def remaining(self, names: list[str], outcome_files: Sequence[Path], only_unprocessed: bool) -> str:
        settled = self._settled(outcome_files, only_unprocessed)
        done = f"SELECT {self._ours} AS identity FROM {self._rows()} SEMI JOIN ({settled}) ON s = _seq"
        columns = ", ".join(map(identifier, names))
        return (
            f"SELECT {columns} FROM (SELECT {columns}, {self._theirs} FROM {PAYLOAD}) "
            f"ANTI JOIN ({done}) ON identity = r_identity"
        )

    @property
    def _by_id(self) -> bool:
        return self.batch.operation in ("update", "delete")

    @property
    def _ours(self) -> str:
        """SQL over the plan's lines: what tells rows apart."""
        return "left(record_id, 15)" if self._by_id else "nkey"

    @property
    def _theirs(self) -> str:
        """SQL over payloads and results: the same."""
        if self._by_id:
            return 'left("Id", 15) AS r_identity'
        parts = [
            normalised_key(key.family, key.case_sensitive, identifier(key.sent_as), self.plan.time_zone)
            for key in self.plan.keys
        ]
        return f"{joined_key(parts)} AS r_identity"


class _ByContent(Matcher):
    """Rows without a key: equal ones are interchangeable, and are numbered in the order of the source.

    Among equal rows, results go to the first ones of an attempt, and what Salesforce left unprocessed are the last
    ones. So the rows of a later attempt are always the last among their equals, however many there are.
    """

    def columns(self) -> list[str]:
        return [column.sent_as for column in self.plan.columns]

    def prepare(self, connection: duckdb.DuckDBPyConnection, resent: Path | None) -> int:
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
        sent = "SELECT content_hi AS a_hi, content_lo AS a_lo, count(*) AS a_rows FROM {} GROUP BY ALL"
        if resent is None:
            own = f"(SELECT * FROM {self._rows('content_hi', 'content_lo')} SEMI JOIN equals ON {_same('e')})"
            connection.execute(f"CREATE TEMP TABLE attempt AS {sent.format(own)}").fetchall()
            return self.batch.rows
        with rows_of(resent, self.columns()) as rows:
            connection.register(RESENT, rows.reader)
            connection.execute(
                f"CREATE TEMP TABLE attempt AS {sent.format(f'({self._identified(RESENT)})')}"
            ).fetchall()
            connection.unregister(RESENT)
            return rows.count

    def outcomes(self) -> str:
        ours, theirs = self._rows("content_hi", "content_lo"), "results"
        columns = "_row, _seq, nkey, key, action, batch, outcome, r_id AS record_id, error"
        renamed = "SELECT content_hi AS r_hi, content_lo AS r_lo, outcome, r_id, error"
        alone = (
            f"SELECT {columns} FROM (SELECT * FROM {ours} ANTI JOIN equals ON {_same('e')}) "
            f"JOIN ({renamed} FROM {theirs}) ON {_same('r')}"
        )
        numbered = (
            "SELECT *, row_number() OVER (PARTITION BY content_hi, content_lo ORDER BY _seq) "
            "- count(*) OVER (PARTITION BY content_hi, content_lo) AS number "
            f"FROM (SELECT * FROM {ours} SEMI JOIN equals ON {_same('e')})"
        )
        # Counted from the end of the group, whose last row has number 0.
        returned = f"outcome = '{UNPROCESSED}'"
        rank = f"row_number() OVER (PARTITION BY content_hi, content_lo, {returned} ORDER BY outcome DESC, r_id)"
        place = f"CASE WHEN {returned} THEN 1 - rank ELSE rank - a_rows END"
        ranked = (
            f"SELECT r_hi, r_lo, outcome, r_id, error, {place} AS place "
            f"FROM (SELECT content_hi AS r_hi, content_lo AS r_lo, outcome, r_id, error, {rank} AS rank "
            f"FROM (SELECT * FROM {theirs} SEMI JOIN equals ON {_same('e')})) "
            "JOIN attempt ON a_hi = r_hi AND a_lo = r_lo"
        )
        return (
            f"{alone} UNION ALL SELECT {columns} FROM ({numbered}) JOIN ({ranked}) ON {_same('r')} AND place = number"
        )

    def remaining(self, names: list[str], outcome_files: Sequence[Path], only_unprocessed: bool) -> str:
        wanted = (
            "SELECT content_hi AS w_hi, content_lo AS w_lo, count(*) AS w_rows "
            f"FROM {self._rows('content_hi', 'content_lo')} "
            f"ANTI JOIN ({self._settled(outcome_files, only_unprocessed)}) ON s = _seq GROUP BY ALL"
        )
        columns = ", ".join(map(identifier, names))
        # No API name begins with an underscore.
        numbered = (
            "SELECT *, row_number() OVER (PARTITION BY content_hi, content_lo) AS _number "
            f"FROM ({self._identified(PAYLOAD)})"
        )
        return f"SELECT {columns} FROM ({numbered}) JOIN ({wanted}) ON {_same('w')} WHERE _number <= w_rows"

    def _identified(self, relation: str) -> str:
        """A query for the columns of a payload or of results, and the hashes of each row's content."""
        columns = [(column.family, identifier(column.sent_as)) for column in self.plan.columns]
        row = content(columns, self.plan.time_zone)
        return f"SELECT *, {content_hashes('_content')} FROM (SELECT *, {row} AS _content FROM {relation})"


def _same(prefix: str) -> str:
    """SQL condition: the content is that of the other side, whose columns carry this prefix."""
    return f"{prefix}_hi = content_hi AND {prefix}_lo = content_lo"


def matcher_of(plan: Plan, batch: PlannedBatch) -> Matcher:
    """How rows of this batch are found."""
    if not plan.key_fields and batch.operation == "insert":
        return _ByContent(plan, batch)
    return _ByIdentity(plan, batch)
