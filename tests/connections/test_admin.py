"""Connections in the admin, as a browser without JavaScript uses them."""

import socket
import threading

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connections import kinds
from connections.models import Connection, ConnectionCheck
from orgs.access import hand_to
from orgs.models import AuditEvent, Grant, Membership, Role, Team
from tests.factories import SALESFORCE_VALUES, make_connection, make_member, make_organization, make_sync
from tests.jobs.scenario import sandbox_values, write_csv

pytestmark = pytest.mark.django_db

LIST = "/admin/connections/connection/"
ADD = f"{LIST}add/?kind=salesforce"
SECRETS = ("client_secret", "password", "security_token")


def page(connection, rest="change/"):
    return f"{LIST}{connection.pk}/{rest}"


NO_GRANTS = {f"orgs-grant-content_type-object_id-{name}_FORMS": "0" for name in ("TOTAL", "INITIAL")}


def form(values, **more):
    return {"name": "Production", **NO_GRANTS, **{f"setting_{name}": value for name, value in values.items()}, **more}


def kept(connection):
    """The form of a stored connection as a browser sends it: without secrets."""
    defaults = {name: value for name, value in kinds.defaults(connection.kind).items() if name not in SECRETS}
    return form({**defaults, **connection.settings}, name=connection.name)


def as_member(client, connection, role=Role.MEMBER, **permissions):
    """Log in somebody whose team holds these permissions on the connection."""
    user = make_member(connection.organization, "bob", role)
    team = Team.all_objects.create(organization=connection.organization, name="Loaders")
    team.members.add(Membership.all_objects.get(user=user))
    if permissions:
        hand_to(team, connection)
        none = dict.fromkeys(("read", "write", "execute", "approve", "admin"), False)
        Grant.all_objects.update(**{**none, **permissions})
    client.force_login(user)


@pytest.fixture
def alpha():
    return make_organization()


@pytest.fixture
def salesforce(alpha):
    return make_connection(alpha, "salesforce")


@pytest.fixture
def files(alpha):
    return make_connection(alpha)


# --- the form ---


def test_adding_begins_with_the_choice_of_a_kind(admin_client, alpha):
    text = admin_client.get(f"{LIST}add/").content.decode()
    for kind, label in kinds.choices():
        assert f"?kind={kind}" in text and label in text


def test_a_window_that_another_form_opened_stays_one_when_the_kind_is_chosen(admin_client, alpha):
    text = admin_client.get(f"{LIST}add/?_to_field=id&_popup=1").content.decode()
    assert "?_to_field=id&amp;_popup=1&amp;kind=postgres" in text
    values = {"delimiter": ",", "quote": "", "encoding": "utf-8", "header_rows": "1", "null_token": ""}
    popup = f"{LIST}add/?_to_field=id&_popup=1&kind=delimited_file"
    answer = admin_client.post(popup, form(values, name="Files", _popup="1", _to_field="id"))
    assert answer.status_code == 200 and "popup_response" in answer.content.decode()


def test_secrets_that_are_entered_are_encrypted_on_save(admin_client, alpha):
    answer = admin_client.post(ADD, form({**SALESFORCE_VALUES, "flow": "password", "api_version": "62.0"}))
    connection = Connection.all_objects.get()
    assert answer.status_code == 302 and answer.url == page(connection)
    assert connection.organization == alpha
    assert "password" not in connection.settings
    assert connection.secrets["password"] == "planted-password"
    with database.cursor() as cursor:
        cursor.execute("SELECT * FROM connections_connection")
        assert "planted" not in str(
            [bytes(cell) if isinstance(cell, memoryview) else cell for cell in cursor.fetchone()]
        )
    assert "planted" not in str(list(AuditEvent.all_objects.values()))


def test_a_saved_secret_is_not_shown_again_and_stays_when_nothing_is_entered(admin_client, salesforce):
    shown = admin_client.get(page(salesforce)).content.decode()
    assert "planted" not in shown and "leave blank to keep it" in shown
    answer = admin_client.post(page(salesforce), {**kept(salesforce), "setting_username": "other@example.com"})
    assert answer.status_code == 302
    after = Connection.all_objects.get()
    assert after.settings["username"] == "other@example.com"
    assert after.secrets == salesforce.secrets
    assert after.settings_version == salesforce.settings_version + 1


