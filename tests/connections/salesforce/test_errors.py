"""What Salesforce's answers mean."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from connections.salesforce.errors import (
    JobGone,
    LimitReached,
    MisconfiguredError,
    PermanentError,
    SalesforceError,
    TransientError,
    WrongJobState,
    job_error_lasts,
    request_error,
    split_row_error,
    trouble_of,
    what_to_do,
)


def error_for(status: int, code: str = "", **options: Any) -> SalesforceError:
    body = [{"errorCode": code, "message": "said Salesforce"}] if code else ""
    facts = {"doing": "GET /x", "changes": False, **options}
    return request_error(status, body, facts.pop("headers", {}), **facts)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "REQUEST_LIMIT_EXCEEDED", LimitReached),
        (429, "", LimitReached),
        (400, "EXCEEDEDQUOTA", LimitReached),
        (503, "SERVER_UNAVAILABLE", TransientError),
        (500, "", TransientError),
        (502, "", TransientError),
        (504, "", TransientError),
        (599, "", TransientError),
        (408, "", TransientError),
        (420, "", TransientError),
        (409, "", TransientError),
        (401, "INVALID_SESSION_ID", TransientError),
        (401, "INVALID_AUTH_HEADER", MisconfiguredError),
        (403, "API_DISABLED_FOR_ORG", MisconfiguredError),
        (403, "SOMETHING_ELSE", MisconfiguredError),
        (410, "UNSUPPORTED_API_VERSION", MisconfiguredError),
        (400, "INVALIDENTITY", MisconfiguredError),
        (302, "", MisconfiguredError),
        (400, "MALFORMED_QUERY", PermanentError),
        (404, "NOT_FOUND", PermanentError),
        (400, "INVALIDJOB", PermanentError),
    ],
)
def test_each_answer_has_its_class(status: int, code: str, kind: type[SalesforceError]) -> None:
    error = error_for(status, code)
    assert type(error) is kind
    assert (error.http_status, error.code) == (status, code)
    assert str(status) in str(error)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NOT_FOUND", JobGone),
        (400, "INVALIDJOB", WrongJobState),
        (400, "INVALIDJOBSTATE", WrongJobState),
        (409, "API_ERROR", PermanentError),
        (503, "", TransientError),
    ],
)
def test_answers_about_a_job_have_classes_of_their_own(status: int, code: str, kind: type[SalesforceError]) -> None:
    assert type(error_for(status, code, about_job=True)) is kind


@pytest.mark.parametrize(("changes", "status", "unknown"), [(True, 503, True), (True, 429, False), (False, 503, False)])
def test_only_a_breakdown_during_a_change_leaves_its_effect_unknown(changes: bool, status: int, unknown: bool) -> None:
    assert error_for(status, changes=changes).effect_unknown is unknown


def test_the_time_that_salesforce_asks_to_wait_is_kept() -> None:
    def wait(headers: dict[str, str]) -> float | None:
        error = error_for(503, headers=headers)
        assert isinstance(error, TransientError)
        return error.retry_after

    assert wait({"Retry-After": "7"}) == 7.0
    assert wait({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) is None
    assert wait({}) is None


def test_html_of_a_gateway_is_not_repeated() -> None:
    error = request_error(502, "<html><body>Bad Gateway</body></html>", {}, doing="GET /x", changes=False)
    assert str(error) == "Salesforce answered 502 to GET /x."


def test_errors_survive_pickling() -> None:
    error = error_for(503, "SERVER_UNAVAILABLE", changes=True, headers={"Retry-After": "3"})
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is TransientError
    assert (str(again), again.retry_after, again.effect_unknown) == (str(error), 3.0, True)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --",
            ("REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]", ("LastName",)),
        ),
        (
            "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access: 001A,001B:--",
            ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access: 001A,001B", ()),
        ),
        (
            "INVALID_FIELD_FOR_INSERT_UPDATE:Unable to create fields: X, Y.:X, Y --",
            ("INVALID_FIELD_FOR_INSERT_UPDATE", "Unable to create fields: X, Y.", ("X", "Y")),
        ),
        (
            "FIELD_CUSTOM_VALIDATION_EXCEPTION:Line one:\nline two -- see: manual:Amount__c --",
            ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "Line one:\nline two -- see: manual", ("Amount__c",)),
        ),
        ("SOME_CODE:a message: without an end", ("SOME_CODE", "a message: without an end", ())),
        ("Just a message: of a gateway", ("", "Just a message: of a gateway", ())),
        ("", ("", "", ())),
    ],
)
def test_a_row_error_is_taken_apart(text: str, parts: tuple[str, str, tuple[str, ...]]) -> None:
    assert split_row_error(text) == parts


def test_row_errors_that_pass_are_told_from_those_that_stay() -> None:
    assert trouble_of("UNABLE_TO_LOCK_ROW") is not None
    assert trouble_of("DUPLICATE_VALUE") is None
    assert trouble_of("A_CODE_OF_NEXT_YEAR") is None
    nested = "MyTrigger: execution of BeforeInsert caused by: UNABLE_TO_LOCK_ROW"
    assert trouble_of("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", nested) is not None
    assert trouble_of("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "NullPointerException") is None


def test_job_errors_that_would_come_again_are_told_from_the_others() -> None:
    assert job_error_lasts("InvalidBatch : Field name not found : Industryy")
    assert job_error_lasts("ClientInputError : LineEnding is invalid on user data.")
    assert not job_error_lasts("InternalServerError : Retries exhausted")
    assert not job_error_lasts("")


def test_there_is_advice_for_known_and_unknown_codes() -> None:
    assert "required field" in what_to_do("REQUIRED_FIELD_MISSING")
    assert "API guide" in what_to_do("A_CODE_OF_NEXT_YEAR")
