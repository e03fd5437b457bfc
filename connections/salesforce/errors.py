"""What can go wrong between sfsync and Salesforce, and what happens next.

    SalesforceError
    ├── TransientError          try again later; `retry_after` says when, if Salesforce said so
    │   ├── LimitReached        a limit of the Salesforce org is used up: wait until it frees
    │   └── BudgetSpent         our share of such a limit is: nothing was sent; wait until it frees, or stop
    ├── PermanentError          this call, and so this batch or job, fails; `code` and `http_status` say why
    │   ├── FilterRefused       a condition is no SOQL; `position` says where
    │   ├── JobGone             Salesforce does not know this Bulk API job (any more)
    │   └── WrongJobState       the Bulk API job is not in a state that allows the call
    └── MisconfiguredError      stop; the message says what an administrator must do
        └── LoginRefused        Salesforce did not let us in

`effect_unknown` is true when a request that changes something may have had its effect although no good answer
came back: such a request must never simply be sent again.

The tables in this file are the only place that turns Salesforce's codes (and, for nested ones, message text) into
classes. Sources: REST API guide "Status Codes and Error Responses", Bulk API 2.0 guide, SOAP API
guide "Core Data Types: StatusCode".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Trouble = Literal["lock", "heavy", "busy"]


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


class BudgetSpent(TransientError):
    """Our share of a limit of the Salesforce org is used up, so the call was not made.

    left: how much of the share is left. retry_after: seconds until it is worth another look.
    """

    def __init__(self, message: str, *, left: int, retry_after: float, advice: str = "") -> None:
        super().__init__(message, retry_after=retry_after, advice=advice)
        self.left = left


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
    "TOOMANYLOCKFAILURE": TransientError,
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


def soap_error(code: str, text: str, *, doing: str, changes: bool) -> SalesforceError:
    """The error for a SOAP fault, all of which come with the status 500. As `request_error`."""
    kind = _BY_CODE.get(code.upper(), PermanentError)
    message = f"Salesforce answered {code} to {doing}: {' '.join(text.split())[:1000]}".rstrip(".") + "."
    # A call that broke down in the middle may have done its work before; one that was turned away has not.
    broke_down = code.upper() in ("UNKNOWN_EXCEPTION", "SERVER_UNAVAILABLE")
    return kind(
        message,
        advice=_ADVICE_BY_CODE.get(code, ""),
        code=code,
        http_status=500,
        effect_unknown=changes and broke_down,
    )


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
    text = " ".join(str(text).split())
    # Of a long query that is wrong, Salesforce repeats all before it says where and why.
    return str(code), text[max(0, text.find("ERROR at Row:")) if len(text) > 1000 else 0 :][:1000]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return None


# Error codes of single rows that may be taken another time, by what helps: `lock`, rows whose record or parent somebody
# else holds, fewer at once and those of one parent together; `heavy`, rows whose triggers and flows took too long,
# fewer at once; `busy`, time. Every code that is not here is permanent: Salesforce has some 300 of them.
TROUBLES: dict[str, Trouble] = {
    "UNABLE_TO_LOCK_ROW": "lock",
    "CONFLICT": "lock",
    "REQUEST_RUNNING_TOO_LONG": "heavy",
    "QUERY_TIMEOUT": "heavy",
    "TXN_SECURITY_METERING_ERROR": "heavy",
    "REQUEST_LIMIT_EXCEEDED": "busy",
    "SERVER_UNAVAILABLE": "busy",
    "UNKNOWN_EXCEPTION": "busy",
    "TOO_MANY_APEX_REQUESTS": "busy",
    "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE": "busy",
    "PLATFORM_EVENT_PUBLISHING_UNAVAILABLE": "busy",
    "PLATFORM_EVENT_PUBLISH_FAILED": "busy",
}

# A trigger or a flow wraps what stopped it: a lock inside is still only a lock, and a limit of one transaction is met
# by fewer rows in it.
WRAPPING_ROW_CODES = frozenset(
    {"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "CANNOT_EXECUTE_FLOW_TRIGGER", "APEX_ERROR", "LIMIT_EXCEEDED"}
)
NESTED_TROUBLES: tuple[tuple[str, Trouble], ...] = (
    ("UNABLE_TO_LOCK_ROW", "lock"),
    ("CPU time limit", "heavy"),
    ("System.LimitException", "heavy"),
)


def trouble_of(code: str, message: str = "") -> Trouble | None:
    """What kept a refused row from being taken this time; None for one that would be refused again."""
    if code in WRAPPING_ROW_CODES:
        return next((trouble for text, trouble in NESTED_TROUBLES if text in message), None)
    return TROUBLES.get(code)


def row_error_text(code: str, message: str, fields: tuple[str, ...] = ()) -> str:
    """A row error in the form of a bulk job's `sf__Error`: what `split_row_error` takes apart."""
    return f"{code}:{message}:{','.join(fields)}{' --' if fields else '--'}"


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


