"""Pages on which a sync is started with a question or a warning, and parked rows are released."""

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from jobs.models import Job, Status
from jobs.parked import parked_count
from orgs import access
from orgs.models import Membership, Role, Team
from syncs.models import Parameter, Sync
from tests.factories import make_job, make_member, make_organization, make_sync
from tests.jobs.parking import park

pytestmark = pytest.mark.django_db


@pytest.fixture
def sync(client):
    organization = make_organization()
    client.force_login(make_member(organization, "alice", Role.OWNER))
    return make_sync(organization, name="People")


def page(sync, rest):
    return f"/admin/syncs/sync/{sync.pk}/{rest}/"


def text(response):
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def parameter(sync, name, default=None, description=""):
    own = {"organization": sync.organization, "sync": sync}
    return Parameter.all_objects.create(name=name, default=default, description=description, **own)


def test_run_now_asks_for_values_that_are_missing(sync, client):
    parameter(sync, "since", description="Orders from this day on")
    parameter(sync, "country", "DE")
    answer = client.post(page(sync, "start"))
    assert answer.url == page(sync, "start") and not Job.all_objects.exists()
    shown = text(client.get(answer.url))
    assert "@since:" in shown and "Orders from this day on" in shown and 'value="DE"' in shown
    started = client.post(
        page(sync, "start"), {"asked": "1", "parameter-since": "2024-01-01", "parameter-country": "FR"}
    )
    job = Job.all_objects.get()
    assert started.url == reverse("admin:jobs_job_change", args=[job.pk])
    assert job.parameters == {"since": "2024-01-01", "country": "FR"}
    assert "<code>2024-01-01</code>" in text(client.get(started.url))


def test_a_value_that_was_left_blank_is_asked_for_again_and_the_others_stay(sync, client):
    parameter(sync, "since")
    parameter(sync, "country", "DE")
    entered = {"asked": "1", "parameter-since": "", "parameter-country": "FR"}
    shown = text(client.post(page(sync, "start"), entered))
    assert "has no value and no default" in shown.replace("&#x27;", "'") and 'value="FR"' in shown
    assert not Job.all_objects.exists()


def test_values_of_the_last_job_are_offered_again(sync, client):
    parameter(sync, "since")
    client.post(page(sync, "start"), {"asked": "1", "parameter-since": "2024-01-01"})
    assert 'value="2024-01-01"' in text(client.get(page(sync, "start")))


def test_with_defaults_run_now_runs_at_once(sync, client):
    parameter(sync, "country", "DE")
    client.post(page(sync, "start"))
    assert Job.all_objects.get().parameters == {"country": "DE"}
    assert "Run with other values..." in text(client.get(page(sync, "change")))


def test_a_full_resync_tells_what_it_costs(sync, client):
    make_job(sync, status=Status.SUCCEEDED, counts={"read": 25_000}, api_calls=17)
    Sync.all_objects.filter(pk=sync.pk).update(snapshot={"path": "none", "rows": 24_990})
    shown = text(client.get(page(sync, "full_resync")))
    assert "<td>24,990</td>" in shown and "25,000, by <a" in shown and "with 17 API calls" in shown
    assert "3 of the 15,000" in shown and "about 9" in shown
    client.post(page(sync, "full_resync"), {"asked": "1"})
    assert Job.all_objects.order_by("-pk").first().full_resync


def test_a_baseline_tells_that_nothing_is_sent(sync, client):
    shown = text(client.get(page(sync, "baseline")))
    assert "Nothing is sent to Salesforce." in shown and "none: there is no snapshot" in shown
    client.post(page(sync, "baseline"), {"asked": "1"})
    assert Job.all_objects.get().baseline


def test_a_baseline_is_offered_only_where_it_makes_sense(sync, client):
    assert page(sync, "baseline") in text(client.get(page(sync, "change")))
    Sync.all_objects.filter(pk=sync.pk).update(compare="nothing")
    assert page(sync, "baseline") not in text(client.get(page(sync, "change")))
    assert "compares with nothing" in text(client.post(page(sync, "baseline"), {"asked": "1"}))


def test_parked_rows_are_paged_searched_and_released(sync, client):
    park(sync, 60, counting=3)
    assert "Parked rows (60)" in text(client.get(page(sync, "change")))
    first = text(client.get(page(sync, "parked")))
    assert "A001" in first and "A051" not in first and "Twin A001" in first and "B001" not in first
    assert "A051" in text(client.get(page(sync, "parked") + "?after=a050"))
    assert text(client.get(page(sync, "parked") + "?q=TWIN+a06")).count('<label for="key-') == 1
    assert "No parked row fits" in text(client.get(page(sync, "parked") + "?q=%27"))
    told = text(client.post(page(sync, "release"), {"key": ["a001", "a060"]}, follow=True))
    sync.refresh_from_db()
    assert "2 rows are released" in told and parked_count(sync) == 58
    assert "No row was chosen" in text(client.post(page(sync, "release"), follow=True))
    client.post(page(sync, "release"), {"all": "1"})
    sync.refresh_from_db()
    assert parked_count(sync) == 0
    assert "No row of this sync is parked" in text(client.get(page(sync, "parked")))


def test_whoever_may_only_read_sees_parked_rows_and_releases_none(sync, client):
    park(sync, 2)
    user = make_member(sync.organization, f"bob{User.objects.count()}")
    team = Team.all_objects.create(organization=sync.organization, name="Readers")
    team.members.add(Membership.all_objects.get(user=user))
    access.grant(team, sync, read=True)
    client.force_login(user)
    shown = text(client.get(page(sync, "parked")))
    assert "A001" in shown and "Release all" not in shown and "takes the permission to execute" in shown
    client.post(page(sync, "release"), {"all": "1"})
    sync.refresh_from_db()
    assert parked_count(sync) == 2


def test_a_damaged_list_is_told_of(sync, client):
    park(sync, 2).write_bytes(b"no parquet")
    assert "its file is damaged" in text(client.get(page(sync, "parked")))
    assert "its file is damaged" in text(client.post(page(sync, "release"), {"all": "1"}, follow=True))
