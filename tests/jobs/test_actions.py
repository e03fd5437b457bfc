"""What a job may be started for besides a plain run: a baseline, a replay of refused rows, other parameters."""

import csv

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from jobs import queue
from jobs.errors import JobRefused
from jobs.models import Job, JobEvent, Status
from jobs.results import write_refused_rows
from jobs.start import approve_job, start_again, start_job
from orgs.models import AuditEvent
from syncs.models import Parameter, Sync
from tests.factories import anybody, make_job, make_organization, make_sync
from tests.jobs.parking import park
from tests.jobs.scenario import go_on, make_people_sync, people, run, write_csv

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sync():
    return make_sync(make_organization())


@pytest.fixture
def sent(monkeypatch):
    monkeypatch.setattr(queue, "send", lambda task, pk: None)


def parameter(sync, name, default=None):
    return Parameter.all_objects.create(organization=sync.organization, sync=sync, name=name, default=default)


def first_event(job):
    return JobEvent.all_objects.filter(job=job).first().text


# --- parameters ---


def test_a_job_keeps_the_values_it_was_started_with(sync, sent):
    parameter(sync, "since")
    parameter(sync, "country", "DE")
    job = start_job(sync, by=anybody(sync), parameters={"since": "2024-01-01"})
    assert job.parameters == job.spec["parameters"] == {"since": "2024-01-01", "country": "DE"}
    assert "@since = '2024-01-01'." in first_event(job)
    assert AuditEvent.all_objects.get().changes["parameters"] == [None, job.parameters]


@pytest.mark.parametrize(
    ("given", "message"),
    [({}, "'since' has no value and no default"), ({"since": "1", "unitl": "2"}, "has no parameter 'unitl'.*since")],
)
def test_missing_and_unknown_parameters_are_named(sync, sent, given, message):
    parameter(sync, "since")
    with pytest.raises(JobRefused, match=message):
        start_job(sync, by=anybody(sync), parameters=given)
    assert not Job.all_objects.exists()


def test_a_plan_is_approved_with_the_values_it_was_made_with(sync, sent):
    asked = parameter(sync, "since")
    values = {"since": "2024-01-01"}
    job = start_job(sync, by=anybody(sync), parameters=values)
    Job.all_objects.filter(pk=job.pk).update(status=Status.WAITING_APPROVAL, planned_at=timezone.now())
    job = Job.all_objects.get(pk=job.pk)
    approve_job(job, by=anybody(sync))
    assert job.status == Status.LOADING
    Job.all_objects.filter(pk=job.pk).update(status=Status.WAITING_APPROVAL)
    asked.delete()
    with pytest.raises(JobRefused, match="was changed since"):
        approve_job(Job.all_objects.get(pk=job.pk), by=anybody(sync))


def test_a_path_is_read_with_its_parameters(sandbox, org):
    sync = make_people_sync(sandbox, source_path="people_@day.csv")
    parameter(sync, "day")
    write_csv(sync.organization, "people_2024-01-31.csv", people(3))
    assert run(sync, parameters={"day": "2024-01-31"}).counts["inserted"] == 3
    failed = run(sync, parameters={"day": "../people"})
    assert failed.status == Status.FAILED and "of @day cannot be part of the path" in failed.reason


# --- baseline ---


def test_a_baseline_is_a_job_that_says_so(sync, sent):
    job = start_job(sync, by=anybody(sync), baseline=True)
    assert (job.baseline, job.full_resync, job.action) == (True, False, "Baseline")
    assert "as a baseline: what the source holds is recorded as known, and nothing is sent" in first_event(job)
    assert AuditEvent.all_objects.get().changes["baseline"] == [None, True]


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"compare": "nothing"}, {}, "compares with nothing"),
        ({"key_fields": [], "mode": "insert", "compare": "nothing"}, {}, "has no sync key"),
        ({}, {"full_resync": True}, "exclude each other"),
    ],
)
def test_a_baseline_that_makes_no_sense_is_refused(sent, changes, options, message):
    sync = make_sync(make_organization(), **changes)
    with pytest.raises(JobRefused, match=message):
        start_job(sync, by=anybody(sync), baseline=True, **options)


# --- replay ---


