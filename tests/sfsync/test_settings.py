import subprocess
import sys

import pytest
from cryptography.fernet import Fernet

GOOD = {"SFSYNC_SECRET_KEY": "x", "SFSYNC_ENCRYPTION_KEYS": Fernet.generate_key().decode(), "SFSYNC_ENV_FILE": "none"}


def check(settings, tmp_path, **changes):
    environment = {**GOOD, "SFSYNC_DATA": str(tmp_path), **changes}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        env={name: value for name, value in environment.items() if value is not None},
        capture_output=True,
        text=True,
        cwd=settings.BASE_DIR,
    )
    return done.returncode, done.stderr


def test_good_settings_start(settings, tmp_path):
    assert check(settings, tmp_path)[0] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SFSYNC_SECRET_KEY": None}, "SFSYNC_SECRET_KEY is not set"),
        ({"SFSYNC_ENCRYPTION_KEYS": None}, "SFSYNC_ENCRYPTION_KEYS is not set"),
        ({"SFSYNC_ENCRYPTION_KEYS": "short"}, "Key 1 of SFSYNC_ENCRYPTION_KEYS is not a Fernet key"),
        ({"SFSYNC_LEASE_SECONDS": "soon"}, "SFSYNC_LEASE_SECONDS must be a number, not 'soon'"),
        ({"SFSYNC_BATCHES_AT_ONCE": "0"}, "SFSYNC_BATCHES_AT_ONCE must lie between 1 and 100, not 0"),
    ],
)
def test_a_missing_or_wrong_value_stops_the_start_and_is_named(settings, tmp_path, changes, message):
    code, error = check(settings, tmp_path, **changes)
    assert code != 0
    assert message in error
