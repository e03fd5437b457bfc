"""What happens around every request."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django_htmx.http import HttpResponseClientRefresh
from structlog.contextvars import bound_contextvars

_GIVEN = re.compile(r"[A-Za-z0-9-]{8,64}")


class RequestNumber:
    """Takes the caller's X-Request-ID where it is one, else makes one up; the answer has it too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        number = given if _GIVEN.fullmatch(given) else uuid.uuid4().hex
        with bound_contextvars(request=number):
            response = self._get_response(request)
        response["X-Request-ID"] = number
        return response


class WholePages:
    """A part of a page that asks for itself anew is never answered with a whole other page, such as the login.

    Where it would be led elsewhere (the login has ended, a permission was taken away), the browser takes the page anew
    that it is on, and is led from there.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        if request.htmx and 300 <= response.status_code < 400:  # type: ignore[attr-defined]
            return HttpResponseClientRefresh()
        return response