@pytest.fixture
def partial(sandbox):
    """A job of 20 people that rules and Salesforce refused some of."""
    rows = people(20)
    rows[3][1] = ""  # required
    rows[7][3] = "#N/A"
    rows[9][3] = "  Buyer  "
    rows[11][1] = "x" * 100  # too long
    sync = make_people_sync(sandbox)
    write_csv(sync.organization, "people.csv", rows)
    sandbox.faults(
        {
            "action": "refuse_rows",
            "object": "Contact",
            "field": "LastName",
            "matches": "Person 9$",
            "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
            "message": "no",
        }
    )
    job = run(sync)
    assert job.status == Status.PARTIAL
    return job


def test_a_replay_takes_the_refused_rows_only_and_forgets_no_record(partial, org, sandbox):
    sync = partial.sync
    assert (partial.counts["rejected"], partial.counts["failed"], partial.replayable) == (3, 1, 4)
    sandbox.clear_faults()
    again = run(sync, replay_of=partial)
    assert (again.replay_of_id, again.action) == (partial.pk, f"Replay of job {partial.pk}")
    assert f"to replay the 4 refused rows of job {partial.pk}" in first_event(again)
    assert (again.counts["read"], again.counts["inserted"], again.counts["rejected"]) == (4, 1, 3)
    assert again.counts["dropped"]["deleted"] == 0
    assert org.count("Contact") == 17
    # What both jobs wrote is known: the next plain run sends nothing of it.
    plain = run(sync)
    assert (plain.counts["unchanged"], plain.counts["rejected"]) == (17, 3)


def test_a_replay_of_a_mirror_deletes_nothing(partial, org, sandbox):
    Sync.all_objects.filter(pk=partial.sync_id).update(mode="mirror")
    sandbox.clear_faults()
    again = run(partial.sync, replay_of=partial)
    assert (again.status, again.counts["inserted"], again.counts["dropped"]["deleted"]) == (Status.PARTIAL, 1, 0)
    assert org.count("Contact") == 17


def test_a_replay_can_be_replayed(partial, sandbox):
    again = run(partial.sync, replay_of=partial)
    assert again.counts["failed"] == 1
    sandbox.clear_faults()
    once_more = run(partial.sync, replay_of=again)
    assert (once_more.counts["read"], once_more.counts["inserted"]) == (4, 1)


def test_the_source_of_a_replay_is_not_read_again(partial, sandbox):
    write_csv(partial.organization, "people.csv", [["other"]])
    sandbox.clear_faults()
    assert run(partial.sync, replay_of=partial).counts["inserted"] == 1


def test_what_is_done_again_is_what_was_done(partial, sent):
    parameter(partial.sync, "day", "1")
    replay = start_job(partial.sync, by=anybody(partial), replay_of=partial, parameters={"day": "2"})
    Job.all_objects.filter(pk=replay.pk).update(status=Status.FAILED)
    again = start_again(replay, by=anybody(partial))
    assert (again.replay_of_id, again.parameters) == (partial.pk, {"day": "2"})


def test_a_replay_is_refused_while_the_other_job_is_live(sync, sent):
    job = make_job(sync, status=Status.LOADING)
    with pytest.raises(JobRefused, match="is loading. Its refused rows can be replayed when it has ended"):
        start_job(sync, by=anybody(sync), replay_of=job)


@pytest.mark.parametrize(
    ("counts", "message"),
    [({"inserted": 3}, "has no refused rows"), ({"malformed": 2}, "A malformed row has to be corrected in the source")],
)
def test_a_replay_of_nothing_is_refused(sync, sent, counts, message):
    job = make_job(sync, status=Status.PARTIAL, counts=counts, manifests={"final": {}})
    with pytest.raises(JobRefused, match=message):
        start_job(sync, by=anybody(sync), replay_of=job)


def test_a_replay_of_deleted_files_is_refused(partial, sent):
    Job.all_objects.filter(pk=partial.pk).update(files_removed_at=timezone.now())
    with pytest.raises(JobRefused, match="its refused rows are gone"):
        start_job(partial.sync, by=anybody(partial), replay_of=partial)


def test_files_that_vanish_before_the_replay_begins_stop_it(partial, monkeypatch):
    job = start_job(partial.sync, by=anybody(partial), replay_of=partial, wake=False)
    Job.all_objects.filter(pk=partial.pk).update(files_removed_at=timezone.now())
    job = go_on(job)
    assert job.status == Status.FAILED and "past their retention" in job.reason


def test_a_replay_is_refused_when_a_mapped_column_was_not_read(partial, sent):
    line = partial.sync.mappings.get(target="Title")
    line.source_column = "position"
    line.save()
    with pytest.raises(JobRefused, match="read no column 'position'"):
        start_job(partial.sync, by=anybody(partial), replay_of=partial)


