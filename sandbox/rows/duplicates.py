"""Values and records that are there already: unique fields, and the duplicate rules of an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.rows import rules
from sandbox.rows.definitions import DuplicateRule
from sandbox.rows.formula import IS_NEW
from sandbox.rows.record import NUMBER, record_rows, refuse
from sandbox.rows.rules import literal, name

if TYPE_CHECKING:
    import duckdb

    from sandbox.rows.write import Write
    from sandbox.schema import Field


def refuse_taken(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse values of unique fields that another record, or an earlier row, already has."""
    taken = []
    for column, each in write.columns:
        # Who has the key of an upsert is the record that is written, and no key comes twice in one request.
        if not each.flag("unique") or (write.key and each.name == write.key.name):
            continue
        if write.operation == "insert" and not _any_taken(cursor, write, column, each):
            continue
        given = rules.key_form(each, f"b.v_{column}")
        stored = rules.key_form(each, f"t.{name(each.name)}")
        taken.append(
            f"SELECT b.n, {literal(each.name)} AS field, min(t.Id) AS id FROM typed b"
            f" JOIN {name(write.object.name)} t ON {stored} = {given}"
            " JOIN outcome o ON o.n = b.n WHERE NOT t.IsDeleted AND o.error IS NULL AND t.Id IS DISTINCT FROM o.id"
            " GROUP BY b.n"
            f" UNION ALL SELECT n, {literal(each.name)}, id FROM (SELECT b.n, first_value(o.id) OVER same AS id,"
            f" row_number() OVER same AS place FROM typed b JOIN outcome o ON o.n = b.n"
            f" WHERE o.error IS NULL AND b.v_{column} IS NOT NULL"
            f" WINDOW same AS (PARTITION BY {given} ORDER BY b.n)) WHERE place > 1"
        )
    if not taken:
        return
    found = f"SELECT n, field, min(id) AS id FROM ({' UNION ALL '.join(taken)}) GROUP BY n, field"
    text = (
        "'DUPLICATE_VALUE:duplicate value found: ' || string_agg(field, ',' ORDER BY field)"
        " || ' duplicates value on record with id: ' || min(id)[1:15] || ':--'"
    )
    refuse(cursor, f"SELECT n, {text} AS error FROM ({found}) GROUP BY n")


def _any_taken(cursor: duckdb.DuckDBPyConnection, write: Write, column: str, each: Field) -> bool:
    """Whether a value of new rows stands twice: this is asked far faster than where."""
    given = rules.key_form(each, f"b.v_{column}")
    stored = rules.key_form(each, f"t.{name(each.name)}")
    found = cursor.execute(
        f"SELECT (SELECT count({given}) > count(DISTINCT {given}) FROM typed b) OR (SELECT count(*) > 0 FROM typed b"
        f" JOIN {name(write.object.name)} t ON {stored} = {given} WHERE NOT t.IsDeleted)"
    ).fetchone()
    return bool(found and found[0])


def _compared(value: str, method: str, is_text: bool) -> str:
    """SQL: `value` as a matching rule compares it; fuzzy leaves letters and digits without case or accents."""
    if not is_text:
        return value
    if method == "exact":
        return f"lower({value})"
    return f"nullif(regexp_replace(lower(strip_accents({value})), '[^\\p{{L}}\\p{{N}}]', '', 'g'), '')"


def run_duplicate_rules(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Refuse rows that duplicate a stored record, unless the rule only reports, or alerts and the caller allows it.

    Blank fields match nothing, and rows of one request are not compared with each other (Salesforce Help, "Duplicate
    Rules" and "Matching Rules").
    """
    if not write.rules.duplicates:
        return
    cursor.execute(
        "CREATE OR REPLACE TEMP TABLE matched (n BIGINT, entity VARCHAR, rule VARCHAR, message VARCHAR,"
        " may_save BOOLEAN, ids VARCHAR[], url VARCHAR)"
    )
    for rule in write.rules.duplicates:
        passing = ("allow", "alert") if write.options.allow_save else ("allow",)
        kinds = ((IS_NEW, rule.on_insert), (f"NOT {IS_NEW}", rule.on_update))
        stopping = [kind for kind, action in kinds if action not in passing]
        if not stopping:
            continue
        _find_matches(cursor, write, rule, " OR ".join(stopping))
        text = f"DUPLICATES_DETECTED:{rule.message}:--"
        refuse(cursor, f"SELECT n, {literal(text)} AS error FROM matched WHERE rule = {literal(rule.name)}")


def _find_matches(cursor: duckdb.DuckDBPyConnection, write: Write, rule: DuplicateRule, stopping: str) -> None:
    rows = record_rows(write, [each.name for each, _ in rule.fields])
    same = " AND ".join(
        f"{_compared(f'r.{name(each.name)}', method, each.is_text)}"
        f" = {_compared(f't.{name(each.name)}', method, each.is_text)}"
        for each, method in rule.fields
    )
    facts = f"{literal(write.object.name)}, {literal(rule.name)}, {literal(rule.message)}"
    may_save = f"CASE WHEN {IS_NEW} THEN {rule.on_insert == 'alert'} ELSE {rule.on_update == 'alert'} END"
    url = literal(f"{write.options.data_url}/sobjects/{write.object.name}/")
    cursor.execute(
        f"INSERT INTO matched SELECT {NUMBER}, {facts}, {may_save}, list(t.Id ORDER BY t.Id), {url}"
        f" FROM ({rows}) r JOIN {name(write.object.name)} t ON {same}"
        f" WHERE NOT t.IsDeleted AND t.Id IS DISTINCT FROM r.Id AND ({stopping}) GROUP BY {NUMBER}, {IS_NEW}"
    )


def duplicate_results(cursor: duckdb.DuckDBPyConnection) -> dict[int, dict[str, Any]]:
    """The `duplicateResult` of each refused row by its number, as REST answers it for a single record.

    Keys as in the Apex class Datacloud.DuplicateResult.
    """
    # A fault may refuse rows in the words of a duplicate rule where there is none.
    if not cursor.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'matched' AND temporary").fetchall():
        return {}
    found = cursor.execute("SELECT n, entity, rule, message, may_save, ids, url FROM matched ORDER BY n").fetchall()
    results: dict[int, dict[str, Any]] = {}
    for number, entity, rule, message, may_save, ids, url in found:
        records = [
            {
                "additionalInformation": [],
                "fieldDiffs": [],
                "matchConfidence": 100.0,
                "record": {"attributes": {"type": entity, "url": url + each}, "Id": each},
            }
            for each in ids
        ]
        match = {
            "entityType": entity,
            "errors": [],
            "matchEngine": "ExactMatchEngine",
            "matchRecords": records,
            "rule": rule,
            "size": len(ids),
            "success": True,
        }
        shown = {
            "allowSave": may_save,
            "duplicateRule": rule,
            "duplicateRuleEntityType": entity,
            "errorMessage": message,
            "matchResults": [match],
        }
        results.setdefault(number, shown)
    return results
