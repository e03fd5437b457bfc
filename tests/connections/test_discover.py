"""What a connection has is asked once, kept per version of its settings, and asked again when it is old."""

from datetime import timedelta

import pytest
from django.utils import timezone

from connections import discover, kinds
from connections.discover import DiscoveryFailed
from connections.models import Discovered
from connections.sources.base import Selection
from tests.factories import make_connection, make_organization
from tests.jobs.scenario import sandbox_values, write_csv

pytestmark = pytest.mark.django_db


def grow_older(**age):
    Discovered.all_objects.update(fetched_at=timezone.now() - timedelta(**age))


def test_objects_and_fields_are_asked_once_a_day_and_on_refresh(sandbox):
    connection = make_connection(make_organization(), "salesforce", values=sandbox_values(sandbox))
    first = discover.objects(connection), discover.describe(connection, "Account")
    calls = sandbox.requests()["total"]
    assert (discover.objects(connection), discover.describe(connection, "Account")) == first
    grow_older(hours=23)
    discover.objects(connection)
    assert sandbox.requests()["total"] == calls
    grow_older(hours=25)
    discover.objects(connection)
    assert sandbox.requests()["total"] == calls + 1
    discover.describe(connection, "Account", refresh=True)
    assert sandbox.requests()["total"] == calls + 2
    assert timezone.now() - discover.fetched_at(connection, "fields Account") < timedelta(minutes=1)


def test_answers_of_older_settings_are_deleted(sandbox):
    connection = make_connection(make_organization(), "salesforce", values=sandbox_values(sandbox))
    discover.objects(connection)
    connection.change_values({**connection.settings, "api_version": "61.0"})
    connection.save()
    assert discover.fetched_at(connection, "objects") is None
    discover.describe(connection, "Account")
    assert [row.settings_version for row in Discovered.all_objects.all()] == [connection.settings_version]


def test_files_and_columns_are_asked_again_after_minutes():
    connection = make_connection(make_organization())
    path = write_csv(connection.organization, "accounts.csv", [["id", "name"]])
    chosen = Selection(path="accounts.csv")
    assert discover.columns(connection, chosen) == ("id", "name")
    (kinds.files_folder(connection.organization) / "accounts.csv").write_text("id,name,city\n")
    assert discover.columns(connection, chosen) == ("id", "name"), path
    assert discover.columns(connection, chosen, refresh=True) == ("id", "name", "city")
    assert [table.columns for table in discover.tables(connection)] == [("id", "name", "city")]
    (kinds.files_folder(connection.organization) / "accounts.csv").write_text("key\n")
    grow_older(minutes=6)
    assert [table.columns for table in discover.tables(connection)] == [("key",)]


@pytest.mark.parametrize(
    ("kind", "values", "ask", "why"),
    [
        ("delimited_file", {}, lambda it: discover.columns(it, Selection(path="no.csv")), "There is no file 'no.csv'"),
        ("delimited_file", {}, discover.objects, "is no Salesforce org"),
        ("salesforce", None, discover.tables, "cannot be a source"),
        (
            "postgres",
            {"host": "127.0.0.1", "port": 9, "database": "x", "user": "u"},
            discover.tables,
            "cannot be reached",
        ),
    ],
)
def test_whatever_goes_wrong_is_told_in_plain_words_and_not_kept(kind, values, ask, why):
    more = {} if values is None else {"values": values}
    connection = make_connection(make_organization(), kind, **more)
    with pytest.raises(DiscoveryFailed, match=why) as caught:
        ask(connection)
    assert caught.value.__cause__ is None
    assert not Discovered.all_objects.exists()


def test_a_refused_login_and_a_missing_object_are_told(sandbox):
    alpha = make_organization()
    wrong = make_connection(alpha, "salesforce", values={**sandbox_values(sandbox), "password": "planted-wrong"})
    with pytest.raises(DiscoveryFailed, match="refused the login") as caught:
        discover.objects(wrong)
    assert "planted" not in str(caught.value)
    right = make_connection(alpha, "salesforce", name="Right", values=sandbox_values(sandbox))
    with pytest.raises(DiscoveryFailed, match="no object 'Nothing__c'"):
        discover.describe(right, "Nothing__c")
