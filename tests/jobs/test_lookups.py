"""Lookups, through real jobs against the sandbox: parents found by Salesforce itself, and by sfsync."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from jobs.models import Job
from syncs.models import Sync
from tests.jobs.scenario import make_people_sync, run, write_csv

pytestmark = pytest.mark.django_db(transaction=True)

BY_KEY = {"lookup_object": "Account", "lookup_field": "External_Id__c"}
BY_NAME = {"lookup_object": "Account", "lookup_field": "Name"}


def make_accounts(sandbox, organization, rows: Iterable[tuple[str, ...]], **line: Any) -> tuple[Sync, Job]:
    """Accounts with a key, a name and, where a line for it is given, the key of a parent account."""
    mappings: dict[str, Any] = {"External_Id__c": "id", "Name": "name"}
    if line:
        mappings["ParentId"] = {"source_column": "parent", **line}
    sync = make_people_sync(
        sandbox,
        organization=organization,
        name="Accounts",
        object="Account",
        source_path="accounts.csv",
        mappings=mappings,
    )
    write_csv(organization, "accounts.csv", [["id", "name", "parent"], *([*row, ""][:3] for row in rows)])
    return sync, run(sync)


@pytest.fixture
def organization(db):
    from tests.factories import make_organization

    return make_organization()


def make_contacts(sandbox, organization, rows: Iterable[Iterable[str]], **line: Any) -> Sync:
    """A sync of contacts with a key, a name and an account."""
    from connections.models import Connection

    target = line.pop("target", "AccountId")
    changes = {name: line.pop(name) for name in ("compare", "mode", "object", "mappings") if name in line}
    mappings = {"External_Id__c": "id", "LastName": "last", target: {"source_column": "parent", **line}}
    Connection.all_objects.filter(organization=organization).update(name="of accounts")
    sync = make_people_sync(sandbox, organization=organization, **{"mappings": mappings, **changes})
    write_csv(organization, "people.csv", [["id", "last", "parent"], *rows])
    return sync