def test_an_optional_secret_can_be_forgotten(admin_client, salesforce):
    admin_client.post(page(salesforce), {**kept(salesforce), "clear_security_token": "on"})
    assert Connection.all_objects.get().all_settings()["security_token"] == ""
    assert "clear_security_token" not in admin_client.get(page(salesforce)).content.decode()


def test_a_new_name_is_no_new_version_of_the_settings(admin_client, salesforce):
    assert admin_client.post(page(salesforce), {**kept(salesforce), "name": "Renamed"}).status_code == 302
    after = Connection.all_objects.get()
    assert (after.name, after.settings_version) == ("Renamed", salesforce.settings_version)


@pytest.mark.parametrize(
    ("change", "at", "said"),
    [
        ({"auth_url": "http://example.com"}, "auth_url", "plain http"),
        ({"api_version": "new"}, "api_version", "is not of the form"),
        ({"flow": "client_credentials", "client_id": ""}, "client_id", "required"),
        ({"username": ""}, "flow", "needs a username"),
    ],
)
def test_a_wrong_setting_is_told_at_its_field(admin_client, alpha, change, at, said):
    values = {**SALESFORCE_VALUES, "flow": "password", "api_version": "62.0", **change}
    errors = admin_client.post(ADD, form(values)).context["adminform"].form.errors
    assert list(errors) == [f"setting_{at}"]
    assert said in str(errors)
    assert not Connection.all_objects.exists()


def test_two_connections_of_one_name_are_refused_and_those_of_two_organizations_are_not(admin_client, files):
    make_connection(make_organization("beta"), name="Theirs")
    values = {"delimiter": "\t", "quote": "", "encoding": "utf-8", "header_rows": "1", "null_token": ""}
    add = f"{LIST}add/?kind=delimited_file"
    assert "already exists" in admin_client.post(add, form(values, name=files.name)).content.decode()
    assert admin_client.post(add, form(values, name="Theirs")).status_code == 302
    assert Connection.all_objects.get(name="Theirs", organization=files.organization).settings["delimiter"] == "\t"


def test_who_changes_the_address_enters_the_secrets_again_and_nothing_is_sent_before(admin_client, salesforce):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        moved = {**kept(salesforce), "setting_auth_url": f"http://127.0.0.1:{listening.getsockname()[1]}"}
        errors = admin_client.post(page(salesforce), moved).context["adminform"].form.errors
        assert set(errors) == {"setting_auth_url", *(f"setting_{name}" for name in SECRETS)}
        with pytest.raises(TimeoutError):
            listening.accept()
    assert Connection.all_objects.get().settings == salesforce.settings
    again = {**moved, **{f"setting_{name}": f"new-{name}" for name in SECRETS}}
    assert admin_client.post(page(salesforce), again).status_code == 302
    assert Connection.all_objects.get().secrets["password"] == "new-password"


def test_secrets_that_no_key_opens_break_neither_the_list_nor_the_page(admin_client, salesforce, settings):
    from cryptography.fernet import Fernet

    settings.SFSYNC_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert admin_client.get(LIST).status_code == 200
    told = admin_client.get(page(salesforce), follow=True).content.decode()
    assert "encrypted with a key that is not in SFSYNC_ENCRYPTION_KEYS" in told
    told = admin_client.post(page(salesforce, "check/"), follow=True).content.decode()
    assert "encrypted with a key that is not in SFSYNC_ENCRYPTION_KEYS" in told


def test_a_connection_in_use_is_not_deleted_and_the_sync_is_named(admin_client, salesforce, files):
    make_sync(salesforce.organization, source=files, destination=salesforce, name="Weekly accounts")
    for answer in (
        admin_client.get(page(files, "delete/")),
        admin_client.post(page(files, "delete/"), {"post": "yes"}),
    ):
        assert "sync &#x27;Weekly accounts&#x27;" in answer.content.decode()
    assert Connection.all_objects.filter(pk=files.pk).exists()


