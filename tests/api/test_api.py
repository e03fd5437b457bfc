"""The API as a program meets it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from rest_framework.test import APIClient

from orgs.access import grant, hand_to
from orgs.models import ApiToken, Grant, Membership, Permission, Role
from syncs.models import Schedule
from tests.api.conftest import House, client_of, first_error, sync_values

pytestmark = pytest.mark.django_db
LISTS = ("organizations", "members", "teams", "grants", "connections", "syncs", "jobs")


# --- who is asking ---


def test_without_a_token_nothing_is_told(house: House) -> None:
    for name in LISTS:
        response = APIClient().get(f"/api/v1/{name}/")
        assert response.status_code == 401
        assert response["WWW-Authenticate"] == "Bearer"
        assert first_error(response)["code"] == "not_authenticated"


@pytest.mark.parametrize("text", ["sfs_", "sfs_x_y", "x", "sfs_000000000000_x", "\x00", "sfs_\x00000000000_x", ""])
def test_a_wrong_token_is_refused(house: House, text: str) -> None:
    response = APIClient(headers={"Authorization": f"Bearer {text}"}).get("/api/v1/syncs/")
    assert response.status_code == 401


def test_a_token_that_expired_is_refused(house: House, api: APIClient) -> None:
    assert api.get("/api/v1/syncs/").status_code == 200
    ApiToken.all_objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert api.get("/api/v1/syncs/").status_code == 401


def test_the_token_of_a_removed_or_inactive_member_is_refused(joined: Callable[..., Membership]) -> None:
    bob, dan = joined("bob", Role.ADMIN), joined("dan", Role.ADMIN)
    clients = client_of(bob), client_of(dan)
    assert [each.get("/api/v1/syncs/").status_code for each in clients] == [200, 200]
    bob.user.is_active = False
    bob.user.save()
    dan.delete()
    assert [each.get("/api/v1/syncs/").status_code for each in clients] == [401, 401]


def test_a_token_holds_no_more_than_it_was_made_with(house: House) -> None:
    reader = client_of(house.owner, [Permission.READ])
    url = f"/api/v1/syncs/{house.sync.pk}/"
    assert reader.get(url).status_code == 200
    for answer in (
        reader.patch(url, {"name": "x"}),
        reader.delete(url),
        reader.post(f"{url}run/"),
        reader.post(f"{url}pause/"),
        reader.post("/api/v1/teams/", {"name": "x"}),
        reader.post("/api/v1/members/", {"username": "x"}),
        reader.post("/api/v1/connections/", {"name": "x", "kind": "delimited_file"}),
    ):
        assert answer.status_code == 403, answer.content
        assert first_error(answer)["code"] == "permission_denied"


def test_a_token_that_may_only_write_cannot_change_who_may_what(house: House) -> None:
    writer = client_of(house.owner, [Permission.WRITE, Permission.READ])
    hand_to(house.team, house.sync)
    held = Grant.all_objects.get()
    for answer in (
        writer.patch(f"/api/v1/teams/{house.team.pk}/", {"name": "x"}),
        writer.patch(f"/api/v1/members/{house.owner.pk}/", {"role": "member"}),
    ):
        assert answer.status_code in (403, 404)
    assert writer.patch(f"/api/v1/grants/{held.pk}/", {"admin": False}).status_code in (403, 404)
    held.refresh_from_db()
    assert held.admin


def test_who_may_write_but_not_execute_sets_no_schedule_and_is_shown_nothing(
    house: House, joined: Callable[..., Membership]
) -> None:
    grant(house.team, house.sync, write=True)
    writer, url = client_of(joined("bob")), f"/api/v1/syncs/{house.sync.pk}/"
    refused = writer.patch(url, {"schedule": {"every_minutes": 5}})
    assert refused.status_code == 400 and first_error(refused)["attr"] == "schedule"
    for answer in (writer.patch(url, {"description": "x"}), writer.post(f"{url}pause/"), writer.post(f"{url}resume/")):
        assert (answer.status_code, answer.content) == (204, b"")
    grant(house.team, house.sync, execute=True)
    assert writer.patch(url, {"schedule": {"every_minutes": 5}}).status_code == 200
    narrow = client_of(house.owner, [Permission.WRITE])
    assert narrow.patch(url, {"schedule": None}).status_code == 400
    assert Schedule.all_objects.get().every_minutes == 5


def test_a_session_needs_the_csrf_token_to_change_something(house: House) -> None:
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(house.owner.user)
    assert browser.get("/api/v1/syncs/").status_code == 200
    refused = browser.post(f"/api/v1/syncs/{house.sync.pk}/pause/")
    assert refused.status_code == 403
    assert "CSRF" in first_error(refused)["detail"]


# --- tenants ---


def test_what_is_foreign_answers_as_what_never_existed(house: House, other: House, api: APIClient) -> None:
    hand_to(other.team, other.sync)
    foreign = {
        "organizations": other.organization.pk,
        "members": other.owner.pk,
        "teams": other.team.pk,
        "grants": Grant.all_objects.get().pk,
        "connections": other.connection.pk,
        "syncs": other.sync.pk,
        "jobs": other.job.pk,
    }
    for name, pk in foreign.items():
        for method in ("get", "put", "patch", "delete"):
            found = getattr(api, method)(f"/api/v1/{name}/{pk}/", {})
            missing = getattr(api, method)(f"/api/v1/{name}/999999/", {})
            assert found.status_code == missing.status_code in (404, 405)
            assert found.content == missing.content


def test_a_reference_or_filter_by_a_foreign_id_is_as_one_by_a_missing_id(
    house: House, other: House, api: APIClient
) -> None:
    for field, pk in (
        ("source", other.connection.pk),
        ("destination", other.salesforce.pk),
        ("for_team", other.team.pk),
    ):
        errors = [
            first_error(api.post("/api/v1/syncs/", sync_values(house, **{field: value}))) for value in (pk, 999999)
        ]
        assert errors[0]["attr"] == field
        assert errors[0]["detail"].replace(str(pk), "N") == errors[1]["detail"].replace("999999", "N")
    about = {"team": house.team.pk, "read": True, "object": {"type": "sync", "id": other.sync.pk}}
    assert first_error(api.post("/api/v1/grants/", about))["attr"] == "object"
    for query in (
        f"syncs/?source={other.connection.pk}",
        f"jobs/?sync={other.sync.pk}",
        f"grants/?team={other.team.pk}",
    ):
        assert api.get(f"/api/v1/{query}").json() == {"next": None, "previous": None, "results": []}


# --- errors and odd input ---


def test_all_errors_have_one_shape(house: House, api: APIClient) -> None:
    for expected, response in (
        (404, api.get("/api/v1/nothing/")),
        (404, api.get("/api/nothing")),
        (404, api.get("/api/v1/syncs")),
        (404, api.delete("/api/")),
        (405, api.put("/api/v1/syncs/", {})),
        (405, api.options("/api/v1/syncs/")),
        (400, api.generic("POST", "/api/v1/syncs/", b"{", content_type="application/json")),
        (400, api.post("/api/v1/syncs/", {})),
        (415, api.generic("POST", "/api/v1/syncs/", b"a=1", content_type="application/x-www-form-urlencoded")),
        (400, api.post("/api/v1/syncs/", [1])),
        (400, api.get("/api/v1/jobs/?status=x")),
        (400, api.get("/api/v1/jobs/?created_after=x")),
        (400, api.get("/api/v1/jobs/?page_size=0")),
        (404, api.get("/api/v1/jobs/?cursor=x")),
        (404, api.get("/api/v1/jobs/?cursor=cD14")),
        (404, api.get("/api/v1/jobs/?cursor=cD05OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OQ==")),
        (409, api.post(f"/api/v1/jobs/{house.job.pk}/approve/")),
        (409, api.get(f"/api/v1/jobs/{house.job.pk}/refused.csv")),
        (409, api.get(f"/api/v1/jobs/{house.job.pk}/row-errors/")),
        (404, api.get(f"/api/v1/jobs/{house.job.pk}/log/")),
        (422, api.get(f"/api/v1/connections/{house.connection.pk}/objects/")),
    ):
        assert response.status_code == expected, (expected, response.status_code, response.content)
        assert response["Content-Type"] == "application/json"
        first_error(response)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "a\\u0000b"}',
        '{"a\\u0000": 1}',
        '{"name": "\\ud800"}',
        '{"guard_rows": 99999999999999999999}',
        '{"guard_rows": 1e999}',
        '{"guard_rows": NaN}',
        '{"guard_rows": ' + "9" * 5000 + "}",
        '{"name": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"settings": {"a": {"b": ["\\u0000"]}}}',
    ],
)
def test_what_no_database_can_hold_is_refused(house: House, api: APIClient, text: str) -> None:
    for url in (f"/api/v1/syncs/{house.sync.pk}/", f"/api/v1/connections/{house.connection.pk}/"):
        response = api.generic("PATCH", url, text, content_type="application/json")
        assert response.status_code == 400
        first_error(response)


@pytest.mark.parametrize(
    "path",
    [
        "syncs/99999999999999999999999/",
        "syncs/%00/",
        "syncs/%ED%A0%80/",
        "syncs/-1/",
        "syncs/%D9%A1/",
        "syncs/?name=%00",
        "syncs/?%00=1",
        "syncs/?source=99999999999999999999999",
        "syncs/?source=%ED%A0%80",
        "jobs/?sync=x",
        "jobs/1/row-errors/?after=99999999999999999999999",
        "jobs/?cursor=%00",
        "jobs/?page_size=%D9%A1",
        "connections/1/objects/%00/fields/",
    ],
)
def test_odd_addresses_are_refused(api: APIClient, path: str) -> None:
    response = api.get(f"/api/v1/{path}")
    assert response.status_code in (400, 404)
    first_error(response)


def test_a_body_beyond_the_limit_is_refused(house: House, api: APIClient, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    response = api.patch(f"/api/v1/syncs/{house.sync.pk}/", {"description": "x" * 2000})
    assert response.status_code == 413
    first_error(response)


def test_an_unexpected_failure_tells_nothing(house: House, api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("planted-inside")

    monkeypatch.setattr("jobs.start.cancel_job", fail)
    api.raise_request_exception = False
    response = api.post(f"/api/v1/jobs/{house.job.pk}/cancel/")
    assert response.status_code == 500
    assert "planted" not in response.content.decode()
    assert response.json()["type"] == "server_error"


# --- rates ---


def test_too_many_calls_have_to_wait(house: House, api: APIClient, settings: Any) -> None:
    settings.SFSYNC_API_RATE = "3/minute"
    codes = [api.get("/api/v1/jobs/").status_code for _ in range(4)]
    assert codes == [200, 200, 200, 429]
    last = api.get("/api/v1/jobs/")
    assert first_error(last)["code"] == "throttled"
    assert int(last["Retry-After"]) > 0
    assert client_of(house.owner).get("/api/v1/jobs/").status_code == 200


def test_strangers_and_wrong_tokens_have_to_wait_too(house: House, settings: Any) -> None:
    settings.SFSYNC_API_ANONYMOUS_RATE = "2/minute"
    wrong = APIClient(headers={"Authorization": "Bearer sfs_x", "X-Forwarded-For": "1.2.3.4"})
    assert [wrong.get("/api/v1/jobs/").status_code for _ in range(2)] == [401, 401]
    assert APIClient(headers={"X-Forwarded-For": "5.6.7.8"}).get("/api/v1/jobs/").status_code == 429


def test_starts_have_a_rate_of_their_own(house: House, api: APIClient, settings: Any) -> None:
    settings.SFSYNC_API_START_RATE = "1/minute"
    url = f"/api/v1/syncs/{house.sync.pk}/run/"
    assert [api.post(url).status_code for _ in range(2)] == [201, 429]
    assert api.get("/api/v1/jobs/").status_code == 200


# --- the description ---


def test_the_description_is_whole() -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", "/dev/null")


def test_every_route_is_in_the_reference() -> None:
    from tests.test_docs import text

    reference = text("api.md")
    for url in _routes():
        assert f"`{url}`" in reference, f"docs/reference/api.md does not mention {url}"


def _routes() -> list[str]:
    from drf_spectacular.generators import SchemaGenerator

    return [path.removeprefix("/api/v1") for path in SchemaGenerator().get_schema(request=None, public=True)["paths"]]
