"""What can go wrong between sfsync and Salesforce, and what happens next.

    SalesforceError
    ├── TransientError          try again later; `retry_after` says when, if Salesforce said so
    │   └── LimitReached        a limit of the Salesforce org is used up: wait until it frees
    ├── PermanentError          this call, and so this batch or job, fails; `code` and `http_status` say why
    │   ├── FilterRefused       a condition is no SOQL; `position` says where
    │   ├── JobGone             Salesforce does not know this Bulk API job (any more)
    │   └── WrongJobState       the Bulk API job is not in a state that allows the call
    └── MisconfiguredError      stop; the message says what an administrator must do
        └── LoginRefused        Salesforce did not let us in

`effect_unknown` is true when a request that changes something may have had its effect although no good answer
came back: such a request must never simply be sent again.

The two tables in this file are the only place that turns Salesforce's codes (and, for two nested ones, message
text) into classes. Sources: REST API guide "Status Codes and Error Responses", Bulk API 2.0 guide, SOAP API
guide "Core Data Types: StatusCode".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

RowErrorClass = Literal["transient", "permanent"]


class SalesforceError(Exception):
    """Root of the tree.

    message: what happened, in words for a Salesforce administrator.
    advice: what to do about it; the error as text is both together.
    code: Salesforce's error code, or "" when the failure was below Salesforce (network, TLS).
    http_status: status of the answer, or None when there was none.
    effect_unknown: the request may have had its effect.
    """

    def __init__(
        self,
        message: str,
        *,
        advice: str = "",
        code: str = "",
        http_status: int | None = None,
        effect_unknown: bool = False,
    ) -> None:
        super().__init__(f"{message} {advice}" if advice else message)
        self.what_happened = message
        self.advice = advice
        self.code = code
        self.http_status = http_status
        self.effect_unknown = effect_unknown


class TransientError(SalesforceError):
    """The same call may succeed later. `retry_after`: seconds that Salesforce asked to wait, or None."""

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        advice: str = "",
        code: str = "",
        http_status: int | None = None,
        effect_unknown: bool = False,
    ) -> None:
        super().__init__(message, advice=advice, code=code, http_status=http_status, effect_unknown=effect_unknown)
        self.retry_after = retry_after


class LimitReached(TransientError):
    """A limit of the Salesforce org (API calls, batches, storage) is used up."""


class PermanentError(SalesforceError):
    """The same call will fail again."""


class FilterRefused(PermanentError):
    """Salesforce does not take a condition. `position`: of the character in it that is wrong, from 1, or None."""

    def __init__(
        self,
        message: str,
        *,
        advice: str = "",
        code: str = "",
        http_status: int | None = None,
        effect_unknown: bool = False,
        position: int | None = None,
    ) -> None:
        super().__init__(message, advice=advice, code=code, http_status=http_status, effect_unknown=effect_unknown)
        self.position = position


class JobGone(PermanentError):
    """Salesforce answered 404 for a Bulk API job: never made, deleted, or older than seven days."""


class WrongJobState(PermanentError):
    """The Bulk API job is in a state that does not allow the call, for example a second upload."""


class MisconfiguredError(SalesforceError):
    """Nothing gets better by itself: the message says what an administrator must do."""


class LoginRefused(MisconfiguredError):
    """Salesforce refused the login."""


# Error codes of whole requests. A code that is not here is judged by its HTTP status.
_BY_CODE: dict[str, type[SalesforceError]] = {
    "INVALID_SESSION_ID": TransientError,
    "INVALID_AUTH_HEADER": MisconfiguredError,
    "REQUEST_LIMIT_EXCEEDED": LimitReached,
    "LIMIT_EXCEEDED": LimitReached,
    "LIMITEXCEEDED": LimitReached,
    "EXCEEDED_QUOTA": LimitReached,
    "EXCEEDEDQUOTA": LimitReached,
    "STORAGE_LIMIT_EXCEEDED": LimitReached,
    "TXN_SECURITY_METERING_ERROR": TransientError,
    "UNABLE_TO_LOCK_ROW": TransientError,
    "SERVER_UNAVAILABLE": TransientError,
    "UNKNOWN_EXCEPTION": TransientError,
    "INTERNALSERVERERROR": TransientError,
    "REQUEST_RUNNING_TOO_LONG": TransientError,
    "QUERY_TIMEOUT": TransientError,
    "TOO_MANY_APEX_REQUESTS": TransientError,
    "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE": TransientError,
    "API_CURRENTLY_DISABLED": MisconfiguredError,
    "API_DISABLED_FOR_ORG": MisconfiguredError,
    "UNSUPPORTED_API_VERSION": MisconfiguredError,
    "FEATURENOTENABLED": MisconfiguredError,
    "FUNCTIONALITY_NOT_ENABLED": MisconfiguredError,
    "INSUFFICIENT_ACCESS": MisconfiguredError,
    "INVALIDENTITY": MisconfiguredError,
    "INVALID_TYPE": MisconfiguredError,
    "INVALIDJOB": WrongJobState,
    "INVALIDJOBSTATE": WrongJobState,
}

_TRANSIENT_STATUSES = frozenset({408, 409, 420, 425, 429, 500, 502, 503, 504})

_ADVICE_BY_CODE = {
    "INVALID_SESSION_ID": "A fresh session was refused too. Check that the user's profile has 'API Enabled'.",
    "API_DISABLED_FOR_ORG": "Switch the API on for this Salesforce org and give the user 'API Enabled'.",
    "API_CURRENTLY_DISABLED": "The API of this Salesforce org is switched off at the moment. Ask Salesforce support.",
    "UNSUPPORTED_API_VERSION": "This API version is retired. Set a newer API version on the connection.",
    "FEATURENOTENABLED": "Give the user the permission for it (hard delete needs 'Bulk API Hard Delete').",
    "INVALIDENTITY": "Choose an object that the Bulk API supports and that the user may see.",
    "INVALID_TYPE": "Check the object's API name (custom objects end in '__c') and the user's access to it.",
    "REQUEST_LIMIT_EXCEEDED": "The Salesforce org has used its API requests. They free up over a rolling 24 hours.",
    "STORAGE_LIMIT_EXCEEDED": "The Salesforce org has no storage left. Delete records or buy storage.",
}


def request_error(
    status: int, body: Any, headers: Mapping[str, str], *, doing: str, changes: bool, about_job: bool = False
) -> SalesforceError:
    """The error for an answer that is not a success.

    status: HTTP status. body: parsed JSON, or text when it was not JSON. headers: of the answer.
    doing: what was asked, in words ("POST /jobs/ingest"). changes: the request changes something in Salesforce.
    about_job: the request named a Bulk API job, so that 404 means the job is gone.
    """
    code, text = _code_and_text(body)
    kind = _request_class(status, code, about_job)
    parts = [f"Salesforce answered {status}{f' {code}' if code else ''} to {doing}"]
    message = ": ".join([*parts, text] if text else parts).rstrip(".") + "."
    advice = _ADVICE_BY_CODE.get(code, "")
    if issubclass(kind, TransientError):
        # A server that broke down in the middle may have done the work before; one that said "too many" has not.
        unknown = changes and status >= 500
        wait = _retry_after(headers)
        return kind(message, retry_after=wait, advice=advice, code=code, http_status=status, effect_unknown=unknown)
    return kind(message, advice=advice, code=code, http_status=status)


def _request_class(status: int, code: str, about_job: bool) -> type[SalesforceError]:
    if status == 429:
        return LimitReached
    if about_job and status == 404:
        return JobGone
    known = _BY_CODE.get(code.upper())
    if known is WrongJobState and not about_job:
        # While a job is being created, INVALIDJOB means that its description is wrong, not its state.
        return PermanentError
    if known is not None:
        return known
    if about_job and status == 409:
        # A job of another API version; a conflict elsewhere passes.
        return PermanentError
    if status in _TRANSIENT_STATUSES or status >= 500:
        return TransientError
    if status in (401, 403, 410) or 300 <= status < 400:
        return MisconfiguredError
    return PermanentError


def _code_and_text(body: Any) -> tuple[str, str]:
    first = body[0] if isinstance(body, list) and body else body
    if not isinstance(first, dict):
        # Gateways in front of Salesforce answer in HTML, which helps nobody.
        text = "" if not isinstance(first, str) or "<" in first else " ".join(first.split())
        return "", text[:300]
    code = first.get("errorCode") or first.get("statusCode") or first.get("exceptionCode") or first.get("error") or ""
    text = first.get("message") or first.get("exceptionMessage") or first.get("error_description") or ""
    return str(code), " ".join(str(text).split())[:1000]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return None


# Error codes of single rows. Every code that is not here is permanent: Salesforce has some 300 of them.
_TRANSIENT_ROW_CODES = frozenset(
    {
        "UNABLE_TO_LOCK_ROW",
        "REQUEST_LIMIT_EXCEEDED",
        "SERVER_UNAVAILABLE",
        "UNKNOWN_EXCEPTION",
        "REQUEST_RUNNING_TOO_LONG",
        "QUERY_TIMEOUT",
        "CONFLICT",
        "TOO_MANY_APEX_REQUESTS",
        "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE",
        "TXN_SECURITY_METERING_ERROR",
        "PLATFORM_EVENT_PUBLISHING_UNAVAILABLE",
        "PLATFORM_EVENT_PUBLISH_FAILED",
    }
)

# A trigger or a flow wraps what stopped it: a lock inside is still only a lock.
_WRAPPING_ROW_CODES = frozenset({"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "CANNOT_EXECUTE_FLOW_TRIGGER"})


def row_error_class(code: str, message: str = "") -> RowErrorClass:
    """Whether a refused row may be taken the next time: "transient" or "permanent"."""
    if code in _TRANSIENT_ROW_CODES:
        return "transient"
    if code in _WRAPPING_ROW_CODES and "UNABLE_TO_LOCK_ROW" in message:
        return "transient"
    return "permanent"


def split_row_error(text: str) -> tuple[str, str, tuple[str, ...]]:
    """Take apart one `sf__Error`: (code, message, API names of the fields).

    The form is `CODE:message:Field1,Field2 --`, without fields `CODE:message:--` (Bulk API 2.0 guide, "Get Failed
    Record Results"). The message may itself hold colons, commas and line breaks, so the code ends at the first
    colon and the fields begin after the last. A text of another form comes back as a message without a code.
    """
    code, colon, rest = text.partition(":")
    if not colon or not code.replace("_", "").isalnum() or not code.isupper():
        return "", text, ()
    stripped = rest.rstrip()
    if not stripped.endswith("--"):
        return code, rest, ()
    message, colon, names = stripped[:-2].rstrip().rpartition(":")
    if not colon:
        return code, names, ()
    return code, message, tuple(name.strip() for name in names.split(",") if name.strip())


# What a whole Bulk API job fails with when another one with the same rows would fail as well.
_LASTING_JOB_ERRORS = ("InvalidBatch", "ClientInputError", "InvalidEntity", "FeatureNotEnabled", "InvalidJob")


def job_error_lasts(text: str) -> bool:
    """Whether the `errorMessage` of a failed Bulk API job says that the same rows would fail again."""
    return text.startswith(_LASTING_JOB_ERRORS)


_WHAT_TO_DO = {
    "REQUIRED_FIELD_MISSING": "Map the required field, or fill the blank values in the source.",
    "STRING_TOO_LONG": "Shorten the value in the source, or make the field longer in Salesforce.",
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": "Use a value of the picklist, or add this one to the picklist.",
    "DUPLICATE_VALUE": "Another record already holds this unique value. Correct one of the two.",
    "DUPLICATE_EXTERNAL_ID": "Several records hold this external id. Merge them, and make the field unique.",
    "DUPLICATES_DETECTED": "A duplicate rule stopped the record. Merge the records, or change the rule.",
    "UNABLE_TO_LOCK_ROW": "Another process was changing the same or a parent record. The next job sends the row again.",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": "A validation rule stopped the record. Correct the values or change the rule.",
    "INVALID_CROSS_REFERENCE_KEY": "The record, or one it points to, is not there. Load the parent first.",
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": "Give the connected user access to the record that is pointed to.",
    "INSUFFICIENT_ACCESS_OR_READONLY": "Give the connected user access to the record, its object and its owner.",
    "ENTITY_IS_DELETED": "The record is in the recycle bin. Restore it, or let the next job make it anew.",
    "ENTITY_IS_LOCKED": "The record waits in an approval. Finish the approval, then run the sync again.",
    "MALFORMED_ID": "This is not a record id of the right kind. Correct it in the source.",
    "INVALID_FIELD": "A field or a parent's external id is unknown. Load the parent first, or correct the mapping.",
    "INVALID_FIELD_FOR_INSERT_UPDATE": "Make the field writable for the connected user, or take it out of the mapping.",
    "INVALID_TYPE_ON_FIELD_IN_RECORD": "The value does not fit the field's type. Correct it in the source.",
    "NUMBER_OUTSIDE_VALID_RANGE": "The number is too large for the field. Correct it, or widen the field.",
    "INVALID_EMAIL_ADDRESS": "Correct the e-mail address in the source.",
    "MISSING_ARGUMENT": "The id or external id of the row is blank. Fill it in the source.",
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": "An Apex trigger stopped the record. Show the message to its developer.",
    "CANNOT_EXECUTE_FLOW_TRIGGER": "A flow stopped the record. Show the message to the flow's owner.",
    "DELETE_FAILED": "Other records depend on this one. Delete or move those first.",
    "DEPENDENCY_EXISTS": "Other records depend on this one. Delete or move those first.",
    "INACTIVE_OWNER_OR_USER": "The owner is inactive. Choose an active user, or activate this one.",
    "STORAGE_LIMIT_EXCEEDED": "The Salesforce org has no storage left. Delete records or buy storage.",
    "REQUEST_LIMIT_EXCEEDED": "The Salesforce org has used its API requests. Wait until they free up.",
}


def what_to_do(code: str) -> str:
    """Advice for an administrator about a row error code; for a code of no renown, where to look."""
    return _WHAT_TO_DO.get(code, "Look the code up in Salesforce's API guide, and correct the row or the org's rules.")