def test_an_unused_connection_is_deleted_with_its_tests_and_that_is_on_record(admin_client, files):
    hand_to(Team.all_objects.create(organization=files.organization, name="Loaders"), files)
    admin_client.post(page(files, "check/"))
    asked = admin_client.get(page(files, "delete/")).content.decode()
    assert "with its settings, its secrets and its tests?" in asked
    assert admin_client.post(page(files, "delete/"), {"post": "yes"}).status_code == 302
    assert not any(model.all_objects.exists() for model in (Connection, ConnectionCheck, Grant))
    assert [event.action for event in AuditEvent.all_objects.all()] == ["deleted", "tested"]


# --- tests of a connection ---


def test_a_test_of_a_connection_tells_what_was_found(admin_client, alpha, sandbox):
    connection = make_connection(alpha, "salesforce", values=sandbox_values(sandbox))
    text = admin_client.post(page(connection, "check/"), follow=True).content.decode()
    for told in ("Connection successful", "Sandy Box", "sandbox", "62.0", "API requests left", "Clock skew"):
        assert told in text
    check = ConnectionCheck.all_objects.get()
    assert check.ok and sandbox.client_secret not in check.log
    assert [line.split("UTC  ")[1].split(" (")[0] for line in check.log.splitlines()] == [
        "secrets",
        "settings",
        "login",
        "API version",
        "limits",
        "organization",
        "user",
    ]
    assert Connection.all_objects.get().salesforce_org_id.startswith("00D")
    assert AuditEvent.all_objects.get().action == "tested"
    assert "62.0" in admin_client.get(page(connection, f"checks/{check.pk}/")).content.decode()


def test_htmx_gets_the_panel_alone(admin_client, files):
    write_csv(files.organization, "accounts.csv", [["id"], ["1"]])
    text = admin_client.post(page(files, "check/"), headers={"HX-Request": "true"}).content.decode()
    assert text.startswith('<section id="check"') and "Connection successful" in text and "<html" not in text


@pytest.mark.parametrize(
    ("values", "step", "why", "way_out"),
    [
        ({"password": "planted-wrong"}, "login", "invalid_grant", "the password or the security token is wrong"),
        ({"client_secret": "planted-wrong"}, "login", "invalid_client", "consumer secret"),
        ({"auth_url": "http://127.0.0.1:9"}, "login", "cannot be reached", "Check the host"),
        ({"api_version": "99.0"}, "API version", "has no API version 99.0", "Set that one"),
        ({"ca_file": "/nowhere.pem"}, "settings", "cannot be used", "Correct what is named"),
    ],
)
def test_a_failed_test_says_where_why_and_what_to_do(admin_client, alpha, sandbox, values, step, why, way_out):
    connection = make_connection(alpha, "salesforce", values={**sandbox_values(sandbox), **values})
    text = admin_client.post(page(connection, "check/"), follow=True).content.decode()
    check = ConnectionCheck.all_objects.get()
    assert "Connection failed" in text and "Log of this test" in text
    assert (check.ok, check.failed_step) == (False, step)
    assert why in check.reason and way_out in check.way_out
    assert "failed: " in check.log.splitlines()[-1]
    assert "planted" not in text + check.log + check.reason


def test_an_address_that_the_installation_forbids_is_a_failed_test(admin_client, salesforce, settings):
    settings.SFSYNC_ADDRESS_POLICY = "tests.connections.test_admin.forbid"
    assert "not from here" in admin_client.post(page(salesforce, "check/"), follow=True).content.decode()


def forbid(host, port):
    from connections.addresses import AddressRefused

    raise AddressRefused(f"{host}: not from here")


