"""Staged rows against what is known of Salesforce: the plan, and the files that are sent."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from connections.salesforce.describe import ObjectDescribe
from syncs.engine import conditions
from syncs.engine.decide import ACTIONS, DUPLICATES, EXISTING, SHARED, TARGETS, Decision
from syncs.engine.destination import NAMED_RECORDS, Destination, grouped, keyed, spelled, target_columns
from syncs.engine.dropped import acting_query, any_new_key, dropped_query
from syncs.engine.files import TableWriter, stream, write_query
from syncs.engine.plan import Guard, Operation, Plan, PlannedColumn
from syncs.engine.planned_files import PlannedFiles
from syncs.engine.reads import Columns, key_queries, known_for, outside_query
from syncs.engine.rejects import write_errors
from syncs.engine.sql import literal, parquet
from syncs.engine.stage import Staged
from syncs.engine.tally import Tally
from syncs.engine.transform import Transform
from syncs.engine.workspace import Workspace
from syncs.spec import SyncSpec

_CANDIDATES = pa.schema([("_row", pa.int64()), ("nkey_hash", pa.uint64())])
# Fewer dropped records than this never need an approval for being a large share of a small table.
_GUARD_FLOOR = 10
_OPERATIONS: tuple[Operation, ...] = ("insert", "update", "upsert", "delete")


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a plan is made from, besides the sync and its source.

    known: a snapshot file to compare with or to take record ids from, or None; with compare = destination, the one in
    `destination`. records: Parquet of what was read for `keys_to_read`, r_<i> for the i-th path of `Columns`, or None.
    refusals: a file of rows that were refused in earlier jobs, or None. destination: what was read of all records.
    outside: Parquet like `records`, what was read for `outside_keys`, or None. stamped: a snapshot file that tells
    which records were expired, where nothing is compared with it; or None.
    """

    known: Path | None = None
    records: Path | None = None
    refusals: Path | None = None
    destination: Destination | None = None
    outside: Path | None = None
    stamped: Path | None = None


@dataclasses.dataclass(frozen=True)
class Asked:
    """How a plan is to be made.

    short: the source is known to be incomplete, so nothing is deleted. baseline: valid rows are put on record and
    nothing is sent. some_rows: these are not all rows of the source, so none has left it. canary: so many rows are sent
    before all others. one_row: it is one row, whose request somebody wants to see. started_at: the job's start.
    """

    short: bool = False
    baseline: bool = False
    some_rows: bool = False
    canary: int = 0
    one_row: bool = False
    started_at: datetime = dataclasses.field(default_factory=lambda: datetime.now(UTC))


def decision_of(
    spec: SyncSpec, describe: ObjectDescribe, staged: Staged, known: Path | None, asked: Asked | None = None
) -> Decision:
    """The decision of a sync over a source, with what is known from the file `known`."""
    transform = Transform.of(spec, describe, staged.columns, has_filter=staged.has_filter)
    carried = {"_wave": "_wave" if staged.waves else "0"}
    if spec.action_column:
        column = f"upper(c_{staged.columns.index(spec.action_column)})"
        listed = ", ".join(map(literal, ACTIONS))
        carried["action_raw"] = f"c_{staged.columns.index(spec.action_column)}"
        carried["action_text"] = f"CASE WHEN {column} IN ({listed}) THEN {column} END"
    rule = None
    if spec.behaviour.changed == "conditional" and spec.changed_rule is not None:
        rule = _rule_sql(spec, describe)
        for number, name in enumerate(conditions.sources_of(spec.changed_rule)):
            carried[f"rs_{number}"] = f"c_{staged.columns.index(name)}"
    transform = dataclasses.replace(transform, carried=carried)
    decision = Decision(spec, transform, None, rule=rule, baseline=asked is not None and asked.baseline)
    fields = tuple(line.field.name for line in decision.compared)
    return dataclasses.replace(decision, known=known_for(spec, transform, known, fields))


def _rule_sql(spec: SyncSpec, describe: ObjectDescribe) -> str:
    """SQL over rs_<n> and rt_<n>: the condition under which a changed row updates its record."""
    assert spec.changed_rule is not None
    sources, targets = conditions.sources_of(spec.changed_rule), conditions.targets_of(spec.changed_rule)
    sides = conditions.Sides(
        source=lambda name: f"rs_{sources.index(name)}",
        columns=spec.columns,
        target=lambda name: f"rt_{targets.index(name)}",
        describe=describe,
        parameters=spec.parameters,
        time_zone=spec.time_zone,
    )
    return conditions.to_sql(spec.changed_rule, sides)


