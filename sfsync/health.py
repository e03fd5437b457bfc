"""For whoever watches from outside: does the process answer, and could it do its work?"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable

import redis
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

log = logging.getLogger("sfsync.health")


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the process could do its work, 503 when not. Without a broker it could: timers find what is due."""
    checks = {"database": _told(_database), "storage": _told(_storage), "broker": _told(_broker)}
    ready = checks["database"] == checks["storage"] == "ok"
    status = "ok" if ready and checks["broker"] == "ok" else "degraded" if ready else "not ready"
    return JsonResponse({"status": status, "checks": checks}, status=200 if ready else 503)


def _told(check: Callable[[], str]) -> str:
    try:
        return check()
    except (DatabaseError, OSError, redis.RedisError) as error:
        # Anybody may ask: what is wrong exactly stands in the log.
        log.warning("%s: %s", check.__name__.strip("_"), error)
        return "failed"


def _database() -> str:
    connection = connections[DEFAULT_DB_ALIAS]
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return "not migrated: run `manage.py migrate`" if missing else "ok"


def _storage() -> str:
    with tempfile.TemporaryFile(dir=settings.SFSYNC_STORAGE) as file:
        os.write(file.fileno(), b"ready?")
    return "ok"


def _broker() -> str:
    url: str = settings.SFSYNC_BROKER_URL
    if not url.startswith(("redis", "unix")):
        return "ok"  # of another sort: workers tell when it is gone
    client = redis.Redis.from_url(url.replace("redis+socket://", "unix://"), socket_timeout=2, socket_connect_timeout=2)
    try:
        client.ping()
    finally:
        client.close()
    return "ok"
