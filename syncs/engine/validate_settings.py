"""Do the sync key and the settings of a sync go together, and with the object and the source?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from connections.salesforce.describe import Field, ObjectDescribe
from syncs.engine.decide import inserts_blindly
from syncs.engine.problem import Problem, Writes, kind_of, listed, nearest
from syncs.spec import MappingSpec, SyncSpec

_STAMPED_TYPES = ("date", "datetime")


def key_problems(spec: SyncSpec, describe: ObjectDescribe) -> Iterator[Problem]:
    """What is wrong with the sync key. What an event says of it stands elsewhere."""
    if spec.publishes:
        return
    if not spec.key_fields:
        if not inserts_blindly(spec):
            yield Problem(
                "Sync key",
                "",
                f"{Writes.of(spec).by} with compare = {spec.compare} needs one, to know which record a row is.",
                f"Choose one of the external ids of {describe.name}: {_external_ids(describe)}.",
            )
        return
    mapped = {line.target.lower(): line for line in spec.mappings}
    for name in spec.key_fields:
        field, mapping = describe.field(name), mapped.get(name.lower())
        if field is None:
            yield Problem(
                "Sync key",
                name,
                f"the object {describe.name} has no such field.",
                f"Choose one of the external ids of {describe.name} ({_external_ids(describe)}), or another field.",
            )
        if mapping is None:
            yield Problem("Sync key", name, "it is not mapped.", "Map a source column to it.")
        elif mapping.constant is not None and len(spec.key_fields) == 1:
            yield Problem(
                "Sync key",
                name,
                "it is mapped to a constant, so all rows would be the same record.",
                "Map a source column to it.",
            )
        if field is not None and mapping is not None:
            yield from _one_key_problems(spec, field, mapping)


def _one_key_problems(spec: SyncSpec, field: Field, mapping: MappingSpec) -> Iterator[Problem]:
    writes = Writes.of(spec)
    if writes.creates and not field.createable:
        yield Problem(
            "Sync key",
            field.name,
            f"{kind_of(field)} can find records but not be written, and {writes.by} makes new records, which would be "
            "without their key.",
            "Choose a key that can be written, or a mode that makes no new records, such as 'update'.",
        )
    if mapping.write_on == "only_if_empty" or (writes.creates and mapping.write_on == "update"):
        yield Problem(
            "Sync key",
            field.name,
            "a key is written when a record is created, and finds the record ever after; its line says otherwise.",
            "Set 'write on' of this line to 'insert and update'.",
        )
    # Salesforce itself cannot ask for records by such a field (REST API guide, "sObject Describe": filterable).
    if not field.filterable and not inserts_blindly(spec):
        length = f" of {field.length:,} characters" if field.length else ""
        yield Problem(
            "Sync key",
            field.name,
            f"Salesforce cannot search records by it (it is of the type {field.type}{length}).",
            "Choose an external id, or another field that reports can filter by.",
        )


def _external_ids(describe: ObjectDescribe) -> str:
    names = [field.name for field in describe.fields.values() if field.external_id]
    return listed(names) or "it has none yet; make one in Salesforce"


def combination_problems(spec: SyncSpec, describe: ObjectDescribe, columns: Sequence[str]) -> Iterator[Problem]:
    """Settings that do not go together, or name a field or column that is not there. columns: of the source."""
    yield from _compare_problems(spec)
    yield from _action_column_problems(spec, columns)
    if spec.behaviour.dropped == "expire" and not spec.action_column:
        yield from _expire_problems(spec, describe)
    if spec.behaviour.changed == "conditional" and not spec.action_column and not spec.changed_rule:
        reason = "changed records are updated where it holds, but there is none."
        yield Problem("Rule of changed rows", "", reason, "Build it, or choose that changed records update.")
    for place, number in (("Batch rows", spec.batch_rows), ("Batch bytes", spec.batch_bytes)):
        if number < 1:
            yield Problem(place, str(number), "a batch has to hold something.", "Give a number above 0.")


def _compare_problems(spec: SyncSpec) -> Iterator[Problem]:
    dropped = spec.behaviour.dropped
    if dropped != "ignore" and spec.compare == "nothing":
        yield Problem(
            "Compare",
            spec.compare,
            f"the mode '{spec.mode}' {dropped}s what left the source, and only a snapshot or the destination tells "
            "what that is.",
            "Choose compare = snapshot, or a mode that ignores dropped records, such as 'upsert'.",
        )
    if spec.target_filter and spec.compare != "destination":
        yield Problem(
            "Target filter",
            spec.target_filter,
            f"it says which records take part in compare = destination, and this sync has compare = {spec.compare}.",
            "Choose compare = destination, or clear the filter.",
        )


def _action_column_problems(spec: SyncSpec, columns: Sequence[str]) -> Iterator[Problem]:
    name = spec.action_column
    if not name:
        return
    if name not in columns:
        way_out = nearest(name, columns) or f"Its columns are: {listed(columns)}."
        yield Problem("Action column", name, "the source has no column of that name.", way_out)
    if spec.compare != "nothing":
        yield Problem(
            "Action column",
            name,
            f"it says what becomes of each row, so nothing is compared, but this sync has compare = {spec.compare}.",
            "Choose compare = nothing, or clear the action column.",
        )


def _expire_problems(spec: SyncSpec, describe: ObjectDescribe) -> Iterator[Problem]:
    name = spec.expire_field
    dates = [field.name for field in describe.fields.values() if field.type in _STAMPED_TYPES and field.updateable]
    way_out = f"Choose one of: {listed(dates)}." if dates else f"Make a date field on {describe.name} in Salesforce."
    field = describe.field(name)
    if not name:
        reason = "dropped records expire, but it is not said which field takes the date."
    elif field is None:
        reason = f"the object {describe.name} has no such field that the connected user may see."
    elif field.type not in _STAMPED_TYPES:
        reason = f"it takes the date on which a record expired, and {field.name} is of the type {field.type}."
    elif not field.updateable:
        reason = f"{kind_of(field)} cannot be written."
    else:
        return
    yield Problem("Expire field", name, reason, way_out)