def test_a_replay_of_another_syncs_job_is_refused(sync, sent):
    other = make_sync(sync.organization, name="Other", source=sync.source, destination=sync.destination)
    job = make_job(other, status=Status.PARTIAL, counts={"failed": 1})
    with pytest.raises(JobRefused, match="is no job of the sync"):
        start_job(sync, by=anybody(sync), replay_of=job)


@pytest.mark.parametrize("options", [{"full_resync": True}, {"baseline": True}])
def test_a_replay_is_nothing_else_besides(partial, sent, options):
    with pytest.raises(JobRefused, match="exclude each other"):
        start_job(partial.sync, by=anybody(partial), replay_of=partial, **options)


def test_refused_rows_are_told_with_fields_operation_and_row(partial, tmp_path):
    write_refused_rows(partial, tmp_path / "refused.csv")
    with open(tmp_path / "refused.csv", newline="", encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    told = {
        key: (row["_error_code"], row["_error_fields"], row["_operation"], row["_row"]) for key, row in rows.items()
    }
    assert told == {
        "P0000003": ("Required Field Missing", "LastName", "upsert", "3"),
        "P0000007": ("Reserved Value #N/A", "Title", "upsert", "7"),
        "P0000009": ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "", "upsert", "9"),
        "P0000011": ("Max Length Violation", "LastName", "upsert", "11"),
    }


# --- commands ---


def test_run_sync_takes_values_of_parameters(sync, sent):
    parameter(sync, "since")
    parameter(sync, "text")
    call_command("run_sync", sync.name, "--queue", "--parameter", "since=2024-01-01", "--parameter", "@text=a=b")
    assert Job.all_objects.get().parameters == {"since": "2024-01-01", "text": "a=b"}


@pytest.mark.parametrize(
    ("given", "message"),
    [([], "'since', 'text' have no value"), (["--parameter", "since"], "'since' is not NAME=VALUE")],
)
def test_run_sync_tells_what_is_wrong_with_parameters(sync, sent, given, message):
    parameter(sync, "since")
    parameter(sync, "text")
    with pytest.raises(CommandError, match=message):
        call_command("run_sync", sync.name, "--queue", *given)


def test_run_sync_starts_a_baseline_but_no_full_resync_with_it(sync, sent):
    with pytest.raises(CommandError, match="not allowed with"):
        call_command("run_sync", sync.name, "--queue", "--baseline", "--full-resync")
    call_command("run_sync", sync.name, "--queue", "--baseline")
    assert Job.all_objects.get().baseline


def test_replay_job_replays_here_and_ends_as_run_sync_does(partial, sandbox, capsys):
    sandbox.clear_faults()
    with pytest.raises(SystemExit) as ended:
        call_command("replay_job", str(partial.pk))
    assert ended.value.code == 2  # the rules still refuse three rows
    assert f"(replay of job {partial.pk})" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(CommandError, match="There is no job 999"):
        call_command("replay_job", "999")


def test_release_rows_releases_those_that_are_named_or_all(sync, capsys):
    park(sync, 3)
    call_command("release_rows", sync.name, "--key", "A002")
    call_command("release_rows", sync.name)
    out = capsys.readouterr().out.splitlines()
    assert out == ["1 parked row of 'Accounts' released.", "2 parked rows of 'Accounts' released."]
    with pytest.raises(CommandError, match="No row of the sync 'Accounts' is parked"):
        call_command("release_rows", sync.name)


def test_after_a_baseline_only_what_changes_is_sent(sandbox, org):
    sync = make_people_sync(sandbox, mode="mirror")
    write_csv(sync.organization, "people.csv", people(10))
    run(sync)
    Sync.all_objects.filter(pk=sync.pk).update(snapshot=None)  # as if another tool had loaded them
    baseline = run(sync, baseline=True)
    assert baseline.status == Status.SUCCEEDED, baseline.reason
    assert (baseline.counts["read"], baseline.counts["inserted"], baseline.counts["updated"]) == (10, 0, 0)
    assert not baseline.batches.exists()
    changed = people(10)
    changed[4][3] = "Seller"
    write_csv(sync.organization, "people.csv", changed)
    plain = run(sync)
    assert (plain.counts["unchanged"], plain.counts["updated"], org.count("Contact")) == (9, 1, 10)
