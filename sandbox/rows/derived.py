"""What follows from the rules of schema files: the SQL of formula fields, the records of record types and assignment
rules."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sandbox.rows.definitions import assignment_records, record_types
from sandbox.rows.formula import FormulaError, compile_formula

if TYPE_CHECKING:
    from sandbox.schema import Field, ObjectType, Schema

# Kind of a formula's result -> the field types it may fill.
FITTING = {
    "text": frozenset({"string", "textarea", "url", "phone", "email", "picklist"}),
    "number": frozenset({"double", "currency", "percent", "int", "long"}),
    "boolean": frozenset({"boolean"}),
    "date": frozenset({"date"}),
    "datetime": frozenset({"datetime"}),
}


def complete(schema: Schema) -> None:
    """Compile the formula fields and add the records of record types and assignment rules. Raises SchemaError."""
    for each in schema:
        for one in list(each.fields.values()):
            if one.document["calculatedFormula"] and one.formula is None:
                each.fields[one.name.lower()] = _formula_field(schema, each, one)
        _add_record_types(schema, each)
        _add_assignment_rules(schema, each)


def _formula_field(schema: Schema, target: ObjectType, one: Field) -> Field:
    from sandbox.schema import SchemaError

    place = f"{target.name}.{one.name} calculatedFormula"
    try:
        made = compile_formula(schema, target, str(one.document["calculatedFormula"]), stored=True)
    except FormulaError as error:
        raise SchemaError(f"{place}: {error}") from None
    if one.type not in FITTING.get(made.kind, ()):
        raise SchemaError(f"{place}: the formula gives {made.kind}, the field is of type {one.type}")
    if one.name in made.fields:
        raise SchemaError(f"{place}: the formula reads its own field")
    value = f"nullif({made.sql}, '')" if made.kind == "text" else f"TRY_CAST({made.sql} AS {one.sql_type})"
    return dataclasses.replace(one, formula=value)


def _add_record_types(schema: Schema, target: ObjectType) -> None:
    holder = schema.object_named("RecordType")
    for each in record_types(target) if holder else []:
        assert holder is not None
        record = {
            "Id": each.id,
            "Name": each.label,
            "DeveloperName": each.developer_name,
            "SobjectType": target.name,
            "IsActive": each.active,
            "IsPersonType": each.person,
        }
        holder.records.append(record)


def _add_assignment_rules(schema: Schema, target: ObjectType) -> None:
    holder = schema.object_named("AssignmentRule")
    if holder is not None:
        holder.records.extend(assignment_records(target))
