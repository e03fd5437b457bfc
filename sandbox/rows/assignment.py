"""Assignment rules: who gets a Lead or Case (Salesforce Help, "Assignment Rules"; REST header Sforce-Auto-Assign)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.rows.definitions import AssignmentRule
from sandbox.rows.record import NUMBER, rows_for
from sandbox.rows.rules import literal

if TYPE_CHECKING:
    import duckdb

    from sandbox.rows.write import Write


def assign_owners(cursor: duckdb.DuckDBPyConnection, write: Write) -> None:
    """Set the owner of the good rows as the rule that the caller asked for says; rows no entry fits keep theirs.

    Makes the temporary table `assigned` (n, owner) when a rule runs.
    """
    rule = running_rule(write)
    if rule is None:
        return
    entries = rule.entries
    cases = " ".join(
        f"WHEN {condition.sql if condition else 'true'} THEN {_owner_id(write, owner)}" for condition, owner in entries
    )
    rows = rows_for(write, [condition for condition, _ in entries if condition])
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE assigned AS SELECT {NUMBER} AS n, CASE {cases} END AS owner FROM ({rows})"
    )


def running_rule(write: Write) -> AssignmentRule | None:
    """The assignment rule this write runs, if any."""
    wanted = write.options.assignment
    for each in write.rules.assignments if wanted is not None else []:
        if each.active if wanted == "default" else each.id[:15] == str(wanted)[:15]:
            return each
    return None


def _owner_id(write: Write, owner: str) -> str:
    """SQL: the id of an owner given as id, user name, or name of a queue."""
    found = [
        f'(SELECT Id FROM "User" WHERE lower(Username) = lower({literal(owner)}) OR Id = {literal(owner)} LIMIT 1)'
    ]
    if write.policy.schema.object_named("Group"):
        group = f'(SELECT Id FROM "Group" WHERE DeveloperName = {literal(owner)} OR Id = {literal(owner)} LIMIT 1)'
        found.append(group)
    return f"coalesce({', '.join(found)})"
