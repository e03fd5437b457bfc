from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess

CONTENT = "External_Id__c,LastName\n" + "".join(f"k{n},Name {n}\n" for n in range(1_000))


class Background(threading.Thread):
    """A call in a thread of its own, since it may be held; its answer or exception is kept."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.call = call
        self.answer: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self.call()
        except requests.RequestException as error:
            self.answer = error

    def result(self) -> Any:
        self.join(10)
        assert not self.is_alive()
        return self.answer


def _until_held(sandbox: SandboxProcess) -> None:
    deadline = time.monotonic() + 10
    while not any(rule["held"] for rule in sandbox.fault_rules()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_status_is_answered_instead_of_the_call(sandbox: SandboxProcess, client: Client) -> None:
    sandbox.faults(
        {"path": "/limits$", "action": "status", "status": 429, "code": "TOO_MANY", "message": "wait", "retry_after": 7}
    )
    answer = client.call("GET", "/limits")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json() == [{"message": "wait", "errorCode": "TOO_MANY"}]
    assert client.call("GET", "/limits").status_code == 200


def test_a_503_may_come_as_html(sandbox: SandboxProcess, client: Client) -> None:
    sandbox.faults({"action": "status", "status": 503, "html": True}, {"action": "status", "status": 503})
    first, second = client.call("POST", "/sobjects/Account", json={"Name": "x"}), client.call("GET", "/limits")
    assert (first.status_code, first.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert second.status_code in (200, 503)
    assert client.query("SELECT Id FROM Account") == []


def test_rules_choose_their_calls_by_method_path_and_number(sandbox: SandboxProcess, client: Client) -> None:
    sandbox.faults({"id": "third", "method": "GET", "path": "/limits", "nth": 3, "action": "status", "status": 500})
    client.call("POST", "/sobjects/Account", json={"Name": "x"})
    assert [client.call("GET", "/limits").status_code for _ in range(5)] == [200, 200, 500, 200, 200]
    rule = sandbox.fault_rules()[0]
    assert (rule["matched"], rule["fired"]) == (5, 1)
    sandbox.clear_faults()
    sandbox.faults({"path": "limits", "every": 2, "times": 2, "action": "status", "status": 500})
    assert [client.call("GET", "/limits").status_code for _ in range(6)] == [200, 500, 200, 500, 200, 200]


def test_a_call_delivered_twice_takes_effect_twice(sandbox: SandboxProcess, client: Client) -> None:
    sandbox.faults({"method": "POST", "path": "/sobjects/Account$", "action": "twice"})
    client.create("Account", Name="Echo")
    client.create("Account", Name="Once")
    assert sorted(row["Name"] for row in client.query("SELECT Name FROM Account")) == ["Echo", "Echo", "Once"]
    sandbox.faults({"method": "PUT", "action": "twice"})
    job_id = client.open_job("insert")
    assert client.upload(job_id, "LastName\nx\n").status_code == 201
    closing = client.set_state(job_id, "UploadComplete")
    assert closing.status_code == 400 and "Found multiple contents" in closing.text


def test_a_rule_may_look_at_the_body_of_calls(sandbox: SandboxProcess, client: Client) -> None:
    sandbox.faults({"body": '"Name": ?"Bad', "action": "status", "status": 500, "times": None})
    assert client.call("POST", "/sobjects/Account", json={"Name": "Bad Ltd"}).status_code == 500
    assert client.call("POST", "/sobjects/Account", json={"Name": "Good Ltd"}).status_code == 201
    assert client.load("insert", "LastName\nBad\n").info["numberRecordsFailed"] == 0


def test_a_rule_may_act_by_chance(sandbox: SandboxProcess, client: Client) -> None:
    sandbox.faults(
        {"path": "/limits$", "action": "status", "status": 503, "times": None, "probability": 0.5, "seed": 1}
    )
    statuses = [client.call("GET", "/limits").status_code for _ in range(40)]
    assert 8 <= statuses.count(503) <= 32 and set(statuses) == {200, 503}


def test_maintenance_goes_on_until_it_is_ended(sandbox: SandboxProcess, client: Client) -> None:
    sandbox.faults({"id": "down", "action": "maintenance"})
    answers = [client.call("GET", "/limits") for _ in range(3)]
    assert {(each.status_code, each.headers["Content-Type"]) for each in answers} == {(503, "text/html; charset=utf-8")}
    requests.delete(f"{sandbox.http_url}/_sandbox/faults/down", timeout=10)
    assert client.call("GET", "/limits").status_code == 200


def test_chosen_rows_are_refused_by_rest_and_in_bulk(sandbox: SandboxProcess, client: Client) -> None:
    rule = {"action": "refuse_rows", "object": "Contact", "field": "LastName", "matches": "^Locked"}
    sandbox.faults({**rule, "code": "UNABLE_TO_LOCK_ROW", "message": "unable to obtain exclusive access"})
    answer = client.call("POST", "/sobjects/Contact", json={"LastName": "Locked out"})
    expected = {"message": "unable to obtain exclusive access", "errorCode": "UNABLE_TO_LOCK_ROW", "fields": []}
    assert (answer.status_code, answer.json()) == (400, [expected])
    ended = client.load("insert", "LastName\nLocked in\nFree\n")
    assert ended.errors("LastName") == {"Locked in": "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access:--"}
    assert [row["LastName"] for row in ended.success] == ["Free"]


def test_rows_are_refused_in_the_words_of_a_duplicate_rule_where_there_is_none(
    sandbox: SandboxProcess, client: Client
) -> None:
    rule = {"action": "refuse_rows", "object": "Contact", "field": "LastName", "matches": "^Twin"}
    sandbox.faults({**rule, "code": "DUPLICATES_DETECTED", "message": "You're creating a duplicate."})
    answer = client.call("POST", "/sobjects/Contact", json={"LastName": "Twin"})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "DUPLICATES_DETECTED")


def test_an_expired_token_is_dead_for_good(sandbox: SandboxProcess, client: Client) -> None:
    sandbox.faults({"path": "/limits", "action": "expire_token"})
    for _ in range(2):
        answer = client.call("GET", "/limits")
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (401, "INVALID_SESSION_ID")
    assert Client(sandbox).call("GET", "/limits").status_code == 200


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_lost_answer_has_had_its_effect(sandbox: SandboxProcess, client: Client, scheme: str) -> None:
    if scheme == "https":
        client.base = client.base.replace(sandbox.http_url, str(sandbox.https_url))
        client.http.verify = str(sandbox.ca_file)
    sandbox.faults({"method": "POST", "path": "/sobjects/Account", "action": "lose_answer"})
    with pytest.raises(requests.ConnectionError):
        client.call("POST", "/sobjects/Account", json={"Name": "Once"})
    assert client.query("SELECT Name FROM Account") == [{"Name": "Once"}]


def test_a_cut_connection_has_had_no_effect(sandbox: SandboxProcess, client: Client) -> None:
    sandbox.faults({"method": "POST", "path": "/sobjects/Account", "action": "cut"})
    with pytest.raises(requests.ConnectionError):
        client.call("POST", "/sobjects/Account", json={"Name": "Never"})
    assert client.query("SELECT Name FROM Account") == []


def test_an_upload_cut_halfway_leaves_the_job_open_and_without_data(sandbox: SandboxProcess, client: Client) -> None:
    job_id = client.open_job("insert")
    sandbox.faults({"method": "PUT", "path": "/batches$", "action": "cut", "after_bytes": 200_000})
    with pytest.raises(requests.ConnectionError):
        client.upload(job_id, CONTENT * 200)
    assert client.info(job_id)["state"] == "Open"
    assert client.upload(job_id, CONTENT).status_code == 201
    client.set_state(job_id, "UploadComplete")
    assert client.wait(job_id)["numberRecordsProcessed"] == 1_000


@pytest.mark.parametrize(("action", "before"), [("hold_before", 0), ("hold_after", 1)])
def test_a_held_call_waits_for_its_release(sandbox: SandboxProcess, client: Client, action: str, before: int) -> None:
    sandbox.faults({"id": "gate", "method": "POST", "path": "/sobjects/Account", "action": action})
    other = Client(sandbox)
    call = Background(lambda: client.call("POST", "/sobjects/Account", json={"Name": "Held"}))
    _until_held(sandbox)
    assert len(other.query("SELECT Id FROM Account")) == before
    assert call.is_alive()
    assert sandbox.release("nothing") == 0
    assert sandbox.release("gate") == 1
    assert call.result().status_code == 201
    assert len(other.query("SELECT Id FROM Account")) == 1


def test_a_hold_may_end_by_itself(sandbox: SandboxProcess, client: Client) -> None:
    sandbox.faults({"path": "/limits", "action": "hold_before", "seconds": 0.3})
    started = time.monotonic()
    assert client.call("GET", "/limits").status_code == 200
    assert time.monotonic() - started >= 0.3


def test_a_call_whose_sender_died_while_held_takes_effect_at_its_release(
    sandbox: SandboxProcess, client: Client
) -> None:
    sandbox.faults({"method": "POST", "path": "/sobjects/Account", "action": "hold_before"})
    with pytest.raises(requests.ReadTimeout):
        client.http.post(client.base + "/sobjects/Account", json={"Name": "Late"}, timeout=0.3)
    _until_held(sandbox)
    assert client.query("SELECT Name FROM Account") == []
    sandbox.release()
    deadline = time.monotonic() + 5
    while not client.query("SELECT Name FROM Account"):
        assert time.monotonic() < deadline
    assert client.query("SELECT Name FROM Account") == [{"Name": "Late"}]


def test_a_slow_job_takes_its_time(sandbox: SandboxProcess, client: Client) -> None:
    sandbox.faults({"action": "slow_job", "seconds": 0.5, "object": "Contact", "operation": "insert"})
    assert client.load("insert", "LastName\na\n").info["totalProcessingTime"] >= 450
    assert client.load("insert", "LastName\na\n").info["totalProcessingTime"] < 450


def test_a_failing_job_keeps_what_it_wrote_and_lists_the_rest(sandbox: SandboxProcess, client: Client) -> None:
    sandbox.faults({"action": "fail_job", "after_rows": 300, "message": "InternalServerError : it broke"})
    ended = client.load("insert", CONTENT)
    assert (ended.info["state"], ended.info["errorMessage"]) == ("Failed", "InternalServerError : it broke")
    assert (len(ended.success), len(ended.failed), len(ended.unprocessed)) == (300, 0, 700)
    assert ended.info["numberRecordsProcessed"] == 300
    assert sandbox.state()["objects"]["Contact"]["live"] == 300


def test_a_job_may_be_aborted_as_if_by_an_admin(sandbox: SandboxProcess, client: Client) -> None:
    sandbox.faults({"action": "abort_job", "after_rows": 0}, {"action": "abort_job", "after_rows": 1_000, "nth": 2})
    ended = client.load("insert", CONTENT)
    assert (ended.info["state"], len(ended.success), len(ended.unprocessed)) == ("Aborted", 0, 1_000)
    ended = client.load("insert", CONTENT)
    assert (ended.info["state"], len(ended.success), len(ended.unprocessed)) == ("Aborted", 1_000, 0)


def test_a_job_rule_spares_other_objects_and_operations(sandbox: SandboxProcess, client: Client) -> None:
    sandbox.faults({"action": "fail_job", "object": "Account", "operation": "upsert"})
    assert client.load("insert", "LastName\na\n").info["state"] == "JobComplete"
    assert client.load("insert", "Name\na\n", "Account").info["state"] == "JobComplete"
    upsert = client.load("upsert", "Name,CIK__c\na,1\n", "Account", externalIdFieldName="CIK__c")
    assert upsert.info["state"] == "Failed"


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"action": "explode"}, "action 'explode' is none of"),
        ({"action": "cut", "colour": "red"}, "unknown keys: colour"),
        ({"action": "status"}, "needs 'status'"),
        ({"action": "cut", "path": "("}, "not a regular expression"),
        ({"action": "cut", "nth": 0}, "nth must be a whole number from 1"),
        ({"action": "cut", "probability": 2}, "probability must be a number above 0"),
        ({"action": "refuse_rows", "object": "Contact"}, "needs field, matches, code"),
        ({"action": "refuse_rows", "object": "Contact", "field": "No", "matches": "x", "code": "X"}, "no field 'No'"),
        (
            {"action": "refuse_rows", "object": "Contact", "field": "Title", "matches": "(", "code": "X"},
            "matches is not",
        ),
    ],
)
def test_a_rule_that_cannot_be_is_refused(sandbox: SandboxProcess, rule: dict[str, Any], reason: str) -> None:
    with pytest.raises(RuntimeError, match="400"):
        sandbox.faults(rule)
    answer = requests.post(sandbox.http_url + "/_sandbox/faults", json=rule, timeout=10)
    assert reason in answer.json()[0]["message"]
    assert sandbox.fault_rules() == []


def test_one_rule_may_be_removed(sandbox: SandboxProcess) -> None:
    sandbox.faults({"id": "a", "action": "cut"}, {"id": "b", "action": "cut"})
    assert requests.delete(sandbox.http_url + "/_sandbox/faults/a", timeout=10).status_code == 204
    assert [rule["id"] for rule in sandbox.fault_rules()] == ["b"]
    assert requests.delete(sandbox.http_url + "/_sandbox/faults/a", timeout=10).status_code == 404


def test_the_request_list_counts_calls_by_template(sandbox: SandboxProcess, client: Client) -> None:
    made = client.create("Account", Name="A")
    sandbox.faults({"path": "/limits", "action": "status", "status": 503})
    client.call("GET", f"/sobjects/Account/{made}")
    client.call("GET", "/limits")
    listed = sandbox.requests()
    assert listed["counts"]["GET /services/data/{version}/sobjects/{object}/{id}"] == 1
    assert listed["counts"]["POST /services/oauth2/token"] == 1
    last = listed["requests"][-1]
    assert (last["method"], last["path"], last["status"]) == ("GET", "/services/data/v60.0/limits", 503)
    assert last["fault"].endswith("(status)")


def test_a_cut_connection_leaves_no_complaint_in_the_log(sandbox: SandboxProcess, client: Client) -> None:
    client.base = client.base.replace(sandbox.http_url, str(sandbox.https_url))
    client.http.verify = str(sandbox.ca_file)
    before = len(sandbox.log)
    for action in ("cut", "lose_answer"):
        sandbox.faults({"path": "/limits", "action": action})
        with pytest.raises(requests.ConnectionError):
            client.call("GET", "/limits")
    assert client.call("GET", "/limits").status_code == 200
    assert sandbox.log[before:] == ""


def test_a_limit_that_is_no_number_is_refused(sandbox: SandboxProcess) -> None:
    answer = requests.get(sandbox.http_url + "/_sandbox/requests?limit=x", timeout=10)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "BAD_LIMIT")
