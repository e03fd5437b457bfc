from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess

DAY = 86_400


def limits(client: Client) -> dict[str, dict[str, Any]]:
    return dict(client.call("GET", "/limits").json())


def remaining(client: Client, *names: str) -> tuple[int, ...]:
    found = limits(client)
    return tuple(found[each]["Remaining"] for each in names)


def control(client: Client, path: str, **given: Any) -> Any:
    answer = client.http.request("POST" if given else "GET", f"{client.sandbox.http_url}/_sandbox/{path}", json=given)
    return answer.json()


def test_limits_count_what_is_used(client: Client) -> None:
    names = ("DailyApiRequests", "DailyBulkApiBatches", "DailyBulkV2QueryJobs", "DataStorageMB")
    before = remaining(client, *names)
    client.load("insert", "LastName\n" + "x\n" * 1_100)
    query = client.call("POST", "/jobs/query", json={"operation": "query", "query": "SELECT Id FROM Contact"})
    assert query.status_code == 200
    after = remaining(client, *names)
    calls, batches, jobs, megabytes = (first - then for first, then in zip(before, after, strict=True))
    assert calls >= 6
    # 1,100 records of 2 KB are a little more than two megabytes, and the last one begun counts.
    assert (batches, jobs, megabytes) == (1, 1, 3)


def test_requests_are_counted_by_app_and_for_a_rolling_day(client: Client) -> None:
    assert control(client, "limits", daily_api_requests=5, used_api_requests=2)["used_api_requests"] == 2
    answer = client.call("GET", "/limits")
    used = "api-usage=3/5; per-app-api-usage=1/5(appName=Sandbox client)"
    assert answer.headers["Sforce-Limit-Info"] == used
    assert answer.json()["DailyApiRequests"] == {
        "Max": 5,
        "Remaining": 2,
        "Sandbox client": {"Max": 5, "Remaining": 4},
    }
    parts = [{"method": "GET", "url": "v60.0/limits"}] * 2
    batch = client.call("POST", "/composite/batch", json={"batchRequests": parts}).json()["results"]
    assert [each["statusCode"] for each in batch] == [200, 403]
    assert batch[1]["result"][0]["errorCode"] == "REQUEST_LIMIT_EXCEEDED"
    assert client.call("GET", "/limits").status_code == 403
    control(client, "clock", advance=DAY + 60)
    # The session has ended meanwhile.
    assert limits(Client(client.sandbox))["DailyApiRequests"]["Remaining"] == 4


def test_older_versions_name_limits_as_they_did(sandbox: SandboxProcess, client: Client) -> None:
    assert "DailyBulkApiRequests" not in limits(client)
    old = limits(Client(sandbox, "v46.0"))
    assert old["DailyBulkApiRequests"]["Max"] == 15_000
    assert not {"DailyBulkApiBatches", "DailyBulkV2QueryJobs"} & set(old)


@pytest.mark.parametrize("given", [{"daily_api_requests": -1}, {"used_api_requests": True}, {"other": 1}])
def test_a_limit_that_is_none_is_refused(client: Client, given: dict[str, Any]) -> None:
    assert control(client, "limits", **given)[0]["errorCode"] == "BAD_LIMITS"
