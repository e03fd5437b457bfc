"""The rows of a write as the records they are going to be, for rules that look at more than what was given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sandbox.rows.formula import IS_NEW, NOW, PRIOR, USER, Formula
from sandbox.rows.rules import literal, name
from sandbox.schema import Field

if TYPE_CHECKING:
    import duckdb

    from sandbox.rows.write import Write

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
NUMBER = '"$n"'


def default_value(each: Field, write: Write) -> str | None:
    """SQL: what Salesforce puts into a field a new record leaves blank; None for null."""
    if each.flag("autoNumber"):
        digits = f"list_transform(string_split(o.id[7:15], ''), lambda c: strpos({literal(BASE62)}, c) - 1)"
        number = f"CAST(999 + list_reduce({digits}, lambda a, d: a * 62 + d) AS VARCHAR)"
        return f"lpad({number}, 8, '0')"
    if each.name == "OwnerId":
        return literal(write.user_id)
    if each.name == "RecordTypeId":
        chosen = [one.id for one in write.rules.record_types if one.default]
        return literal(chosen[0]) if chosen else None
    if each.type == "boolean":
        return "true" if each.document["defaultValue"] else "false"
    if each.flag("nameField") and each.flag("defaultedOnCreate"):
        return "o.id"
    if each.document["defaultValue"] is not None:
        return f"CAST({literal(str(each.document['defaultValue']))} AS {each.sql_type})"
    return None


def new_value(each: Field, write: Write) -> str:
    """SQL: the value a field of a new record gets; `b` is the typed row, `o` its outcome."""
    column = write.column_of(each.name)
    given = [f"b.v_{column}"] if column else []
    default = default_value(each, write)
    chosen = [*given, default] if default else given
    return f"coalesce({', '.join(chosen)})" if len(chosen) > 1 else (chosen or ["NULL"])[0]


def changed_value(each: Field, write: Write) -> str:
    """SQL: the value a field of a changed record gets; `t` is the stored record."""
    stored = f"t.{name(each.name)}"
    column = write.column_of(each.name)
    if column is None or not each.flag("updateable"):
        return stored
    value = f"b.v_{column}"
    if each.flag("defaultedOnCreate") and not each.flag("nillable") and (default := default_value(each, write)):
        value = f"coalesce({value}, {default})"
    return f"CASE WHEN b.g_{column} THEN {value} ELSE {stored} END"


def record_rows(write: Write, fields: Iterable[str], prior: Iterable[str] = ()) -> str:
    """SQL: the rows without an error, with `fields` as they will be and `prior` as they are (by `PRIOR` + name).

    Beside them stand the row's number, whether it is new, the time, and the record's id (NULL before it has one).
    """
    wanted = [each for field_name in sorted(fields) if (each := write.object.field_named(field_name))]
    stored = [each for each in wanted if each.stored and each.name != "Id"]
    if computed := [each for each in wanted if not each.stored]:
        stored = [each for each in write.object.stored_fields if each.name != "Id"]
    columns = [f"o.n AS {NUMBER}", f"o.created AS {IS_NEW}", "o.id AS Id"]
    columns += [f"TIMESTAMP '{write.now.isoformat(sep=' ')}' AS {NOW}", f"{literal(write.user_id)} AS {USER}"]
    for each in stored:
        fresh, changed = new_value(each, write), changed_value(each, write)
        columns.append(f"CASE WHEN o.created THEN {fresh} ELSE {changed} END AS {name(each.name)}")
    columns += [f"t.{name(each)} AS {name(PRIOR + each)}" for each in sorted(prior)]
    source = (
        f"SELECT {', '.join(columns)} FROM outcome o JOIN typed b USING (n) LEFT JOIN {name(write.object.name)} t"
        " ON t.Id = o.id AND NOT o.created WHERE o.error IS NULL"
    )
    if not computed:
        return source
    return f"SELECT *, {', '.join(f'({each.formula}) AS {name(each.name)}' for each in computed)} FROM ({source})"


def rows_for(write: Write, formulas: Iterable[Formula], also: Iterable[str] = ()) -> str:
    """SQL: `record_rows` with all that these formulas read."""
    listed = list(formulas)
    fields = set(also).union(*(each.fields for each in listed))
    return record_rows(write, fields, set().union(*(each.prior for each in listed)))


def refuse(cursor: duckdb.DuckDBPyConnection, rows: str) -> None:
    """Give the rows of the query `rows` (n, error) their error, unless they have one; a NULL refuses nothing."""
    # Mostly there is none, and asking takes less to plan than changing.
    if not cursor.execute(f"SELECT 1 FROM ({rows}) WHERE error IS NOT NULL LIMIT 1").fetchone():
        return
    cursor.execute(
        f"UPDATE outcome SET error = e.error FROM ({rows}) e"
        " WHERE e.n = outcome.n AND e.error IS NOT NULL AND outcome.error IS NULL"
    )
