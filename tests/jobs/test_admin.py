"""Jobs in the admin, as a browser without JavaScript uses them; the real browser is in tests/browser."""

import csv
import io

import pytest
from django.contrib.auth.models import User
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.models import Batch, BatchState, Job, JobEvent, Status
from orgs import access
from orgs.models import AuditEvent, Membership, Role, Team
from tests.factories import make_batch, make_job, make_member, make_organization, make_sync
from tests.jobs.scenario import go_on, make_people_sync, people, run, write_csv

pytestmark = pytest.mark.django_db(transaction=True)  # jobs run in threads of their own

LIST = "/admin/jobs/job/"


def page(job, rest="change/"):
    return f"{LIST}{job.pk}/{rest}"


@pytest.fixture
def owner(client):
    """Alice owns the organization."""
    organization = make_organization()
    client.force_login(make_member(organization, "alice", Role.OWNER))
    return organization


def log_in_member(client, sync, **permissions):
    """Log in somebody whose team holds these permissions on a sync."""
    user = make_member(sync.organization, f"bob{User.objects.count()}")
    team = Team.all_objects.create(organization=sync.organization, name=user.username)
    team.members.add(Membership.all_objects.get(user=user))
    access.grant(team, sync, **permissions)
    client.force_login(user)


def text(response):
    assert response.status_code == 200
    return response.content.decode()


@pytest.fixture
def partial(owner, sandbox):
    """A job that ended with refused rows."""
    rows = people(60)
    for number in (7, 21, 22):
        rows[number][1] = ""
    rows[30][3] = "#N/A"
    sync = make_people_sync(sandbox, organization=owner)
    write_csv(owner, "people.csv", rows)
    job = run(sync)
    assert job.status == Status.PARTIAL
    return job


def test_the_page_of_a_job_shows_counts_that_add_up_and_each_cause(partial, client):
    shown = " ".join(text(client.get(page(partial))).split())
    assert '<th scope="col">Rows read</th><td class="number"><b>60</b>' in shown
    assert '<th scope="row">Inserted</th><td class="number">56</td>' in shown
    assert '<th scope="row">Rejected by a rule</th><td class="number">4</td>' in shown
    assert "Not accounted for" not in shown
    assert "<td>upsert</td><td>collections</td><td>Done</td>" in shown
    assert "Required Field Missing" in shown and "Reserved Value #N/A" in shown


def test_counts_that_do_not_add_up_are_told(owner, client):
    counts = {"read": 10, "inserted": 7, "failed": 1}
    job = make_job(make_sync(owner), status=Status.FAILED, counts=counts)
    assert '<th scope="row">Not accounted for</th><td class="number">2</td>' in text(client.get(page(job)))


def test_row_errors_are_searched_and_opened(partial, client):
    every = text(client.get(page(partial, "rows/")))
    assert every.count("Required Field Missing</td>") == 3
    some = text(client.get(page(partial, "rows/?code=Reserved+Value+%23N%2FA")))
    assert "P0000030" in some and "P0000007" not in some
    assert "P0000021" in text(client.get(page(partial, "rows/?q=p0000021")))
    assert "No row error fits" in text(client.get(page(partial, "rows/?q=%25")))
    one = text(client.get(page(partial, "rows/7/")))
    assert "P0000007" in one and "First 7" in one and "Required Field Missing" in one


@pytest.mark.parametrize(
    "query", ["?after=x", "?after=-1", "?after=99999999999999999999", "?code=%27%3B--", "?q=" + "a" * 2000]
)
def test_no_query_breaks_the_row_errors(partial, client, query):
    assert client.get(page(partial, f"rows/{query}")).status_code == 200


def test_refused_rows_are_downloaded_in_the_sources_columns(partial, client):
    response = client.get(page(partial, "refused.csv"))
    assert response["Content-Disposition"] == f'attachment; filename="refused-rows-of-job-{partial.pk}.csv"'
    rows = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))
    assert [row["id"] for row in rows] == ["P0000007", "P0000021", "P0000022", "P0000030"]
    assert rows[0]["_error_code"] == "Required Field Missing"


def test_each_cause_says_what_to_do(partial, client):
    shown = text(client.get(page(partial)))
    assert "Fill the column in the source, or give the line a default or a constant." in shown
    assert "Salesforce would clear the field." in shown


def test_refused_rows_are_replayed_from_the_page(partial, client):
    shown = text(client.get(page(partial)))
    assert "Replay the refused rows" in shown and "4 rows as this job read them" in shown
    answer = client.post(page(partial, "replay/"))
    again = Job.all_objects.order_by("-pk").first()
    assert (answer["Location"], again.replay_of_id) == (page(again), partial.pk)
    told = " ".join(text(client.get(page(again))).split())
    assert f'Replay of the refused rows of <a href="{page(partial)}">job {partial.pk}</a>' in told
    assert f"Replay of job {partial.pk}" in text(client.get(LIST))


