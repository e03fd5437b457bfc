"""Assignment rules: who gets a new case or lead."""

from __future__ import annotations

from connections.salesforce import query
from connections.salesforce.session import SalesforceSession

# A bulk job runs a rule only when it names one, and only for these (Bulk API 2.0 guide, "Create a Job").
BULK_OBJECTS = frozenset({"case", "lead"})


def active_rule(session: SalesforceSession, object: str) -> str | None:
    """The id of the active assignment rule of an object, or None when it has none. One call; raises SalesforceError."""
    soql = f"SELECT Id FROM AssignmentRule WHERE SobjectType = {query.soql_text(object)} AND Active = true"
    found = next(query.rows(session, soql), None)
    return str(found["Id"]) if found else None
