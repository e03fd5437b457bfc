"""JSON as clients send it: numbers to the last digit, and mistakes told as the REST API tells them."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

from sandbox.wire import dumps

# Halves of a character beyond the first plane, which Python's reader lets pass alone though no text can hold them.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
# Numbers beyond this many digits before or after the point fit no field, and written out would fill the memory.
MOST_DIGITS = 400
# Start of Python's words for a mistake -> what Salesforce says it was expecting there.
_EXPECTED = {
    "Expecting property name": "was expecting double-quote to start field name",
    "Illegal trailing comma": "was expecting double-quote to start field name",
    "Expecting ':'": "was expecting a colon to separate field name and value",
    "Expecting ','": "was expecting comma to separate entries",
    "Expecting value": "expected a valid value (number, String, array, object, 'true', 'false' or 'null')",
}


class NotJson(ValueError):
    """What was sent is no JSON; the text is Salesforce's message."""


def read_json(text: bytes) -> Any:
    """The value of a JSON text; numbers with a point or an exponent are decimals.

    Raises NotJson.
    """
    try:
        value = json.loads(text, parse_float=_decimal, parse_constant=_no_constant)
        if _SURROGATE.search(text):
            dumps(value).encode()
        return value
    except NotJson:
        raise
    except json.JSONDecodeError as error:
        raise NotJson(_told(error)) from None
    except UnicodeError:
        raise NotJson("The HTTP entity body is not valid UTF-8") from None
    except RecursionError:
        raise NotJson("The HTTP entity body is nested too deeply") from None
    except ValueError:
        # Python's own limit of digits of a whole number.
        raise NotJson("Numeric value out of range") from None


def _decimal(text: str) -> Decimal:
    value = Decimal(text)
    if value and abs(value.adjusted()) > MOST_DIGITS:
        raise NotJson(f"Numeric value ({text[:40]}) out of range")
    return value


def _no_constant(text: str) -> NoReturn:
    raise NotJson(f"Non-standard token '{text}'")


def _told(error: json.JSONDecodeError) -> str:
    """A mistake as the REST API words it: the character, what was expected instead, line and column."""
    place = f"at [line:{error.lineno}, column:{error.colno}]"
    if error.pos >= len(error.doc.rstrip()):
        return f"Unexpected end-of-input {place}"
    code = ord(error.doc[error.pos])
    found = chr(code) if chr(code).isprintable() else f"\\u{code:04x}"
    expected = next((text for start, text in _EXPECTED.items() if error.msg.startswith(start)), error.msg)
    return f"Unexpected character ('{found}' (code {code})): {expected} {place}"
