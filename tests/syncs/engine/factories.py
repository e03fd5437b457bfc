"""Small sources, describes and specs, and a Salesforce that answers payloads, for the tests of the row engine."""

from __future__ import annotations

import csv
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from connections.salesforce.describe import Field, ObjectDescribe
from connections.sources.base import MalformedRow, Reading
from syncs.engine import compare, finish, outcome, parking, snapshot
from syncs.engine.plan import Plan
from syncs.engine.stage import Staged, stage
from syncs.engine.workspace import Workspace
from syncs.spec import MappingSpec, SelectionSpec, SyncSpec

ORG = "00D000000000001EAA"


def field(name: str, type: str = "string", **changes: Any) -> Field:
    """A field of an object; text of 255 characters unless told."""
    length = 255 if type in ("string", "picklist", "textarea") else 0
    return Field(**{"name": name, "label": name.removesuffix("__c"), "type": type, "length": length, **changes})


KEY = field("Ext__c", length=40, external_id=True, unique=True, id_lookup=True)


def make_describe(*fields: Field, **changes: Any) -> ObjectDescribe:
    """An object that may be read and written, with an external id Ext__c, a name and a city unless told."""
    fields = fields or (KEY, field("Name"), field("City__c"))
    values = {
        "name": "Place__c",
        "label": "Place",
        "createable": True,
        "updateable": True,
        "deletable": True,
        "queryable": True,
        "key_prefix": "a00",
        "fields": {each.name: each for each in fields},
    }
    return ObjectDescribe(**{**values, **changes})


def make_spec(*mappings: MappingSpec, **changes: Any) -> SyncSpec:
    """An upsert of id, name and city by Ext__c, unless told."""
    mappings = mappings or (
        MappingSpec("Ext__c", "id"),
        MappingSpec("Name", "name"),
        MappingSpec("City__c", "city"),
    )
    values = {
        "selection": SelectionSpec(path="places.csv"),
        "object": "Place__c",
        "key_fields": ("Ext__c",),
        "mode": "upsert",
        "mappings": mappings,
    }
    return SyncSpec(**{**values, **changes})


def reading(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | None]],
    *,
    malformed: Sequence[MalformedRow] = (),
    batch_rows: int = 1000,
) -> Reading:
    """A source with these rows; malformed records have numbers that the rows then do not get."""
    gaps = {row.row for row in malformed}
    numbers = (number for number in itertools.count(1) if number not in gaps)
    schema = pa.schema([*((name, pa.string()) for name in columns), ("_row", pa.int64())])

    def batches() -> Iterable[pa.RecordBatch]:
        left = iter(rows)
        while part := list(itertools.islice(left, batch_rows)):
            cells = [[row[place] for row in part] for place in range(len(columns))]
            yield pa.RecordBatch.from_arrays(
                [*(pa.array(cell, pa.string()) for cell in cells), pa.array([next(numbers) for _ in part])],
                schema=schema,
            )

    return Reading(tuple(columns), iter(batches()), list(malformed), "places.csv")


@dataclasses.dataclass
class Org:
    """Salesforce as far as results of bulk jobs go: it takes rows, and refuses those it is told to refuse.

    records: by key as Salesforce compares it (here: lower case), the id. refuse: the error for a row, or None.
    """

    records: dict[str, str] = dataclasses.field(default_factory=dict)
    refuse: Callable[[dict[str, str]], str | None] = lambda row: None
    key: str = "Ext__c"
    calls: int = 0

    def new_id(self) -> str:
        self.calls += 1
        return f"a00{self.calls:012d}AAA"

    def answer(self, operation: str, payload: Path, folder: Path) -> tuple[Path, Path]:
        """Write the successes and failures of a job with this payload."""
        rows = read_csv(payload)
        good, bad = [], []
        for row in rows:
            error = self.refuse(row)
            if error is not None:
                bad.append({"sf__Id": row.get("Id", ""), "sf__Error": error, **row})
            else:
                good.append({**self._take(operation, row), **row})
        names = list(rows[0]) if rows else []
        return (
            write_csv(folder / "successes.csv", ["sf__Id", "sf__Created", *names], good),
            write_csv(folder / "failures.csv", ["sf__Id", "sf__Error", *names], bad),
        )

    def _take(self, operation: str, row: dict[str, str]) -> dict[str, str]:
        key = row.get(self.key, "").lower()
        if operation == "upsert":
            created = key not in self.records
            record_id = self.records.setdefault(key, "") or self.new_id()
            self.records[key] = record_id
            return {"sf__Id": record_id, "sf__Created": str(created).lower()}
        if operation == "insert":
            record_id = self.new_id()
            if key:
                self.records[key] = record_id
            return {"sf__Id": record_id, "sf__Created": "true"}
        if operation == "delete":
            self.records = {known: record_id for known, record_id in self.records.items() if record_id != row["Id"]}
        return {"sf__Id": row["Id"], "sf__Created": "false"}


