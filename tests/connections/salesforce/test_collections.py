"""Calls of collections, published events, assignment rules, and conditions that are tried."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connections.salesforce import assignment, bulk, collections, events
from connections.salesforce.collections import Result, WriteOptions
from connections.salesforce.errors import (
    TransientError,
    job_trouble,
    row_error_text,
    split_row_error,
    trouble_of,
    what_to_do,
)
from tests.connections.salesforce.scripted import ScriptedServer, answer
from tests.connections.salesforce.sessions import sandbox_session, scripted_session
from tests.sandbox_process import SandboxProcess

OPTIONS = WriteOptions()


def record(type: str, **fields: Any) -> bytes:
    return json.dumps({"attributes": {"type": type}, **fields}).encode()


def test_records_are_written_each_with_its_own_result(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        good, bad = collections.create(
            session, [record("Account", Name="One"), record("Account", Name="x" * 300)], OPTIONS
        )
        assert (good.id[:3], good.created, good.error) == ("001", True, "")
        assert (bad.id, split_row_error(bad.error)[0], split_row_error(bad.error)[2]) == (
            "",
            "STRING_TOO_LONG",
            ("Name",),
        )
        assert collections.update(session, [record("Account", Id=good.id, Name="Two")], OPTIONS) == [
            Result(good.id, False)
        ]
        upserts = [record("Account", Symbol__c=symbol, Name="N") for symbol in ("A", "B")]
        first = collections.upsert(session, "Account", "Symbol__c", upserts[:1], OPTIONS)
        again = collections.upsert(session, "Account", "Symbol__c", upserts, OPTIONS)
        assert [each.created for each in (*first, *again)] == [True, False, True]
        assert collections.delete(session, [good.id])[0] == Result(good.id, False)
        gone = collections.delete(session, [good.id])[0]
        assert (gone.id, gone.error.partition(":")[0]) == (good.id, "ENTITY_IS_DELETED")
        assert session.calls == 7 and session.salesforce_time is not None


def test_a_published_event_is_a_success_although_it_has_an_error(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        good, bad = events.publish(
            session, [record("Order_Event__e", Order_Number__c="1"), record("Order_Event__e", Note__c="no number")]
        )
    assert (good.error, good.id[:3]) == ("", "e00")
    assert bad.error.startswith("REQUIRED_FIELD_MISSING:")


def test_an_answer_that_does_not_fit_the_call_leaves_its_effect_unknown() -> None:
    for body in ([], [{"id": "1"}], {"message": "what?"}, [{"success": True, "id": "1"}] * 2):
        scripted = answer("200 OK", json.dumps(body))
        with ScriptedServer(scripted) as server, scripted_session(server.url) as session:
            with pytest.raises(TransientError) as caught:
                collections.create(session, [record("Account", Name="One")], OPTIONS)
            assert caught.value.effect_unknown


def test_what_is_asked_beside_the_write_goes_in_headers() -> None:
    assert WriteOptions().headers() == {"Sforce-Auto-Assign": "FALSE"}
    assert WriteOptions("default").headers()["Sforce-Auto-Assign"] == "TRUE"
    headers = WriteOptions("01Q000000000001AAA", allow_save=True).headers()
    assert headers == {
        "Sforce-Auto-Assign": "01Q000000000001AAA",
        "Sforce-Duplicate-Rule-Header": "allowSave=true",
    }


def test_more_records_than_a_call_takes_are_not_even_sent(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session, pytest.raises(ValueError, match="1 to 200"):
        collections.create(session, [record("Account", Name="x")] * 201, OPTIONS)


def test_an_object_without_assignment_rules_has_no_active_one(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        assert assignment.active_rule(session, "Contact") is None
        rule = assignment.active_rule(session, "Lead")
        if rule is not None:
            assert bulk.create_job(session, "Lead", "insert", assignment_rule_id=rule).state == "Open"


@pytest.mark.parametrize(
    ("code", "message", "trouble"),
    [
        ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access", "lock"),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "T: System.DmlException: UNABLE_TO_LOCK_ROW, x", "lock"),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "T: Apex CPU time limit exceeded", "heavy"),
        ("LIMIT_EXCEEDED", "Apex CPU time limit exceeded", "heavy"),
        ("CANNOT_EXECUTE_FLOW_TRIGGER", "System.LimitException: Too many SOQL queries: 101", "heavy"),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "T: System.NullPointerException", None),
        ("SERVER_UNAVAILABLE", "", "busy"),
        ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "not UNABLE_TO_LOCK_ROW", None),
        ("NEVER_HEARD_OF", "", None),
    ],
)
def test_what_helps_a_refused_row_is_told_by_its_error(code: str, message: str, trouble: str | None) -> None:
    assert trouble_of(code, message) == trouble
    assert split_row_error(row_error_text(code, message, ("A", "B"))) == (code, message, ("A", "B"))


def test_advice_minds_what_a_trigger_wraps() -> None:
    assert "limits" in what_to_do("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "Apex CPU time limit exceeded")
    assert "developer" in what_to_do("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "NullPointerException")


def test_what_helps_a_failed_salesforce_job_is_told_by_its_message() -> None:
    assert job_trouble("TooManyLockFailure : Too many lock failure 200") == "lock"
    assert job_trouble("Timeout : took too long") == "heavy"
    assert job_trouble("InternalServerError : Retried more than 20 times") == "busy"
