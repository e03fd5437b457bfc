"""Plants thirty secrets, goes through the whole house, and looks for them in everything that it wrote or answered."""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import re
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.test import Client
from django.urls import reverse

from connections.models import Connection, ConnectionCheck
from jobs.foreground import VERBS
from jobs.models import Job, Status
from jobs.sweep import claim_due
from orgs.models import Membership, Role
from sfsync.logs import formatter
from tests.factories import make_member, make_organization, make_sync
from tests.jobs.scenario import KEYED, people, write_csv
from tests.permissions.routes import all_routes
from tests.sandbox_process import SandboxProcess

# Any escaping changes some of it; the beginning stays as it is in all but base64.
SECRET = "pl4nted{:02}-<\"&'\\>%+é-end"
# Stands in names and descriptions, where it has to be found: it shows that the search finds, and that it looks there.
MARKER = "m4rker-<\"&'\\>%+é-end"


# --- the search ---


def spellings(text: str) -> set[str]:
    """How a text may stand in a page, a log, a file or an address."""
    raw = text.encode()
    coded = [base64.b64encode(b"x" * shift + raw + b"x" * tail).decode() for shift in range(3) for tail in range(3)]
    # Without the ends, which depend on what stands beside it.
    inner = {part[4:-4] for part in coded}
    return {
        text,
        html.escape(text),
        html.escape(text).replace("&#x27;", "&#39;"),
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
        quote(text),
        quote(text, safe=""),
        quote_plus(text),
        raw.hex(),
        *inner,
        *(part.replace("+", "-").replace("/", "_") for part in inner),
    }


class Search:
    def __init__(self, texts: list[str]) -> None:
        of = {spelling: text for text in texts for spelling in {*spellings(text), text.partition("-<")[0]}}
        self._of = {spelling.encode(): text for spelling, text in of.items()}
        self._any = re.compile(b"|".join(re.escape(each) for each in sorted(self._of, key=len, reverse=True)))

    def found(self, data: bytes) -> set[str]:
        return {self._of[match] for match in self._any.findall(data)}


@pytest.mark.parametrize("spelled", sorted(spellings(SECRET.format(1))))
def test_the_search_finds_a_secret_however_it_is_written(spelled):
    search = Search([SECRET.format(1), SECRET.format(2)])
    assert search.found(f"before {spelled} behind".encode()) == {SECRET.format(1)}


def test_the_search_finds_what_is_coded_within_a_longer_text():
    search = Search([SECRET.format(1)])
    for before in ("", "a", "ab", "abc"):
        coded = base64.b64encode(f"{before}{SECRET.format(1)}:behind".encode())
        assert search.found(coded) == {SECRET.format(1)}
    assert not search.found(b"nothing that was planted")


# --- what was written and answered ---


class Evidence:
    """What there is to look through: place -> what it is, and its bytes."""

    def __init__(self) -> None:
        self.places: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self.secrets: list[str] = []
        # What one answer is there to show.
        self.shown_once: dict[str, str] = {}

    def plant(self) -> str:
        self.secrets.append(SECRET.format(len(self.secrets)))
        return self.secrets[-1]

    def add(self, place: str, what: str, data: bytes | str) -> None:
        self.places[place].append((what, data.encode() if isinstance(data, str) else data))

    def leaks(self) -> list[str]:
        search = Search(self.secrets)
        return [
            f"{place}, {what}: {secret}"
            for place, pieces in self.places.items()
            for what, data in pieces
            for secret in search.found(data)
            if self.shown_once.get(secret) != what
        ]

    def without(self, marker: str) -> set[str]:
        """The places in which the marker does not stand."""
        search = Search([marker])
        return {place for place, pieces in self.places.items() if not any(search.found(data) for _, data in pieces)}


class Visitor:
    """Somebody with a browser or an API token; whatever it is answered is kept."""

    def __init__(self, evidence: Evidence, name: str, **options) -> None:
        self.evidence, self.name = evidence, name
        self.client = Client(raise_request_exception=False, **options)

    def ask(self, method: str, address: str, data=None):
        api = address.startswith("/api/")
        more = {"content_type": "application/json"} if api and data is not None else {}
        answer = (
            getattr(self.client, method)(address, data or {}, **more)
            if data is not None or method != "get"
            else (self.client.get(address))
        )
        body = b"".join(getattr(answer, "streaming_content", ())) if answer.streaming else answer.content
        place = "API answers" if api else "audit" if "auditevent" in address else "admin pages"
        place = "history" if address.endswith("/history/") else place
        self.evidence.add(place, f"{method} {address} as {self.name}", body)
        cookies = {name: each.value for name, each in answer.cookies.items() if name not in ("sessionid", "csrftoken")}
        self.evidence.add(place, f"headers of {method} {address}", f"{answer.headers} {cookies}")
        return answer


