"""What is approved is what is sent, byte for byte, or nothing is: whatever was changed, and whenever."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from connections import sessions
from jobs.errors import JobRefused
from jobs.models import Batch, Job, Status
from jobs.run import run_job
from jobs.start import approve_job, cancel_job, reject_job, start_job
from orgs import access, tokens
from orgs.models import Membership, Permission, Role, Via
from syncs.models import FieldMapping, Sync
from tests.factories import anybody, make_job, make_member, make_organization, make_sync
from tests.jobs.scenario import go_on, make_people_sync, people, run, sandbox_values, write_csv
from tests.sandbox_process import SandboxProcess

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def movable():
    """A Salesforce org whose place another one can take."""
    with SandboxProcess(https=False) as process:
        sessions.forget_all()
        yield process
    sessions.forget_all()


def move_salesforce(sync, sandbox):
    """The same address and login, and another Salesforce org behind it."""
    sandbox.kill()
    sandbox.flags["org_id"] = "00D000000000002EAA"
    sandbox.start()


def change_mapping(sync, sandbox):
    FieldMapping.all_objects.filter(sync=sync, target="Title").update(when_blank="clear")


def drop_line(sync, sandbox):
    FieldMapping.all_objects.filter(sync=sync, target="Title").delete()


def change_destination(sync, sandbox):
    connection = Sync.all_objects.get(pk=sync.pk).destination
    connection.set_values({**sandbox_values(sandbox), "api_version": "61.0"})
    connection.save()


def change_source(sync, sandbox):
    connection = Sync.all_objects.get(pk=sync.pk).source
    connection.set_values({"delimiter": ";"})
    connection.save()


CHANGES = {
    change_mapping: "was changed since this plan was made: the mapping of Title.",
    drop_line: "was changed since this plan was made: the mapping of Title.",
    change_destination: "The settings of the connection 'salesforce connection' were changed since",
    change_source: "The settings of the connection 'delimited_file connection' were changed since",
    move_salesforce: "now leads to the Salesforce org 00D000000000002EAA",
}
changes = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)


@pytest.fixture
def waiting(movable):
    """A job that waits for approval."""
    sync = make_people_sync(movable, approval="always")
    write_csv(sync.organization, "people.csv", people(5))
    job = run(sync)
    assert job.status == Status.WAITING_APPROVAL
    return job


def written(sandbox):
    """Calls that changed something."""
    return [call for call in sandbox.requests()["requests"] if call["method"] != "GET" and "/data/" in call["path"]]


def check_nothing_was_sent(job, change, sandbox):
    assert job.status == Status.FAILED
    assert CHANGES[change] in job.reason
    assert written(sandbox) == []


@changes
def test_what_is_changed_while_a_job_waits_makes_its_plan_void(waiting, movable, change):
    change(waiting.sync, movable)
    job = Job.all_objects.get(pk=waiting.pk)
    if change is move_salesforce:  # nobody logs in to approve: it is seen before the first call that sends
        approve_job(job, by=anybody(job), wake=False)
        check_nothing_was_sent(go_on(job), change, movable)
        return
    with pytest.raises(JobRefused) as refused:
        approve_job(job, by=anybody(job))
    assert CHANGES[change] in str(refused.value)
    assert f"Reject it with `reject_job {job.pk}`" in str(refused.value)
    reject_job(job, by=anybody(job))
    assert written(movable) == []


@changes
def test_what_is_changed_right_after_the_approval_makes_it_void(waiting, movable, change):
    approve_job(waiting, by=anybody(waiting), wake=False)
    change(waiting.sync, movable)
    check_nothing_was_sent(go_on(waiting), change, movable)


@changes
def test_what_is_changed_while_an_approved_job_waits_for_its_turn_makes_it_void(waiting, movable, change):
    approve_job(waiting, by=anybody(waiting), wake=False)
    beta = make_people_sync(movable, organization=make_organization("beta"))
    write_csv(beta.organization, "people.csv", people(1))
    other = start_job(beta, by=anybody(beta), wake=False)
    run_job(other.pk)  # it has the turn now
    run_job(waiting.pk)
    waiting.refresh_from_db()
    assert "Waits for its turn" in waiting.reason
    change(waiting.sync, movable)
    cancel_job(Job.all_objects.get(pk=other.pk), by=anybody(other))
    go_on(other)
    check_nothing_was_sent(go_on(waiting), change, movable)


def test_a_job_that_nobody_had_to_approve_is_not_looked_at_again(sandbox):
    """As before: what a job was started with is what it does."""
    sync = make_people_sync(sandbox)
    write_csv(sync.organization, "people.csv", people(5))
    job = start_job(sync, by=anybody(sync), wake=False)
    change_mapping(sync, sandbox)
    assert go_on(job).status == Status.SUCCEEDED


def test_the_stored_plan_is_sent_whatever_the_source_says_by_now(waiting, movable):
    before = {batch.number: Path(batch.payload["path"]).read_bytes() for batch in waiting.batches.all()}
    write_csv(waiting.organization, "people.csv", people(9, title="Later"))
    approve_job(waiting, by=anybody(waiting), wake=False)
    job = go_on(waiting)
    assert (job.status, job.counts["inserted"]) == (Status.SUCCEEDED, 5)
    assert {batch.number: Path(batch.payload["path"]).read_bytes() for batch in job.batches.all()} == before
    assert movable.state()["objects"]["Contact"]["live"] == 5


@pytest.mark.parametrize("lane", ["collections", "bulk"])
def test_a_file_of_the_plan_that_was_touched_is_not_sent(sandbox, org, monkeypatch, lane):
    if lane == "bulk":
        monkeypatch.setattr("syncs.engine.lanes.FEW_ROWS", 0)
    sync = make_people_sync(sandbox, approval="always", batch_rows=5)
    write_csv(sync.organization, "people.csv", people(10))
    job = run(sync)
    first, second = job.batches.all()
    assert first.lane == lane
    path = Path(first.payload["path"])
    path.write_bytes(path.read_bytes().replace(b"Person 1", b"Person X"))
    approve_job(job, by=anybody(job), wake=False)
    job = go_on(job)
    assert job.status == Status.FAILED
    assert "The file of batch 1 was changed after its plan was made: its checksum differs" in job.reason
    assert (job.counts["inserted"], job.counts["not_sent"]) == (5, 5)
    sent = {record["LastName"] for record in org.query("SELECT LastName FROM Contact")}
    assert sent == {f"Person {number}" for number in range(6, 11)}


def test_only_jobs_that_wait_pay_for_a_seal(sandbox):
    sync = make_people_sync(sandbox)
    write_csv(sync.organization, "people.csv", people(5))
    assert "sealed" not in run(sync).manifests


def test_a_login_that_leads_elsewhere_in_the_middle_of_a_step_sends_nothing(movable):
    """The session was looked at, then its token ended, and the new one is of another Salesforce org."""
    sync = make_people_sync(movable)
    session = sessions.salesforce_session(sync.destination)
    assert session.identity.org_id == movable.state()["org_id"]
    move_salesforce(sync, movable)
    for _ in range(2):
        with pytest.raises(Exception, match="now leads to the Salesforce org 00D000000000002EAA"):
            session.request("PATCH", "composite/sobjects", json={"records": []})
    assert written(movable)[1:] == [], "one call with the old token, and no other"
    assert sessions.salesforce_session(sync.destination).identity.org_id == "00D000000000002EAA"


# --- who may ---


@pytest.fixture
def careful():
    """A job that waits, of a sync whose approver must be somebody else; alice started it."""
    organization = make_organization()
    for name in ("alice", "bob"):
        make_member(organization, name, Role.ADMIN)
    sync = make_sync(organization, approver_differs=True)
    return make_job(sync, status=Status.WAITING_APPROVAL, planned_at=timezone.now(), started_by="alice")


def member(name, permissions=None):
    membership = Membership.all_objects.get(user__username=name)
    return access.member(membership, Via.API, frozenset(permissions or Permission))


def test_who_started_a_job_does_not_approve_it_where_that_is_wanted(careful):
    assert tokens.make_token(member("alice").membership, "ci", [Permission.APPROVE])
    for by in (member("alice"), member("alice", [Permission.APPROVE]), access.operator(careful.organization, "alice")):
        with pytest.raises(JobRefused, match="was started by alice"):
            approve_job(careful, by=by)
    superuser = access.operator(careful.organization, "root", Via.ADMIN, member("alice").membership)
    with pytest.raises(JobRefused, match="must not be who started it"):
        approve_job(careful, by=superuser)
    approve_job(careful, by=member("bob"), wake=False)
    assert (careful.status, careful.approved_by) == (Status.LOADING, "bob")


def test_who_started_a_job_may_reject_it(careful):
    reject_job(careful, by=member("alice"), reason="my mistake")
    assert careful.status == Status.CANCELLED


def test_anybody_approves_what_a_schedule_started(careful):
    Job.all_objects.filter(pk=careful.pk).update(scheduled_for=timezone.now(), started_by="the schedule")
    approve_job(Job.all_objects.get(pk=careful.pk), by=member("alice"), wake=False)


def test_elsewhere_who_started_a_job_approves_it(careful):
    Sync.all_objects.update(approver_differs=False)
    approve_job(Job.all_objects.get(pk=careful.pk), by=member("alice"), wake=False)


# --- how long ---


def test_an_approval_that_comes_too_late_is_refused(careful, settings):
    careful.planned_at = timezone.now() - timedelta(hours=settings.SFSYNC_APPROVAL_HOURS, seconds=1)
    with pytest.raises(JobRefused, match="older than 72 hours"):
        approve_job(careful, by=member("bob"))


# --- pages and commands ---


def test_the_page_says_until_when_and_what_makes_the_plan_void(waiting, movable, client):
    client.force_login(make_member(waiting.organization, "carol", Role.OWNER))
    address = f"/admin/jobs/job/{waiting.pk}/change/"
    shown = client.get(address).content.decode()
    assert "This sync always asks for approval; 5 rows would be sent" in shown
    assert "It can be approved until " in shown and ">Approve</button>" in shown
    change_mapping(waiting.sync, movable)
    shown = client.get(address).content.decode()
    assert "the mapping of Title. So the plan is void" in shown
    assert ">Approve</button>" not in shown and ">Reject</button>" in shown


def test_the_page_offers_no_approval_to_who_may_not_give_it(careful, client):
    client.force_login(Membership.all_objects.get(user__username="alice").user)
    shown = client.get(f"/admin/jobs/job/{careful.pk}/change/").content.decode()
    assert "You started this job" in shown and ">Approve</button>" not in shown


def test_a_reason_is_given_on_the_command_line(waiting):
    call_command("reject_job", str(waiting.pk), reason="wrong file")
    waiting.refresh_from_db()
    assert (waiting.status, waiting.reason.partition(": ")[2]) == (Status.CANCELLED, "wrong file")
    with pytest.raises(CommandError, match="does not wait for approval"):
        call_command("approve_job", str(waiting.pk))
    assert Batch.all_objects.filter(job=waiting, attempt__gt=0).count() == 0