def test_a_replay_is_not_offered_where_there_is_nothing_to_replay(owner, client, partial):
    Job.all_objects.filter(pk=partial.pk).update(files_removed_at=timezone.now())
    assert "Replay the refused rows" not in text(client.get(page(partial)))
    assert "refused rows are gone" in text(client.post(page(partial, "replay/"), follow=True))
    clean = make_job(partial.sync, status=Status.SUCCEEDED, counts={"read": 3, "inserted": 3})
    assert "Replay" not in text(client.get(page(clean)))


def test_the_log_is_shown_and_downloaded(partial, client):
    assert "planned" in text(client.get(page(partial, "log/")))
    assert b"planned" in b"".join(client.get(page(partial, "job.log")).streaming_content)


@pytest.mark.parametrize("rest", ["rows/", "rows/7/", "refused.csv", "job.log"])
def test_what_a_job_does_not_have_is_told_in_a_sentence(owner, client, rest):
    job = make_job(make_sync(owner), status=Status.QUEUED)
    shown = text(client.get(page(job, rest), follow=True))
    assert f"Job {job.pk}" in shown and 'class="error"' in shown


def test_files_past_their_retention_are_told_of(partial, client):
    Job.all_objects.filter(pk=partial.pk).update(files_removed_at=timezone.now())
    assert "past their retention" in text(client.get(page(partial)))
    assert "past their retention" in text(client.get(page(partial, "rows/"), follow=True))


def test_the_fragment_asks_again_while_the_job_lives_and_refreshes_the_page_at_its_end(owner, client):
    job = make_job(make_sync(owner), status=Status.LOADING)
    make_batch(job, state=BatchState.CLOSED, records_processed=4)
    live = client.get(page(job, "progress/"))
    assert 'hx-trigger="every 2s"' in text(live) and "4 of 10 rows answered by Salesforce" in text(live)
    assert "HX-Refresh" not in live
    Job.all_objects.filter(pk=job.pk).update(status=Status.SUCCEEDED)
    ended = client.get(page(job, "progress/"))
    assert "hx-get" not in text(ended) and ended["HX-Refresh"] == "true"


def test_a_fragment_whose_reader_has_logged_out_or_may_read_no_more_takes_the_page_anew(owner, client):
    job = make_job(make_sync(owner), status=Status.LOADING)
    asked = {"HX-Request": "true"}
    assert "HX-Refresh" not in client.get(page(job, "progress/"), headers=asked)
    client.force_login(make_member(make_organization("beta"), "carol", Role.OWNER))
    assert client.get(page(job, "progress/"), headers=asked)["HX-Refresh"] == "true"
    client.logout()
    answer = client.get(page(job, "progress/"), headers=asked)
    assert (answer.status_code, answer["HX-Refresh"], answer.content) == (200, "true", b"")


def test_a_job_that_waits_shows_what_it_would_delete_and_is_approved(owner, client, sandbox):
    sync = make_people_sync(sandbox, organization=owner, mode="mirror", guard_rows=10)
    write_csv(owner, "people.csv", people(100))
    run(sync)
    write_csv(owner, "people.csv", people(30))
    job = run(sync)
    shown = text(client.get(page(job)))
    assert "P0000031" in shown and "P0000040" in shown and "P0000041" not in shown
    first = text(client.get(page(job, "plan/?action=delete")))
    assert "P0000080" in first and "P0000081" not in first
    following = first.split("&amp;after=")[1].split('"')[0]
    assert "P0000081" in text(client.get(page(job, f"plan/?action=delete&after={following}")))
    assert client.post(page(job, "approve/")).status_code == 302
    job.refresh_from_db()
    assert (job.status, job.approved_by) == (Status.LOADING, "alice")
    event = AuditEvent.all_objects.get(action="approved")
    assert (event.actor, event.via, event.object_id) == ("alice", "admin", job.pk)


