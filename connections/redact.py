"""Takes secrets out of what another system said, before anybody is told: it may repeat what it was sent."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

_SHORTEST = 4  # a shorter one would be "found" in every other word


def redacted(said: Any, secrets: Iterable[str]) -> Any:
    """`said`, a text or JSON, with `***` for each secret in it, also one that was escaped for an address or a page."""
    spellings = {spelling for secret in secrets if len(secret) >= _SHORTEST for spelling in _spellings(secret)}
    if not spellings:
        return said
    # The longest first: one secret may be the beginning of another one.
    found = re.compile("|".join(map(re.escape, sorted(spellings, key=len, reverse=True))))
    return _replaced(said, found)


def _replaced(said: Any, found: re.Pattern[str]) -> Any:
    if isinstance(said, str):
        return found.sub("***", said)
    if isinstance(said, dict):
        return {_replaced(name, found): _replaced(value, found) for name, value in said.items()}
    if isinstance(said, list):
        return [_replaced(value, found) for value in said]
    return said


def _spellings(secret: str) -> set[str]:
    in_addresses = {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    return {
        secret,
        *in_addresses,
        *(re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), each) for each in in_addresses),
        html.escape(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    }
