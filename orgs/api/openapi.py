"""How the description of the API is made: what the framework cannot see for itself."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from orgs.api.errors import ErrorsSerializer

_BAD_INPUT = {
    "type": "validation_error",
    "errors": [{"code": "required", "detail": "This field is required.", "attr": "name"}],
}


def _client_error(code: str, detail: str) -> dict[str, Any]:
    return {"type": "client_error", "errors": [{"code": code, "detail": detail, "attr": None}]}


# status -> what it means, and an example
ERRORS: dict[str, tuple[str, dict[str, Any]]] = {
    "400": ("The request is wrong. Each error names its field.", _BAD_INPUT),
    "401": (
        "No token, or an unknown, wrong or expired one.",
        _client_error("authentication_failed", "This API token is unknown, wrong or expired. Make a new one."),
    ),
    "403": (
        "You may see this, but not do it.",
        _client_error("permission_denied", "You may not do this: it needs the permission 'write' on sync 7."),
    ),
    "404": ("There is no such thing, or not for you.", _client_error("not_found", "Not found.")),
    "409": (
        "Not possible as things stand now.",
        _client_error("conflict", "The sync 'Accounts' is paused. Let it go on first."),
    ),
    "413": (
        "The body is too large.",
        _client_error("too_large", "The body of the request is larger than 2,621,440 bytes."),
    ),
    "415": (
        "The body is of a media type that is not taken here.",
        _client_error("unsupported_media_type", 'Unsupported media type "text/plain" in request.'),
    ),
    "422": (
        "Well formed, but it cannot be followed.",
        _client_error("unprocessable", "The warehouse: the server does not answer."),
    ),
    "429": (
        "Too many calls. `Retry-After` says for how many seconds to wait.",
        _client_error("throttled", "Request was throttled. Expected available in 12 seconds."),
    ),
}
_EVERYWHERE = ("400", "401", "403", "404", "429")
_WITH_A_BODY = ("409", "413", "415")


class Schema(AutoSchema):
    """Adds the errors that every operation may answer with."""

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        if direction != "response" or not getattr(self.view, "describes_errors", False):
            return bodies
        statuses = [*_EVERYWHERE, *(_WITH_A_BODY if self.method != "GET" else ())]
        statuses += getattr(self.view, "more_errors", {}).get(getattr(self.view, "action", ""), ())
        for status in statuses:
            text, example = ERRORS[status]
            answer = OpenApiResponse(
                ErrorsSerializer, text, [OpenApiExample(text, example, response_only=True, status_codes=[status])]
            )
            bodies[status] = self._get_response_for_code(answer, status)
        return dict(sorted(bodies.items()))

    def get_operation_id(self) -> str:
        return super().get_operation_id().removeprefix("api_v1_")


class TokenScheme(OpenApiAuthenticationExtension):
    """How the description of the API tells of the token."""

    target_class = "orgs.api.base.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An API token, made in the admin."}
