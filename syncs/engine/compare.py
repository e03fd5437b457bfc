"""Staged rows against the snapshot and what was read from Salesforce: the plan, and the files that are sent."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from connections.salesforce.describe import ObjectDescribe
from syncs.engine.decide import DUPLICATES, EXISTING, SHARED, Decision, Known, operation_of
from syncs.engine.dropped import any_dropped, any_new_key, deletes_query, dropped_query
from syncs.engine.encode import BatchWriter
from syncs.engine.files import TableWriter, stream, write_query
from syncs.engine.plan import Guard, Plan, PlannedColumn
from syncs.engine.rejects import write_errors
from syncs.engine.sql import parquet
from syncs.engine.stage import Staged
from syncs.engine.transform import MASK_BITS, Transform, bit_of, joined_key, normalised_key
from syncs.engine.workspace import Workspace
from syncs.spec import SyncSpec

_NAMED_ROWS = 10
_CANDIDATES = pa.schema([("_row", pa.int64()), ("nkey_hash", pa.uint64())])
# Fewer dropped records than this never need an approval for being a large share of a small table.
_GUARD_FLOOR = 10


def keys_to_read(
    workspace: Workspace, spec: SyncSpec, describe: ObjectDescribe, staged: Staged, snapshot: Path | None, to: Path
) -> int:
    """Write the keys whose record ids must be read from Salesforce before `plan`; return how many there are.

    snapshot: the file of the last one, or None. to: Parquet with `k_<i>`, the key's i-th field as Salesforce is asked
    for it.
    """
    transform = Transform.of(spec, describe, staged.columns, has_filter=staged.has_filter)
    parts = ", ".join(f"k_{place}" for place in range(max(1, len(transform.keys))))
    with workspace.connect() as connection:
        queries = _reads(connection, spec, transform, staged, snapshot)
        union = " UNION ALL ".join(queries) or "SELECT NULL::VARCHAR AS k_0 WHERE false"
        return write_query(connection, f"SELECT {parts} FROM ({union}) WHERE k_0 IS NOT NULL", to)


def _reads(
    connection: duckdb.DuckDBPyConnection, spec: SyncSpec, transform: Transform, staged: Staged, snapshot: Path | None
) -> list[str]:
    """Queries for the keys to read, each with the columns k_<i>."""
    if not transform.keys:
        return []
    condition = _condition_to_read(spec, transform)
    places = range(len(transform.keys))
    parts = ", ".join(f"k_{place}" for place in places)
    each = ", ".join(f"any_value(k_{place}) AS k_{place}" for place in places)
    # The keys of the snapshot; of several fields, it knows each as Salesforce compares it.
    split = ", ".join(f"split_part(nkey, chr(31), {place + 1}) AS k_{place}" for place in places)
    known_parts = "key AS k_0" if len(places) == 1 else split
    keys = (
        f"(SELECT nkey, {each} FROM ({transform.key_query(parquet(staged.path))}) WHERE nkey IS NOT NULL GROUP BY nkey)"
    )
    queries = []
    if condition is not None and snapshot is None:
        queries.append(f"SELECT {parts} FROM {keys} WHERE {condition('NULL', 'NULL')}")
    if condition is not None and snapshot is not None:
        known = f"(SELECT nkey AS s_nkey, id AS s_id, state AS s_state FROM {parquet(snapshot)})"
        queries.append(
            f"SELECT {parts} FROM {keys} LEFT JOIN {known} ON s_nkey = nkey WHERE {condition('s_id', 's_state')}"
        )
    if spec.mode == "mirror" and snapshot is not None:
        # A key that is new beside one that is gone may be the same record's, renamed in Salesforce as in the source.
        every_key = transform.key_query(parquet(staged.path))
        renamed = any_dropped(connection, every_key, snapshot) and any_new_key(connection, every_key, snapshot)
        wanted = f"(SELECT nkey, key FROM {parquet(snapshot)} WHERE {'true' if renamed else 'id IS NULL'})"
        queries.append(f"SELECT {known_parts} FROM {wanted} ANTI JOIN (SELECT nkey AS k FROM {keys}) ON k = nkey")
    return queries


def key_is_unique(transform: Transform) -> bool:
    """Salesforce itself keeps two records from having the same key."""
    return len(transform.keys) == 1 and (transform.keys[0].field.unique or transform.keys[0].field.name == "Id")


def found_key(transform: Transform) -> str:
    """SQL over the records read from Salesforce: their key, as Salesforce compares it."""
    return joined_key(
        [
            normalised_key(line.family, line.field.case_sensitive, f"k_{place}", transform.time_zone)
            for place, line in enumerate(transform.keys)
        ]
    )


def _condition_to_read(spec: SyncSpec, transform: Transform) -> Callable[[str, str], str] | None:
    """Which rows of the source have to be looked up: SQL from the snapshot's id and state, or None for no row."""
    if spec.mode == "update":
        return lambda record_id, state: f"{record_id} IS NULL"
    if spec.compare == "nothing":
        return None
    if spec.mode == "insert":
        return lambda record_id, state: f"{state} IS DISTINCT FROM 'present'"
    if not key_is_unique(transform):
        # Where Salesforce does not watch over the key, a row whose fate is unknown could become a second record.
        return lambda record_id, state: f"{state} = 'maybe'"
    return None


