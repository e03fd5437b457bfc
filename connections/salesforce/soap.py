"""The SOAP partner API, for what REST and Bulk API lack: records out of the recycle bin. Source: SOAP API guide.

The session id stands in the request's own header, so an envelope is made anew for each login.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from connections.salesforce.collections import Result
from connections.salesforce.errors import TransientError, row_error_text
from connections.salesforce.session import SalesforceSession

# SOAP API guide, "undelete()": as many ids as a call of collections has records.
MOST_IDS = 200

_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
_PARTNER = "urn:partner.soap.sforce.com"
_RECORD_ID = re.compile(r"[0-9A-Za-z]{15,18}")


def undelete(session: SalesforceSession, ids: Sequence[str]) -> list[Result]:
    """Bring records back from the recycle bin, each by itself; what went with them comes back with them.

    ids: of records of any objects, 1 to 200. One result per id, in their order; of a record that is not in the recycle
    bin its `error` begins with UNDELETE_FAILED, of one that is gone for good with INVALID_CROSS_REFERENCE_KEY or
    ENTITY_IS_DELETED. Raises SalesforceError.
    """
    if not 0 < len(ids) <= MOST_IDS:
        raise ValueError(f"a call takes 1 to {MOST_IDS} ids, not {len(ids)}")
    for each in ids:
        if not _RECORD_ID.fullmatch(each):
            raise ValueError(f"'{each}' is no record id")
    call = f"<undelete>{''.join(f'<ids>{each}</ids>' for each in ids)}</undelete>"
    answer = session.soap(lambda session_id: _envelope(session_id, call), doing="undelete()", changes=True)
    try:
        results = [_result(each) for each in _response(answer)]
    except (ElementTree.ParseError, UnicodeDecodeError, ValueError, IndexError):
        results = []
    if len(results) != len(ids):
        raise TransientError("Salesforce's answer about records was not understood.", effect_unknown=True)
    return [
        result if result.id else Result(each, False, result.error) for each, result in zip(ids, results, strict=True)
    ]


def _envelope(session_id: str, call: str) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><env:Envelope xmlns:env="{_ENVELOPE}" xmlns="{_PARTNER}"><env:Header>'
        f"<SessionHeader><sessionId>{escape(session_id)}</sessionId></SessionHeader>"
        f"<CallOptions><client>sfsync</client></CallOptions></env:Header><env:Body>{call}</env:Body></env:Envelope>"
    ).encode()


def _response(answer: bytes) -> list[ElementTree.Element]:
    """What is in the response element of an answer."""
    text = answer.decode("utf-8")
    # A declaration of entities can blow up to any size, and no answer of Salesforce has one.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("a document type declaration")
    body = ElementTree.fromstring(text).find(f"{{{_ENVELOPE}}}Body")
    if body is None:
        raise ValueError("no body")
    return list(body[0])


def _result(told: ElementTree.Element) -> Result:
    def text_of(element: ElementTree.Element, name: str) -> str:
        return element.findtext(f"{{{_PARTNER}}}{name}") or ""

    record_id = text_of(told, "id")
    if text_of(told, "success") == "true":
        return Result(record_id, False)
    errors = told.findall(f"{{{_PARTNER}}}errors")
    code = text_of(errors[0], "statusCode") if errors else ""
    message = "; ".join(text_of(each, "message") for each in errors)
    fields = dict.fromkeys(each.text or "" for error in errors for each in error.findall(f"{{{_PARTNER}}}fields"))
    return Result(record_id, False, row_error_text(code or "UNKNOWN_EXCEPTION", message, tuple(filter(None, fields))))
