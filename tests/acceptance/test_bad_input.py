"""Whatever is wrong with a sync or its connections: a clear message, and nothing is sent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from jobs.models import Job, JobEvent, Status
from jobs.start import start_job
from syncs.models import Sync
from tests.acceptance.real_data import writing_calls
from tests.acceptance.refusing_postgres import refusing_postgres
from tests.connections.sources import postgres
from tests.factories import anybody, make_connection, make_organization, make_sync
from tests.jobs.scenario import file_of, make_destination, run, sandbox_values, write_csv
from tests.sandbox_process import SandboxProcess
from tests.workers import worker_environment

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = [["id", "name", "city"], ["A1", "Café Müller", "Köln"], ["A2", "Bolt", "Ulm"], ["A3", "Cable", "Bonn"]]
MAPPINGS = {"External_Id__c": "id", "Name": "name", "BillingCity": "city"}


def make(sandbox):
    organization = make_organization()
    write_csv(organization, "accounts.csv", ROWS)
    destination = make_destination(organization, sandbox)
    return make_sync(organization, destination=destination, mode="mirror", mappings=MAPPINGS)


@pytest.fixture
def sync(sandbox):
    """A mirror of three accounts that has run once, so that a job gone wrong could delete them."""
    made = make(sandbox)
    assert run(made).status == Status.SUCCEEDED
    return made


@pytest.fixture(scope="module")
def first_snapshot():
    return {}


@pytest.fixture
def known(sandbox, first_snapshot, tmp_path):
    """A mirror that knows of three accounts, with a copy of the snapshot that a first job has left."""
    made = make(sandbox)
    if first_snapshot:
        path = tmp_path / "snapshot.parquet"
        path.write_bytes(first_snapshot["file"])
        Sync.all_objects.filter(pk=made.pk).update(snapshot={**first_snapshot["pointer"], "path": str(path)})
    else:
        assert run(made).status == Status.SUCCEEDED
        made.refresh_from_db()
        first_snapshot.update(pointer=made.snapshot, file=Path(made.snapshot["path"]).read_bytes())
    return made


def run_command(sync, capsys):
    """What `run_sync` prints, on one line, and the code it ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        call_command("run_sync", sync.name)
    return ended.value.code, " ".join(capsys.readouterr().out.split())


# --- one function for each thing that is wrong; it returns what the message must say ---


def missing_file(sync):
    sync.source_path = "acounts.csv"
    sync.save()
    return ["There is no file 'acounts.csv'", "holds 'accounts.csv'"]


def no_files_at_all(sync):
    file_of(sync.organization, "accounts.csv").unlink()
    return ["There is no file 'accounts.csv'", "holds no files"]


def a_folder_for_a_file(sync):
    file_of(sync.organization, "data").mkdir()
    sync.source_path = "data"
    sync.save()
    return ["'data' is a folder"]


def wrong_delimiter(sync):
    path = file_of(sync.organization, "accounts.csv")
    path.write_text(path.read_text(encoding="utf-8").replace(",", ";"), encoding="utf-8")
    alike = [f"Source column '{column}': it is mapped to" for column in ROWS[0]]
    return [*alike, "no column of that name. Its columns are: id;name;city. The header", "is the delimiter ';'?"]


def wrong_encoding(sync):
    path = file_of(sync.organization, "accounts.csv")
    path.write_text(path.read_text(encoding="utf-8"), encoding="cp1252", newline="")
    return ["'accounts.csv' is not utf-8", "byte 0xE9", "line 2", "looks like cp1252", "encoding of the connection"]


def wide_encoding(sync):
    path = file_of(sync.organization, "accounts.csv")
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-16", newline="")
    return ["'accounts.csv' is not utf-8", "utf-16", "encoding"]


def open_quote(sync):
    path = file_of(sync.organization, "accounts.csv")
    path.write_text(path.read_text(encoding="utf-8").replace("Bolt", '"Bolt'), encoding="utf-8")
    return ["'accounts.csv', line 3", "quote is not closed"]


def empty_file(sync):
    file_of(sync.organization, "accounts.csv").write_text("")
    return ["'accounts.csv' is empty"]


def column_gone(sync):
    write_csv(sync.organization, "accounts.csv", [["id", "name", "town"], *ROWS[1:]])
    return ["Source column 'city'", "BillingCity", "no column of that name", "id, name, town"]


def column_twice(sync):
    write_csv(sync.organization, "accounts.csv", [["id", "name", "name"], *ROWS[1:]])
    return ["two columns named 'name'"]


def change_destination(sync, **values):
    sync.destination.set_values({**sync.destination.all_settings(), **values})
    sync.destination.save()


def wrong_salesforce_password(sync):
    change_destination(sync, password="planted-wrong")
    return ["password", "security token", "login at 127.0.0.1"]


def wrong_client_secret(sync):
    change_destination(sync, client_secret="planted-wrong")
    return ["client secret is wrong"]


