"""ORDER BY: what a value sorts by (SOQL and SOSL Reference, "ORDER BY")."""

from __future__ import annotations

from lark import Token

from sandbox.rows.rules import literal
from sandbox.soql.scope import Context, Expression


def ordering(context: Context, token: Token, one: Expression, *, descending: bool, nulls_last: bool) -> str:
    """SQL: one entry of ORDER BY. Raises MALFORMED_QUERY for a field that cannot be sorted by.

    Text sorts without regard to case, picklists in the order of their values, and nulls come first unless told
    otherwise.
    """
    if one.field is not None and not one.field.flag("sortable"):
        message = f"field '{one.label.rpartition('.')[2]}' can not be sorted in a query call"
        raise context.error(token, "MALFORMED_QUERY", message)
    ending = f"{'DESC' if descending else 'ASC'} NULLS {'LAST' if nulls_last else 'FIRST'}"
    if one.type == "picklist" and one.field is not None and one.field.document["picklistValues"]:
        listed = ", ".join(literal(each["value"].lower()) for each in one.field.document["picklistValues"])
        rank = f"list_position([{listed}], lower({one.sql}))"
        # A value that is no longer in the list comes after those that are.
        rank = f"CASE WHEN {one.sql} IS NOT NULL THEN coalesce(nullif({rank}, 0), 1000000) END"
        return f"{rank} {ending}, {one.key} {ending}"
    return f"{one.key} {ending}"
