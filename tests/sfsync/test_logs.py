import json
import logging
import subprocess
import sys

import pytest
from django.conf import settings
from structlog.contextvars import bound_contextvars

from sfsync.logs import formatter
from tests.workers import worker_environment


def line(style, **about):
    record = logging.LogRecord("sfsync.jobs", logging.WARNING, __file__, 1, "Row %d is odd", (7,), None)
    with bound_contextvars(**about):
        return formatter(style).format(record)


def test_a_line_says_what_it_is_about():
    assert line("plain", job=3, organization=1, sync=2).endswith(
        "WARNING sfsync.jobs Row 7 is odd [organization=1 sync=2 job=3]"
    )
    told = json.loads(line("json", job=3, organization=1, sync=2))
    assert (told["event"], told["organization"], told["sync"], told["job"]) == ("Row 7 is odd", 1, 2, 3)
    assert (told["level"], told["logger"]) == ("warning", "sfsync.jobs")


def test_what_was_bound_ends_with_its_context():
    line("plain", job=3)
    assert "job" not in json.loads(line("json"))


def test_a_request_has_a_number_that_its_answer_carries(client):
    assert client.get("/healthz", headers={"X-Request-ID": "abcdefgh-1"})["X-Request-ID"] == "abcdefgh-1"
    for odd in ("", "a b c d e f g h", "x" * 65):
        number = client.get("/healthz", headers={"X-Request-ID": odd})["X-Request-ID"]
        assert len(number) == 32 and number != odd


@pytest.mark.parametrize(("style", "code"), [("json", 0), ("loud", 1)])
def test_the_style_of_the_log_is_checked_at_the_start(style, code):
    done = subprocess.run(
        [sys.executable, "-c", "import django; django.setup()"],
        env={**_plain_environment(), "SFSYNC_LOG_FORMAT": style, "DJANGO_SETTINGS_MODULE": "sfsync.settings"},
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert code == 0 or "is 'plain' or 'json', not 'loud'" in done.stderr


def _plain_environment():
    return {**worker_environment(), "SFSYNC_DATABASE_URL": "sqlite://:memory:"}