def test_a_server_that_repeats_a_secret_does_not_bring_it_into_the_log(admin_client, alpha):
    said = b'{"error": "invalid_client", "error_description": "no app with planted-client-secret"}'
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            client, _ = listening.accept()
            with client:
                client.recv(65536)
                head = f"HTTP/1.1 400 Bad\r\nContent-Length: {len(said)}\r\nContent-Type: application/json\r\n\r\n"
                client.sendall(head.encode() + said)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        values = {**SALESFORCE_VALUES, "auth_url": f"http://127.0.0.1:{listening.getsockname()[1]}"}
        connection = make_connection(alpha, "salesforce", values=values)
        text = admin_client.post(page(connection, "check/"), follow=True).content.decode()
        thread.join(5)
    assert "no app with ***" in text
    assert "planted" not in text + str(list(ConnectionCheck.all_objects.values()))


def test_only_the_last_tests_are_kept(admin_client, files):
    old = {"organization": files.organization, "connection": files, "settings_version": 1, "ok": True}
    ConnectionCheck.all_objects.bulk_create(ConnectionCheck(**old, started_at=timezone.now()) for _ in range(60))
    admin_client.post(page(files, "check/"))
    assert ConnectionCheck.all_objects.count() == 50
    assert not ConnectionCheck.all_objects.latest("pk").ok


# --- what there is ---


def test_objects_and_fields_are_listed_and_searched_and_kept(admin_client, alpha, sandbox):
    connection = make_connection(alpha, "salesforce", values=sandbox_values(sandbox))
    text = admin_client.get(page(connection, "objects/")).content.decode()
    assert "Airport__c" in text and "RecordType" not in text
    assert "RecordType" in admin_client.get(page(connection, "objects/?all=1&q=record")).content.decode()
    fields = admin_client.get(page(connection, "objects/Account/?q=external")).content.decode()
    assert "External_Id__c" in fields and "string (80)" in fields and "NaicsCode" not in fields
    asked = len(sandbox.requests()["requests"])
    admin_client.get(page(connection, "objects/Account/"))
    assert len(sandbox.requests()["requests"]) == asked
    assert admin_client.post(page(connection, "objects/Account/")).status_code == 302
    assert len(sandbox.requests()["requests"]) == asked + 1
    missing = admin_client.get(page(connection, "objects/Nothing__c/")).content.decode()
    assert "Salesforce has no object" in missing


def test_files_are_listed_with_their_columns(admin_client, files):
    write_csv(files.organization, "accounts.csv", [["id", "last name"], ["1", "x"]])
    assert "<code>last name</code>" in admin_client.get(page(files, "tables/")).content.decode()


# --- files ---


def upload(client, connection, name, content=b"id\n1\n", **more):
    return client.post(
        page(connection, "files/"), {"file": SimpleUploadedFile(name, content), **more}, follow=True
    ).content.decode()


def test_a_file_is_uploaded_listed_and_deleted(admin_client, files):
    folder = kinds.files_folder(files.organization)
    assert "was uploaded" in upload(admin_client, files, "Köln accounts.csv")
    assert (folder / "Köln accounts.csv").read_bytes() == b"id\n1\n"
    assert "Köln accounts.csv" in admin_client.get(page(files, "tables/")).content.decode()
    asked = admin_client.post(page(files, "files/delete/"), {"path": "Köln accounts.csv"})
    assert "Yes, delete it" in asked.content.decode() and (folder / "Köln accounts.csv").exists()
    admin_client.post(page(files, "files/delete/"), {"path": "Köln accounts.csv", "confirmed": "1"})
    assert list(folder.iterdir()) == []
    assert [event.action for event in AuditEvent.all_objects.all()] == [
        "deleted Köln accounts.csv",
        "uploaded Köln accounts.csv",
    ]


def test_a_file_is_replaced_only_when_that_was_asked_for(admin_client, files):
    upload(admin_client, files, "accounts.csv")
    assert "There is a file" in upload(admin_client, files, "accounts.csv", b"new")
    assert "was uploaded" in upload(admin_client, files, "accounts.csv", b"newer", replace="1")
    assert [path.read_bytes() for path in kinds.files_folder(files.organization).iterdir()] == [b"newer"]