def object_not_createable(sync):
    sync.object = "Profile"
    sync.save()
    return ["Object 'Profile'", "may not create its records"]


def unknown_object(sync):
    sync.object = "Acount"
    sync.save()
    return ["no object 'Acount'", "API name"]


def change_target(sync, old, new):
    sync.mappings.filter(target=old).update(target=new)


def field_not_createable(sync):
    change_target(sync, "BillingCity", "JigsawCompanyId")
    return ["Field 'JigsawCompanyId'", "cannot be written"]


def unknown_field(sync):
    change_target(sync, "BillingCity", "BilingCity")
    return ["Field 'BilingCity'", "no such field", "Did you mean 'BillingCity'?"]


def compound_field(sync):
    change_target(sync, "BillingCity", "BillingAddress")
    return ["Field 'BillingAddress'", "type address cannot be mapped"]


def required_field_not_mapped(sync):
    sync.mappings.filter(target="Name").delete()
    return ["Field 'Name'", "must have a value", "not mapped"]


def unknown_key(sync):
    sync.key_fields = ["Key__c"]
    sync.save()
    return ["Sync key 'Key__c'", "no such field", "External_Id__c"]


def key_not_mapped(sync):
    sync.mappings.filter(target="External_Id__c").delete()
    return ["Sync key 'External_Id__c'", "not mapped"]


WRONG = [
    missing_file,
    no_files_at_all,
    a_folder_for_a_file,
    wrong_delimiter,
    wrong_encoding,
    wide_encoding,
    open_quote,
    empty_file,
    column_gone,
    column_twice,
    wrong_salesforce_password,
    wrong_client_secret,
    object_not_createable,
    unknown_object,
    field_not_createable,
    unknown_field,
    compound_field,
    required_field_not_mapped,
    unknown_key,
    key_not_mapped,
]


def check_refused(sync, sandbox, org, parts, capsys):
    """The job fails with a message of these parts; Salesforce sees no call that writes, and keeps what it had."""
    before, records = writing_calls(sandbox), org.count("Account")
    code, printed = run_command(sync, capsys)
    job = Job.all_objects.filter(sync=sync).latest("pk")
    assert (code, job.status) == (1, Status.FAILED)
    reason = " ".join(job.reason.split())
    assert reason.count("is the delimiter") <= 1, "said once is enough"
    for part in parts:
        assert part in reason
    assert f"{reason} Nothing was sent to Salesforce." in printed
    assert "✗" in printed and "✓" not in printed
    for noise in ("Traceback", "Error(", "planted", "unexpected"):
        assert noise not in printed
    assert reason in " ".join(JobEvent.all_objects.filter(job=job).latest("pk").text.split())
    assert writing_calls(sandbox) == before
    assert org.count("Account") == records
    return job


@pytest.mark.parametrize("break_it", WRONG, ids=lambda function: function.__name__)
def test_what_cannot_work_is_told_before_anything_is_sent(break_it, known, sandbox, org, capsys):
    parts = break_it(known)
    check_refused(known, sandbox, org, parts, capsys)


def test_with_nothing_wrong_such_a_sync_does_delete(sync, sandbox, org, capsys):
    """Else nothing here could fail."""
    write_csv(sync.organization, "accounts.csv", ROWS[:2])
    before = writing_calls(sandbox)
    assert run_command(sync, capsys)[0] == 0
    assert writing_calls(sandbox) != before
    assert org.count("Account") == 1


def postgres_connection(sync, **changes):
    found = postgres.server()
    values = {
        "host": str(found.get("host", "127.0.0.1")),
        "port": int(found.get("port", 5432)),
        "database": str(found.get("dbname", "test")),
        "user": str(found.get("user", "postgres")),
        "password": str(found.get("password", "")),
        **changes,
    }
    sync.source = make_connection(sync.organization, "postgres", values=values)
    sync.source_path, sync.source_table = "", "public.accounts"
    sync.save()


def test_a_wrong_postgresql_password_is_told_without_the_password(known, sandbox, org, capsys):
    with refusing_postgres() as port:
        postgres_connection(known, host="127.0.0.1", port=port, user="loader", password="planted-wrong")
        parts = [f"127.0.0.1:{port}", "refused the login", 'password authentication failed for user "loader"']
        check_refused(known, sandbox, org, parts, capsys)


@pytest.mark.parametrize(
    ("field", "value", "parts"),
    [
        ("source_table", "no_schema.accounts", ["no_schema.accounts", "does not exist"]),
        ("source_table", "accounts; drop table x", ['"accounts; drop table x" does not exist']),
        ("source_table", "a.b.c.d", ["'a.b.c.d' is not the name of a table"]),
        ("source_query", "SELECT id, name FROM nowhere", ['"nowhere" does not exist', "line 1, character 22"]),
        (
            "source_query",
            "DELETE FROM pg_class RETURNING oid AS id, relname AS name, reltype AS city",
            ["changes data", "only be read"],
        ),
    ],
)
def test_a_wrong_table_or_query_is_told(field, value, parts, known, sandbox, org, capsys):
    with postgres.schema():
        postgres_connection(known)
        known.source_table = ""
        setattr(known, field, value)
        known.save()
        check_refused(known, sandbox, org, parts, capsys)


