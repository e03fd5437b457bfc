"""Reads what a form of the pages sends."""

from __future__ import annotations

from urllib.parse import parse_qsl

from sandbox.call import Call
from sandbox.wire import SalesforceError


def read_form(call: Call) -> dict[str, str]:
    """The fields of a form by name.

    Raises SalesforceError for a body that is no form.
    """
    try:
        return dict(parse_qsl(call.body.decode("utf-8"), keep_blank_values=True, strict_parsing=bool(call.body)))
    except (ValueError, UnicodeError):
        raise SalesforceError(400, "BAD_FORM", "A form is expected") from None
