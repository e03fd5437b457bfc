"""The standing cast, and plain functions that make what tests need.

Alice owns organization A, Bob is a member of it, Carol owns organization B.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from django.contrib.auth.models import User

from connections.models import Connection
from jobs.models import Batch, Job
from orgs.access import Actor, operator
from orgs.models import Membership, Organization, Role
from orgs.tenancy import TenantModel
from syncs.engine import history
from syncs.engine.workspace import Workspace
from syncs.models import FieldMapping, Sync


def make_organization(slug: str = "alpha", **changes: Any) -> Organization:
    return Organization.objects.create(**{"name": slug.title(), "slug": slug, **changes})


def make_member(organization: Organization, username: str, role: str = Role.MEMBER) -> User:
    user = User.objects.create_user(username)
    Membership.all_objects.create(organization=organization, user=user, role=role)
    return user


def anybody(row: TenantModel) -> Actor:
    """Somebody who may do everything in the organization of `row`."""
    return operator(row.organization, "alice")


def make_connection(organization: Organization, kind: str = "delimited_file", **changes: Any) -> Connection:
    values = changes.pop("values", SALESFORCE_VALUES if kind == "salesforce" else {})
    connection = Connection(**{"organization": organization, "kind": kind, "name": f"{kind} connection", **changes})
    connection.set_values(values)
    connection.save()
    return connection


SALESFORCE_VALUES = {
    "auth_url": "https://login.salesforce.com",
    "client_id": "client",
    "client_secret": "planted-client-secret",
    "username": "loader@example.com",
    "password": "planted-password",
    "security_token": "planted-token",
}


def make_sync(
    organization: Organization,
    *,
    source: Connection | None = None,
    destination: Connection | None = None,
    mappings: dict[str, Any] | None = None,
    **changes: Any,
) -> Sync:
    """A sync of a file into Account by External_Id__c.

    mappings: target field -> source column, or a dictionary with the columns of FieldMapping.
    """
    source = source or make_connection(organization)
    destination = destination or make_connection(organization, "salesforce")
    values = {
        "name": "Accounts",
        "source_path": "accounts.csv",
        "object": "Account",
        "key_fields": ["External_Id__c"],
        **changes,
    }
    sync = Sync.all_objects.create(organization=organization, source=source, destination=destination, **values)
    lines = mappings if mappings is not None else {"External_Id__c": "id", "Name": "name"}
    for position, (target, line) in enumerate(lines.items()):
        columns = line if isinstance(line, dict) else {"source_column": line}
        FieldMapping.all_objects.create(
            organization=organization, sync=sync, position=position, target=target, **columns
        )
    return sync


def make_job(sync: Sync, **changes: Any) -> Job:
    spec = sync.spec()
    values = {
        "organization": sync.organization,
        "source": sync.source,
        "destination": sync.destination,
        "spec": spec.to_json(),
        "spec_hash": spec.hash(),
        **changes,
    }
    return Job.all_objects.create(sync=sync, **values)


def make_batch(job: Job, number: int = 1, **changes: Any) -> Batch:
    values = {"operation": "upsert", "rows": 10, "payload": {"path": "none", "rows": 10, "bytes": 100}, **changes}
    return Batch.all_objects.create(organization=job.organization, job=job, number=number, **values)


def write_history(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """A file of history with these rows; what they do not say is made up."""
    usual = {"id": "003000000000001AAA", "job": 1, "ended_at": datetime.now(UTC), "row": 1}
    usual |= {"action": "update", "outcome": "updated"}
    whole = [usual | row for row in rows]
    names = [name for name in dict.fromkeys(name for row in whole for name in row) if name not in history.BASE.names]
    schema = pa.schema([*history.BASE, *((name, pa.string()) for name in names)])
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(pa.Table.from_pylist(whole, schema=schema), Path(folder) / "rows.parquet")
        history.merge(Workspace(Path(folder) / "scratch"), [Path(folder) / "rows.parquet"], None, path)
    return path
