"""Can this sync run on this source and this object at all? Asked before anything is sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import duckdb

from connections.salesforce.describe import Field, ObjectDescribe
from syncs.engine import values
from syncs.engine.families import Line, family_of, line_of
from syncs.engine.mistakes import mistakes
from syncs.engine.nul import visible
from syncs.engine.problem import Problem, Writes, kind_of, listed, nearest
from syncs.engine.rules import rules_of
from syncs.engine.sql import literal
from syncs.engine.transform import canonical_name
from syncs.engine.validate_settings import combination_problems, key_problems
from syncs.spec import LookupSpec, MappingSpec, SyncSpec

__all__ = ["Problem", "problems"]


def problems(spec: SyncSpec, describe: ObjectDescribe, columns: Sequence[str], hint: str = "") -> list[Problem]:
    """What keeps the sync from running; an empty list when nothing does.

    describe: of the sync's object. columns: names of the source's columns. hint: what may be wrong with the source
    when columns are missing, such as another delimiter.
    """
    # As the columns of the staged table are called.
    columns, hint = tuple(map(visible, columns)), visible(hint)
    if spec.mode == "custom" and spec.custom is None:
        reason = "it is not said what becomes of new, changed and dropped records."
        return [Problem("Mode", "custom", reason, "Choose one of each.")]
    found = [
        *_object_problems(spec, describe),
        *_mapping_problems(spec, describe, columns, hint),
        *_required_problems(spec, describe),
        *key_problems(spec, describe),
        *combination_problems(spec, describe, columns),
        *_value_problems(spec, describe),
        *(Problem(*mistake) for mistake in mistakes(spec, describe, columns)),
    ]
    return [Problem(*map(visible, dataclasses.astuple(problem))) for problem in found]


def _object_problems(spec: SyncSpec, describe: ObjectDescribe) -> Iterator[Problem]:
    if spec.publishes:
        yield from _event_problems(spec, describe)
        return
    writes = Writes.of(spec)
    needs = [
        (writes.creates, describe.createable, "create"),
        (writes.updates, describe.updateable, "update"),
        (writes.deletes, describe.deletable, "delete"),
    ]
    for needed, allowed, verb in needs:
        if needed and not allowed:
            yield Problem(
                "Object",
                describe.name,
                f"the connected user may not {verb} its records, which {writes.by} needs.",
                "Give the user that permission in Salesforce, or choose another mode or object.",
            )


def _event_problems(spec: SyncSpec, describe: ObjectDescribe) -> Iterator[Problem]:
    """A platform event can be published, and nothing else: Salesforce keeps none that one could look up."""
    if not describe.createable:
        yield Problem(
            "Object",
            describe.name,
            "the connected user may not publish it.",
            "Give the user the permission to create it in Salesforce, or choose another object.",
        )
    if spec.mode != "insert" or spec.compare != "nothing" or spec.key_fields or spec.action_column:
        yield Problem(
            "Object",
            describe.name,
            "a platform event can only be published, and not looked up.",
            "Choose the mode 'insert' and compare = nothing, without a sync key and without an action column.",
        )


def _mapping_problems(spec: SyncSpec, describe: ObjectDescribe, columns: Sequence[str], hint: str) -> Iterator[Problem]:
    if not spec.mappings:
        yield Problem("Mapping", "", "it has no lines, so there is nothing to send.", "Map at least one field.")
    seen: set[str] = set()
    for mapping in spec.mappings:
        name = mapping.target.lower()
        if name in seen:
            yield Problem("Field", mapping.target, "it is mapped twice.", "Remove one of the two lines.")
        seen.add(name)
        yield from _line_problems(mapping, describe, columns, hint)
        field = describe.field(mapping.target)
        if field is None:
            known = [known for known, each in describe.fields.items() if each.createable or each.updateable]
            yield Problem(
                "Field",
                mapping.target,
                f"the object {describe.name} has no such field that the connected user may see.",
                nearest(mapping.target, known) or "Choose another field, or give the user access to it.",
            )
        else:
            yield from _field_problems(spec, mapping, field)
            if mapping.lookup is not None:
                yield from _lookup_problems(spec, describe, mapping, mapping.lookup, field)


def _lookup_problems(
    spec: SyncSpec, describe: ObjectDescribe, mapping: MappingSpec, lookup: LookupSpec, field: Field
) -> Iterator[Problem]:
    """What keeps a reference field from being set by a field of the parent."""
    if field.type != "reference":
        reason = f"{field.name} is of the type {field.type}, so it points to no parent record."
        yield Problem("Lookup", lookup.field, reason, "Remove the lookup, or map a lookup field.")
        return
    if lookup.object.lower() not in {name.lower() for name in field.reference_to}:
        reason = f"{field.name} cannot point to such records."
        if not lookup.object:
            reason = f"it is not said what object {field.name} points to."
        yield Problem("Parent object", lookup.object, reason, f"Choose one of: {listed(field.reference_to)}.")
        return
    parent = describe.parent(lookup.object)
    if parent is None or not parent.queryable:
        reason = f"the connected user may not read its records, so no parent can be found for {field.name}."
        yield Problem("Parent object", lookup.object, reason, "Give the user that permission, or map the record's id.")
        return
    parent_field = parent.field(lookup.field)
    if parent_field is None:
        reason = f"the object {parent.name} has no such field that the connected user may see."
        way_out = nearest(lookup.field, list(parent.fields)) or "Choose another field."
        yield Problem("Parent field", lookup.field, reason, way_out)
    elif parent_field.name == "Id":
        reason = f"an id in {field.name} needs no lookup."
        yield Problem("Parent field", lookup.field, reason, "Remove the lookup, and map the id as it is.")
    elif not _can_be_searched(parent_field):
        reason = f"records of {parent.name} cannot be found by it (its type is {parent_field.type})."
        yield Problem("Parent field", lookup.field, reason, "Choose an external id, or another short field.")
    elif parent.name == describe.name:
        yield from _self_reference_problems(spec, describe, mapping, parent_field)


def _can_be_searched(field: Field) -> bool:
    # Long text areas and encrypted fields cannot stand in a WHERE clause (SOQL and SOSL reference, "fieldExpression").
    long_text = field.type == "textarea" and field.length > 255
    searchable = field.filterable and not long_text and field.type != "encryptedstring"
    return family_of(field.type) is not None and searchable


def _self_reference_problems(
    spec: SyncSpec, describe: ObjectDescribe, mapping: MappingSpec, parent_field: Field
) -> Iterator[Problem]:
    line = line_of(spec, spec.mappings.index(mapping), describe)
    if line is not None and line.is_resolved and spec.behaviour.new == "insert":
        yield Problem(
            "Lookup",
            f"{describe.name}.{parent_field.name}",
            f"parents that are new in the same job cannot be found by it for {line.field.name}.",
            "Choose an external id; a missing parent then has to reject its row, a blank to leave the field alone, the "
            "line has to be validated, and the field may not belong to the sync key.",
        )


def _line_problems(
    mapping: MappingSpec, describe: ObjectDescribe, columns: Sequence[str], hint: str
) -> Iterator[Problem]:
    """The line's source: exactly one of a column that exists, a constant and an expression."""
    given = [each for each in (mapping.source_column, mapping.constant, mapping.expression) if each is not None]
    if len(given) != 1:
        yield Problem(
            "Field",
            mapping.target,
            "its line has to name either a source column, or a constant, or an expression.",
            "Give it one of the three.",
        )
    elif mapping.source_column is not None and mapping.source_column not in columns:
        way_out = nearest(mapping.source_column, columns) or f"Its columns are: {listed(columns)}."
        yield Problem(
            "Source column",
            mapping.source_column,
            f"it is mapped to {mapping.target}, but the source has no column of that name.",
            f"{way_out} {hint}".strip(),
        )


