"""What to do about row errors that are alike."""

from __future__ import annotations

from connections.salesforce.errors import what_to_do
from syncs.engine import rules

_IN_GENERAL = "Correct the values in the source, or let the line of the mapping treat them in another way."
# By the code of a rule, where more can be said than that.
_OF_RULES = {
    rules.REQUIRED: "Fill the column in the source, or give the line a default or a constant.",
    rules.RESERVED: "Salesforce would clear the field. Clear the cell in the source, or let the line replace the text.",
    rules.INVALID_CHARACTER: "Remove the control characters in the source, or let the line replace them.",
    rules.TOO_LONG: "Shorten the values, make the field longer in Salesforce, or let the line cut them.",
    rules.RECORD_TOO_LONG: "Shorten the values, or write some of the long fields by a sync of their own.",
    rules.PICKLIST: "Add the values to the picklist in Salesforce, or let the line replace them, clear them or take a "
    "default.",
    rules.TOO_PRECISE: "Give the field more decimals in Salesforce, or let the line round.",
    rules.DATE: "Tell the format of the column's dates in the sync, or correct the values in the source.",
    rules.DATETIME: "Tell the format of the column's times in the sync, or correct the values in the source.",
    rules.BLANK_KEY: "Fill the key in the source, or leave such rows out by a filter.",
    rules.DUPLICATE_KEY: "Leave one row per key in the source, or choose a key that is different in each row.",
    rules.AMBIGUOUS_KEY: "Merge the records in Salesforce, or choose a key that is unique there.",
    rules.MALFORMED: "Correct the line in the source. For many of them, look at the connection's delimiter and quote.",
}


def advice_for(source: str, code: str, message: str = "") -> str:
    """What a person can do.

    source: who refused, `rule` or `salesforce`. code: the rule, or the status code. message: of one such error.
    """
    return what_to_do(code, message) if source == "salesforce" else _OF_RULES.get(code, _IN_GENERAL)
