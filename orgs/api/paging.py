"""Pages that stay right while rows are added and deleted: each is asked for by the place where the last one ended."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

from orgs.api.parsers import LARGEST_NUMBER

LARGEST_PAGE = 200


class NewestFirst(CursorPagination):
    """By the primary key, newest first."""

    ordering = "-pk"
    page_size = 50
    page_size_query_param = "page_size"
    page_size_query_description = f"Results per page, from 1 to {LARGEST_PAGE}."
    max_page_size = LARGEST_PAGE
    cursor_query_description = "Where the page begins: take the whole address from `next` or `previous`."
    invalid_cursor_message = "There is no such page: take the address of a page from `next` or `previous`."

    def get_page_size(self, request: Request) -> int:
        return page_size(request, self.page_size)

    def decode_cursor(self, request: Request) -> Any:
        cursor = super().decode_cursor(request)
        position = getattr(cursor, "position", None)
        # Every ordering here begins with a whole number.
        if position is not None and not (position.isdecimal() and int(position[:30]) <= LARGEST_NUMBER):
            raise NotFound(self.invalid_cursor_message)
        return cursor


class OldestFirst(NewestFirst):
    """By the primary key, oldest first."""

    ordering = "pk"


def page_size(request: Request, default: int) -> int:
    """How many results the request asks for. Raises ValidationError."""
    text = request.query_params.get("page_size", "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= LARGEST_PAGE):
        raise ValidationError({"page_size": f"Give a whole number from 1 to {LARGEST_PAGE}."})
    return int(text)
