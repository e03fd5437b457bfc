"""What a job is told to do: a frozen picture of a sync, with no ORM behind it.

A job stores its spec as JSON when it starts. A resume reads that, never the sync as edited since.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, Literal

Mode = Literal["insert", "update", "upsert", "mirror", "delete", "custom"]
Compare = Literal["snapshot", "destination", "nothing"]
OnNew = Literal["insert", "ignore"]
OnChanged = Literal["update", "ignore", "conditional", "delete"]
OnDropped = Literal["delete", "ignore", "expire"]
ColumnType = Literal["text", "number", "date", "datetime", "boolean"]
WhenBlank = Literal["leave", "clear", "default"]
WriteOn = Literal["both", "insert", "update", "only_if_empty"]
TooLong = Literal["reject", "truncate"]
UnknownPicklist = Literal["reject", "clear", "default"]
TooPrecise = Literal["reject", "round"]
MissingParent = Literal["reject", "leave"]
DuplicateRules = Literal["respect", "allow_save"]
Approval = Literal["guards", "always"]


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """What becomes of a row that is new in Salesforce, of one that differs there, and of a record that left the source.

    changed: `conditional` updates where the sync's rule holds; `delete` deletes each match, differing or not.
    """

    new: OnNew
    changed: OnChanged
    dropped: OnDropped


BEHAVIOURS: dict[str, Behaviour] = {
    "insert": Behaviour("insert", "ignore", "ignore"),
    "update": Behaviour("ignore", "update", "ignore"),
    "upsert": Behaviour("insert", "update", "ignore"),
    "mirror": Behaviour("insert", "update", "delete"),
    "delete": Behaviour("ignore", "delete", "ignore"),
}


@dataclasses.dataclass(frozen=True)
class LookupSpec:
    """How a reference field finds its record: by any field of the parent.

    object: API name of the parent object. field: API name of the parent's field that holds the line's value.
    """

    object: str
    field: str


@dataclasses.dataclass(frozen=True)
class ReplacementSpec:
    """A regular expression (RE2 syntax, as DuckDB's) and what each of its matches is replaced with."""

    pattern: str
    replacement: str


@dataclasses.dataclass(frozen=True)
class MappingSpec:
    """One line of the mapping: a Salesforce field and where its value comes from.

    target: API name of the field.
    source_column, constant, expression: exactly one of them is not None: a column of the source by name, the same text
    for every row, an SQL expression over the source's columns.
    lookup: the value is not the field's own, but one by which its parent record is found.
    when_blank: of a blank value: `leave` does not touch the field, `clear` sets it to null, `default` takes `default`.
    write_on: `only_if_empty` writes to records that hold nothing there.
    too_long, unknown_picklist, too_precise, missing_parent: what happens to a value that does not fit.
    trim: blanks at the edges of the value go. replacements: made in their order, before the value is checked.
    mandatory: a blank breaks a rule. validated: a row that breaks a rule of this line is rejected; without it, the row
    goes through, without a value that does not fit, and the job ends as partial, with the violation on record.
    """

    target: str
    source_column: str | None = None
    constant: str | None = None
    expression: str | None = None
    lookup: LookupSpec | None = None
    when_blank: WhenBlank = "leave"
    default: str = ""
    write_on: WriteOn = "both"
    too_long: TooLong = "reject"
    unknown_picklist: UnknownPicklist = "reject"
    too_precise: TooPrecise = "reject"
    missing_parent: MissingParent = "reject"
    trim: bool = True
    replacements: tuple[ReplacementSpec, ...] = ()
    mandatory: bool = False
    validated: bool = True

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> MappingSpec:
        """The line that `dataclasses.asdict` wrote. Raises TypeError when a name is unknown."""
        lookup = LookupSpec(**data["lookup"]) if data.get("lookup") else None
        replacements = tuple(ReplacementSpec(**each) for each in data.get("replacements") or ())
        return cls(**{**data, "lookup": lookup, "replacements": replacements})


@dataclasses.dataclass(frozen=True)
class ColumnSpec:
    """What a column of the source holds, where that is not just text.

    name: as the source has it. format: how its dates are written, in strptime's letters (`%d.%m.%Y`), or "" for
    YYYY-MM-DD.
    """

    name: str
    type: ColumnType = "text"
    format: str = ""


@dataclasses.dataclass(frozen=True)
class SelectionSpec:
    """What of a source is read: exactly one of a table, a query or a path is not empty.

    filter: a condition in the source's own language, without WHERE; "" for none. rules: a condition built from rules
    (see `syncs/engine/conditions.py`), or None. At most one of the two is given.
    """

    table: str = ""
    query: str = ""
    path: str = ""
    filter: str = ""
    rules: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class SyncSpec:
    """Everything the row engine needs to know of a sync.

    object: API name of the Salesforce object.
    key_fields: API names of the mapped fields by which a row and a record are the same thing; empty only for a sync
    that only inserts, with compare = nothing.
    custom: what the mode custom does, None for any other mode. changed_rule: for `conditional`, a rule over source and
    target values (see `syncs/engine/conditions.py`). expire_field: the date or date-time field that `expire` stamps.
    action_column: of the source, says per row INSERT, UPDATE or DELETE; only with compare = nothing.
    hard_delete: deleted records do not go to the recycle bin.
    target_filter: a SOQL condition without WHERE; records that do not meet it take no part in compare = destination.
    columns: of the source, those that are not just text. parameters: values by name, of this job.
    auto_assign: "off", "default", or the id of an assignment rule.
    park_after: a row that Salesforce has refused for good in so many jobs in a row is parked; 0 never parks.
    guard_rows, guard_percent: a job that would delete more than `guard_rows` records, or more than
    `guard_percent` % of the known ones (and at least 10), waits for approval.
    guard_rejected_percent: it waits, too, when more than this % of its rows (of 100 and more) are rejected; 100 never.
    guard_count_percent: or when it read this % more or fewer rows than usual; 0 never.
    guard_budget_percent: or when it needs more than this % of the API calls that are left for it; 100 never.
    approval: `always` waits, whatever the plan does, as long as it does something.
    keep_before: the records that a plan changes or deletes are read before, so that it can be undone.
    batch_rows, batch_bytes: largest Salesforce job to make, in rows and bytes of CSV.
    time_zone: IANA name; in it a date-time without an offset is read.
    """

    selection: SelectionSpec
    object: str
    key_fields: tuple[str, ...]
    mode: Mode
    mappings: tuple[MappingSpec, ...]
    compare: Compare = "snapshot"
    custom: Behaviour | None = None
    changed_rule: dict[str, Any] | None = None
    expire_field: str = ""
    action_column: str = ""
    hard_delete: bool = False
    target_filter: str = ""
    columns: tuple[ColumnSpec, ...] = ()
    parameters: dict[str, str] = dataclasses.field(default_factory=dict)
    auto_assign: str = "off"
    duplicate_rules: DuplicateRules = "respect"
    bulk_serial: bool = False
    park_after: int = 10
    time_zone: str = "UTC"
    guard_rows: int = 100
    guard_percent: int = 10
    guard_rejected_percent: int = 20
    guard_count_percent: int = 50
    guard_budget_percent: int = 50
    approval: Approval = "guards"
    keep_before: bool = False
    batch_rows: int = 1_000_000
    batch_bytes: int = 100_000_000

    @property
    def behaviour(self) -> Behaviour:
        """What becomes of new, changed and dropped rows, whatever the mode is called."""
        return self.custom or BEHAVIOURS[self.mode]

    @property
    def publishes(self) -> bool:
        """The object is a platform event: it can be published, and nothing else."""
        return self.object.lower().endswith("__e")

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary that `from_json` takes back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SyncSpec:
        """The spec that `to_json` wrote. Raises TypeError when a name is unknown or missing."""
        changed = {
            "selection": SelectionSpec(**data["selection"]),
            "key_fields": tuple(data["key_fields"]),
            "mappings": tuple(map(MappingSpec.from_json, data["mappings"])),
            "columns": tuple(ColumnSpec(**column) for column in data.get("columns") or ()),
            "custom": Behaviour(**data["custom"]) if data.get("custom") else None,
        }
        return cls(**{**data, **changed})

    def hash(self) -> str:
        """SHA-256 of the spec, in hex: two specs are the same exactly when their hashes are."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()
