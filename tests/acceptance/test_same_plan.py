"""The same table from a file and from PostgreSQL: the same plan, hash for hash."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.models import Status
from jobs.start import reject_job
from syncs.engine.plan import Plan
from tests.acceptance.real_data import (
    AIRPORT_TYPES,
    AIRPORTS_FILE,
    COMPANIES,
    COMPANIES_2024,
    COMPANIES_2025,
    COMPANY_TYPES,
    airports_mapping,
    copy_file,
    load_table,
    outcome,
    uploaded,
)
from tests.connections.sources import postgres
from tests.factories import anybody, make_connection, make_organization, make_sync
from tests.jobs.scenario import make_destination, run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def schema():
    with postgres.schema() as made:
        yield made


def postgres_values(**changes):
    """The settings of a connection to the PostgreSQL server of the tests."""
    found = postgres.server()
    return {
        "host": str(found.get("host", "127.0.0.1")),
        "port": int(found.get("port", 5432)),
        "database": str(found.get("dbname", "test")),
        "user": str(found.get("user", "postgres")),
        "password": str(found.get("password", "")),
        **changes,
    }


def make_companies(sandbox, **changes):
    organization = make_organization()
    values = {"key_fields": ["Symbol__c"], "mode": "mirror", "source_path": "companies.csv", "mappings": COMPANIES}
    destination = make_destination(organization, sandbox)
    return make_sync(organization, destination=destination, **{**values, **changes})


def make_airports(sandbox, **changes):
    organization = make_organization()
    return make_sync(
        organization,
        source=make_connection(organization, values={"null_token": r"\N"}),
        destination=make_destination(organization, sandbox),
        object="Airport__c",
        key_fields=("Airport_ID__c",),
        source_path=AIRPORTS_FILE,
        mappings=airports_mapping("round"),
        **changes,
    )


def switch_to(sync, table="", query=""):
    """Let a sync of a file read from PostgreSQL instead."""
    sync.source = make_connection(
        sync.organization, "postgres", name=f"database {table}{query}"[:100], values=postgres_values()
    )
    sync.source_path, sync.source_table, sync.source_query = "", table, query
    sync.full_clean()
    sync.save()


def plan_of(job):
    return Plan.from_json(job.manifests["plan"])


def hashes(job):
    """Per key of the plan: what is done to it, and the hash of each of its fields."""
    table = pq.read_table(plan_of(job).rows_file)
    names = ["action", "row_hash", *(name for name in table.schema.names if name.startswith("h_"))]
    keys = table.column("nkey").to_pylist()
    return dict(zip(keys, zip(*(table.column(name).to_pylist() for name in names), strict=True), strict=True))


def payloads(job):
    """The lines that are sent, in no order."""
    return [sorted(Path(batch.file).read_bytes().splitlines()) for batch in plan_of(job).batches]


def check_same_plan(one, other):
    assert plan_of(one).fingerprint == plan_of(other).fingerprint
    assert plan_of(one).counts == plan_of(other).counts
    assert hashes(one) == hashes(other)
    assert payloads(one) == payloads(other)


def test_airports_from_postgresql_are_the_same_plan_as_from_csv(sandbox, shared_data, schema):
    connection, name = schema
    sync = make_airports(sandbox)
    copy_file(sync.organization, shared_data / AIRPORTS_FILE, AIRPORTS_FILE)
    from_file = run(sync)
    assert outcome(from_file) == {"read": 7698, "inserted": 7698}
    sent = uploaded(sandbox)

    for name_of_table, coordinates in (("exact", "numeric"), ("binary", "double precision")):
        types = {**AIRPORT_TYPES, "Latitude": coordinates, "Longitude": coordinates}
        switch_to(sync, load_table(connection, name, name_of_table, shared_data / AIRPORTS_FILE, types))
        unchanged = run(sync)
        assert (unchanged.status, outcome(unchanged)) == (Status.SUCCEEDED, {"read": 7698, "unchanged": 7698})
    assert uploaded(sandbox) == sent

    # With nothing known, the whole table is planned as it was from the file.
    sandbox.reset()
    from_postgres = run(sync, full_resync=True)
    assert outcome(from_postgres) == {"read": 7698, "inserted": 7698}
    check_same_plan(from_file, from_postgres)
    assert from_postgres.counts["trimmed"] == from_file.counts["trimmed"] == {"City__c": 8}
    assert from_postgres.counts["rounded"] == from_file.counts["rounded"]


def test_changes_from_postgresql_are_the_same_plan_as_from_csv(sandbox, shared_data, schema, by_bulk):
    connection, name = schema
    sync = make_companies(sandbox, guard_rows=10)
    copy_file(sync.organization, shared_data / COMPANIES_2024, "companies.csv")
    first = run(sync)
    assert outcome(first) == {"read": 503, "inserted": 503}

    copy_file(sync.organization, shared_data / COMPANIES_2025, "companies.csv")
    from_file = run(sync)
    assert from_file.status == Status.WAITING_APPROVAL
    reject_job(from_file, by=anybody(from_file))

    table = load_table(connection, name, "companies", shared_data / COMPANIES_2024, COMPANY_TYPES)
    switch_to(sync, table)
    unchanged = run(sync)
    assert (unchanged.status, outcome(unchanged)) == (Status.SUCCEEDED, {"read": 503, "unchanged": 503})

    load_table(connection, name, "companies", shared_data / COMPANIES_2025, COMPANY_TYPES)
    from_postgres = run(sync)
    assert from_postgres.status == Status.WAITING_APPROVAL
    check_same_plan(from_file, from_postgres)
    assert uploaded(sandbox) == {"upsert": 503}
    reject_job(from_postgres, by=anybody(from_postgres))

    # A query gives the rows in another order, and one column under another type.
    columns = ", ".join(f'"{column}"' for column in COMPANIES.values() if column != "CIK")
    query = f'SELECT {columns}, "CIK"::text AS "CIK" FROM {table} ORDER BY "Security" DESC'
    switch_to(sync, query=query)
    from_query = run(sync)
    assert from_query.status == Status.WAITING_APPROVAL
    check_same_plan(from_file, from_query)
