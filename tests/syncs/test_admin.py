"""Syncs in the admin, as a browser without JavaScript uses them."""

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from connections import discover
from connections.models import Connection
from jobs.models import Job, Status
from orgs.models import AuditEvent, Grant, Membership, Team
from syncs.models import FieldMapping, Schedule, Sync
from tests.factories import SALESFORCE_VALUES, make_connection, make_job, make_member, make_organization, make_sync
from tests.jobs.scenario import sandbox_values, write_csv

pytestmark = pytest.mark.django_db

LIST = "/admin/syncs/sync/"
ADD = f"{LIST}add/"


def page(sync, rest="change/"):
    return f"{LIST}{sync.pk}/{rest}"


def entered(source, destination, lines=(), **changes):
    """The form of a new sync as a browser sends it. lines: pairs of column and target."""
    form = {
        "name": "Accounts",
        "source": source.pk,
        "source_path": "accounts.csv",
        "destination": destination.pk,
        "object": "Account",
        "key_fields": ["External_Id__c"],
        "mode": "upsert",
        "compare": "snapshot",
        "time_zone": "UTC",
        "auto_assign": "off",
        "duplicate_rules": "respect",
        "park_after": 10,
        "guard_rows": 100,
        "guard_percent": 10,
        "guard_rejected_percent": 20,
        "guard_count_percent": 50,
        "guard_budget_percent": 50,
        "approval": "guards",
        "when_over_budget": "wait",
        "priority": 2,
        "batch_rows": 1000,
        "batch_bytes": 100000,
        "mappings-TOTAL_FORMS": len(lines),
        "mappings-INITIAL_FORMS": 0,
        "parameters-TOTAL_FORMS": 0,
        "parameters-INITIAL_FORMS": 0,
        "schedule-TOTAL_FORMS": 0,
        "schedule-INITIAL_FORMS": 0,
        "orgs-grant-content_type-object_id-TOTAL_FORMS": 0,
        "orgs-grant-content_type-object_id-INITIAL_FORMS": 0,
    }
    for index, (column, target) in enumerate(lines):
        row = {"source_column": column, "target": target, "trim": "on", "validated": "on"}
        form.update({f"mappings-{index}-{name}": value for name, value in row.items()})
    return {**form, **changes}


def as_member(client, row, **permissions):
    """Log in somebody whose team holds these permissions on a row, and on nothing else."""
    user = make_member(row.organization, "bob")
    team = Team.all_objects.create(organization=row.organization, name="Loaders")
    team.members.add(Membership.all_objects.get(user=user))
    kind = ContentType.objects.get_for_model(type(row))
    Grant.all_objects.create(
        organization=row.organization, team=team, content_type=kind, object_id=row.pk, **permissions
    )
    client.force_login(user)


@pytest.fixture
def alpha():
    return make_organization()


@pytest.fixture
def live(alpha, sandbox):
    """A file and a practice org that answer."""
    write_csv(alpha, "accounts.csv", [["id", "name", "phone"], ["1", "One", "123"]])
    source = make_connection(alpha, name="Files")
    return source, make_connection(alpha, "salesforce", name="Practice", values=sandbox_values(sandbox))


def test_an_empty_form_is_answered_with_its_errors(admin_client, alpha):
    form = {"mappings-TOTAL_FORMS": 0, "mappings-INITIAL_FORMS": 0, "name": "Accounts"}
    answer = admin_client.post(ADD, form)
    assert answer.status_code == 200
    assert "This field is required" in answer.content.decode()


def test_adding_begins_with_the_choice_of_two_connections(admin_client, alpha):
    make_connection(alpha, name="Files")
    make_connection(alpha, "salesforce", name="Production")
    text = admin_client.get(ADD).content.decode()
    assert "Read from" in text and "Files" in text and "Production" in text


def test_the_form_offers_files_and_objects(admin_client, live):
    source, destination = live
    text = admin_client.get(f"{ADD}?source={source.pk}&destination={destination.pk}").content.decode()
    assert '<option value="accounts.csv">' in text
    assert "Account (Account)" in text


def test_refreshing_proposes_lines_by_name_and_saves_nothing(admin_client, live):
    form = entered(*live, name="", _refresh="Show")
    text = admin_client.post(ADD, form).content.decode()
    assert '<option value="name" selected>' in text
    assert '<option value="Name" selected data-kind="text">' in text
    assert "This field is required" not in text and "Please correct" not in text
    assert not Sync.all_objects.exists()


