"""Two organizations that are alike, with one row of everything, and everybody who might ask."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from connections.models import Connection, ConnectionCheck, Discovered
from jobs.files import log_path
from jobs.history_files import folder_of
from jobs.models import ErrorGroup, HistoryFile, Job, JobEvent, Status
from orgs import access, audit, tokens
from orgs.models import ApiToken, AuditEvent, Grant, Membership, Organization, Permission, Role, Team
from syncs.models import Parameter, Schedule, Sync
from tests.factories import SALESFORCE_VALUES, make_batch, make_connection, make_job, make_sync, write_history

# Every row that is named in an address has one of these numbers, so that it can be blanked out of an answer.
OWN, FOREIGN, MISSING = 810001, 820001, 890001
# Part of every name in an organization.
PLANTED = {OWN: "Wonderland", FOREIGN: "Zanzibar"}

ONE_GRANT = {
    "reads": Permission.READ,
    "writes": Permission.WRITE,
    "executes": Permission.EXECUTE,
    "approves": Permission.APPROVE,
    "hard-deletes": Permission.HARD_DELETE,
    "administers": Permission.ADMIN,
}
PEOPLE = ["anonymous", "superuser", "owner", "admin", *ONE_GRANT, "member", "viewer", "stranger"]
TOKENS = {f"token-{permission}": permission for permission in Permission}  # of the owner

# A key that has a history in both organizations.
IN_HISTORY = "K1"

# Nothing answers there.
NOWHERE = {**SALESFORCE_VALUES, "auth_url": "http://127.0.0.1:9"}


class World:
    def __init__(self) -> None:
        User.objects.create_superuser("superuser")
        for base, owner in ((OWN, "owner"), (FOREIGN, "stranger")):
            self._organization(base, owner)
        self._people()
        self._tokens()
        self.cookies = {name: self._cookies(name) for name in PEOPLE if name != "anonymous"}
        self.before = digest()
        self.client = Client()  # one for all: making one takes longer than a call

    def _organization(self, base: int, owner: str) -> None:
        name = PLANTED[base]
        organization = Organization.objects.create(pk=base, name=name, slug=name.lower())
        place = {"organization": organization}
        user = User.objects.create_user(owner, pk=base)
        membership = Membership.all_objects.create(pk=base, user=user, role=Role.OWNER, **place)
        files = make_connection(organization, pk=base, name=f"{name} files")
        salesforce = make_connection(organization, "salesforce", pk=base + 1, name=f"{name} org", values=NOWHERE)
        ConnectionCheck.all_objects.create(
            pk=base, connection=files, settings_version=1, ok=True, started_by=f"{name} person",
            started_at=timezone.now(), **place
        )  # fmt: skip
        Discovered.all_objects.create(
            connection=files, settings_version=1, what="tables", data=[], fetched_at=timezone.now(), **place
        )
        sync = make_sync(organization, pk=base, name=f"{name} accounts", source=files, destination=salesforce)
        Parameter.all_objects.create(pk=base, sync=sync, name=f"of_{name}", default=name, **place)
        Schedule.all_objects.create(pk=base, sync=sync, every_minutes=60, **place)
        job = make_job(sync, pk=base, status=Status.WAITING_APPROVAL, reason=f"{name} has to approve")
        make_batch(job)
        JobEvent.all_objects.create(job=job, status=job.status, text=f"{name} event", **place)
        ErrorGroup.all_objects.create(
            pk=base, job=job, source="salesforce", code="REQUIRED", rows=1, sample_message=f"{name} refused", **place
        )
        HistoryFile.all_objects.create(
            pk=base, sync=sync, path=str(folder_of(sync) / "one.parquet"), first_job=base, last_job=base, rows=1,
            newest=timezone.now(), **place
        )  # fmt: skip
        team = Team.all_objects.create(pk=base, name=f"{name} team", **place)
        team.members.add(membership)
        access.grant(team, sync, read=True)
        Grant.all_objects.filter(team=team).update(id=base)
        token, _ = tokens.make_token(membership, f"{name} token", [Permission.READ])
        ApiToken.all_objects.filter(pk=token.pk).update(id=base)
        for row in (files, sync, team, membership):
            audit.record(access.operator(organization, f"{name} person"), "changed", row)
        AuditEvent.all_objects.filter(object_type="sync", object_id=base).update(id=base)

    @staticmethod
    def write_files() -> None:
        """What lies outside the database: of each organization a source file, the log of a job, and a history."""
        for base, name in PLANTED.items():
            file = settings.SFSYNC_FILES / name.lower() / f"{name}.csv"
            log = log_path(Job.all_objects.get(pk=base))
            for path in (file, log):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"id,name\n1,{name}\n")
            history = HistoryFile.all_objects.get(pk=base)
            Path(history.path).parent.mkdir(parents=True, exist_ok=True)
            Path(history.path).write_bytes(_history(base))

    def _people(self) -> None:
        organization = Organization.objects.get(pk=OWN)
        # A second owner, so that the first one may go.
        roles = {"second": Role.OWNER, "admin": Role.ADMIN, "viewer": Role.VIEWER}
        grants = {**ONE_GRANT, "viewer": Permission.READ, "member": None}
        for name in ("second", "admin", *grants):
            membership = Membership.all_objects.create(
                organization=organization,
                user=User.objects.create_user(name),
                role=roles.get(name, Role.MEMBER),
            )
            team = Team.all_objects.create(organization=organization, name=f"Team {name}")
            team.members.add(membership)
            permission = grants.get(name)
            if permission is not None:
                for row in self.granted():
                    access.grant(team, row, **{permission.value: True})

    @staticmethod
    def granted() -> list[Any]:
        """The objects on which the people with one grant have it."""
        return [
            *Connection.all_objects.filter(organization=OWN),
            *Sync.all_objects.filter(organization=OWN),
        ]

    def _tokens(self) -> None:
        owner = Membership.all_objects.get(pk=OWN)
        self.tokens = {name: tokens.make_token(owner, name, [each])[1] for name, each in TOKENS.items()}
        ended = timezone.now() - timedelta(days=1)
        self.tokens["token-ended"] = tokens.make_token(owner, "ended", list(Permission), ended)[1]
        # The use of a token is noted once a minute: this one is.
        ApiToken.all_objects.update(last_used_at=timezone.now() + timedelta(hours=1))

    @staticmethod
    def _cookies(name: str) -> str:
        client = Client()
        client.force_login(User.objects.get(username=name))
        return client.cookies[settings.SESSION_COOKIE_NAME].value

    def ask(self, who: str, method: str, address: str, body: Any = None) -> Any:
        """The answer to one call. Call it within `undone()`."""
        cache.clear()
        self.client.cookies.clear()
        headers = {}
        if who in self.tokens:
            headers["Authorization"] = f"Bearer {self.tokens[who]}"
        elif who != "anonymous":
            self.client.cookies[settings.SESSION_COOKIE_NAME] = self.cookies[who]
        as_json = {} if address.startswith("/admin/") or method == "GET" else {"content_type": "application/json"}
        data = body() if callable(body) else body or {}
        return getattr(self.client, method.lower())(address, data, headers=headers, **as_json)


@functools.cache
def _history(base: int) -> bytes:
    """A file of history with one change."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.parquet"
        write_history(path, [{"key": IN_HISTORY, "job": base, "after.Name": PLANTED[base]}])
        return path.read_bytes()


@contextmanager
def undone() -> Iterator[None]:
    """Whatever is changed within is as it was."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def digest() -> str:
    """Of all rows of all tables, but of sessions, and of what a connection answered, which may be forgotten."""
    found = hashlib.sha256()
    with connection.cursor() as cursor:
        for table in sorted(connection.introspection.table_names(cursor)):
            if table not in ("django_session", Discovered._meta.db_table):
                cursor.execute(f'SELECT * FROM "{table}" ORDER BY 1')
                found.update(repr((table, [[_plain(cell) for cell in row] for row in cursor.fetchall()])).encode())
    return found.hexdigest()


def _plain(cell: Any) -> Any:
    return bytes(cell) if isinstance(cell, memoryview) else cell