def test_nothing_is_deleted_by_a_path_that_leads_elsewhere(admin_client, files):
    write_csv(make_organization("beta"), "theirs.csv", [["id"]])
    for path in ("../beta/theirs.csv", "/etc/hosts", "", "."):
        answer = admin_client.post(page(files, "files/delete/"), {"path": path, "confirmed": "1"}, follow=True)
        assert "There is no file" in answer.content.decode()


# --- who may ---


def test_who_may_only_read_sees_the_settings_and_can_do_nothing(client, salesforce):
    as_member(client, salesforce, read=True)
    text = client.get(page(salesforce)).content.decode()
    assert "Auth URL: https://login.salesforce.com" in text and "Password: stored" in text
    assert "planted" not in text and "Test connection" not in text and '<input type="password"' not in text
    assert client.post(page(salesforce), kept(salesforce)).status_code == 403
    for rest in ("check/", "objects/", "objects/Account/"):
        told = client.post(page(salesforce, rest), follow=True).content.decode()
        assert "needs the permission &#x27;execute&#x27;" in told
    assert not ConnectionCheck.all_objects.exists()


def test_a_viewer_reads_whatever_its_team_may_do(client, files):
    as_member(client, files, Role.VIEWER, admin=True)
    text = client.get(page(files)).content.decode()
    assert "Upload" not in text and "Test connection" not in text
    assert "needs the permission" in upload(client, files, "accounts.csv")
    assert list(kinds.files_folder(files.organization).iterdir()) == []


@pytest.mark.parametrize("grants", [{}, {"write": True}])
def test_what_one_may_not_read_answers_as_what_never_existed(client, salesforce, grants):
    foreign = make_connection(make_organization("beta"), "salesforce")
    check = ConnectionCheck.all_objects.create(
        organization=foreign.organization, connection=foreign, settings_version=1, ok=True, started_at=timezone.now()
    )
    as_member(client, salesforce, **grants)
    gets = ("change/", f"checks/{check.pk}/", "objects/", "objects/Account/", "tables/", "delete/", "history/")
    posts = ("check/", "objects/", "tables/", "files/", "files/delete/")
    for send, pages in ((client.get, gets), (client.post, posts)):
        for rest in pages:
            told = {send(f"{LIST}{pk}/{rest}").headers.get("Location") for pk in (salesforce.pk, foreign.pk, 999999)}
            assert told == {"/admin/"}, rest
    assert ConnectionCheck.all_objects.count() == 1


def test_a_test_of_another_connection_is_not_shown_on_this_ones_page(admin_client, files, salesforce):
    check = ConnectionCheck.all_objects.create(
        organization=files.organization, connection=files, settings_version=1, ok=True, started_at=timezone.now()
    )
    assert admin_client.get(page(salesforce, f"checks/{check.pk}/")).status_code == 302


def test_who_makes_a_connection_for_a_team_may_do_everything_with_it(client, files):
    as_member(client, files)
    team = Team.all_objects.get()
    values = {"delimiter": ",", "quote": '"', "encoding": "utf-8", "header_rows": "1", "null_token": ""}
    answer = client.post(f"{LIST}add/?kind=delimited_file", form(values, name="Ours", for_team=team.pk))
    assert answer.status_code == 302
    assert "Test connection" in client.get(answer.url).content.decode()


def test_the_list_takes_as_many_queries_for_a_thousand_connections_as_for_ten(admin_client, alpha):
    def add(start, end):
        rows = [
            Connection(organization=alpha, kind="delimited_file", name=f"c{n}", secrets={}) for n in range(start, end)
        ]
        Connection.all_objects.bulk_create(rows)
        ConnectionCheck.all_objects.bulk_create(
            ConnectionCheck(organization=alpha, connection=row, settings_version=1, ok=False, started_at=timezone.now())
            for row in rows
        )

    counts = []
    for start, end in ((0, 10), (10, 1000)):
        add(start, end)
        admin_client.get(LIST)
        with CaptureQueriesContext(database) as queries:
            assert "failed" in admin_client.get(LIST).content.decode()
        counts.append(len(queries))
    assert counts[0] == counts[1]