def keys_to_read(
    workspace: Workspace, spec: SyncSpec, describe: ObjectDescribe, staged: Staged, snapshot: Path | None, to: Path
) -> int:
    """Write the keys whose records must be read from Salesforce before `plan`; return how many there are.

    snapshot: the file of the last one, or None. to: Parquet with `k_<i>`, the key's i-th field as Salesforce is asked
    for it.
    """
    decision = decision_of(spec, describe, staged, snapshot)
    parts = ", ".join(f"k_{place}" for place in range(max(1, len(decision.transform.keys))))
    with workspace.connect() as connection:
        queries = key_queries(connection, decision, parquet(staged.path), snapshot)
        nothing = ", ".join(f"NULL::VARCHAR AS {part}" for part in parts.split(", "))
        union = " UNION ALL ".join(queries) or f"SELECT {nothing} WHERE false"
        return write_query(connection, f"SELECT {parts} FROM ({union}) WHERE k_0 IS NOT NULL", to)


def outside_keys(
    workspace: Workspace, spec: SyncSpec, describe: ObjectDescribe, staged: Staged, known: Path, to: Path
) -> int:
    """Write the keys of rows without a record under the target filter, as `keys_to_read` does; return how many."""
    transform = Transform.of(spec, describe, staged.columns)
    with workspace.connect() as connection:
        return write_query(connection, outside_query(transform, parquet(staged.path), known), to)


def plan(
    workspace: Workspace,
    spec: SyncSpec,
    describe: ObjectDescribe,
    staged: Staged,
    inputs: Inputs,
    folder: Path,
    prefix: str,
    *,
    asked: Asked | None = None,
    progress: Callable[[int], None] | None = None,
) -> Plan:
    """Decide what becomes of every row, and write the files that are sent.

    spec: one that `problems` found nothing wrong with. folder, prefix: files are called <folder>/<prefix>-<name>; the
    prefix is new in each attempt. progress: called with the number of rows planned so far.
    Raises `DiskFull`, `Interrupted`, `OutOfMemory`.
    """
    planner = _Planner(workspace, spec, describe, staged, inputs, folder, prefix, asked or Asked())
    with workspace.connect(ordered=True) as connection:
        planner.prepare(connection)
        planner.write(connection, progress)
        planner.violations = write_errors(connection, planner.decision, staged, planner.rows_file, planner.errors_file)
    return planner.manifest()