def test_a_preview_is_started_looked_at_searched_and_downloaded(owner, client, sandbox):
    sync = make_people_sync(sandbox, organization=owner)
    write_csv(owner, "people.csv", people(3))
    run(sync)
    write_csv(owner, "people.csv", people(3, title="Boss"))
    assert client.post(f"/admin/syncs/sync/{sync.pk}/preview/").status_code == 302
    job = go_on(Job.all_objects.get(preview=True))
    shown = text(client.get(page(job)))
    assert "<del>Buyer</del>" in shown and "<ins>Boss</ins>" in shown
    assert "Preview: nothing is sent" in shown
    assert "P0000002" in text(client.get(page(job, "plan/?q=p0000002")))
    assert "No row fits" in text(client.get(page(job, "plan/?q=nobody")))
    downloaded = b"".join(client.get(page(job, "plan.csv"))).decode()
    assert downloaded.startswith('"_row","_action"') and downloaded.count("Boss") == 3


def test_a_job_that_waits_is_rejected_with_a_reason(owner, client):
    job = make_job(make_sync(owner), status=Status.WAITING_APPROVAL, planned_at=timezone.now())
    client.post(page(job, "reject/"), {"reason": "the file was cut"})
    job.refresh_from_db()
    assert (job.status, job.reason) == (Status.CANCELLED, "Rejected by alice: the file was cut")


def test_a_job_is_cancelled_and_its_sync_run_again(owner, client):
    job = make_job(make_sync(owner), status=Status.QUEUED)
    client.post(page(job, "cancel/"))
    answer = client.post(page(job, "again/"))
    again = Job.all_objects.get(status=Status.QUEUED)
    assert answer["Location"] == page(again)
    refused = text(client.post(page(job, "again/"), follow=True))
    assert "already has a job" in refused


@pytest.mark.parametrize(
    ("granted", "verbs"),
    [
        ({"read": True}, set()),
        ({"execute": True}, {"cancel/", "again/", "replay/"}),
        ({"approve": True}, {"approve/", "reject/"}),
        ({"admin": True}, {"cancel/", "again/", "replay/", "approve/", "reject/"}),
    ],
)
def test_only_what_is_granted_is_offered_and_works(owner, client, granted, verbs):
    sync = make_sync(owner)
    job = make_job(sync, status=Status.WAITING_APPROVAL, planned_at=timezone.now())
    log_in_member(client, sync, **granted)
    shown = text(client.get(page(job)))
    assert {verb for verb in ("cancel/", "approve/", "reject/") if page(job, verb) in shown} == verbs - {
        "again/",
        "replay/",
    }
    for verb in {"cancel/", "approve/", "reject/", "again/", "replay/"} - verbs:
        client.post(page(job, verb))
        assert list(Job.all_objects.values_list("status", flat=True)) == [Status.WAITING_APPROVAL]


@pytest.mark.parametrize(
    "rest", ["change/", "progress/", "rows/", "rows/1/", "refused.csv", "log/", "job.log", "history/"]
)
@pytest.mark.parametrize("granted", [{}, {"write": True}])
def test_a_job_that_may_not_be_read_does_not_exist(owner, client, rest, granted):
    sync = make_sync(owner)
    job = make_job(sync, status=Status.SUCCEEDED)
    if granted:
        log_in_member(client, sync, **granted)
    else:
        client.force_login(make_member(make_organization("beta"), "carol", Role.OWNER))
    there, never = client.get(page(job, rest)), client.get(f"{LIST}999999/{rest}")
    assert (there.status_code, there["Location"]) == (never.status_code, never["Location"])
    told = [str(message) for message in client.get("/admin/").context["messages"]]
    assert told[0].replace(str(job.pk), "N", 1) == told[1].replace("999999", "N", 1)


def test_lists_and_fragments_cost_the_same_however_many_rows_there_are(owner, client):
    sync = make_sync(owner)
    job = make_job(sync, status=Status.LOADING)

    def queries(path):
        with CaptureQueriesContext(
            database,
        ) as captured:
            assert client.get(path).status_code == 200
        return len(captured)

    paths = [LIST, page(job), page(job, "progress/"), "/admin/"]
    client.get("/admin/")
    make_more(job, 10)
    few = [queries(path) for path in paths]
    make_more(job, 1_000)
    assert [queries(path) for path in paths] == few


def make_more(job, count):
    spec = {"spec": job.spec, "spec_hash": job.spec_hash, "source": job.source, "destination": job.destination}
    owned = {"organization": job.organization}
    Job.all_objects.bulk_create(Job(sync=job.sync, status=Status.PARTIAL, **owned, **spec) for _ in range(count))
    first = Batch.all_objects.filter(job=job).count() + 1
    payload = {"path": "none", "rows": 1, "bytes": 1}
    Batch.all_objects.bulk_create(
        Batch(job=job, number=number, operation="upsert", rows=1, payload=payload, **owned)
        for number in range(first, first + count)
    )
    JobEvent.all_objects.bulk_create(JobEvent(job=job, status=job.status, **owned) for _ in range(count))
