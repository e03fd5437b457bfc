from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache
from rest_framework.test import APIClient

from connections.models import Connection
from jobs.models import Job
from orgs import tokens
from orgs.models import Membership, Organization, Permission, Role, Team
from syncs.models import Sync
from tests.factories import make_connection, make_job, make_member, make_organization, make_sync

ALL = list(Permission)


@dataclasses.dataclass
class House:
    """One organization with everything in it."""

    organization: Organization
    owner: Membership
    team: Team
    connection: Connection
    salesforce: Connection
    sync: Sync
    job: Job


def furnish(slug: str, owner: str) -> House:
    """An organization whose every name begins with its slug."""
    organization = make_organization(slug)
    make_member(organization, owner, Role.OWNER)
    membership = Membership.all_objects.get(organization=organization)
    team = Team.all_objects.create(organization=organization, name=f"{slug}-team")
    connection = make_connection(organization, name=f"{slug}-files")
    salesforce = make_connection(organization, "salesforce", name=f"{slug}-org")
    sync = make_sync(organization, source=connection, destination=salesforce, name=f"{slug}-sync")
    return House(organization, membership, team, connection, salesforce, sync, make_job(sync, status="succeeded"))


def client_of(membership: Membership, permissions: list[Permission] = ALL) -> APIClient:
    """A client that sends a new token of the member."""
    _, text = tokens.make_token(membership, "test", permissions)
    return APIClient(headers={"Authorization": f"Bearer {text}"})


@pytest.fixture(autouse=True)
def _nothing_counted(settings: Any) -> Iterator[None]:
    """Calls of other tests do not count."""
    settings.SFSYNC_API_RATE = settings.SFSYNC_API_START_RATE = ""
    cache.clear()
    yield


@pytest.fixture
def house(db: Any) -> House:
    return furnish("alpha", "alice")


@pytest.fixture
def other(db: Any) -> House:
    return furnish("zulu-secret", "zoe-secret")


@pytest.fixture
def api(house: House) -> APIClient:
    """Alice, who owns the organization."""
    return client_of(house.owner)


@pytest.fixture
def joined(house: House) -> Callable[..., Membership]:
    """Makes a member of Alice's organization, in her team when it shall be."""

    def join(name: str, role: str = Role.MEMBER, in_team: bool = True) -> Membership:
        make_member(house.organization, name, role)
        membership: Membership = Membership.all_objects.get(organization=house.organization, user__username=name)
        if in_team:
            house.team.members.add(membership)
        return membership

    return join


def first_error(response: Any) -> dict[str, Any]:
    body = response.json()
    assert set(body) == {"type", "errors"}, body
    assert set(body["errors"][0]) == {"code", "detail", "attr"}
    error: dict[str, Any] = body["errors"][0]
    return error


def sync_values(house: House, **changes: Any) -> dict[str, Any]:
    return {
        "name": "Contacts",
        "source": house.connection.pk,
        "source_path": "contacts.csv",
        "destination": house.salesforce.pk,
        "object": "Contact",
        "key_fields": ["Key__c"],
        "mappings": [{"target": "Key__c", "source_column": "id"}, {"target": "LastName", "constant": "x"}],
        **changes,
    }
