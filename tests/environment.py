"""Loaded by pytest before Django: the environment that the tests run in."""

import os
import shutil
import tempfile
import uuid
from pathlib import Path

from cryptography.fernet import Fernet
from psycopg.conninfo import conninfo_to_dict

# Where tests look for a PostgreSQL server whose user may create databases; SFSYNC_TEST_POSTGRES names another one.
TEST_POSTGRES = "host=127.0.0.1 port=5432 user=postgres dbname=postgres"

_folder = Path(tempfile.mkdtemp(prefix="sfsync-tests-"))

os.environ["SFSYNC_ENV_FILE"] = str(_folder / "none")
os.environ["SFSYNC_DATA"] = str(_folder)
os.environ["SFSYNC_SECRET_KEY"] = "only-for-tests"
os.environ["SFSYNC_ENCRYPTION_KEYS"] = Fernet.generate_key().decode()
for _name in ("SFSYNC_DATABASE_URL", "SFSYNC_BROKER_URL", "SFSYNC_FILES", "SFSYNC_STORAGE", "SFSYNC_SCRATCH"):
    os.environ.pop(_name, None)

# The same tests on the grown form: PostgreSQL instead of SQLite.
if os.environ.get("SFSYNC_TESTS_ON") == "postgres":
    _server = conninfo_to_dict(os.environ.get("SFSYNC_TEST_POSTGRES", TEST_POSTGRES))
    _login = f"{_server.get('user', 'postgres')}:{_server.get('password', '')}".rstrip(":")
    _place = f"{_server.get('host', '127.0.0.1')}:{_server.get('port', 5432)}"
    os.environ["SFSYNC_DATABASE_URL"] = f"postgres://{_login}@{_place}/sfsync_{uuid.uuid4().hex[:8]}"


def pytest_unconfigure() -> None:
    """Called by pytest at its end, in parallel workers too, which run no exit handlers."""
    shutil.rmtree(_folder, ignore_errors=True)
