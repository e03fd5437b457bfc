"""Record ids as Salesforce writes them: 15 characters that mind their case, or 18 that do not need to."""

from __future__ import annotations

import re

_CHECK_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_ID = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?")


def id18(record_id: str) -> str:
    """The 18-character form of an id of 15 or 18 characters.

    The last three characters say which of the first fifteen are capitals (Object Reference, "ID Field Type").
    Raises ValueError for anything that is not an id.
    """
    if not _ID.fullmatch(record_id):
        raise ValueError(f"'{record_id}' is not a Salesforce id: an id has 15 or 18 letters and digits.")
    head = record_id[:15]
    checks = (
        sum(1 << place for place, character in enumerate(head[start : start + 5]) if "A" <= character <= "Z")
        for start in (0, 5, 10)
    )
    return head + "".join(_CHECK_CHARACTERS[check] for check in checks)
