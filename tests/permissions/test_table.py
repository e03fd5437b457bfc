"""Asks every address of the installation as everybody, and compares the answers with the table."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction

from orgs import access
from orgs.models import Membership, Via
from orgs.tenancy import TenantModel, organization_scope
from tests.permissions.routes import all_routes
from tests.permissions.table import members_of, rows
from tests.permissions.world import FOREIGN, IN_HISTORY, MISSING, OWN, PEOPLE, PLANTED, TOKENS, World, digest, undone

pytestmark = pytest.mark.django_db

ROUTES = {route.name: route for route in all_routes()}
ROWS = rows()

# Where the row is not the one with the plain number: the connections with objects are those to Salesforce.
NEXT = {name for name in ROUTES if re.search(r"connections[_-](connection_)?(objects|fields|count)$", name)}

BODIES: dict[tuple[str, str], Any] = {
    ("admin:choose_organization", "POST"): {"organization": OWN},
    ("admin:connections_connection_upload", "POST"): lambda: {"file": SimpleUploadedFile("new.csv", b"id\n1\n")},
    ("admin:connections_connection_delete_file", "POST"): {"path": "Wonderland.csv"},
    ("api-members-list", "POST"): {"username": "superuser", "role": "viewer"},
    ("api-members-detail", "PATCH"): {"role": "owner"},
    ("api-teams-list", "POST"): {"name": "New"},
    ("api-teams-detail", "PATCH"): {"name": "Renamed"},
    ("api-grants-detail", "PATCH"): {"write": True},
    ("api-connections-list", "POST"): {"name": "New", "kind": "delimited_file", "settings": {}},
    ("api-connections-detail", "PATCH"): {"description": "Changed"},
    ("api-connections-count", "POST"): {"object": "Account", "filter": ""},
    ("api-syncs-detail", "PATCH"): {"description": "Changed"},
    ("admin:jobs_job_test", "POST"): {"row": 1},
    ("api-jobs-test", "POST"): {"row": 1},
    ("admin:jobs_record_history", "GET"): {"key": IN_HISTORY},
    ("api-history-list", "GET"): {"key": IN_HISTORY},
    **{(name, "POST"): {"post": "yes"} for name in ROUTES if name.endswith("_delete")},
}


@pytest.fixture(scope="module")
def _world(django_db_setup, django_db_blocker):
    """One set of rows for all calls: each call is undone."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield World()
        transaction.set_rollback(True)


@pytest.fixture
def world(_world):
    # Files of one test are gone before the next one.
    _world.write_files()
    return _world


def number(route, base):
    return base + 1 if route.name in NEXT else base


def askers(route):
    return [*PEOPLE, *TOKENS, "token-ended"] if route.is_api else PEOPLE


def expected(route, method, who):
    answers = ROWS[route.name, method]
    if who in answers.get("ok", set()):
        return "ok"
    if "no" in answers:  # no method
        return "log in" if who in ("anonymous", "token-ended") and "open" not in answers else "no method"
    if who in ("anonymous", "token-ended"):
        if "open" not in answers:
            return "log in"
        who = "owner"
    return next((answer for answer in ("ok", "refused") if who in answers.get(answer, set())), "not there")


def told(answer):
    """What an answer amounts to."""
    plain = {401: "log in", 403: "refused", 404: "not there", 405: "no method"}
    if answer.status_code in plain:
        return plain[answer.status_code]
    if answer.status_code == 302 and answer.url.startswith("/admin/login/"):
        return "log in"
    said = " ".join(messages_of(answer))
    if "doesn’t exist" in said or "There is no " in said:
        return "not there"
    if "You may not do this" in said or "You are not a member" in said:
        return "refused"
    return "ok" if answer.status_code < 500 else str(answer.status_code)


def messages_of(answer):
    storage = getattr(answer.wsgi_request, "_messages", None)
    return [str(message) for message in getattr(storage, "_queued_messages", [])]


def text_of(answer):
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return content.decode(errors="replace")


def test_every_address_stands_in_the_table():
    wanted = {(route.name, method) for route in ROUTES.values() for method in route.methods}
    assert len(ROUTES) == len(all_routes()), "two addresses have one name"
    assert wanted - ROWS.keys() == set(), "not in the table"
    assert ROWS.keys() - wanted == set(), "in the table, but no address"