def test_a_sync_is_saved_with_its_mapping_and_goes_without_problems(admin_client, live):
    answer = admin_client.post(ADD, entered(*live, [("id", "External_Id__c"), ("name", "Name")]), follow=True)
    sync = Sync.all_objects.get()
    assert [str(line) for line in sync.mappings.order_by("position")] == ["id -> External_Id__c", "name -> Name"]
    assert "cannot run yet" not in answer.content.decode()


def test_a_sync_with_problems_is_saved_and_they_are_listed(admin_client, live):
    form = entered(*live, [("id", "External_Id__c"), ("nmae", "Name")])
    text = admin_client.post(ADD, form, follow=True).content.decode()
    assert Sync.all_objects.exists()
    assert "it cannot run yet: 1 problem" in text
    assert "Did you mean &#x27;name&#x27;?" in text


def test_a_line_needs_a_column_or_a_constant(admin_client, live):
    text = admin_client.post(ADD, entered(*live, [("", "Name")])).content.decode()
    assert "exactly one of: a source column, a constant, an expression" in text
    assert not Sync.all_objects.exists()


def test_a_foreign_connection_is_refused_like_a_missing_one(admin_client, alpha):
    source, destination = make_connection(alpha), make_connection(alpha, "salesforce")
    foreign = make_connection(make_organization("beta"), name="Secret")
    missing = Connection(pk=foreign.pk + 1000)
    texts = [admin_client.post(ADD, entered(each, destination)).content.decode() for each in (foreign, missing)]
    for text in texts:
        assert "Select a valid choice" in text and "Secret" not in text
    assert admin_client.post(ADD, entered(source, foreign)).status_code == 200
    assert not Sync.all_objects.exists()


def test_the_form_opens_and_says_why_when_nothing_answers(admin_client, alpha):
    values = {**SALESFORCE_VALUES, "auth_url": "http://127.0.0.1:1"}
    sync = make_sync(alpha, destination=make_connection(alpha, "salesforce", values=values))
    text = admin_client.get(page(sync)).content.decode()
    assert "Not everything could be listed" in text
    assert '<input type="text" name="object" value="Account"' in text


def test_whoever_may_only_read_sees_text(client, alpha):
    sync = make_sync(alpha)
    as_member(client, sync, read=True)
    answer = client.get(page(sync))
    assert answer.status_code == 200
    assert 'name="object"' not in answer.content.decode()
    assert "Run now" not in answer.content.decode()
    assert client.post(page(sync, "pause/"), follow=True).status_code == 200
    assert not Sync.all_objects.get().paused
    client.post(page(sync, "start/"))
    assert not Job.all_objects.exists()


def test_whoever_may_not_execute_on_the_connections_types_names_in(client, alpha):
    sync = make_sync(alpha)
    as_member(client, sync, read=True, write=True)
    text = client.get(page(sync)).content.decode()
    assert "You do not hold the permission" in text
    assert '<input type="text" name="source_path" value="accounts.csv"' in text


def test_pausing_and_going_on_are_recorded(admin_client, alpha):
    sync = make_sync(alpha)
    admin_client.post(page(sync, "pause/"))
    assert Sync.all_objects.get().paused
    admin_client.post(page(sync, "go_on/"))
    assert not Sync.all_objects.get().paused
    assert list(AuditEvent.all_objects.order_by("pk").values_list("action", flat=True)) == ["paused", "went on"]


def test_verbs_take_posts_only(admin_client, alpha):
    sync = make_sync(alpha)
    assert {admin_client.get(page(sync, f"{verb}/")).status_code for verb in ("release", "pause", "go_on")} == {405}


def test_running_now_leads_to_the_job_and_a_second_one_is_refused_in_words(admin_client, alpha):
    sync = make_sync(alpha)
    answer = admin_client.post(page(sync, "start/"))
    job = Job.all_objects.get()
    assert answer.url == reverse("admin:jobs_job_change", args=[job.pk]) and not job.full_resync
    assert "already has a job" in admin_client.post(page(sync, "start/"), follow=True).content.decode()


