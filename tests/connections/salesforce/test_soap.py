"""Records out of the recycle bin: what SOAP answers, and what its faults mean."""

from __future__ import annotations

import pytest

from connections.salesforce import soap
from connections.salesforce.collections import Result
from connections.salesforce.errors import LimitReached, PermanentError, TransientError
from tests.connections.salesforce.scripted import ScriptedServer, answer
from tests.connections.salesforce.sessions import sandbox_session, scripted_session
from tests.org_hand import OrgHand
from tests.org_reader import OrgReader
from tests.sandbox_process import SandboxProcess

NOBODY = "001000000000001AAA"


def fault(code: str, message: str = "no") -> bytes:
    text = f"<sf:exceptionCode>{code}</sf:exceptionCode><sf:exceptionMessage>{message}</sf:exceptionMessage>"
    return answer("500 Internal Server Error", f"<e:Envelope><e:Body><e:Fault>{text}</e:Fault></e:Body></e:Envelope>")


def done(*results: str, begin: str = "") -> bytes:
    body = "".join(f"<result>{each}</result>" for each in results)
    return answer(
        "200 OK",
        f'{begin}<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns="urn:partner.soap.sforce.com">'
        f"<e:Body><undeleteResponse>{body}</undeleteResponse></e:Body></e:Envelope>",
    )


def test_deleted_records_come_back_and_others_tell_why_not(sandbox: SandboxProcess, org: OrgReader) -> None:
    hand = OrgHand(sandbox)
    gone, alive = hand.insert("Account", Name="Gone"), hand.insert("Account", Name="Alive")
    hand.delete("Account", gone)
    with sandbox_session(sandbox) as session:
        first, second, third = soap.undelete(session, [gone, alive, NOBODY])
    assert first == Result(gone, False)
    assert (second.id, second.error.partition(":")[0]) == (alive, "UNDELETE_FAILED")
    assert (third.id, third.error.partition(":")[0]) == (NOBODY, "INVALID_CROSS_REFERENCE_KEY")
    assert {each["Name"] for each in org.query("SELECT Name FROM Account")} == {"Gone", "Alive"}


def test_an_expired_session_is_renewed_once() -> None:
    good = done(f"<id>{NOBODY}</id><success>true</success>")
    with ScriptedServer(fault("INVALID_SESSION_ID"), good) as server, scripted_session(server.url) as session:
        assert soap.undelete(session, [NOBODY]) == [Result(NOBODY, False)]
        assert server.logins == 2
        assert b"<sessionId>00D5s0000000001!token2</sessionId>" in server.bodies[-1]
    twice = [fault("INVALID_SESSION_ID")] * 2
    with ScriptedServer(*twice) as server, scripted_session(server.url) as session:
        with pytest.raises(TransientError, match="fresh session was refused too"):
            soap.undelete(session, [NOBODY])
        assert server.logins == 2


@pytest.mark.parametrize(
    ("code", "kind", "unknown"),
    [
        ("REQUEST_LIMIT_EXCEEDED", LimitReached, False),
        ("UNKNOWN_EXCEPTION", TransientError, True),
        ("SERVER_UNAVAILABLE", TransientError, True),
        ("EXCEEDED_ID_LIMIT", PermanentError, False),
    ],
)
def test_faults_are_told_in_the_tree_of_errors(code: str, kind: type[Exception], unknown: bool) -> None:
    with ScriptedServer(fault(code, "a &lt; b")) as server, scripted_session(server.url) as session:
        told = f"{code} to undelete\\(\\): a < b"
        with pytest.raises(kind, match=told) as caught:
            soap.undelete(session, [NOBODY])
        assert server.logins == 1
    assert type(caught.value) is kind
    assert caught.value.effect_unknown is unknown  # type: ignore[attr-defined]


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "reply",
    [
        answer("200 OK", "<html>"),
        answer("200 OK", b"\xff\xfe<\x00"),
        answer("200 OK", "<a/>"),
        done(),
        done("<success>true</success>", "<success>true</success>"),
        done(f"<id>{NOBODY}</id><success>true</success>", begin=BOMB),
    ],
)
def test_an_answer_that_is_none_leaves_the_effect_unknown(reply: bytes) -> None:
    with ScriptedServer(reply) as server, scripted_session(server.url) as session:
        with pytest.raises(TransientError, match="not understood") as caught:
            soap.undelete(session, [NOBODY])
        assert caught.value.effect_unknown


def test_a_lost_answer_leaves_the_effect_unknown() -> None:
    with ScriptedServer(None) as server, scripted_session(server.url) as session:
        with pytest.raises(TransientError) as caught:
            soap.undelete(session, [NOBODY])
        assert caught.value.effect_unknown


def test_too_many_and_strange_ids_are_never_sent() -> None:
    with ScriptedServer() as server, scripted_session(server.url) as session:
        for ids in ([], [NOBODY] * 201, ["<ids/>"]):
            with pytest.raises(ValueError, match=r"ids|id"):
                soap.undelete(session, ids)
        assert not server.seen