@pytest.mark.parametrize(("name", "method"), ROWS, ids=lambda value: value)
def test_everybody_gets_the_answer_of_the_table(world, name, method):
    route = ROUTES[name]
    address, body = route.address(number(route, OWN)), BODIES.get((name, method))
    wrong = {}
    for who in askers(route):
        with undone():
            answer = world.ask(who, method, address, body)
            got = told(answer)
            want = expected(route, method, who)
            # Of what is not there for somebody, no more need be said than that.
            if got != want and (got, want) != ("not there", "no method"):
                wrong[who] = f"{got} ({answer.status_code}), expected {want}"
            if got != "ok" and digest() != world.before:
                wrong[who] = f"{got}, and yet something was changed"
            if got == "ok" and who in ("stranger", *members_of("OURS")) and who != "superuser" and method == "GET":
                planted = PLANTED[OWN if who == "stranger" else FOREIGN]
                if planted in text_of(answer):
                    wrong[who] = f"the page shows '{planted}'"
    assert not wrong


@pytest.mark.parametrize(
    ("name", "method"), [row for row in ROWS if ROUTES[row[0]].of_one_row], ids=lambda value: value
)
def test_a_foreign_row_answers_as_one_that_never_existed(world, name, method):
    route, wrong = ROUTES[name], {}
    insiders = ["superuser", "owner", "reads", "administers", *(["token-admin"] if route.is_api else [])]
    if route.pattern.startswith(("admin/auth/", "admin/orgs/organization/")):
        insiders.remove("superuser")  # to whom nothing is foreign there
    for who in insiders:
        answers = []
        for base in (FOREIGN, MISSING):
            with undone():
                asked = number(route, base)
                answer = world.ask(who, method, route.address(asked), BODIES.get((name, method)))
                answers.append(blanked(answer, asked))
                if told(answer) != "ok" and digest() != world.before:
                    wrong[who] = "something was changed"
        if answers[0] != answers[1]:
            wrong[who] = answers
    assert not wrong


def blanked(answer, asked):
    """All of an answer, without the number that was asked for and what differs from call to call."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("Expires", "X-Request-ID")}
    text = re.sub(r'(csrfmiddlewaretoken" value=")\w+', r"\1", text_of(answer))
    parts = (answer.status_code, headers, sorted(answer.cookies), messages_of(answer), text)
    return repr(parts).replace(str(asked), "N")


LISTS = [name for name in ROUTES if name.endswith("_changelist")]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("query", ["?q=Zanz", "?q=820001", "?source__id__exact=820001", "?team__id__exact=820001"])
def test_no_search_and_no_filter_finds_what_is_foreign(world, name, query):
    for who in ("owner", "administers"):
        with undone():
            answer = world.ask(who, "GET", ROUTES[name].address(OWN) + query)
            assert PLANTED[FOREIGN] not in text_of(answer)


@pytest.mark.parametrize("model_admin", admin.site._registry.values(), ids=lambda each: each.model._meta.label)
def test_no_form_offers_what_is_foreign(world, rf, model_admin):
    """Dropdowns, and the rows of inlines, of the page of a row and of the page for a new one."""
    if not issubclass(model_admin.model, TenantModel):
        pytest.skip("its rows belong to no organization")
    membership = Membership.all_objects.get(pk=OWN)
    request = rf.get("/", {"kind": "delimited_file"})
    request.user, request.actor = membership.user, access.member(membership, Via.ADMIN)
    pages = [None] if model_admin.has_add_permission(request) else []
    with organization_scope(membership.organization):
        for obj in [*pages, model_admin.model.all_objects.filter(organization=OWN).first()]:
            forms = [model_admin.get_form(request, obj, change=obj is not None)]
            for formset, inline in model_admin.get_formsets_with_inlines(request, obj):
                forms.append(formset.form)
                assert not inline.get_queryset(request).exclude(organization=OWN).exists()
            for field in [field for form in forms for field in form.base_fields.values()]:
                offered = getattr(field, "queryset", None)
                if offered is not None and issubclass(offered.model, TenantModel):
                    assert not offered.exclude(organization=OWN).exists()
                    assert offered.exists() or offered.model._meta.app_label == "jobs"


def test_tables_of_the_world_are_not_empty(world):
    """A table without a row of the other organization would prove nothing."""
    for model in apps.get_models():
        if issubclass(model, TenantModel):
            for organization in (OWN, FOREIGN):
                assert model.all_objects.filter(organization=organization).exists(), model


@pytest.mark.parametrize("name", ["admin:jobs_record_history", "api-history-list"])
def test_a_history_shows_what_one_may_read_and_no_more(world, name):
    told = {}
    for who in askers(ROUTES[name]):
        with undone():
            text = text_of(world.ask(who, "GET", ROUTES[name].address(OWN), {"key": IN_HISTORY}))
            told[who] = {planted for planted in PLANTED.values() if f"{planted} accounts" in text}
    may_read = members_of("READ")
    own, foreign = {PLANTED[OWN]}, {PLANTED[FOREIGN]}
    for who, seen in told.items():
        assert seen == (foreign if who == "stranger" else own if who in may_read else set()), who
