"""Reads bodies of requests, and refuses what no database can hold before anything sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser, MultiPartParser

from orgs.api.errors import TooLarge

LARGEST_NUMBER = 2**63 - 1


class CleanJSONParser(JSONParser):
    """JSON of a bounded size, without NUL characters, lone surrogates and numbers beyond 64 bits."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        _check_length(parser_context, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        try:
            data = super().parse(stream, media_type, dict(parser_context or {}))
            _check(data)
        except RecursionError:
            raise ParseError("JSON parse error - it is nested too deeply.") from None
        return data


class UploadParser(MultiPartParser):
    """A form with a file, as large as files may be here."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        # The fields and the boundaries around the file take some room too.
        _check_length(parser_context, settings.SFSYNC_UPLOAD_MB * 1_000_000 + 100_000)
        return super().parse(stream, media_type, dict(parser_context or {}))


def storable(text: str) -> bool:
    """Whether every database can hold the text."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _check_length(context: Mapping[str, Any] | None, most: float) -> None:
    length = context["request"].META.get("CONTENT_LENGTH") if context else None
    if str(length or "0").isdigit() and int(length or 0) > most:
        raise TooLarge(f"The body of the request is larger than {most:,.0f} bytes, the most that is taken here.")


def _check(data: Any) -> None:
    if isinstance(data, str) and not storable(data):
        raise ParseError("JSON parse error - a text holds a NUL character or half of a surrogate pair.")
    if isinstance(data, int) and abs(data) > LARGEST_NUMBER:
        raise ParseError("JSON parse error - a number has more than 64 bits.")
    if isinstance(data, float) and not math.isfinite(data):
        raise ParseError("JSON parse error - a number is too large.")
    if isinstance(data, dict):
        for name, value in data.items():
            _check(name)
            _check(value)
    if isinstance(data, list):
        for value in data:
            _check(value)
