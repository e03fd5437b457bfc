"""Two organizations in one installation: neither reaches what is the other's, and secrets stay where they belong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection as database

from connections.models import Connection
from jobs.errors import JobRefused
from jobs.management.commands._lookup import find_sync
from jobs.models import Job, JobEvent, Status
from jobs.start import approve_job, cancel_job, reject_job, start_job
from orgs.access import Denied, operator
from orgs.tenancy import organization_scope
from syncs.models import Sync
from tests.acceptance.real_data import writing_calls
from tests.connections.sources import postgres
from tests.factories import anybody, make_connection, make_job, make_organization, make_sync
from tests.jobs.scenario import file_of, make_destination, run, sandbox_values, write_csv
from tests.sandbox_process import SandboxProcess
from tests.workers import Worker, wait_for_end, worker_environment

pytestmark = pytest.mark.django_db(transaction=True)

THEIRS = "What Beta keeps to itself"


@pytest.fixture
def alpha():
    return make_organization("alpha")


@pytest.fixture
def beta():
    organization = make_organization("beta")
    write_csv(organization, "accounts.csv", [["id", "name"], ["B1", THEIRS]])
    return organization


def make(organization, sandbox, **changes):
    return make_sync(organization, destination=make_destination(organization, sandbox), **changes)


# --- paths ---


def dots(alpha, beta):
    return "../beta/accounts.csv"


def dots_in_the_middle(alpha, beta):
    file_of(alpha, "data").mkdir()
    return "data/../../beta/accounts.csv"


def absolute(alpha, beta):
    return str(file_of(beta, "accounts.csv"))


def link_to_a_file(alpha, beta):
    file_of(alpha, "accounts.csv").symlink_to(file_of(beta, "accounts.csv"))
    return "accounts.csv"


def link_to_a_folder(alpha, beta):
    file_of(alpha, "data").symlink_to(file_of(beta, ""), target_is_directory=True)
    return "data/accounts.csv"


def link_through_a_link(alpha, beta):
    file_of(alpha, "here").symlink_to(".", target_is_directory=True)
    file_of(alpha, "there").symlink_to(Path("here") / ".." / "beta", target_is_directory=True)
    return "there/accounts.csv"


@pytest.mark.parametrize(
    "way_out",
    [dots, dots_in_the_middle, absolute, link_to_a_file, link_to_a_folder, link_through_a_link],
    ids=lambda function: function.__name__,
)
def test_no_path_leads_to_another_organizations_file(way_out, alpha, beta, sandbox, org):
    path = way_out(alpha, beta)
    job = run(make(alpha, sandbox, source_path=path))
    assert job.status == Status.FAILED
    assert f"The path '{path}' leads out of the organization's folder" in job.reason
    assert writing_calls(sandbox) == {}
    assert org.count("Account") == 0
    for file in job.folder.rglob("*"):
        assert not file.is_file() or THEIRS.encode() not in file.read_bytes()


# --- scopes ---


def test_a_sync_with_another_organizations_connection_is_refused(alpha, beta, sandbox):
    ours, theirs = make(alpha, sandbox), make(beta, sandbox)
    for field in ("source", "destination"):
        crossed = Sync.all_objects.get(pk=ours.pk)
        setattr(crossed, field, getattr(theirs, field))
        with pytest.raises(ValidationError, match="does not exist in this organization"):
            crossed.full_clean()
        # Saved past the check all the same: no job of it starts.
        crossed.save()
        with pytest.raises(JobRefused, match="does not exist in this organization"):
            start_job(crossed, by=anybody(crossed), wake=False)
        ours.save()
    assert not Job.all_objects.exists()
    assert theirs.source.name not in str(JobRefused)


def test_another_organizations_syncs_and_jobs_cannot_be_touched(alpha, beta, sandbox):
    theirs = make(beta, sandbox)
    somebody = operator(alpha, "alice")
    job = make_job(theirs, status=Status.WAITING_APPROVAL)
    with organization_scope(alpha):
        for model in (Sync, Connection, Job):
            assert not model.objects.exists()
        with pytest.raises(Sync.DoesNotExist):
            Sync.objects.get(pk=theirs.pk)
        with pytest.raises(Denied):
            start_job(theirs, by=somebody, wake=False)
        for decide in (approve_job, reject_job, cancel_job):
            with pytest.raises(Denied) as refused:
                decide(job, by=somebody)
            assert not refused.value.exists
            assert theirs.name not in str(refused.value)
    assert list(Job.all_objects.values_list("pk", "status")) == [(job.pk, Status.WAITING_APPROVAL)]


def test_a_name_that_two_organizations_use_must_be_told_apart(alpha, beta, sandbox):
    ours, theirs = make(alpha, sandbox), make(beta, sandbox)
    with pytest.raises(CommandError, match="alpha, beta. Say which: --organization"):
        find_sync("Accounts", None)
    assert find_sync("Accounts", "alpha") == ours
    assert find_sync("Accounts", "beta") == theirs
    with pytest.raises(CommandError, match="no sync 'Accounts' in the organization 'gamma'"):
        find_sync("Accounts", "gamma")


def test_an_unknown_name_in_one_organization_does_not_list_the_syncs_of_another(alpha, beta, sandbox):
    make(alpha, sandbox, name="Ours")
    make(beta, sandbox, name="Theirs")
    with pytest.raises(CommandError) as refused:
        find_sync("Accounts", "alpha")
    assert "Ours" in str(refused.value)
    assert "Theirs" not in str(refused.value)


def test_two_organizations_may_have_files_of_one_name(alpha, beta, sandbox, org):
    write_csv(alpha, "accounts.csv", [["id", "name"], ["A1", "Ours"]])
    for organization in (alpha, beta):
        assert run(make(organization, sandbox)).status == Status.SUCCEEDED
    found = org.query("SELECT External_Id__c, Name FROM Account ORDER BY External_Id__c")
    assert found == [{"External_Id__c": "A1", "Name": "Ours"}, {"External_Id__c": "B1", "Name": THEIRS}]


# --- secrets ---

SECRETS = {
    "password": "planted-Pa55word",
    "security_token": "planted-T0ken",
    "client_secret": "planted-Cl1entSecret",
    "client_id": "planted-client-id",
}
POSTGRES_PASSWORD = "planted-Pg+Passw%rd"
# The client id is no secret, but a token is one: it begins with the 15-character id of the Salesforce org.
HIDDEN = [SECRETS["password"], SECRETS["security_token"], SECRETS["client_secret"], POSTGRES_PASSWORD]
HIDDEN += ["planted-Pg%2BPassw%25rd", "planted-wrong"]


@pytest.fixture
def planted():
    with SandboxProcess(https=False, **SECRETS) as process:
        yield process


@pytest.fixture
def worker():
    (django_settings.SFSYNC_DATA / "worker.log").unlink(missing_ok=True)
    started = Worker(SFSYNC_LOG_LEVEL="DEBUG")
    yield started
    started.stop()


def make_postgres_sync(organization, sandbox, schema):
    connection, name = schema
    connection.execute(f"CREATE TABLE {name}.accounts AS SELECT 'P1' AS id, 'From PostgreSQL' AS name")
    found = postgres.server()
    values = {
        "host": str(found.get("host", "127.0.0.1")),
        "port": int(found.get("port", 5432)),
        "database": str(found.get("dbname", "test")),
        "user": str(found.get("user", "postgres")),
        "password": str(found.get("password") or POSTGRES_PASSWORD),
    }
    source = make_connection(organization, "postgres", values=values)
    destination = make_destination(organization, sandbox, name="second destination")
    return make_sync(
        organization,
        name="From PostgreSQL",
        source=source,
        destination=destination,
        source_path="",
        source_table=f"{name}.accounts",
    )


def database_bytes():
    """Every byte of the database's files; of a server, a dump made by its own tool stands for them."""
    if database.vendor == "sqlite":
        path = Path(database.settings_dict["NAME"])
        return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    settings = database.settings_dict
    command = ["pg_dump", "-h", settings["HOST"], "-p", str(settings["PORT"]), "-U", settings["USER"], settings["NAME"]]
    return subprocess.run(command, capture_output=True, check=True).stdout