@contextmanager
def all_logs() -> Iterator[dict[str, io.StringIO]]:
    """Everything that any logger says, in both formats; but not what Django tells of each blank in a template."""
    streams = {style: io.StringIO() for style in ("plain", "json")}
    loggers = [logging.getLogger(name) for name in ("", "sfsync", "django")]
    templates = logging.getLogger("django.template")
    before = [(logger, logger.level) for logger in (*loggers, templates)]
    handlers = []
    for style, stream in streams.items():
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter(style))
        handlers.append(handler)
    try:
        for logger in loggers:
            logger.setLevel(logging.DEBUG)
            for handler in handlers:
                logger.addHandler(handler)
        templates.setLevel(logging.INFO)
        yield streams
    finally:
        for logger, level in before:
            logger.setLevel(level)
            for handler in handlers:
                logger.removeHandler(handler)


class Echo(BaseHTTPRequestHandler):
    """A server that answers a login with an error, and everything it was sent."""

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        said = json.dumps({"error": "invalid_client", "error_description": f"{MARKER} {sent} {self.headers}"}).encode()
        self.send_response(400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def nowhere() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


# --- the walk ---

LIST = "/admin/connections/connection/"
API = "/api/v1/connections/"
NO_GRANTS = {f"orgs-grant-content_type-object_id-{name}_FORMS": "0" for name in ("TOTAL", "INITIAL")}


def form(name, values, **more):
    settings = {f"setting_{key}": value for key, value in values.items()}
    return {"name": name, "description": f"About {MARKER}", **NO_GRANTS, **settings, **more}


def salesforce(evidence, auth_url, **more):
    values = {"auth_url": auth_url, "client_id": "app", "username": "loader@example.com", "flow": "password"}
    secrets = {name: evidence.plant() for name in ("client_secret", "password", "security_token")}
    return {**values, "api_version": "62.0", **secrets, **more}


def postgres(evidence, **more):
    values = {"host": "127.0.0.1", "port": nowhere(), "database": "db", "user": "reader", "sslmode": "prefer"}
    return {**values, "time_limit": 5, "password": evidence.plant(), **more}


def without_secrets(values):
    return {
        name: value for name, value in values.items() if name not in ("client_secret", "password", "security_token")
    }


def named(name) -> Connection:
    found: Connection = Connection.all_objects.get(name=name)
    return found


def by_forms(owner, evidence, good, echo):
    """Connections by the admin's forms: made, refused, changed, moved."""
    add = f"{LIST}add/?kind="
    assert owner.ask("post", f"{add}salesforce", form("Good", good)).status_code == 302
    assert owner.ask("post", f"{add}salesforce", form("Echo", salesforce(evidence, echo))).status_code == 302
    table = postgres(evidence)
    assert owner.ask("post", f"{add}postgres", form("Tables", table)).status_code == 302
    # What is wrong stands beside secrets that are right.
    wrong = form("", salesforce(evidence, echo, flow="no flow"))
    assert owner.ask("post", f"{add}salesforce", wrong).status_code == 200
    answer = owner.ask("post", f"{add}postgres", form("Tables", postgres(evidence, port="many")))
    assert answer.status_code == 200
    page = f"{LIST}{named('Echo').pk}/change/"
    moved = {**without_secrets(good), "auth_url": "https://moved.example.com"}
    assert "must enter them again" in owner.ask("post", page, form("Echo", moved)).text
    page = f"{LIST}{named('Tables').pk}/change/"
    assert owner.ask("post", page, form("Tables", {**table, "password": evidence.plant()})).status_code == 302


def by_api(owner, evidence, sandbox, echo):
    """The same by the API."""
    refused = salesforce(evidence, sandbox.http_url, client_id=sandbox.client_id)
    body = {"name": "Refused", "kind": "salesforce", "description": f"About {MARKER}", "settings": refused}
    assert owner.ask("post", API, body).status_code == 201
    wrong = salesforce(evidence, echo, api_version=62)
    assert owner.ask("post", API, {**body, "name": "Wrong", "settings": wrong}).status_code == 400
    assert owner.ask("post", API, {**body, "settings": {**refused, "password": [evidence.plant()]}}).status_code == 400
    page = f"{API}{named('Refused').pk}/"
    moved = {**without_secrets(refused), "auth_url": "https://moved.example.com"}
    assert owner.ask("patch", page, {"settings": moved}).status_code == 400
    assert owner.ask("patch", page, {"settings": {**refused, "password": evidence.plant()}}).status_code == 200
    body = {"name": "More tables", "kind": "postgres", "settings": postgres(evidence)}
    assert owner.ask("post", API, body).status_code == 201


def logins(owner, superuser, evidence):
    """People by the superuser's forms, a changed password, and wrong ones."""
    password = evidence.plant()
    new = {"username": "newcomer", "password1": password, "password2": password, "usable_password": "true"}
    assert superuser.ask("post", reverse("admin:auth_user_add"), new).status_code == 302
    unlike = {**new, "username": "other", "password1": password, "password2": evidence.plant()}
    assert superuser.ask("post", reverse("admin:auth_user_add"), unlike).status_code == 200
    stranger = Visitor(evidence, "stranger")
    wrong = {"username": "newcomer", "password": evidence.plant(), "next": "/admin/"}
    assert stranger.ask("post", "/admin/login/", wrong).status_code == 200
    old, changed = evidence.plant(), evidence.plant()
    user = User.objects.get(username="alice")
    user.set_password(old)
    user.save()
    owner.client.logout()
    assert owner.ask("post", "/admin/login/", {"username": "alice", "password": old}).status_code == 302
    change = {"old_password": old, "new_password1": changed, "new_password2": changed}
    assert owner.ask("post", "/admin/password_change/", change).status_code == 302


def make_token(owner, evidence):
    """An API token by the admin's form; its text is shown by that answer and must be nowhere else."""
    add = reverse("admin:orgs_apitoken_add")
    answer = owner.ask("post", add, {"name": f"Token {MARKER}", "permissions": ["read", "execute"], "days": "7"})
    [text] = re.findall(r"sfs_[0-9a-f]{12}_[\w-]{43}", answer.text)[:1]
    secret = text.split("_", 2)[2]
    evidence.secrets.append(secret)
    evidence.shown_once[secret] = f"post {add} as {owner.name}"
    return text


def run_jobs(owner, evidence, organization):
    """A job that succeeds, with refused rows; one that fails at the login; one whose source does not answer."""
    write_csv(organization, "people.csv", [*people(20), ["P9", "x" * 300, MARKER, "Buyer"]])
    shared: dict[str, Any] = {"object": "Contact", "source_path": "people.csv", "mappings": KEYED}
    files = Connection(organization=organization, kind="delimited_file", name="Files", description=MARKER)
    files.set_values({})
    files.save()
    outcomes = {}
    for name, source, destination in (
        (f"Good {MARKER}", "Files", "Good"),
        (f"Refused {MARKER}", "Files", "Refused"),
        (f"Echo {MARKER}", "Files", "Echo"),
        (f"Tables {MARKER}", "Tables", "Good"),
    ):
        changes = {"source_path": "", "source_table": "people"} if source == "Tables" else {}
        sync = make_sync(
            organization, name=name, source=named(source), destination=named(destination), **shared | changes
        )
        owner.ask("post", f"/api/v1/syncs/{sync.pk}/run/", {})
        job = Job.all_objects.latest("pk")
        if source == "Tables":
            # It would be tried again and again.
            for task, pk in claim_due(job):
                VERBS[task](pk)
        owner.ask("post", f"/api/v1/jobs/{job.pk}/cancel/", {})
        if source == "Files":
            command(evidence, "run_sync", name)
            job = Job.all_objects.latest("pk")
            outcomes[source, destination] = job.status
        command(evidence, "show_job", str(job.pk))
    return outcomes


def command(evidence, name, *arguments):
    """Its output, and its errors."""
    told = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", told)
        patch.setattr("sys.stderr", told)
        try:
            call_command(name, *arguments, stdout=told, stderr=told)
        except (CommandError, SystemExit) as error:
            told.write(str(error))
    evidence.add("commands", f"{name} {' '.join(arguments)}", told.getvalue())


def rows_of(route) -> list[dict[str, object]]:
    """What to put into the address of a route, for each row there is."""
    if not route.of_one_row:
        return [{}]
    if route.is_api:
        singular = route.name.split("-")[1].rstrip("s")
        model = {"member": Membership}.get(singular) or next(
            each for each in apps.get_models() if each._meta.model_name == singular
        )
    else:
        model = apps.get_model(*route.pattern.split("/")[1:3])
    rows = getattr(model, "all_objects", model._default_manager).values_list("pk", flat=True)
    checks = dict(ConnectionCheck.all_objects.values_list("connection", "pk"))
    found = []
    for pk in rows:
        values = {"name": "Contact", "object": "Contact", "row": 21, "app_label": "syncs", "url": "nothing"}
        values |= {"check": checks.get(pk, 0), "check_id": checks.get(pk, 0)}
        found.append({param: values.get(param, pk) for param in route.params})
    return found


def walk(visitor) -> int:
    """Read every page of the admin and every address of the API, of every row. Returns how many were answered."""
    answered = 0
    for route in all_routes():
        if route.name in ("admin:logout", "api-schema") or "GET" not in route.methods or route.name == route.pattern:
            continue
        for values in rows_of(route):
            values = values or {param: {"app_label": "syncs"}.get(param, "1") for param in route.params}
            answer = visitor.ask("get", reverse(route.name, kwargs=values))
            answered += answer.status_code == 200
    for address in (f"{LIST}add/?kind={kind}" for kind in ("salesforce", "postgres", "delimited_file")):
        answered += visitor.ask("get", address).status_code == 200
    return answered


def the_disk(evidence, settings):
    """All files of the installation: the database, the jobs' files and logs, what waits for the broker."""
    for path in settings.SFSYNC_DATA.rglob("*"):
        if path.is_file():
            evidence.add("job logs" if path.name == "job.log" else "files", str(path), path.read_bytes())


def the_tables(evidence):
    with database.cursor() as cursor:
        for table in database.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            for row in cursor.fetchall():
                cells = [bytes(cell) if isinstance(cell, memoryview) else str(cell).encode() for cell in row]
                evidence.add("tables", table, b"\n".join(cells))
    for session in Session.objects.all():
        evidence.add("tables", "sessions, opened", json.dumps(session.get_decoded()))


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_nothing_that_is_written_or_answered_holds_a_secret(echo, settings, monkeypatch):
    settings.SFSYNC_API_RATE = settings.SFSYNC_API_START_RATE = ""
    evidence = Evidence()
    organization = make_organization()
    make_member(organization, "alice", Role.OWNER)
    User.objects.create_superuser("root")
    owner, superuser = Visitor(evidence, "owner"), Visitor(evidence, "superuser")
    owner.client.force_login(User.objects.get(username="alice"))
    superuser.client.force_login(User.objects.get(username="root"))
    good = salesforce(evidence, "")
    known = {name: good[name] for name in ("client_id", "client_secret", "username", "password", "security_token")}
    with SandboxProcess(https=False, **known) as sandbox, all_logs() as logs:
        good["auth_url"] = sandbox.http_url
        by_forms(owner, evidence, good, echo)
        by_api(owner, evidence, sandbox, echo)
        logins(owner, superuser, evidence)
        tokens = [make_token(owner, evidence) for _ in range(3)]
        for connection in Connection.all_objects.all():
            owner.ask("post", f"{LIST}{connection.pk}/check/")
            owner.ask("post", f"{API}{connection.pk}/check/", {})
            for what in ("objects", "objects/Contact", "tables"):
                owner.ask("post", f"{LIST}{connection.pk}/{what}/")
        checks = dict(ConnectionCheck.all_objects.values_list("connection__name", "ok"))
        outcomes = run_jobs(owner, evidence, organization)
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "save", broken)
            changed = form("Good", {**good, "password": evidence.plant()})
            assert owner.ask("post", f"{LIST}{named('Good').pk}/change/", changed).status_code == 500
            body = {"settings": {**good, "client_secret": evidence.plant()}}
            assert owner.ask("patch", f"{API}{named('Good').pk}/", body).status_code == 500
        by_token = Visitor(evidence, "token", headers={"Authorization": f"Bearer {tokens[0]}"})
        assert by_token.ask("get", API).status_code == 200
        broken_token = Visitor(evidence, "wrong token", headers={"Authorization": f"Bearer {tokens[1]}x"})
        assert broken_token.ask("get", API).status_code == 401
        answered = [walk(visitor) for visitor in (owner, superuser)]
        for name in ("dumpdata", "rotate_keys"):
            command(evidence, name)
    the_disk(evidence, settings)
    the_tables(evidence)
    for style, stream in logs.items():
        evidence.add(f"logs, {style}", "the log", stream.getvalue())

    # It did happen.
    assert checks == {"Good": True, "Echo": False, "Refused": False, "Tables": False, "More tables": False}
    assert outcomes["Files", "Good"] == Status.PARTIAL
    assert outcomes["Files", "Refused"] == outcomes["Files", "Echo"] == Status.FAILED
    assert min(answered) > 100
    assert len(set(evidence.secrets)) >= 30
    assert not evidence.without(MARKER)

    assert evidence.leaks() == []
    assert mail.outbox == []


def broken(*args, **options):
    raise RuntimeError(f"The disk is on fire: {MARKER}")