class _Planner:
    """The state of one call of `plan`."""

    def __init__(
        self,
        workspace: Workspace,
        spec: SyncSpec,
        describe: ObjectDescribe,
        staged: Staged,
        inputs: Inputs,
        folder: Path,
        prefix: str,
        asked: Asked,
    ) -> None:
        self._workspace, self._spec, self._describe, self._staged = workspace, spec, describe, staged
        self._inputs, self._asked = inputs, asked
        self._source = parquet(staged.path)
        known = inputs.destination.path if inputs.destination else inputs.known
        self.decision = dataclasses.replace(
            decision_of(spec, describe, staged, known, asked), refusals=inputs.refusals, stamped=inputs.stamped
        )
        self._transform = self.decision.transform
        self._fields = tuple(line.field.name for line in self.decision.compared)
        self.rows_file = folder / f"{prefix}-plan.parquet"
        self.errors_file = folder / f"{prefix}-plan-errors.parquet"
        self._payloads = PlannedFiles(spec, folder, prefix, canary=asked.canary, one_row=asked.one_row)
        self._actions: dict[str, int] = {}
        self._dropped: dict[str, int] = {}
        self._tally = Tally(self._transform.lines)
        self.violations = 0
        self._known = self._unread = self._deletes = self._fingerprint = 0
        self._withheld_reason = ""

    # --- what is looked up ---

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the tables of duplicate keys and of records read from Salesforce, and count the known records."""
        if not self._transform.keys:
            return
        self._find_duplicates(connection)
        existing = self._find_existing(connection)
        if self.decision.known is not None:
            self._known = _count(connection, f"SELECT count(*) FROM {parquet(self.decision.known.path)}")
        self.decision = dataclasses.replace(
            self.decision,
            duplicates=_count(connection, f"SELECT count(*) FROM {DUPLICATES}") > 0,
            existing=existing and _count(connection, f"SELECT count(*) FROM {EXISTING}") > 0,
        )
        if not self.decision.upserts and not self._asked.baseline:
            # Salesforce itself tells rows apart where they go as upserts.
            shared = self.decision.shared_records(self._source, NAMED_RECORDS)
            connection.execute(f"CREATE TEMP TABLE {SHARED} AS {shared}")
            found = _count(connection, f"SELECT count(*) FROM {SHARED}") > 0
            self.decision = dataclasses.replace(self.decision, shared=found)

    def _find_duplicates(self, connection: duckdb.DuckDBPyConnection) -> None:
        # Hashes find the few keys worth a second look, at a fraction of the memory of the keys themselves.
        keys = self._transform.key_query(self._source)
        suspects = f"(SELECT hash(nkey) AS h FROM ({keys}) WHERE nkey IS NOT NULL GROUP BY h HAVING count(*) > 1)"
        connection.execute(
            f"CREATE TEMP TABLE {DUPLICATES} AS "
            f"SELECT nkey, count(*) AS n, min(_row, {NAMED_RECORDS}) AS first_rows "
            f"FROM (SELECT * FROM ({keys}) SEMI JOIN {suspects} ON h = hash(nkey)) GROUP BY nkey HAVING count(*) > 1"
        )

    def _find_existing(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """Make the tables of records that were read by key, and of what they hold; whether there is one of records."""
        columns = Columns.of(self._spec, self._describe, self._transform)
        destination, queries = self._inputs.destination, []
        if destination is not None:
            queries.append(f"SELECT nkey, n, id, ids FROM {parquet(destination.ambiguous)}")
            if destination.values is not None:
                connection.execute(f"CREATE TEMP VIEW {TARGETS} AS SELECT * FROM {parquet(destination.values)}")
                self.decision = dataclasses.replace(self.decision, targets=True)
        if self._inputs.outside is not None:
            queries.append(grouped(keyed(columns, self._transform, self._inputs.outside)))
        if self._inputs.records is not None:
            read = keyed(columns, self._transform, self._inputs.records)
            values = self._values(columns)
            table = grouped(f"SELECT *, {', '.join(values)} FROM ({read})", *values) if values else grouped(read)
            names = [value.rpartition(" AS ")[2] for value in values]
            if values:
                connection.execute(f"CREATE TEMP TABLE read_records AS {table}")
                table = "SELECT nkey, n, id, ids FROM read_records"
                shown = ", ".join(["nkey", *names])
                connection.execute(f"CREATE TEMP VIEW {TARGETS} AS SELECT {shown} FROM read_records WHERE n = 1")
                self.decision = dataclasses.replace(self.decision, targets=True)
            queries.append(table)
        if queries:
            connection.execute(f"CREATE TEMP TABLE {EXISTING} AS {' UNION ALL '.join(queries)}")
        return bool(queries)

    def _values(self, columns: Columns) -> list[str]:
        """What records hold, as SQL over what was read: g_<i> for line i's field, and what a rule asks for."""
        zone, lines = self._transform.time_zone, self._transform.lines
        held = [f"{spelled(lines[i].family, f'r_{place}', zone)} AS g_{i}" for i, place in columns.lines.items()]
        return held + target_columns(columns, self._describe, zone)

    # --- what is written ---

    def write(self, connection: duckdb.DuckDBPyConnection, progress: Callable[[int], None] | None) -> None:
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
                for part in self._with_the_canary_apart(table):
                    writer.add(self._planned(part, schema))
                if progress is not None:
                    progress(writer.rows)
            self._withheld_reason = self._why_withheld()
            if (dropped := self._dropped_query(connection)) is not None:
                for table in _tables(stream(connection, dropped)):
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

    def _planned_untouched(self, same: pa.Table) -> pa.Table:
        """The plan's lines for rows that are in Salesforce already."""
        action = self.decision.untouched
        self._actions[action] = self._actions.get(action, 0) + same.num_rows
        self._fingerprint += pc.sum(same.column("fingerprint")).as_py()
        actions = pa.repeat(pa.scalar(action), same.num_rows)
        same = same.append_column("action", actions).append_column("_seq", same.column("_row"))
        return _filled_up(same, self._schema())

    def _schema(self) -> pa.Schema:
        names = ["action", "nkey", "key", "record_id"]
        hashes = [("row_hash", pa.uint64()), *((f"h_{i}", pa.uint32()) for i in range(len(self._fields)))]
        if not self._transform.keys:
            hashes += [("content_hi", pa.uint64()), ("content_lo", pa.uint64())]
        if self.decision.parked_by == "whole":
            hashes.append(("whole", pa.uint64()))
        masks = [(f"bad_{m}", pa.int64()) for m in range(self._transform.masks)]
        masks += [(f"soft_{m}", pa.int64()) for m in self._transform.soft_masks]
        numbers = [("_row", pa.int64()), ("_seq", pa.int64())]
        return pa.schema([*numbers, *((name, pa.string()) for name in names), ("batch", pa.int32()), *hashes, *masks])

    def _with_the_canary_apart(self, table: pa.Table) -> Iterator[pa.Table]:
        """The rows up to the last one of the canary, and those behind it: so it has the first rows of the plan."""
        sent = pc.is_in(table.column("action"), pa.array(_OPERATIONS))
        if self._staged.waves:
            sent = pc.and_(sent, pc.equal(table.column("_wave"), 0))
        cut = self._payloads.cut(sent)
        yield from (part for part in (table.slice(0, cut), table.slice(cut)) if part.num_rows)

    def _planned(self, table: pa.Table, schema: pa.Schema) -> pa.Table:
        """The plan's lines for decided rows of the source, whose payload is written on the way."""
        _add_up(self._actions, table.column("action"))
        self._fingerprint += pc.sum(table.column("fingerprint")).as_py()
        batch: pa.Array | pa.ChunkedArray = pa.nulls(table.num_rows, pa.int32())
        for operation in _OPERATIONS:
            for wave, chosen in self._waves(table, pc.equal(table.column("action"), operation)):
                rows = pc.sum(chosen).as_py() or 0
                if rows == table.num_rows:
                    batch = self._payloads.write(operation, self._payload(operation, table), wave)
                elif rows:
                    payload = self._payload(operation, table.filter(chosen))
                    numbers = self._payloads.write(operation, payload, wave)
                    batch = pc.replace_with_mask(batch, chosen.combine_chunks(), numbers.combine_chunks())
        table = table.append_column("_seq", table.column("_row")).append_column("batch", batch)
        return table.select(schema.names).cast(schema)

    def _waves(self, table: pa.Table, chosen: pa.ChunkedArray) -> Iterator[tuple[int, pa.ChunkedArray]]:
        """The chosen rows, wave by wave."""
        if not self._staged.waves:
            yield 0, chosen
            return
        for wave in sorted(pc.unique(table.column("_wave")).to_pylist()):
            yield wave, pc.and_(chosen, pc.equal(table.column("_wave"), wave))

    def _payload(self, operation: Operation, table: pa.Table) -> pa.Table:
        """The columns of the CSV for rows that are sent, under their API names."""
        if operation == "delete":
            self._deletes += table.num_rows
            return table.select(["record_id"]).rename_columns(["Id"])
        names, arrays = [], []
        if operation == "update":
            names.append("Id")
            arrays.append(table.column("record_id"))
        for line in self.decision.columns_of(operation):
            names.append(line.sent_as)
            arrays.append(table.column(f"p_{line.index}"))
        if operation != "insert" and self._stamps_apart:
            names.append(self._expire_field)
            arrays.append(table.column("p_expired"))
        return pa.Table.from_arrays(arrays, names=names)

    @property
    def _expire_field(self) -> str:
        field = self._describe.field(self._spec.expire_field)
        return field.name if field is not None else self._spec.expire_field

    @property
    def _stamps_apart(self) -> bool:
        """Whether a row that came back has its stamp cleared: no line of the mapping writes that field."""
        mapped = {line.field.name for line in self._transform.lines}
        return self._spec.behaviour.dropped == "expire" and self._expire_field not in mapped

    def _look_at(self, table: pa.Table) -> None:
        """Count the rows whose key could not be read, and the cells that were made to fit."""
        self._unread += table.column("nkey").null_count if self._transform.keys else 0
        self._tally.look_at(table)

    # --- records that left the source ---

    def _dropped_query(self, connection: duckdb.DuckDBPyConnection) -> str | None:
        """A query for known records whose key is in no row of the source, not even in a rejected one; None for none."""
        wish = self._spec.behaviour.dropped
        compares = self._spec.compare == "snapshot" or (self._spec.compare == "destination" and wish != "ignore")
        if self.decision.known is None or not compares or self._asked.some_rows or self._asked.baseline:
            return None
        keys, snapshot = self._transform.key_query(self._source), self.decision.known.path
        if wish == "ignore" or self._withheld_reason:
            return dropped_query(keys, snapshot, "ignored" if wish == "ignore" else "withheld")
        # The same question as in `keys_to_read`: with a new key in the source, all dropped keys were read.
        read = self._inputs.records is not None
        dropped_read = read and any_new_key(connection, keys, snapshot)
        any_read = read or self._inputs.destination is not None
        return acting_query(connection, keys, snapshot, wish, any_read=any_read, dropped_read=dropped_read)

    def _planned_dropped(self, table: pa.Table, schema: pa.Schema) -> pa.Table:
        """The plan's lines for dropped records; those whose id is known go into a payload of deletes, or of stamps."""
        _add_up(self._dropped, table.column("action"))
        self._fingerprint += pc.sum(table.column("fingerprint")).as_py()
        wish = self._spec.behaviour.dropped
        acted = pc.and_(pc.equal(table.column("action"), wish), pc.is_valid(table.column("record_id")))
        batch: pa.Array = pa.nulls(table.num_rows, pa.int32())
        if pc.any(acted).as_py():
            payload = table.filter(acted).select(["record_id"]).rename_columns(["Id"])
            if wish == "expire":
                stamps = pa.repeat(pa.scalar(self._stamp()), payload.num_rows)
                numbers = self._payloads.write("update", payload.append_column(self._expire_field, stamps))
            else:
                numbers = self._payloads.write("delete", payload)
                self._deletes += payload.num_rows
            batch = pc.replace_with_mask(batch, acted.combine_chunks(), numbers.combine_chunks())
        return _filled_up(table.append_column("batch", batch), schema)

    def _stamp(self) -> str:
        """What expiry writes: the job's start, as a date in the sync's time zone or as a date-time."""
        field = self._describe.field(self._spec.expire_field)
        if field is not None and field.type == "date":
            return self._asked.started_at.astimezone(ZoneInfo(self._spec.time_zone)).strftime("%Y-%m-%d")
        return self._asked.started_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")

    def _why_withheld(self) -> str:
        unread = self._unread + len(self._staged.malformed)
        if self._asked.short:
            return "The source is known to be incomplete, so no record is deleted for being missing in it."
        if not self._staged.rows and not self._staged.filtered:
            return "The source came empty, so no record is deleted for being missing in it."
        if unread:
            return (
                f"The key of {unread:,} row{'' if unread == 1 else 's'} could not be read, so it is not known which "
                "records left the source, and none is deleted. Correct those rows."
            )
        return ""

    # --- the manifest ---

    def manifest(self) -> Plan:
        """The plan, once everything is written."""
        columns = tuple(
            PlannedColumn(line.field.name, line.sent_as, line.family, line.value_field.case_sensitive)
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
            adjusted=self._tally.counts,
            violations=self.violations,
            known=self._known,
            unread_keys=self._unread + len(self._staged.malformed),
            guard=self._guard(),
            withheld_reason=self._withheld_reason if counts["withheld"] else "",
            fingerprint=self._signature(),
            baseline=self._asked.baseline,
            only_updated=tuple(line.field.name for line in self.decision.compared if line.mapping.write_on == "update"),
        )

    def _guard(self) -> Guard:
        share = 100 * self._deletes / self._known if self._known else 0.0
        many = self._deletes > self._spec.guard_rows
        large = self._deletes >= _GUARD_FLOOR and share > self._spec.guard_percent
        reason = ""
        if many or large:
            limit = f"{self._spec.guard_rows:,} records" if many else f"{self._spec.guard_percent} %"
            of_known = f" of {self._known:,} known" if self._known else ""
            reason = (
                f"This job would delete {self._deletes:,}{of_known} records"
                f"{f' ({share:.1f} %)' if self._known else ''}, which is more than {limit}."
            )
        return Guard(self._deletes, self._known, bool(reason), reason)

    def _counts(self) -> dict[str, int]:
        names = ("rejected", "parked", "ignored", "insert", "update", "upsert")
        counts = {name: self._actions.get(name, 0) for name in names}
        malformed, filtered = len(self._staged.malformed), self._staged.filtered
        return {
            "read": self._staged.rows + filtered + malformed,
            "malformed": malformed,
            "filtered": filtered,
            **counts,
            # What is only put on record is in Salesforce already, as far as anybody says.
            "unchanged": self._actions.get("unchanged", 0) + self._actions.get("baseline", 0),
            "source_delete": self._actions.get("delete", 0),
            "dropped": sum(self._dropped.values()),
            "delete": self._dropped.get("delete", 0),
            "expire": self._dropped.get("expire", 0),
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