def written_files():
    """Every file below the data folder, the logs of jobs and of the worker among them."""
    folders = {django_settings.SFSYNC_DATA, django_settings.SFSYNC_STORAGE, django_settings.SFSYNC_SCRATCH}
    return [file for folder in folders for file in folder.rglob("*") if file.is_file() and not file.is_socket()]


def shell(*arguments):
    """Everything that `manage.py` prints, as a process of its own that logs all it can."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=django_settings.BASE_DIR,
        env=worker_environment(SFSYNC_LOG_LEVEL="DEBUG"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


def test_planted_secrets_are_in_no_dump_no_log_no_event_and_no_error(alpha, planted, worker, capsys):
    with postgres.schema() as schema:
        write_csv(alpha, "accounts.csv", [["id", "name"], ["A1", "Ours"], ["A2", ""]])
        jobs = [
            start_job(sync, by=anybody(sync))
            for sync in (make(alpha, planted), make_postgres_sync(alpha, planted, schema))
        ]
        ended = [wait_for_end(job) for job in jobs]
        assert [job.status for job in ended] == [Status.PARTIAL, Status.SUCCEEDED], [job.reason for job in ended]

        # Salesforce refuses the login, and breaks down in the middle of a job.
        sync = jobs[0].sync
        sync.destination.set_values({**sandbox_values(planted), "password": "planted-wrong"})
        sync.destination.save()
        refused = wait_for_end(start_job(sync, by=anybody(sync)))
        assert refused.status == Status.FAILED and "planted" not in refused.reason
        planted.faults(
            {"method": "PATCH", "path": "/composite/sobjects/", "action": "status", "status": 503, "times": 2}
        )
        sync.destination.set_values(sandbox_values(planted))
        sync.destination.save()
        write_csv(alpha, "accounts.csv", [["id", "name"], ["A1", "Changed"]])
        tried_again = wait_for_end(start_job(sync, by=anybody(sync)))
        assert tried_again.status == Status.SUCCEEDED

        call_command("show_job", str(refused.pk))
        call_command("dumpdata")
        printed = shell("run_sync", sync.name, "--verbosity=3") + capsys.readouterr().out
    worker.stop()

    token = planted.state()["org_id"][:15] + "!"
    texts = {str(file): file.read_bytes() for file in written_files()}
    texts["database"] = database_bytes()
    texts["printed"] = printed.encode()
    texts["events"] = "\n".join(str(event) for event in JobEvent.all_objects.all()).encode()
    assert b"planted-client-id" in texts["database"], "this test looks in the wrong place"
    assert any(name.endswith("job.log") and b"to upsert" in text for name, text in texts.items())
    assert b"connections.connection" in texts["printed"]
    assert str(worker.log) in texts
    for name, text in texts.items():
        for secret in [*HIDDEN, token]:
            assert secret.encode() not in text, f"'{secret}' is in {name}"


def test_a_dump_of_the_data_tells_the_settings_of_a_connection_but_no_secret(alpha, sandbox, capsys):
    make(alpha, sandbox)
    call_command("dumpdata", "connections")
    dump = capsys.readouterr().out
    assert sandbox.client_id in dump
    assert not any(secret in dump for secret in (sandbox.client_secret, sandbox.security_token, "practice"))