def _field_problems(spec: SyncSpec, mapping: MappingSpec, field: Field) -> Iterator[Problem]:
    if family_of(field.type) is None:
        yield Problem(
            "Field",
            field.name,
            f"fields of the type {field.type} cannot be mapped.",
            "Map its parts, if it has any, or remove the line.",
        )
        return
    # A key is judged by itself; updates find their record by it and do not change it.
    if field.name.lower() in {name.lower() for name in spec.key_fields}:
        return
    writes = Writes.of(spec)
    if writes.creates and mapping.write_on != "update" and not field.createable:
        other = "Set 'write on' of this line to 'update only'" if field.updateable else "Remove the line"
        yield Problem(
            "Field",
            field.name,
            f"{kind_of(field)} cannot be written when a record is created, which {writes.by} does.",
            f"{other}, or give the user the permission to edit the field.",
        )
    elif _updates_by_lines(spec) and mapping.write_on != "insert" and not field.updateable:
        once = field.createable and writes.creates
        other = "Set 'write on' of this line to 'insert only'" if once else "Remove the line"
        yield Problem(
            "Field",
            field.name,
            f"{kind_of(field)} cannot be written when a record is updated, which {writes.by} does.",
            f"{other}, or choose the mode 'insert'.",
        )


def _updates_by_lines(spec: SyncSpec) -> bool:
    """Updates write what the lines say; an update that expires a record writes its stamp alone."""
    return bool(spec.action_column) or spec.behaviour.changed in ("update", "conditional")