def what_to_do_about_job(text: str) -> str:
    """Advice about the `errorMessage` of a failed Bulk API job, of which nothing was written; "" when none is known."""
    if "Field name not found" in text:
        return (
            "The field was deleted, or is hidden from the connected user. Give the user access to it or take it out of "
            "the mapping, and run the sync again."
        )
    if text.startswith("InvalidEntity"):
        return "The object was deleted, or is hidden from the connected user. Give the user access to it."
    return ""


def job_trouble(text: str) -> Trouble:
    """What helps the rows of a failed Bulk API job, by its `errorMessage` (Bulk API guide, "Errors")."""
    if "TooManyLockFailure" in text or "UNABLE_TO_LOCK_ROW" in text:
        return "lock"
    return "heavy" if "Timeout" in text or "CPU time" in text else "busy"


_WHAT_TO_DO = {
    "REQUIRED_FIELD_MISSING": "Map the required field, or fill the blank values in the source.",
    "STRING_TOO_LONG": "Shorten the value in the source, or make the field longer in Salesforce.",
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": "Use a value of the picklist, or add this one to the picklist. A record "
    "type may allow fewer values than the field.",
    "DUPLICATE_VALUE": "Another record already holds this unique value. Correct one of the two.",
    "DUPLICATE_EXTERNAL_ID": "Several records hold this external id. Merge them, and make the field unique.",
    "DUPLICATES_DETECTED": "A duplicate rule stopped the record. Merge the records, change the rule, or let the sync "
    "save in spite of rules that only alert.",
    "DUPLICATE_USERNAME": "Another user of Salesforce has this user name. Choose another one.",
    "UNABLE_TO_LOCK_ROW": "Others were changing the same or a parent record, through all tries of this job. The next "
    "job sends the row again; run it when less goes on in Salesforce.",
    "CONFLICT": "The record was changed in the same moment. The next job sends the row again.",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": "A validation rule stopped the record. Correct the values or change the rule.",
    "FIELD_FILTER_VALIDATION_EXCEPTION": "The record pointed to does not meet the field's lookup filter. Choose "
    "another record, or change the filter.",
    "FIELD_INTEGRITY_EXCEPTION": "The value does not go with another one of the record, or with a setting of the org. "
    "The message names the field; correct it in the source.",
    "INVALID_CROSS_REFERENCE_KEY": "The record, or one it points to, is not there. Load the parent first.",
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": "Give the connected user access to the record that is pointed to.",
    "INSUFFICIENT_ACCESS_OR_READONLY": "Give the connected user access to the record, its object and its owner.",
    "TRANSFER_REQUIRES_READ": "The new owner may not read such records. Give that user the permission to read them.",
    "ENTITY_IS_DELETED": "The record is in the recycle bin, or was merged into another one. Restore it, or let the "
    "next job make it anew.",
    "UNDELETE_FAILED": "The record is not in the recycle bin, or cannot come back while its parent is deleted or while "
    "another record holds a unique value of it. Settle that in Salesforce, and start the undo again.",
    "ENTITY_IS_LOCKED": "The record waits in an approval. Finish the approval, then run the sync again.",
    "CANNOT_UPDATE_CONVERTED_LEAD": "The lead was converted. Load its contact or opportunity instead, or filter such "
    "rows out of the source.",
    "MALFORMED_ID": "This is not a record id of the right kind. Correct it in the source.",
    "INVALID_ID_FIELD": "This is not a record id of the right kind. Correct it in the source.",
    "INVALID_FIELD": "A field or a parent's external id is unknown. Load the parent first, or correct the mapping.",
    "INVALID_FIELD_FOR_INSERT_UPDATE": "Make the field writable for the connected user, or take it out of the mapping.",
    "INVALID_TYPE_ON_FIELD_IN_RECORD": "The value does not fit the field's type. Correct it in the source.",
    "INVALID_CURRENCY_ISO": "This currency is not active in the Salesforce org. Activate it, or correct the code.",
    "INVALID_STATUS": "The record's status does not allow this change. Correct the status in the source.",
    "NUMBER_OUTSIDE_VALID_RANGE": "The number is too large for the field. Correct it, or widen the field.",
    "INVALID_EMAIL_ADDRESS": "Correct the e-mail address in the source.",
    "MISSING_ARGUMENT": "The id or external id of the row is blank. Fill it in the source.",
    "JSON_PARSER_ERROR": "Salesforce could not read a value of this row. Correct it in the source.",
    "CIRCULAR_DEPENDENCY": "The record would be its own parent, directly or through others. Correct the parents.",
    "SELF_REFERENCE_FROM_TRIGGER": "A trigger changes the record while it is being saved. Show this to its developer.",
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": "An Apex trigger stopped the record. Show the message to its developer.",
    "CANNOT_EXECUTE_FLOW_TRIGGER": "A flow stopped the record. Show the message to the flow's owner.",
    "APEX_ERROR": "Apex code stopped the record. Show the message to its developer.",
    "PROCESSING_HALTED": "Another record of the same call was refused and took this one with it. Correct that one.",
    "ALL_OR_NONE_OPERATION_ROLLED_BACK": "Another record of the same call was refused. Correct that one.",
    "DELETE_FAILED": "Other records depend on this one. Delete or move those first.",
    "DEPENDENCY_EXISTS": "Other records depend on this one. Delete or move those first.",
    "INACTIVE_OWNER_OR_USER": "The owner is inactive. Choose an active user, or activate this one.",
    "STORAGE_LIMIT_EXCEEDED": "The Salesforce org has no storage left. Delete records or buy storage.",
    "LIMIT_EXCEEDED": "A limit of the Salesforce org was reached; the message names it. Wait until it frees up, or "
    "send less at a time.",
    "REQUEST_LIMIT_EXCEEDED": "The Salesforce org has used its API requests. Wait until they free up.",
    "REQUEST_RUNNING_TOO_LONG": "Triggers and flows took too long, even for few rows at once. Make them lighter.",
    "QUERY_TIMEOUT": "A query in a trigger or flow took too long. Make it selective, or ask Salesforce for an index.",
    "SERVER_UNAVAILABLE": "Salesforce was too busy. The next job sends the row again.",
    "UNKNOWN_EXCEPTION": "Salesforce met an error of its own. The next job sends the row again; if it stays, give "
    "the number in the message to Salesforce's support.",
    "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE": "Salesforce is under maintenance. Run the sync again "
    "afterwards.",
    "PLATFORM_EVENT_PUBLISHING_UNAVAILABLE": "Salesforce could not take events for a while. Run the sync again.",
    "PLATFORM_EVENT_ENCRYPTION_ERROR": "The org's encryption key for events cannot be used. Ask its administrator.",
}

# What is said where the message tells more than the code.
_WHAT_TO_DO_ABOUT = {
    "heavy": "Triggers and flows took more of Salesforce's limits than one transaction has, even for few rows at once. "
    "Make them lighter, or ask their developer.",
}


def what_to_do(code: str, message: str = "") -> str:
    """Advice for an administrator about a row error; for a code of no renown, where to look."""
    if code in WRAPPING_ROW_CODES and (trouble := trouble_of(code, message)) is not None:
        return _WHAT_TO_DO_ABOUT.get(trouble) or _WHAT_TO_DO["UNABLE_TO_LOCK_ROW"]
    if code == "INVALID_FIELD" and "no such column" in message.lower():
        return what_to_do_about_job("Field name not found")
    return _WHAT_TO_DO.get(code, "Look the code up in Salesforce's API guide, and correct the row or the org's rules.")
