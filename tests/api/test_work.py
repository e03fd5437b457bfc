"""Connections, syncs, jobs, members and lists by the API."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from connections.models import Connection
from jobs.models import Job, JobEvent, Status
from orgs.access import hand_to
from orgs.models import AuditEvent, Grant, Membership, Team
from syncs.models import Parameter, Schedule, Sync
from tests.api.conftest import House, client_of, first_error, sync_values
from tests.factories import SALESFORCE_VALUES, make_connection, make_job, make_sync
from tests.jobs.parking import park

pytestmark = pytest.mark.django_db
LISTS = ("organizations", "members", "teams", "grants", "connections", "syncs", "jobs")
SECRETS = ("planted-client-secret", "planted-password", "planted-token")


# --- connections ---


def test_secrets_are_in_no_answer(house: House, api: APIClient) -> None:
    made = api.post("/api/v1/connections/", {"name": "Another", "kind": "salesforce", "settings": SALESFORCE_VALUES})
    assert made.status_code == 201, made.content
    assert made.json()["secrets"] == ["client_secret", "password", "security_token"]
    url = f"/api/v1/connections/{made.json()['id']}/"
    kept = {key: value for key, value in SALESFORCE_VALUES.items() if "planted" not in value}
    answers = [
        made,
        api.get(url),
        api.get("/api/v1/connections/"),
        api.patch(url, {"name": "Renamed"}),
        api.patch(url, {"settings": kept}),
        api.patch(url, {"settings": {**SALESFORCE_VALUES, "unknown": "x"}}),
        api.patch(url, {"settings": {**kept, "auth_url": "https://stranger.example"}}),
    ]
    assert [each.status_code for each in answers] == [201, 200, 200, 200, 200, 400, 400]
    assert first_error(answers[-1])["attr"] == "settings"
    told = "".join(each.content.decode() for each in answers)
    told += json.dumps([each.changes for each in AuditEvent.all_objects.all()])
    assert not [secret for secret in SECRETS if secret in told]
    connection = Connection.all_objects.get(pk=made.json()["id"])
    assert connection.all_settings()["password"] == "planted-password"


def test_secrets_that_no_key_opens_spoil_no_list(house: House, api: APIClient) -> None:
    with database.cursor() as cursor:
        cursor.execute("UPDATE connections_connection SET secrets = %s WHERE id = %s", [b"x", house.connection.pk])
    found = {each["id"]: each["secrets"] for each in api.get("/api/v1/connections/").json()["results"]}
    assert found[house.connection.pk] is None
    assert found[house.salesforce.pk] == ["client_secret", "password", "security_token"]
    assert api.patch(f"/api/v1/connections/{house.connection.pk}/", {"name": "x"}).status_code == 409


def test_the_kind_of_a_connection_stays(house: House, api: APIClient) -> None:
    response = api.patch(f"/api/v1/connections/{house.connection.pk}/", {"kind": "postgres"})
    assert response.status_code == 400
    assert first_error(response)["attr"] == "kind"


def test_a_name_is_taken_once(house: House, other: House, api: APIClient) -> None:
    for name, expected in ((house.connection.name, 400), (other.connection.name, 201)):
        response = api.post("/api/v1/connections/", {"name": name, "kind": "delimited_file"})
        assert response.status_code == expected
        if expected == 400:
            assert first_error(response) == {
                "code": "unique",
                "detail": "There is a connection with this name already.",
                "attr": "name",
            }


def test_a_connection_in_use_is_not_deleted(house: House, api: APIClient) -> None:
    response = api.delete(f"/api/v1/connections/{house.connection.pk}/")
    assert response.status_code == 409
    assert "syncs" in first_error(response)["detail"]


def test_a_check_is_kept_and_told_with_its_log(house: House, api: APIClient) -> None:
    url = f"/api/v1/connections/{house.connection.pk}/"
    made = api.post(f"{url}check/")
    assert made.status_code == 201, made.content
    assert [each["id"] for each in api.get(f"{url}checks/").json()["results"]] == [made.json()["id"]]
    assert api.get(f"{url}checks/{made.json()['id']}/").json()["log"]


def test_a_file_is_uploaded_once_and_looked_into(house: House, api: APIClient) -> None:
    url = f"/api/v1/connections/{house.connection.pk}/"

    def upload(**more: Any) -> Any:
        file = SimpleUploadedFile("accounts.csv", b"id,name\n1,One\n")
        return api.post(f"{url}files/", {"file": file, **more}, format="multipart")

    assert upload().json() == {"path": "accounts.csv"}
    assert first_error(upload())["attr"] == "file"
    assert upload(replace="true").status_code == 201
    assert [each["path"] for each in api.get(f"{url}files/").json()["results"]] == ["accounts.csv"]
    assert api.get(f"{url}columns/?path=accounts.csv").json() == {"results": ["id", "name"]}
    assert api.get(f"{url}tables/").json()["results"] == [{"name": "accounts.csv", "columns": ["id", "name"]}]
    assert first_error(api.get(f"{url}columns/"))["attr"] == "non_field_errors"
    assert api.get(f"{url}columns/?path=none.csv").status_code == 422


# --- syncs ---


def test_a_sync_is_made_changed_and_deleted(house: House, api: APIClient) -> None:
    plan = {"cron": "30 6 * * 1-5", "time_zone": "Europe/Berlin"}
    made = api.post("/api/v1/syncs/", sync_values(house, schedule=plan))
    assert made.status_code == 201, made.content
    url = f"/api/v1/syncs/{made.json()['id']}/"
    assert [line["target"] for line in made.json()["mappings"]] == ["Key__c", "LastName"]
    assert made.json()["schedule"]["next_start_at"]

    lines = [{"target": "LastName", "source_column": "last"}, {"target": "Key__c", "source_column": "id"}]
    changed = api.patch(url, {"mappings": lines})
    assert changed.status_code == 200, changed.content
    assert [line["target"] for line in api.get(url).json()["mappings"]] == ["LastName", "Key__c"]
    assert api.get(url).json()["schedule"]["cron"] == "30 6 * * 1-5"
    event = AuditEvent.all_objects.first()
    assert event is not None and event.action == "changed" and list(event.changes) == ["mapping"]

    assert api.patch(url, {"schedule": {"every_minutes": 60}}).json()["schedule"]["every_minutes"] == 60
    assert api.patch(url, {"schedule": None}).json()["schedule"] is None
    assert not Schedule.all_objects.exists()
    assert api.delete(url).status_code == 204
    assert api.get(url).status_code == 404


@pytest.mark.parametrize(
    ("changes", "attr"),
    [
        ({"source_table": "t"}, "non_field_errors"),
        ({"mappings": [{"target": "A", "source_column": "a"}, {"target": "a", "constant": "b"}]}, "mappings"),
        ({"mappings": [{"target": "A"}]}, "mappings.0.non_field_errors"),
        ({"schedule": {"cron": "x"}}, "schedule.cron"),
        ({"schedule": {}}, "schedule"),
        ({"guard_percent": 101}, "guard_percent"),
        ({"mode": "x"}, "mode"),
        ({"name": "alpha-sync"}, "name"),
    ],
)
def test_a_wrong_sync_is_refused_by_the_name_of_its_field(
    house: House, api: APIClient, changes: dict[str, Any], attr: str
) -> None:
    response = api.post("/api/v1/syncs/", sync_values(house, **changes))
    assert response.status_code == 400, response.content
    assert str(first_error(response)["attr"]).startswith(attr), response.content
    assert Sync.all_objects.count() == 1


def test_source_and_destination_are_of_the_right_kind(house: House, api: APIClient) -> None:
    turned = sync_values(house, source=house.salesforce.pk, destination=house.connection.pk)
    errors = api.post("/api/v1/syncs/", turned).json()["errors"]
    assert {error["attr"] for error in errors} == {"source", "destination"}


def test_a_member_makes_syncs_for_its_team_with_connections_that_it_may_execute(
    house: House, joined: Callable[..., Membership]
) -> None:
    bob = client_of(joined("bob"))
    assert first_error(bob.post("/api/v1/syncs/", sync_values(house)))["attr"] == "source"
    hand_to(house.team, house.connection)
    hand_to(house.team, house.salesforce)
    assert first_error(bob.post("/api/v1/syncs/", sync_values(house)))["attr"] == "for_team"
    made = bob.post("/api/v1/syncs/", sync_values(house, for_team=house.team.pk))
    assert made.status_code == 201, made.content
    assert "for_team" not in made.json()
    url = f"/api/v1/syncs/{made.json()['id']}/"
    # The connections of a sync may stay when they are no longer to be had.
    Grant.all_objects.filter(content_type=ContentType.objects.get_for_model(Connection)).delete()
    assert bob.put(url, sync_values(house, name="Renamed")).status_code == 200


def test_who_may_write_but_not_read_gets_no_body(house: House, joined: Callable[..., Membership]) -> None:
    bob = client_of(joined("bob"))
    about = {"content_type": ContentType.objects.get_for_model(Sync), "object_id": house.sync.pk}
    Grant.all_objects.create(organization=house.organization, team=house.team, write=True, **about)
    url = f"/api/v1/syncs/{house.sync.pk}/"
    assert bob.get(url).status_code == 404
    answer = bob.patch(url, {"description": "new"})
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_paused_sync_starts_no_job(house: House, api: APIClient) -> None:
    url = f"/api/v1/syncs/{house.sync.pk}/"
    assert api.post(f"{url}pause/").json()["paused"] is True
    refused = api.post(f"{url}run/")
    assert refused.status_code == 409 and "paused" in first_error(refused)["detail"]
    assert api.post(f"{url}resume/").json()["paused"] is False
    assert api.post(f"{url}run/").status_code == 201


# --- jobs ---


def test_a_job_is_started_once_per_key(house: House, api: APIClient) -> None:
    url = f"/api/v1/syncs/{house.sync.pk}/run/"
    first = api.post(url, {}, headers={"Idempotency-Key": "k-1"})
    again = api.post(url, {"full_resync": False}, headers={"Idempotency-Key": "k-1"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert again["Idempotent-Replayed"] == "true" and "Idempotent-Replayed" not in first
    other_options = api.post(url, {"full_resync": True}, headers={"Idempotency-Key": "k-1"})
    second = make_sync(
        house.organization, source=house.connection, destination=house.salesforce, name="Second", mappings={}
    )
    other_sync = api.post(f"/api/v1/syncs/{second.pk}/run/", headers={"Idempotency-Key": "k-1"})
    assert (other_options.status_code, other_sync.status_code) == (422, 422)
    assert api.post(url, headers={"Idempotency-Key": "k-2"}).status_code == 409
    for key in ("", "a b", "x" * 201, "\x00", "\xe9"):
        assert api.post(url, headers={"Idempotency-Key": key}).status_code == 400


def test_two_organizations_use_the_same_key(house: House, other: House, api: APIClient) -> None:
    ours = api.post(f"/api/v1/syncs/{house.sync.pk}/run/", headers={"Idempotency-Key": "k"})
    theirs = client_of(other.owner).post(f"/api/v1/syncs/{other.sync.pk}/run/", headers={"Idempotency-Key": "k"})
    assert (ours.status_code, theirs.status_code) == (201, 201)


@pytest.mark.django_db(transaction=True)
def test_of_the_same_start_many_times_at_once_one_job_comes(house: House, api: APIClient) -> None:
    answers: list[Any] = []
    gate = threading.Barrier(6)

    def start() -> None:
        client = APIClient(headers=dict(api._credentials) or {"Authorization": api.defaults["HTTP_AUTHORIZATION"]})
        gate.wait()
        try:
            answers.append(client.post(f"/api/v1/syncs/{house.sync.pk}/run/", headers={"Idempotency-Key": "race"}))
        finally:
            database.close()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.status_code for each in answers) == [200, 200, 200, 200, 200, 201]
    assert len({each.json()["id"] for each in answers}) == 1
    assert Job.all_objects.filter(idempotency_key="race").count() == 1


def test_a_job_is_cancelled_rejected_and_looked_at(house: House, api: APIClient) -> None:
    made = api.post(f"/api/v1/syncs/{house.sync.pk}/run/").json()
    url = f"/api/v1/jobs/{made['id']}/"
    assert api.post(f"{url}cancel/").json()["status"] == "cancelled"
    assert api.post(f"{url}cancel/").status_code == 409
    assert [each["status"] for each in api.get(f"{url}events/").json()["results"]][-1] == "cancelled"
    for name in ("batches", "error-groups"):
        assert api.get(f"{url}{name}/").json()["results"] == []
    waiting = make_job(house.sync, status=Status.WAITING_APPROVAL)
    rejected = api.post(f"/api/v1/jobs/{waiting.pk}/reject/", {"reason": "too many"}).json()
    assert rejected["status"] == "cancelled" and "too many" in rejected["reason"]


def test_jobs_are_found_by_sync_status_and_time(house: House, api: APIClient) -> None:
    failed = make_job(house.sync, status=Status.FAILED)
    Job.all_objects.filter(pk=failed.pk).update(created_at=timezone.now() - timedelta(days=2))

    def found(**query: Any) -> list[int]:
        return [each["id"] for each in api.get("/api/v1/jobs/", query).json()["results"]]

    yesterday = (timezone.now() - timedelta(days=1)).isoformat()
    assert found(sync=house.sync.pk) == [failed.pk, house.job.pk]
    assert found(status="failed") == found(created_before=yesterday) == [failed.pk]
    assert found(status=["failed", "succeeded"]) == [failed.pk, house.job.pk]
    assert found(created_after=yesterday) == [house.job.pk]


# --- the organization ---


def test_one_organization_is_told_of(house: House, other: House, api: APIClient) -> None:
    found = api.get("/api/v1/organizations/").json()["results"]
    assert [each["slug"] for each in found] == ["alpha"]
    assert api.get(f"/api/v1/organizations/{house.organization.pk}/").json() == found[0]


def test_members_come_change_and_go(house: House, other: House, api: APIClient) -> None:
    made = api.post("/api/v1/members/", {"username": "zoe-secret", "role": "viewer"})
    assert made.status_code == 201, made.content
    url = f"/api/v1/members/{made.json()['id']}/"
    assert first_error(api.post("/api/v1/members/", {"username": "zoe-secret"}))["attr"] == "username"
    assert first_error(api.post("/api/v1/members/", {"username": "nobody"}))["attr"] == "username"
    assert api.patch(url, {"role": "admin"}).json()["role"] == "admin"
    assert api.patch(f"/api/v1/members/{house.owner.pk}/", {"role": "member"}).status_code == 403
    assert api.delete(url).status_code == 204
    assert [each["username"] for each in api.get("/api/v1/members/").json()["results"]] == ["alice"]


def test_teams_and_grants_say_who_may_what(house: House, api: APIClient, joined: Callable[..., Membership]) -> None:
    bob = joined("bob", in_team=False)
    team = api.post("/api/v1/teams/", {"name": "Loaders", "members": [bob.pk]}).json()
    about = {"team": team["id"], "object": {"type": "sync", "id": house.sync.pk}}
    assert api.post("/api/v1/grants/", about).status_code == 400
    grant = api.post("/api/v1/grants/", {**about, "execute": True})
    assert grant.status_code == 201, grant.content
    assert grant.json()["object"] == about["object"]
    assert api.post("/api/v1/grants/", {**about, "read": True}).status_code == 400
    client = client_of(bob)
    assert client.post(f"/api/v1/syncs/{house.sync.pk}/run/").status_code == 201
    assert client.patch(f"/api/v1/syncs/{house.sync.pk}/", {}).status_code == 403
    assert client.get("/api/v1/grants/").json()["results"] == []
    url = f"/api/v1/grants/{grant.json()['id']}/"
    assert api.patch(url, {"execute": False}).status_code == 400
    assert api.patch(url, {"object": {"type": "connection", "id": 1}}).status_code == 400
    assert api.patch(url, {"write": True}).json()["write"] is True
    assert api.delete(url).status_code == 204
    assert client.get(f"/api/v1/syncs/{house.sync.pk}/").status_code == 404


# --- lists ---


def test_pages_stay_right_while_rows_are_added(house: House, api: APIClient) -> None:
    for _ in range(11):
        make_job(house.sync, status=Status.SUCCEEDED)
    expected = list(Job.all_objects.order_by("-pk").values_list("pk", flat=True))
    seen, url = [], "/api/v1/jobs/?page_size=5"
    while url:
        page = api.get(url).json()
        seen += [each["id"] for each in page["results"]]
        url = page["next"]
        make_job(house.sync, status=Status.FAILED)
    assert seen == expected
    back = api.get(api.get("/api/v1/jobs/?page_size=5").json()["next"]).json()["previous"]
    assert api.get(back).status_code == 200


def _fill(house: House, rows: int) -> None:
    organization = house.organization
    kept = {"source": house.connection, "destination": house.salesforce}
    for number in range(rows):
        sync = Sync.all_objects.create(
            organization=organization, name=f"s{number}", source_path="a", object="Account", **kept
        )
        Schedule.all_objects.create(organization=organization, sync=sync, every_minutes=5)
        team = Team.all_objects.create(organization=organization, name=f"t{number}")
        team.members.add(house.owner)
        hand_to(team, sync)
        make_connection(organization, name=f"c{number}")
        JobEvent.all_objects.create(organization=organization, job=house.job, status="queued")
        make_job(sync, status="succeeded")


def test_the_number_of_queries_does_not_grow_with_the_rows(house: House, api: APIClient) -> None:
    urls = [f"/api/v1/{name}/?page_size=200" for name in LISTS] + [f"/api/v1/jobs/{house.job.pk}/events/"]

    def counts() -> list[int]:
        found = []
        for url in urls:
            with CaptureQueriesContext(
                database,
            ) as queries:
                assert api.get(url).status_code == 200
            found.append(len(queries))
        return found

    counts()
    before = counts()
    _fill(house, 60)
    assert counts() == before
    assert max(before) <= 8, before


# --- actions ---


def test_a_run_takes_parameters_and_a_baseline(house: House, api: APIClient) -> None:
    url = f"/api/v1/syncs/{house.sync.pk}/run/"
    Parameter.all_objects.create(organization=house.organization, sync=house.sync, name="since")
    missing = api.post(url)
    assert missing.status_code == 409 and "'since' has no value" in first_error(missing)["detail"]
    assert "no parameter 'until'" in first_error(api.post(url, {"parameters": {"until": "1"}}))["detail"]
    assert api.post(url, {"parameters": {"since": [1]}}).status_code == 400
    assert api.post(url, {"parameters": ["since"]}).status_code == 400
    assert api.post(url, {"baseline": True, "full_resync": True}).status_code == 400
    body = {"baseline": True, "parameters": {"since": "2024-01-01"}}
    made = api.post(url, body, headers={"Idempotency-Key": "b-1"})
    assert made.status_code == 201, made.content
    assert (made.json()["baseline"], made.json()["parameters"]) == (True, {"since": "2024-01-01"})
    assert api.post(url, body, headers={"Idempotency-Key": "b-1"}).json()["id"] == made.json()["id"]
    for other in ({**body, "parameters": {"since": "2025-01-01"}}, {**body, "baseline": False}):
        assert api.post(url, other, headers={"Idempotency-Key": "b-1"}).status_code == 422


def test_a_replay_tells_of_which_job_it_is(house: House, api: APIClient) -> None:
    url = f"/api/v1/jobs/{house.job.pk}/replay/"
    refused = api.post(url)
    assert refused.status_code == 409 and "no refused rows" in first_error(refused)["detail"]
    manifests = {"final": {}, "staged": {"columns": ["id", "name"]}}
    Job.all_objects.filter(pk=house.job.pk).update(counts={"failed": 2}, manifests=manifests)
    made = api.post(url)
    assert made.status_code == 201 and made.json()["replay_of"] == house.job.pk
    assert api.post(url).status_code == 409


def test_parked_rows_are_listed_and_released(house: House, api: APIClient) -> None:
    url = f"/api/v1/syncs/{house.sync.pk}/"
    assert api.get(f"{url}parked/").json() == {"next": None, "previous": None, "results": []}
    assert api.post(f"{url}release/").status_code == 409
    park(house.sync, 5)
    seen, following = [], f"{url}parked/?page_size=2"
    while following:
        page = api.get(following).json()
        seen += [row["key"] for row in page["results"]]
        following = page["next"]
    assert seen == ["A001", "A002", "A003", "A004", "A005"]
    assert len(api.get(f"{url}parked/", {"search": "twin a003"}).json()["results"]) == 1
    assert api.post(f"{url}release/", {"keys": []}).status_code == 400
    unknown = api.post(f"{url}release/", {"keys": ["A001", "Z"]})
    assert unknown.status_code == 409 and "'Z'" in first_error(unknown)["detail"]
    assert api.post(f"{url}release/", {"keys": ["A001", "A002"]}).json() == {"released": 2, "parked": 3}
    assert api.post(f"{url}release/").json() == {"released": 3, "parked": 0}
