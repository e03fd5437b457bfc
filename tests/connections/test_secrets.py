import subprocess
import sys

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection as database

from connections.models import Connection
from connections.secrets import SecretsUnreadable
from tests.factories import make_connection, make_organization

pytestmark = pytest.mark.django_db


def stored(pk):
    with database.cursor() as cursor:
        cursor.execute("SELECT settings, secrets FROM connections_connection WHERE id = %s", [pk])
        settings, secrets = cursor.fetchone()
    return settings, bytes(secrets)


def test_secrets_are_encrypted_and_everything_else_is_not():
    connection = make_connection(make_organization(), "salesforce")
    settings, secrets = stored(connection.pk)
    assert "loader@example.com" in settings
    assert b"planted" not in secrets and "planted" not in settings
    assert Connection.all_objects.get(pk=connection.pk).secrets["password"] == "planted-password"


def test_nothing_that_is_printed_of_a_connection_shows_a_secret():
    connection = make_connection(make_organization(), "salesforce")
    from connections import kinds

    built = kinds.build_settings(connection.kind, connection.all_settings())
    assert "planted" not in repr(built) + repr(connection) + str(connection)


def test_a_dump_of_the_data_holds_no_secret(capsys):
    make_connection(make_organization(), "salesforce")
    call_command("dumpdata")
    assert "planted" not in capsys.readouterr().out


def test_an_old_key_opens_until_it_is_taken_out_of_the_ring(settings):
    connection = make_connection(make_organization(), "salesforce")
    old = settings.SFSYNC_ENCRYPTION_KEYS[0]
    new = Fernet.generate_key().decode()
    settings.SFSYNC_ENCRYPTION_KEYS = [new, old]
    assert Connection.all_objects.get(pk=connection.pk).secrets["password"] == "planted-password"
    call_command("rotate_keys")
    settings.SFSYNC_ENCRYPTION_KEYS = [new]
    assert Connection.all_objects.get(pk=connection.pk).secrets["password"] == "planted-password"


def test_a_key_that_does_not_fit_is_an_error_and_never_a_value(settings):
    connection = make_connection(make_organization(), "salesforce")
    settings.SFSYNC_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(SecretsUnreadable, match="SFSYNC_ENCRYPTION_KEYS"):
        Connection.all_objects.get(pk=connection.pk)


@pytest.mark.django_db(transaction=True)
def test_another_process_reads_old_connections_after_a_rotation(settings, tmp_path):
    """The whole rotation with real processes, as an administrator does it."""
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    create = "from tests.factories import *; o = make_organization(); c = make_connection(o, 'salesforce'); print(c.pk)"
    read = "from connections.models import Connection; print(Connection.all_objects.get().secrets['password'])"

    def manage(keys, *arguments):
        environment = {
            "SFSYNC_DATA": str(tmp_path),
            "SFSYNC_SECRET_KEY": "x",
            "SFSYNC_ENV_FILE": "none",
            "SFSYNC_ENCRYPTION_KEYS": keys,
        }
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            cwd=settings.BASE_DIR,
        )
        return done.stdout + done.stderr

    manage(old, "migrate", "-v0")
    manage(old, "shell", "-v0", "-c", create)
    assert "planted-password" in manage(f"{new},{old}", "shell", "-v0", "-c", read)
    assert "1 connections are encrypted" in manage(f"{new},{old}", "rotate_keys")
    assert "planted-password" in manage(new, "shell", "-v0", "-c", read)
    assert "SecretsUnreadable" in manage(old, "shell", "-v0", "-c", read)
