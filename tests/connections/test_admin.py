import json

import pytest
from django.db import connection as database

from connections.models import Connection
from tests.factories import SALESFORCE_VALUES, make_connection, make_organization

pytestmark = pytest.mark.django_db

ADD = "/admin/connections/connection/add/"


def form(organization, settings):
    return {
        "organization": organization.pk,
        "name": "Production",
        "kind": "salesforce",
        "settings": json.dumps(settings),
    }


def test_secrets_entered_among_the_settings_are_encrypted_on_save(admin_client):
    answer = admin_client.post(ADD, form(make_organization(), SALESFORCE_VALUES))
    assert answer.status_code == 302
    connection = Connection.all_objects.get()
    assert "password" not in connection.settings
    assert connection.secrets["password"] == "planted-password"
    with database.cursor() as cursor:
        cursor.execute("SELECT * FROM connections_connection")
        assert "planted" not in str(
            [bytes(cell) if isinstance(cell, memoryview) else cell for cell in cursor.fetchone()]
        )


def test_a_saved_secret_is_not_shown_again_and_stays_when_nothing_is_entered(admin_client):
    connection = make_connection(make_organization(), "salesforce")
    page = f"/admin/connections/connection/{connection.pk}/change/"
    assert b"planted" not in admin_client.get(page).content
    kept = {**connection.settings, "username": "other@example.com"}
    assert admin_client.post(page, form(connection.organization, kept)).status_code == 302
    after = Connection.all_objects.get()
    assert after.settings["username"] == "other@example.com"
    assert after.secrets == connection.secrets
    assert after.settings_version == connection.settings_version + 1


def test_a_wrong_setting_is_told_on_the_form(admin_client):
    answer = admin_client.post(ADD, form(make_organization(), {"auth_urrl": "x"}))
    assert "is not a setting of this kind" in answer.content.decode()
    assert not Connection.all_objects.exists()
