"""Requests with a session: expiry, failures below and at Salesforce, counting, threads."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from connections.salesforce import bulk, limits
from connections.salesforce.check import check
from connections.salesforce.errors import (
    LimitReached,
    LoginRefused,
    MisconfiguredError,
    PermanentError,
    SalesforceError,
    TransientError,
)
from connections.salesforce.query import rows
from connections.salesforce.session import counting
from tests.connections.salesforce.scripted import ScriptedServer, answer
from tests.connections.salesforce.sessions import sandbox_session, scripted_session
from tests.sandbox_process import SandboxProcess

EXPIRED = answer("401 Unauthorized", '[{"errorCode":"INVALID_SESSION_ID","message":"Session expired or invalid"}]')
OK = answer("200 OK", "{}")


def test_an_expired_session_is_renewed_once_and_the_request_replayed(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        sandbox.faults({"action": "expire_token", "path": "/limits", "times": 1})
        assert limits.limits(session)["DailyApiRequests"]["Max"] > 0
        # Login, refused, login, answered.
        assert session.calls == 4


def test_a_session_that_stays_invalid_is_an_error_after_one_replay() -> None:
    with ScriptedServer(EXPIRED, EXPIRED, OK) as server, scripted_session(server.url) as session:
        with pytest.raises(TransientError, match="fresh session was refused too") as caught:
            session.request("GET", "limits")
        assert caught.value.code == "INVALID_SESSION_ID"
        assert (server.logins, len(server.seen)) == (2, 4)


def test_a_401_of_another_kind_is_not_replayed() -> None:
    reply = answer("401 Unauthorized", '[{"errorCode":"INVALID_AUTH_HEADER","message":"no"}]')
    with ScriptedServer(reply, OK) as server, scripted_session(server.url) as session:
        with pytest.raises(MisconfiguredError):
            session.request("GET", "limits")
        assert server.logins == 1


def test_a_replayed_upload_starts_at_the_beginning() -> None:
    with ScriptedServer(EXPIRED, answer("201 Created")) as server, scripted_session(server.url) as session:
        file = io.BytesIO(b"header\nskipped,rest")
        file.seek(7)
        session.request("PUT", "jobs/ingest/750/batches", data=file)
        assert server.bodies[-1] == server.bodies[-3] == b"skipped,rest"
        assert "Bearer 00D5s0000000001!token2" in server.seen[-1]


def test_a_refused_renewal_is_told_as_such() -> None:
    with ScriptedServer(EXPIRED) as server, scripted_session(server.url) as session:
        _ = session.identity
        server.login = answer(
            "400 Bad Request", '{"error":"invalid_grant","error_description":"authentication failure"}'
        )
        with pytest.raises(LoginRefused):
            session.request("GET", "limits")


def test_threads_share_one_login_and_one_renewal(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        barrier = threading.Barrier(4)

        def ask(_: int) -> int:
            barrier.wait()
            return session.request("GET", "limits").status_code

        def logins() -> int:
            return sum(count for name, count in sandbox.requests()["counts"].items() if "oauth2/token" in name)

        before = logins()
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(ask, range(4))) == [200] * 4
            assert logins() - before == 1
            # The token of all four expires at once, whichever of them meets the fault.
            sandbox.faults({"action": "expire_token", "path": "/limits", "times": 1})
            assert list(pool.map(ask, range(4))) == [200] * 4
            assert logins() - before == 2


def test_every_data_call_switches_auto_assign_off_and_names_its_client() -> None:
    with ScriptedServer(OK, OK) as server, scripted_session(server.url) as session:
        session.request("POST", "sobjects/Case", json={"Subject": "é"})
        session.rest.limits()
        for head in server.seen[1:]:
            assert "Sforce-Auto-Assign: FALSE" in head
            assert "Sforce-Call-Options: client=sfsync" in head
        assert "POST /services/data/v62.0/sobjects/Case " in server.seen[1]
        assert server.bodies[1] == '{"Subject": "é"}'.encode()
        assert "kept by SalesforceSession" not in "".join(server.seen)


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_lost_answer_leaves_only_a_change_unknown(method: str) -> None:
    with ScriptedServer(None) as server, scripted_session(server.url) as session:
        with pytest.raises(TransientError) as caught:
            session.request(method, "jobs/ingest/750000000000001AAA", json={"state": "UploadComplete"})
        assert caught.value.effect_unknown is (method == "PATCH")
        assert caught.value.__cause__ is None
        assert "token1" not in repr(caught.value) + str(vars(caught.value))


@pytest.mark.parametrize(
    "broken",
    [
        answer("200 OK", '{"a":', length=500),
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n',
        b"nonsense\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_off_is_transient(broken: bytes) -> None:
    with ScriptedServer(broken) as server, scripted_session(server.url) as session:
        with pytest.raises(TransientError) as caught:
            session.request("POST", "jobs/ingest", json={})
        assert caught.value.effect_unknown


def test_a_refusal_of_a_download_that_breaks_off_is_transient(tmp_path: Path) -> None:
    for status in ("401 Unauthorized", "404 Not Found"):
        with ScriptedServer(answer(status, "[{", length=99)) as server, scripted_session(server.url) as session:
            with pytest.raises(TransientError, match="connection broke"):
                bulk.download(session, "750000000000001AAA", "failedResults", tmp_path / "result.csv")
            assert server.logins == 1


def test_calls_are_counted_for_the_thread_that_makes_them() -> None:
    with ScriptedServer(OK, OK, OK) as server, scripted_session(server.url) as session:
        session.request("GET", "limits")
        with counting() as meter, ThreadPoolExecutor(1) as pool:
            session.request("GET", "limits")
            pool.submit(session.request, "GET", "limits").result()
        assert meter.made == 1
        assert session.calls == 4


def test_a_server_that_does_not_answer_in_time_is_transient(sandbox: SandboxProcess) -> None:
    with scripted_session(
        sandbox.http_url,
        timeout=(2, 0.3),
        client_id=sandbox.client_id,
        client_secret=sandbox.client_secret,
        flow="client_credentials",
    ) as session:
        sandbox.faults({"action": "hold_before", "path": "/limits", "seconds": 3})
        with pytest.raises(TransientError, match="No answer in time") as caught:
            session.request("GET", "limits")
        assert caught.value.effect_unknown is False


def test_redirects_are_not_followed() -> None:
    redirect = answer("302 Found", "", "Location: http://127.0.0.1:1/")
    with ScriptedServer(redirect) as server, scripted_session(server.url) as session:
        with pytest.raises(MisconfiguredError, match="302"):
            session.request("GET", "limits")
        assert len(server.seen) == 2


def test_a_server_that_breaks_down_is_transient_with_its_wait(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        sandbox.faults({"action": "status", "status": 503, "path": "/limits", "html": True, "retry_after": 4})
        with pytest.raises(TransientError, match="503") as caught:
            limits.limits(session)
        assert caught.value.retry_after == 4
        assert "<" not in str(caught.value)


def test_used_calls_are_known_from_every_answer(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        assert session.limit_info is None
        answered = limits.daily_calls(limits.limits(session))
        assert session.limit_info is not None and answered is not None
        assert session.limit_info.max == answered.max == 1_000_000
        assert 0 < session.limit_info.used <= 1_000_000
        used = session.limit_info.used
        session.request("GET", "limits")
        assert session.limit_info.used == used + 1
    assert limits.daily_calls({}) is None


def test_an_org_without_calls_left_is_a_limit() -> None:
    with SandboxProcess(daily_api_requests=2, https=False) as small, sandbox_session(small) as session:
        with pytest.raises(LimitReached, match="rolling 24 hours") as caught:
            for _ in range(5):
                session.request("GET", "limits")
        assert (caught.value.http_status, caught.value.code) == (403, "REQUEST_LIMIT_EXCEEDED")


def test_a_page_that_is_not_json_is_transient() -> None:
    page = answer("200 OK", "<html>Please log in to the Wi-Fi</html>")
    with ScriptedServer(page, page, page) as server, scripted_session(server.url) as session:
        with pytest.raises(TransientError, match="not JSON"):
            limits.limits(session)
        with pytest.raises(TransientError, match="not a query result"):
            list(rows(session, "SELECT Id FROM Account"))
        with pytest.raises(TransientError, match="not understood") as caught:
            bulk.create_job(session, "Account", "insert")
        assert caught.value.effect_unknown


def test_a_full_disk_is_not_taken_for_the_network(sandbox: SandboxProcess, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    with ScriptedServer(answer("200 OK", "a\n" * 100_000)) as server, scripted_session(server.url) as session:
        (tmp_path / "result.csv").symlink_to(full)
        with pytest.raises(OSError, match="No space left") as caught:
            bulk.download(session, "750000000000001AAA", "failedResults", tmp_path / "result.csv")
        assert not isinstance(caught.value, SalesforceError)


def test_a_check_goes_through_every_step(sandbox: SandboxProcess) -> None:
    seen: list[str] = []

    def run(step: str, take: Callable[[], list[tuple[str, str]]]) -> list[tuple[str, str]]:
        seen.append(step)
        return take()

    with sandbox_session(sandbox) as session:
        found = dict(check(session, run))
        assert session.calls == 5
    assert seen == ["login", "API version", "limits", "organization", "user"]
    assert found["API version"] == "62.0"
    assert re.fullmatch(r"[\d,]+ of [\d,]+ in 24 hours", found["API requests left"])
    assert found["Environment"] == "sandbox"
    assert found["Logged in as"] == f"Sandy Box ({sandbox.username})"
    assert found["Clock skew"] == "less than 2 seconds"
    with (
        sandbox_session(sandbox, api_version="99.0") as session,
        pytest.raises(MisconfiguredError, match="no API version 99.0; its newest is"),
    ):
        check(session)


def test_a_wrong_path_is_permanent(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session, pytest.raises(PermanentError) as caught:
        session.request("GET", "no/such/resource")
    assert caught.value.http_status == 404


def test_the_repr_names_the_instance_and_nothing_else(sandbox: SandboxProcess) -> None:
    session = sandbox_session(sandbox)
    assert repr(session) == "<SalesforceSession not logged in>"
    _ = session.identity
    assert repr(session) == f"<SalesforceSession {sandbox.http_url}>"
    session.close()