def test_who_may_not_start_a_sync_sets_no_schedule(client, alpha, live):
    sync = make_sync(alpha, source=live[0], destination=live[1])
    as_member(client, sync, read=True, write=True)
    assert "schedule-0-every_minutes" not in client.get(page(sync)).content.decode()
    form = entered(*live, **{"schedule-TOTAL_FORMS": 1, "schedule-0-every_minutes": 60, "name": "Renamed"})
    client.post(page(sync), {**form, "schedule-0-enabled": "on", "schedule-0-time_zone": "UTC"})
    assert Sync.all_objects.get().name == "Renamed"
    assert not Schedule.all_objects.exists()


def test_changes_of_mapping_and_schedule_are_recorded(admin_client, live):
    admin_client.post(ADD, entered(*live, [("id", "External_Id__c")]))
    sync, line = Sync.all_objects.get(), FieldMapping.all_objects.get()
    form = entered(*live, [("name", "External_Id__c")])
    form.update({"mappings-INITIAL_FORMS": 1, "mappings-0-id": line.pk, "mappings-0-sync": sync.pk})
    form.update({"mappings-0-position": 1, "schedule-TOTAL_FORMS": 1, "schedule-0-every_minutes": 60})
    form.update({"schedule-0-enabled": "on", "schedule-0-time_zone": "UTC"})
    admin_client.post(page(sync), form)
    assert Schedule.all_objects.get().next_start_at is not None
    changes = AuditEvent.all_objects.get(action="changed").changes
    assert "id -> External_Id__c" in changes["mapping"][0][0]
    assert "name -> External_Id__c" in changes["mapping"][1][0]
    assert changes["schedule"][0] == "" and changes["schedule"][1]


def test_deleting_tells_what_goes_and_takes_the_jobs_along(admin_client, alpha):
    sync = make_sync(alpha)
    job = make_job(sync, status=Status.LOADING)
    assert "cannot be deleted while" in admin_client.get(page(sync, "delete/")).content.decode()
    Job.all_objects.filter(pk=job.pk).update(status=Status.SUCCEEDED)
    assert "1 job, with all files" in admin_client.get(page(sync, "delete/")).content.decode()
    admin_client.post(page(sync, "delete/"), {"post": "yes"})
    assert not Sync.all_objects.exists() and not Job.all_objects.exists()
    assert AuditEvent.all_objects.filter(action="deleted").count() == 1


def test_the_list_asks_no_more_for_more_rows(admin_client, alpha):
    first = make_sync(alpha)
    make_job(first, status=Status.SUCCEEDED)

    def queries():
        with CaptureQueriesContext(
            database,
        ) as captured:
            assert admin_client.get(LIST).status_code == 200
        return len(captured)

    def more(start, end):
        values = {"organization": alpha, "source": first.source, "destination": first.destination, "object": "Account"}
        Sync.all_objects.bulk_create(Sync(name=f"Sync {n}", source_path="a.csv", **values) for n in range(start, end))

    more(0, 9)
    queries()
    few = queries()
    more(9, 999)
    assert queries() == few


def test_a_foreign_sync_is_answered_like_a_missing_one(admin_client, alpha):
    theirs = make_sync(make_organization("beta"), name="Secret")
    for rest in ("change/", "delete/", "history/"):
        assert admin_client.get(page(theirs, rest)).url == "/admin/"
    for verb in ("start", "pause", "go_on"):
        assert admin_client.post(page(theirs, f"{verb}/")).url == "/admin/"
    assert not Job.all_objects.exists()


def test_a_connection_stays_without_execute_but_changes_only_to_one_with_it(client, alpha):
    sync = make_sync(alpha, mappings={})
    other = make_connection(alpha, name="Others' files")
    as_member(client, sync, read=True, write=True)
    kept = entered(sync.source, sync.destination, name="Renamed")
    assert client.post(page(sync), kept).status_code == 302
    answer = client.post(page(sync), {**kept, "source": other.pk})
    assert "Select a valid choice" in answer.content.decode()
    assert "Others" not in answer.content.decode()
    assert Sync.all_objects.get().source == sync.source and Sync.all_objects.get().name == "Renamed"


def test_a_connection_that_does_not_answer_is_asked_once_when_a_sync_is_saved(admin_client, live, monkeypatch):
    asked = []

    def fail(connection, name, *, refresh=False):
        asked.append(name)
        raise discover.DiscoveryFailed("Practice: it does not answer.")

    monkeypatch.setattr(discover, "describe", fail)
    answer = admin_client.post(ADD, entered(*live, [("id", "External_Id__c")]))
    assert answer.status_code == 302 and Sync.all_objects.exists()
    assert asked == ["Account"]
