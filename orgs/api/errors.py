"""The one shape of all errors of the API, and the kinds of them that the framework does not have."""

from __future__ import annotations

from rest_framework import exceptions, serializers


class Conflict(exceptions.APIException):
    """What is asked is right in itself, but not possible as things stand now."""

    status_code = 409
    default_code = "conflict"
    default_detail = "Something else changed this at the same time. Read it again, then decide."


class Unprocessable(exceptions.APIException):
    """The request is well formed, but cannot be followed."""

    status_code = 422
    default_code = "unprocessable"
    default_detail = "This cannot be done."


class TooLarge(exceptions.APIException):
    """The body of the request is larger than is taken."""

    status_code = 413
    default_code = "too_large"
    default_detail = "The body of the request is too large."


class ErrorSerializer(serializers.Serializer):
    code = serializers.CharField(help_text="For programs, such as `not_found` or `required`.")
    detail = serializers.CharField(help_text="For people.")
    attr = serializers.CharField(
        allow_null=True, help_text="The field that is wrong, such as `mappings.0.target`; null when none is."
    )


class ErrorsSerializer(serializers.Serializer):
    type = serializers.ChoiceField(choices=["validation_error", "client_error", "server_error"])
    errors = ErrorSerializer(many=True)  # type: ignore[assignment]  # a field, which DRF takes out of the class