def test_a_source_that_came_empty_deletes_nothing_and_says_so(sync, org, capsys):
    write_csv(sync.organization, "accounts.csv", ROWS[:1])
    code, printed = run_command(sync, capsys)
    assert code == 0
    assert "withheld 3" in printed
    job = Job.all_objects.latest("pk")
    assert any("came empty, so no record is deleted" in event.text for event in JobEvent.all_objects.filter(job=job))
    assert org.count("Account") == 3


def test_a_connection_that_leads_to_another_salesforce_org_deletes_nothing_there(sync, sandbox, org, capsys):
    write_csv(sync.organization, "accounts.csv", ROWS[:2])
    first_org = sandbox.state()["org_id"]
    with SandboxProcess(https=False, org_id="00D000000000002EAA") as other:
        sync.destination.set_values(sandbox_values(other))
        sync.destination.save()
        assert other.state()["org_id"] != first_org
        parts = [first_org, other.state()["org_id"], "nothing deleted", "--full-resync"]
        check_refused(sync, sandbox, org, parts, capsys)
        assert writing_calls(other) == {}

        # The way out that the message names: everything anew, and still no delete.
        job = run(sync, full_resync=True)
        assert (job.status, job.counts["inserted"], job.counts["dropped"]["deleted"]) == (Status.SUCCEEDED, 1, 0)
        assert other.state()["objects"]["Account"]["live"] == 1
        assert org.count("Account") == 3


def test_a_plan_made_for_one_salesforce_org_is_not_carried_out_in_another(sync, sandbox, org):
    sync.guard_rows = 0
    sync.save()
    write_csv(sync.organization, "accounts.csv", ROWS[:2])
    job = run(sync)
    assert job.status == Status.WAITING_APPROVAL
    with SandboxProcess(https=False, org_id="00D000000000002EAA") as other:
        sync.destination.set_values(sandbox_values(other))
        sync.destination.save()
        with pytest.raises(CommandError, match="The settings of the connection '.*' were changed since this plan"):
            call_command("approve_job", str(job.pk))
        assert writing_calls(other) == {}
    assert org.count("Account") == 3


# --- as an administrator sees it: the command in a shell ---


def shell(*arguments):
    """Run `manage.py` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=django_settings.BASE_DIR,
        env=worker_environment(SFSYNC_TICK_SECONDS="0.05"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


def test_run_sync_ends_with_a_code_for_each_way_a_job_can_end(sync, org):
    write_csv(sync.organization, "accounts.csv", [*ROWS, ["A4", "Dome", "Trier"]])
    clean = shell("run_sync", sync.name)
    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert "Succeeded" in clean.stdout

    write_csv(sync.organization, "accounts.csv", [*ROWS, ["A4", "Dome", "x" * 41]])
    with_errors = shell("run_sync", sync.name)
    assert with_errors.returncode == 2
    assert "Max Length Violation" in with_errors.stdout and "row 4" in with_errors.stdout

    sync.guard_rows = 0
    sync.save()
    write_csv(sync.organization, "accounts.csv", ROWS)
    waits = shell("run_sync", sync.name)
    job = Job.all_objects.latest("pk")
    assert waits.returncode == 3
    assert f"manage.py approve_job {job.pk}" in " ".join(waits.stdout.split())

    second = shell("run_sync", sync.name)
    assert second.returncode == 1
    assert f"already has a job: job {job.pk}, waiting for approval since" in second.stderr
    assert f"cancel_job {job.pk}" in second.stderr
    assert Job.all_objects.latest("pk") == job

    call_command("reject_job", str(job.pk))
    sync.source_path = "gone.csv"
    sync.save()
    failed = shell("run_sync", sync.name)
    assert failed.returncode == 1
    assert "There is no file 'gone.csv'" in failed.stdout and "Nothing was sent" in failed.stdout
    # The outcome is told once, and not among lines of a log.
    assert failed.stderr == clean.stderr == ""
    assert org.count("Account") == 4


def test_a_name_that_no_sync_has_is_told_with_those_there_are(sandbox):
    make(sandbox)
    with pytest.raises(CommandError) as refused:
        call_command("run_sync", "Acounts")
    assert str(refused.value) == "There is no sync 'Acounts'. Syncs: Accounts."


def test_a_second_job_on_a_running_sync_is_refused_by_its_number(sandbox):
    sync = make(sandbox)
    job = start_job(sync, by=anybody(sync), wake=False)
    with pytest.raises(CommandError) as refused:
        call_command("run_sync", sync.name)
    assert f"The sync 'Accounts' already has a job: job {job.pk}, queued since" in str(refused.value)
    assert f"cancel it with `cancel_job {job.pk}`" in str(refused.value)
    assert writing_calls(sandbox) == {}
