"""The API against its own description: generated requests, answers as described, and nothing of a neighbour."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core import signals
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi import checks as described

from connections.addresses import AddressRefused
from orgs import tokens
from orgs.access import hand_to
from orgs.models import Grant, Permission
from sfsync.wsgi import application
from tests.api.conftest import House

EXAMPLES = int(os.environ.get("SFSYNC_TEST_API_EXAMPLES", "6"))
CHECKS = [
    schemathesis.checks.not_a_server_error,
    described.status_code_conformance,
    described.content_type_conformance,
    described.response_schema_conformance,
]


def refuse(host: str, port: int) -> None:
    """An address policy under which no call leaves the machine."""
    raise AddressRefused(f"{host} is not allowed here.")


def _ids(house: House, other: House) -> dict[str, list[int]]:
    """Ids that mean something, by the first part of an address: ours, and the neighbour's."""
    grants = list(Grant.all_objects.values_list("pk", flat=True))
    return {
        "organizations": [house.organization.pk, other.organization.pk],
        "members": [house.owner.pk, other.owner.pk],
        "teams": [house.team.pk, other.team.pk],
        "grants": grants,
        "connections": [house.connection.pk, house.salesforce.pk, other.connection.pk],
        "syncs": [house.sync.pk, other.sync.pk],
        "jobs": [house.job.pk, other.job.pk],
        "history": [],
    }


@pytest.fixture
def _kept_connection() -> Iterator[None]:
    """The database connection, and so the transaction of the test, stays open from call to call."""
    received = (signals.request_started, signals.request_finished)
    for signal in received:
        signal.disconnect(close_old_connections)
    yield
    for signal in received:
        signal.connect(close_old_connections)


@pytest.mark.usefixtures("_kept_connection")
@pytest.mark.django_db
@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_every_answer_is_as_described_and_tells_nothing_foreign(
    house: House, other: House, method: str, settings: Any
) -> None:
    """More requests by SFSYNC_TEST_API_EXAMPLES, the number per operation and method."""
    settings.SFSYNC_ADDRESS_POLICY = f"{__name__}.refuse"
    hand_to(house.team, house.sync)
    hand_to(other.team, other.sync)
    _, token = tokens.make_token(house.owner, "all", list(Permission))
    headers = {"Authorization": f"Bearer {token}"}
    ids = _ids(house, other)
    schema = schemathesis.openapi.from_wsgi("/api/v1/schema/?format=json", application)
    operations = [found.ok() for found in schema.get_all_operations()]
    mine = [each for each in operations if each.method.lower() == method]
    assert mine
    for operation in mine:
        _try(operation, ids[operation.path.split("/")[3]], headers)


def _try(operation: Any, ids: list[int], headers: dict[str, str]) -> None:
    @seed(1)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), known=st.sampled_from([*ids, *ids, None]))
    def one(case: Any, known: int | None) -> None:
        if known is not None and "id" in (case.path_parameters or {}):
            case.path_parameters["id"] = known
        with transaction.atomic():
            response = case.call(headers=headers)
            transaction.set_rollback(True)
        case.validate_response(response, checks=CHECKS)
        assert "zulu" not in response.text.lower() and "zoe" not in response.text.lower(), operation.label

    one()
