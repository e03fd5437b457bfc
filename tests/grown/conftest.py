from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from kombu import pools

from sfsync.celery import app
from tests.conftest import required


class RedisServer:
    """A Redis server of the test's own, which it may stop and start again."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="sfsync-redis-")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self._folder]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                redis.Redis(port=self.port).ping()
                return
            except redis.RedisError:
                time.sleep(0.05)
        raise RuntimeError("redis-server did not start")

    def kill(self) -> None:
        """End it at once; all it held is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def redis_server(settings) -> Iterator[RedisServer]:
    if not shutil.which("redis-server"):
        required("Redis", "there is no redis-server on the path")
    server = RedisServer()
    server.start()
    settings.SFSYNC_BROKER_URL = server.url
    before = app.conf.broker_url
    _point_celery_at(server.url)
    yield server
    _point_celery_at(before)
    server.remove()


def _point_celery_at(url: str) -> None:
    """Celery keeps its first broker for the life of a process; here it is another one in each test."""
    app.conf.broker_url = url
    app._pool = app.amqp._producer_pool = None
    pools.reset()


def pytest_collection_modifyitems(items) -> None:
    if os.environ.get("SFSYNC_TESTS_ON") != "postgres":
        skip = pytest.mark.skip(reason="runs on PostgreSQL: SFSYNC_TESTS_ON=postgres, as `make test` does")
        for item in items:
            if item.path.parent == Path(__file__).parent:
                item.add_marker(skip)
