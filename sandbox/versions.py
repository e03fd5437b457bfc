"""Which API versions there are (REST API guide, "API End-of-Life Policy")."""

from __future__ import annotations

import re

from sandbox.call import Call
from sandbox.org import FIRST_VERSION, LAST_VERSION
from sandbox.wire import SalesforceError, not_found


def check_version(call: Call) -> None:
    """Raise SalesforceError for a call's version: 410 for one Salesforce has retired, 404 for one that never was."""
    given = call.arguments.get("version")
    if given is None:
        return
    if not re.fullmatch(r"v[0-9]{1,3}\.0", given):
        raise not_found()
    if call.version < FIRST_VERSION:
        raise SalesforceError(410, "UNSUPPORTED_API_VERSION", "The requested API version is no longer supported.")
    if call.version > LAST_VERSION:
        raise not_found()