def plan(
    workspace: Workspace,
    spec: SyncSpec,
    describe: ObjectDescribe,
    staged: Staged,
    snapshot: Path | None,
    existing: Path | None,
    folder: Path,
    prefix: str,
    *,
    short: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Plan:
    """Decide what becomes of every row, and write the files that are sent.

    spec: one that `problems` found nothing wrong with. snapshot: the file of the last one, or None.
    existing: Parquet (`id` and `k_<i>`, the key's i-th field as Salesforce returns it), what was read for the keys of
    `keys_to_read`, or None.
    folder, prefix: files are called <folder>/<prefix>-<name>; the prefix is new in each attempt.
    short: the source is known to be incomplete, so nothing is deleted.
    progress: called with the number of rows planned so far.
    Raises `DiskFull`, `Interrupted`, `OutOfMemory`.
    """
    planner = _Planner(workspace, spec, describe, staged, snapshot, folder, prefix)
    with workspace.connect(ordered=True) as connection:
        planner.prepare(connection, existing)
        planner.write(connection, short, progress)
        write_errors(connection, planner.decision, staged, planner.rows_file, planner.errors_file)
    return planner.manifest()


class _Planner:
    """The state of one call of `plan`."""

    def __init__(
        self,
        workspace: Workspace,
        spec: SyncSpec,
        describe: ObjectDescribe,
        staged: Staged,
        snapshot: Path | None,
        folder: Path,
        prefix: str,
    ) -> None:
        self._workspace, self._spec, self._describe, self._staged = workspace, spec, describe, staged
        self._transform = Transform.of(spec, describe, staged.columns, has_filter=staged.has_filter)
        self._source = parquet(staged.path)
        self.decision = Decision(spec, self._transform, None, duplicates=False, existing=False)
        self._fields = tuple(self._transform.lines[index].field.name for index in self.decision.hashed)
        # With compare = nothing the snapshot only tells record ids, where those are needed.
        if snapshot is not None and (spec.compare == "snapshot" or spec.mode == "update"):
            self.decision = dataclasses.replace(self.decision, known=Known.of(snapshot, self._fields))
        self.rows_file = folder / f"{prefix}-plan.parquet"
        self.errors_file = folder / f"{prefix}-plan-errors.parquet"
        self._payloads = BatchWriter(folder, prefix, max_rows=spec.batch_rows, max_bytes=spec.batch_bytes)
        self._actions: dict[str, int] = {}
        self._dropped: dict[str, int] = {}
        self._rounded: dict[str, int] = {}
        self._known = self._unread = self._deletes = self._fingerprint = 0
        self._withheld_reason = ""
        self._read = False

    def prepare(self, connection: duckdb.DuckDBPyConnection, existing: Path | None) -> None:
        """Make the tables of duplicate keys and of records read from Salesforce, and count the known records."""
        if not self._transform.keys:
            return
        # Hashes find the few keys worth a second look, at a fraction of the memory of the keys themselves.
        keys = self._transform.key_query(self._source)
        suspects = f"(SELECT hash(nkey) AS h FROM ({keys}) WHERE nkey IS NOT NULL GROUP BY h HAVING count(*) > 1)"
        connection.execute(
            f"CREATE TEMP TABLE {DUPLICATES} AS "
            f"SELECT nkey, count(*) AS n, min(_row, {_NAMED_ROWS}) AS first_rows "
            f"FROM (SELECT * FROM ({keys}) SEMI JOIN {suspects} ON h = hash(nkey)) GROUP BY nkey HAVING count(*) > 1"
        )
        self._read = existing is not None
        if existing is not None:
            nkey = found_key(self._transform)
            connection.execute(
                f"CREATE TEMP TABLE {EXISTING} AS SELECT nkey, count(DISTINCT id) AS n, min(id) AS id, "
                f"list_slice(list_sort(list(DISTINCT id)), 1, {_NAMED_ROWS}) AS ids "
                f"FROM (SELECT {nkey} AS nkey, id FROM {parquet(existing)}) WHERE nkey IS NOT NULL GROUP BY nkey"
            )
        if self.decision.known is not None:
            self._known = _count(connection, f"SELECT count(*) FROM {parquet(self.decision.known.path)}")
        self.decision = dataclasses.replace(
            self.decision,
            duplicates=_count(connection, f"SELECT count(*) FROM {DUPLICATES}") > 0,
            existing=existing is not None and _count(connection, f"SELECT count(*) FROM {EXISTING}") > 0,
        )
        if self._spec.mode == "update":
            # Salesforce itself tells rows apart in the other modes.
            shared = self.decision.shared_records(self._source, _NAMED_ROWS)
            connection.execute(f"CREATE TEMP TABLE {SHARED} AS {shared}")
            found = _count(connection, f"SELECT count(*) FROM {SHARED}") > 0
            self.decision = dataclasses.replace(self.decision, shared=found)

    def write(self, connection: duckdb.DuckDBPyConnection, short: bool, progress: Callable[[int], None] | None) -> None:
        """Write the rows of the plan and the payloads, first of the source's rows, then of dropped records."""
        schema = self._schema()
        candidates = self._workspace.scratch / f"candidates-{uuid.uuid4().hex}.parquet"
        with (
            TableWriter(self.rows_file, schema, plain=_hash_names(schema)) as writer,
            contextlib.ExitStack() as stack,
        ):
            source = self._source
            if self.decision.looks_first:
                stack.callback(candidates.unlink, missing_ok=True)
                source = self._look_first(connection, candidates, writer, progress)
            for table in _tables(stream(connection, self.decision.query(source))):
                self._workspace.check()
                if not self.decision.looks_first:
                    self._look_at(table)
                writer.add(self._planned(table, schema))
                if progress is not None:
                    progress(writer.rows)
            self._withheld_reason = self._why_withheld(short)
            if self.decision.known is not None and self._spec.compare == "snapshot":
                for table in _tables(stream(connection, self._dropped_query(connection))):
                    self._workspace.check()
                    writer.add(self._planned_dropped(table, schema))
            writer.finish()
        self._batches = self._payloads.close()

    def _look_first(
        self,
        connection: duckdb.DuckDBPyConnection,
        candidates: Path,
        writer: TableWriter,
        progress: Callable[[int], None] | None,
    ) -> str:
        """Plan the rows that are in Salesforce already; return a FROM item with the others.

        Most rows of most jobs are such, and need to be neither kept beside the snapshot nor written as CSV.
        """
        seen = 0
        with TableWriter(candidates, _CANDIDATES) as others:
            for table in _tables(stream(connection, self.decision.first_look(self._source))):
                self._workspace.check()
                self._look_at(table)
                same = table.filter(table.column("same"))
                if same.num_rows:
                    writer.add(self._planned_untouched(same))
                if same.num_rows < table.num_rows:
                    others.add(table.filter(pc.invert(table.column("same"))).select(_CANDIDATES.names))
                seen += table.num_rows
                if progress is not None:
                    progress(seen)
            others.finish()
        if others.rows == seen:
            return self._source
        assert self.decision.known is not None
        self.decision = dataclasses.replace(
            self.decision, known=dataclasses.replace(self.decision.known, only=candidates)
        )
        wanted = f"(SELECT _row AS c_row FROM {parquet(candidates)})"
        return f"(SELECT * FROM {self._source} SEMI JOIN {wanted} ON c_row = _row)"

    def _planned_untouched(self, table: pa.Table) -> pa.Table:
        """The plan's lines for rows that are in Salesforce already."""
        action = self.decision.untouched
        self._actions[action] = self._actions.get(action, 0) + table.num_rows
        self._fingerprint += pc.sum(table.column("fingerprint")).as_py()
        actions = pa.repeat(pa.scalar(action), table.num_rows)
        table = table.append_column("action", actions).append_column("_seq", table.column("_row"))
        return _filled_up(table, self._schema())

    def manifest(self) -> Plan:
        """The plan, once everything is written."""
        columns = tuple(
            PlannedColumn(line.field.name, line.sent_as, line.family, line.field.case_sensitive)
            for line in self._transform.lines
        )
        counts = self._counts()
        return Plan(
            rows_file=self.rows_file,
            errors_file=self.errors_file,
            object=self._describe.name,
            key_fields=tuple(line.field.name for line in self._transform.keys),
            time_zone=self._spec.time_zone,
            columns=columns,
            fields=self._fields,
            batches=self._batches,
            counts=counts,
            trimmed=self._trimmed(),
            rounded=self._rounded,
            known=self._known,
            unread_keys=self._unread + len(self._staged.malformed),
            guard=self._guard(),
            withheld_reason=self._withheld_reason if counts["withheld"] else "",
            fingerprint=self._signature(),
        )

    def _schema(self) -> pa.Schema:
        names = ["action", "nkey", "key", "record_id"]
        hashes = [("row_hash", pa.uint64()), *((f"h_{i}", pa.uint32()) for i in range(len(self._fields)))]
        if not self._transform.keys:
            hashes += [("content_hi", pa.uint64()), ("content_lo", pa.uint64())]
        masks = [(f"bad_{m}", pa.int64()) for m in range(self._transform.masks)]
        numbers = [("_row", pa.int64()), ("_seq", pa.int64())]
        return pa.schema([*numbers, *((name, pa.string()) for name in names), ("batch", pa.int32()), *hashes, *masks])

    def _planned(self, table: pa.Table, schema: pa.Schema) -> pa.Table:
        """The plan's lines for decided rows of the source, whose payload is written on the way."""
        operation = operation_of(self._spec)
        _add_up(self._actions, table.column("action"))
        self._fingerprint += pc.sum(table.column("fingerprint")).as_py()
        sent = pc.equal(table.column("action"), operation)
        batch: pa.Array | pa.ChunkedArray = pa.nulls(table.num_rows, pa.int32())
        rows = pc.sum(sent).as_py()
        if rows == table.num_rows:
            batch = self._payloads.write(operation, self._payload(table))
        elif rows:
            numbers = self._payloads.write(operation, self._payload(table.filter(sent)))
            batch = pc.replace_with_mask(batch, sent.combine_chunks(), numbers.combine_chunks())
        table = table.append_column("_seq", table.column("_row")).append_column("batch", batch)
        return table.select(schema.names).cast(schema)

    def _payload(self, table: pa.Table) -> pa.Table:
        """The columns of the CSV for rows that are sent, under their API names."""
        operation = operation_of(self._spec)
        names, arrays = [], []
        if operation == "update":
            names.append("Id")
            arrays.append(table.column("record_id"))
        for line in self._transform.lines:
            # In an update the key has found the record; to write it again could only change its case.
            if operation != "update" or line not in self._transform.keys:
                names.append(line.sent_as)
                arrays.append(table.column(f"p_{line.index}"))
        return pa.Table.from_arrays(arrays, names=names)

    def _look_at(self, table: pa.Table) -> None:
        """Count the rows whose key could not be read, and the cells that were rounded."""
        self._unread += table.column("nkey").null_count if self._transform.keys else 0
        for number in range(self._transform.masks):
            mask = table.column(f"rounded_{number}")
            if not pc.max(mask).as_py():
                continue
            for line in self._transform.lines:
                bit = bit_of(line)
                if line.index // MASK_BITS != number or line.family != "number":
                    continue
                cells = pc.sum(pc.not_equal(pc.bit_wise_and(mask, bit), 0)).as_py()
                if cells:
                    self._rounded[line.field.name] = self._rounded.get(line.field.name, 0) + cells

    def _dropped_query(self, connection: duckdb.DuckDBPyConnection) -> str:
        """A query for known records whose key is in no row of the source, not even in a rejected one."""
        assert self.decision.known is not None
        keys, snapshot = self._transform.key_query(self._source), self.decision.known.path
        if self._spec.mode != "mirror" or self._withheld_reason:
            return dropped_query(keys, snapshot, "withheld" if self._spec.mode == "mirror" else "ignored")
        # The same question as in `keys_to_read`: with a new key in the source, all dropped keys were read.
        dropped_read = self._read and any_new_key(connection, keys, snapshot)
        return deletes_query(connection, keys, snapshot, any_read=self._read, dropped_read=dropped_read)

    def _planned_dropped(self, table: pa.Table, schema: pa.Schema) -> pa.Table:
        """The plan's lines for dropped records; those whose id is known go into a payload of deletes."""
        _add_up(self._dropped, table.column("action"))
        self._fingerprint += pc.sum(table.column("fingerprint")).as_py()
        sent = pc.and_(pc.equal(table.column("action"), "delete"), pc.is_valid(table.column("record_id")))
        batch: pa.Array = pa.nulls(table.num_rows, pa.int32())
        if pc.any(sent).as_py():
            ids = table.filter(sent).select(["record_id"]).rename_columns(["Id"])
            numbers = self._payloads.write("delete", ids)
            self._deletes += ids.num_rows
            batch = pc.replace_with_mask(batch, sent.combine_chunks(), numbers.combine_chunks())
        return _filled_up(table.append_column("batch", batch), schema)

    def _why_withheld(self, short: bool) -> str:
        unread = self._unread + len(self._staged.malformed)
        if short:
            return "The source is known to be incomplete, so no record is deleted for being missing in it."
        if not self._staged.rows:
            return "The source came empty, so no record is deleted for being missing in it."
        if unread:
            return (
                f"The key of {unread:,} row{'' if unread == 1 else 's'} could not be read, so it is not known which "
                "records left the source, and none is deleted. Correct those rows."
            )
        return ""

    def _guard(self) -> Guard:
        share = 100 * self._deletes / self._known if self._known else 0.0
        many = self._deletes > self._spec.guard_rows
        large = self._deletes >= _GUARD_FLOOR and share > self._spec.guard_percent
        reason = ""
        if many or large:
            limit = f"{self._spec.guard_rows:,} records" if many else f"{self._spec.guard_percent} %"
            reason = (
                f"This job would delete {self._deletes:,} of {self._known:,} known records ({share:.1f} %), "
                f"which is more than {limit}."
            )
        return Guard(self._deletes, self._known, bool(reason), reason)

    def _counts(self) -> dict[str, int]:
        names = ("rejected", "unchanged", "ignored", "insert", "update", "upsert")
        counts = {name: self._actions.get(name, 0) for name in names}
        malformed = len(self._staged.malformed)
        return {
            "read": self._staged.rows + malformed,
            "malformed": malformed,
            **counts,
            "dropped": sum(self._dropped.values()),
            "delete": self._dropped.get("delete", 0),
            "dropped_ignored": self._dropped.get("ignored", 0),
            "withheld": self._dropped.get("withheld", 0),
        }

    def _trimmed(self) -> dict[str, int]:
        cells = self._staged.trimmed
        return {
            line.field.name: cells[line.mapping.source_column]
            for line in self._transform.lines
            if line.mapping.source_column in cells
        }

    def _signature(self) -> str:
        parts: list[object] = [self._describe.name, [line.field.name for line in self._transform.lines], self._counts()]
        parts.append(f"{self._fingerprint % (1 << 64):016x}")
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _filled_up(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns of the schema; those that it lacks are null."""
    for name in schema.names:
        if name not in table.schema.names:
            table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
    return table.select(schema.names).cast(schema)


def _tables(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    with contextlib.closing(reader):
        for batch in reader:
            yield pa.Table.from_batches([batch])


def _add_up(counts: dict[str, int], actions: pa.ChunkedArray) -> None:
    for entry in pc.value_counts(actions):
        name = entry["values"].as_py()
        counts[name] = counts.get(name, 0) + entry["counts"].as_py()


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    # Fetching all of it ends the result; an unfinished one would block the connection.
    [(number,)] = connection.execute(query).fetchall()
    return int(number)


def _hash_names(schema: pa.Schema) -> tuple[str, ...]:
    return tuple(name for name in schema.names if schema.field(name).type in (pa.uint32(), pa.uint64()))