class Loads:
    """Runs jobs of one sync one after another, the way `jobs` does, on a Salesforce made of results."""

    def __init__(self, folder: Path, spec: SyncSpec | None = None, describe: ObjectDescribe | None = None) -> None:
        self.folder = folder
        self.spec, self.describe = spec or make_spec(), describe or make_describe()
        self.workspace = Workspace(folder / "scratch", memory_mb=200)
        self.org = Org()
        self.snapshot: Path | None = None
        self.refusals: Path | None = None
        self.columns: Sequence[str] = ("id", "name", "city")
        self._attempts = itertools.count(1)

    def attempt(self) -> tuple[Path, str]:
        """A new folder, and a new prefix for file names."""
        prefix = f"t{next(self._attempts)}"
        folder = self.folder / prefix
        folder.mkdir()
        return folder, prefix

    def stage(self, rows: Iterable[Sequence[str | None]], **options: Any) -> Staged:
        folder, _ = self.attempt()
        return stage(self.workspace, reading(self.columns, rows, **options), folder / "staged.parquet")

    def read_existing(self, staged: Staged, found: Sequence[tuple[str, str]] | None = None) -> Path | None:
        """Ask the org for the keys that the plan needs; `found` is the answer, unless the org's records are."""
        folder, _ = self.attempt()
        count = compare.keys_to_read(
            self.workspace, self.spec, self.describe, staged, self.snapshot, folder / "keys.parquet"
        )
        self.asked = pq.read_table(folder / "keys.parquet").column("k_0").to_pylist()
        assert count == len(self.asked)
        if not count:
            return None
        if found is None:
            found = [(key, self.org.records[key.lower()]) for key in self.asked if key.lower() in self.org.records]
        table = pa.table({"r_0": [each for _, each in found], "r_1": [key for key, _ in found]})
        pq.write_table(table.cast(pa.schema([("r_0", pa.string()), ("r_1", pa.string())])), folder / "existing.parquet")
        return folder / "existing.parquet"

    def plan(
        self,
        staged: Staged,
        found: Sequence[tuple[str, str]] | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Any,
    ) -> Plan:
        folder, prefix = self.attempt()
        existing = self.read_existing(staged, found)
        inputs = compare.Inputs(self.snapshot, existing, self.refusals)
        asked = compare.Asked(**options)
        plan = compare.plan(
            self.workspace,
            self.spec,
            self.describe,
            staged,
            inputs,
            folder,
            prefix,
            asked=asked,
            progress=progress,
        )
        assert Plan.from_json(plan.to_json()) == plan
        return plan

    def send(self, plan: Plan) -> list[outcome.AttemptOutcome]:
        """Send all batches of a plan once."""
        answers = []
        for batch in plan.batches:
            folder, _ = self.attempt()
            good, bad = self.org.answer(batch.operation, batch.file, folder)
            answers.append(
                outcome.read_outcomes(
                    self.workspace, plan, batch.number, batch.file, good, bad, None, folder / "outcomes.parquet"
                )
            )
        return answers

    def end(
        self, staged: Staged, plan: Plan, files: Sequence[Path], unresolved: dict[int, str] | None = None
    ) -> finish.Final:
        """Finish a job and commit its snapshot."""
        folder, prefix = self.attempt()
        final = finish.finish(self.workspace, self.spec, staged, plan, files, unresolved or {}, folder, prefix)
        assert finish.Final.from_json(final.to_json()) == final
        if plan.key_fields:
            header = make_header(plan)
            manifest = snapshot.commit(
                self.workspace,
                plan,
                final.outcomes_file,
                self.snapshot,
                folder / "snapshot.parquet",
                header,
            )
            assert snapshot.SnapshotManifest.from_json(manifest.to_json()) == manifest
            self.snapshot = manifest.path
            refusals = parking.commit(
                self.workspace,
                plan,
                final.outcomes_file,
                self.refusals,
                self.spec.park_after,
                folder / "refusals.parquet",
                whole=True,
            )
            self.refusals = refusals.path if refusals else None
        return final

    def run(self, rows: Iterable[Sequence[str | None]], **options: Any) -> tuple[Plan, finish.Final]:
        """A whole job."""
        staged = self.stage(rows)
        plan = self.plan(staged, **options)
        final = self.end(staged, plan, [answer.file for answer in self.send(plan)])
        assert final.balanced, final.imbalance
        return plan, final


def make_header(plan: Plan, **changes: Any) -> snapshot.SnapshotHeader:
    """The header of a snapshot for this plan."""
    values: dict[str, Any] = {
        "salesforce_org_id": ORG,
        "object": plan.object,
        "key_fields": plan.key_fields,
        "fields": plan.fields,
        "encoder_version": snapshot.ENCODER_VERSION,
        "hash_version": snapshot.hash_version(),
        "key_rule": "; ".join(snapshot.key_rule(key.family, key.case_sensitive) for key in plan.keys),
    }
    return snapshot.SnapshotHeader(**{**values, **changes})


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, names: Sequence[str], rows: Iterable[dict[str, str]]) -> Path:
    """Write a CSV file as Salesforce writes results: everything in quotes."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def table(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file."""
    return pq.read_table(path).to_pylist()


def actions(plan: Plan) -> dict[int | str, str]:
    """What becomes of each row, by row number; of dropped records by key."""
    return {row["_row"] or row["key"]: row["action"] for row in table(plan.rows_file)}


def errors(path: Path) -> list[tuple[int, str, str | None]]:
    """Row, code and field of each row error."""
    return [(row["_row"], row["code"], row["field"]) for row in table(path)]