def _required_problems(spec: SyncSpec, describe: ObjectDescribe) -> Iterator[Problem]:
    if not Writes.of(spec).creates:
        return
    mapped = {mapping.target.lower(): mapping for mapping in spec.mappings}
    for field in describe.fields.values():
        if not field.required_on_insert:
            continue
        line = mapped.get(field.name.lower())
        if line is None:
            yield Problem(
                "Field",
                field.name,
                f"a new {describe.name} must have a value there, but it is not mapped.",
                "Map a source column or a constant to it.",
            )
        elif line.write_on == "update":
            yield Problem(
                "Field",
                field.name,
                f"a new {describe.name} must have a value there, but its line writes on updates only.",
                "Set 'write on' of this line to 'insert and update'.",
            )


def _value_problems(spec: SyncSpec, describe: ObjectDescribe) -> Iterator[Problem]:
    """The time zone, the constants and the defaults, tried with the SQL that will be used."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        try:
            probe = "SELECT timezone(?, TIMESTAMP '2024-01-01 00:00:00')::VARCHAR"
            connection.execute(probe, [spec.time_zone]).fetchall()
        except duckdb.Error:
            yield Problem(
                "Time zone",
                spec.time_zone,
                "there is no time zone of that name.",
                "Give an IANA name such as 'Europe/Berlin' or 'UTC'.",
            )
            return
        for index in range(len(spec.mappings)):
            line = line_of(spec, index, describe)
            if line is not None:
                yield from _picklist_problems(line)
                yield from _fixed_problems(connection, line, spec.time_zone)


def _picklist_problems(line: Line) -> Iterator[Problem]:
    if not line.is_restricted or line.mapping.unknown_picklist != "clear":
        return
    if line.is_key or not line.field.nillable:
        reason = "it belongs to the sync key" if line.is_key else "the field must have a value"
        yield Problem(
            "Unknown picklist value",
            "clear",
            f"{line.field.name} cannot be cleared: {reason}.",
            "Choose 'reject' or a default value.",
        )


def _fixed_problems(connection: duckdb.DuckDBPyConnection, line: Line, time_zone: str) -> Iterator[Problem]:
    """The values that the line itself gives: its constant, and what stands in for blanks and unknown values."""
    mapping = line.mapping
    # What replacements make of a constant is checked as cells are, row by row.
    if mapping.constant is not None and not mapping.replacements:
        yield from _value_problem(connection, line, time_zone, "Constant", mapping.constant)
    if "default" not in (mapping.when_blank, mapping.unknown_picklist if line.is_restricted else ""):
        return
    if mapping.default.strip(values.WHITE_SPACE):
        yield from _value_problem(connection, line, time_zone, "Default", mapping.default)
    else:
        yield Problem("Default", "", f"{line.field.name} is to get a default value, but none is given.", "Give one.")


def _value_problem(
    connection: duckdb.DuckDBPyConnection, line: Line, time_zone: str, place: str, value: str
) -> Iterator[Problem]:
    # What is written down in the mapping is not to be cut or replaced, but to be corrected there.
    strict = dataclasses.replace(line.mapping, too_long="reject", unknown_picklist="reject", validated=True)
    line = dataclasses.replace(line, mapping=strict, prepared=False)
    if line.parent_field is not None:
        # By whomever the parent is found, this is a value of the parent's field.
        family = family_of(line.parent_field.type) or "text"
        line = dataclasses.replace(line, family=family, relationship=line.field.name)
    text, name = f"t_{line.index}", canonical_name(line)
    query = f"SELECT nullif({literal(value.strip(values.WHITE_SPACE))}, '') AS {text}"
    if name != text:
        query = f"SELECT *, {values.canonical(line.family, text, time_zone)} AS {name} FROM ({query})"
    reasons = " ".join(f"WHEN {rule.condition} THEN {rule.message}" for rule in rules_of(line, time_zone))
    wrong = f"{text} IS NOT NULL AND {values.encoded(line, name)} IS NULL"
    needed = line.field.required_on_insert or (line.clears and not line.field.nillable) or line.is_mandatory
    refused = f"({wrong}) OR ({text} IS NULL AND {'true' if needed else 'false'})"
    [(reason,)] = connection.execute(
        f"SELECT CASE WHEN {refused} THEN CASE {reasons} END END FROM ({query})"
    ).fetchall()
    if reason is not None:
        yield Problem(place, value, f"it cannot go into {line.field.name}: {reason}", "")
