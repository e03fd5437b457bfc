"""The airports of the world into a custom object: nulls, accents, quotes, blanks at edges, and long coordinates."""

from __future__ import annotations

import csv
from decimal import Decimal

import pytest
from django.core.management import call_command

from jobs.models import ErrorGroup, Job, Status
from jobs.results import write_refused_rows
from tests.acceptance.real_data import (
    AIRPORTS,
    AIRPORTS_FILE,
    airports,
    airports_mapping,
    by_key,
    copy_file,
    held,
    outcome,
    rows_of,
)
from tests.factories import make_connection, make_organization, make_sync
from tests.jobs.scenario import make_destination, run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rows(shared_data):
    return rows_of(shared_data / AIRPORTS_FILE)


@pytest.fixture
def make(sandbox, shared_data):
    def sync(too_precise):
        organization = make_organization()
        copy_file(organization, shared_data / AIRPORTS_FILE, AIRPORTS_FILE)
        return make_sync(
            organization,
            source=make_connection(organization, values={"null_token": r"\N"}),
            destination=make_destination(organization, sandbox),
            name="Airports",
            object="Airport__c",
            key_fields=("Airport_ID__c",),
            source_path=AIRPORTS_FILE,
            mappings=airports_mapping(too_precise),
        )

    return sync


def decimals(text):
    return -int(Decimal(text).as_tuple().exponent)


def test_every_cell_arrives_but_for_blanks_and_decimals_which_are_counted_and_shown(make, rows, org, capsys):
    sync = make("round")
    with pytest.raises(SystemExit) as ended:
        call_command("run_sync", "Airports")
    assert ended.value.code == 0
    job = Job.all_objects.get(sync=sync)
    assert outcome(job) == {"read": 7698, "inserted": 7698}

    found = by_key(held(org, "Airport__c", AIRPORTS), "Airport_ID__c")
    wanted = by_key(airports(rows), "Airport_ID__c")
    assert {key: record for key, record in found.items() if record != wanted.get(key)} == {}
    assert len(found) == len(wanted) == 7698

    too_fine = {
        field: sum(decimals(row[AIRPORTS[field]]) > 15 for row in rows) for field in ("Latitude__c", "Longitude__c")
    }
    assert sum(too_fine.values()) == 336
    assert job.counts["trimmed"] == {"City__c": 8}
    assert job.counts["rounded"] == too_fine
    printed = " ".join(capsys.readouterr().out.split())
    assert "Blanks trimmed: City__c 8" in printed
    for field, cells in too_fine.items():
        assert f"Rounded: {field} {cells}" in printed


def test_nothing_else_than_blanks_and_decimals_differs_from_the_file(rows):
    """The expectation itself, held to the numbers of the task: 8 trimmed cells, 336 rounded ones, no other."""
    changed = {"City": 0, "Latitude": 0, "Longitude": 0}
    columns = {column: field for field, column in AIRPORTS.items()}
    for row, record in zip(rows, airports(rows), strict=True):
        for column, field in columns.items():
            value = record[field]
            text = "" if value is None else value
            source = row[column].replace(r"\N", "")
            same = Decimal(source) == value if isinstance(value, Decimal) else source == text
            if not same:
                changed[column] += 1
    assert changed["City"] == 8
    assert changed["Latitude"] + changed["Longitude"] == 336


def test_without_rounding_rows_with_long_coordinates_are_rejected_by_column_and_value(make, rows, org, tmp_path):
    job = run(make("reject"))
    long = {
        number: {column: row[column] for column in ("Latitude", "Longitude") if decimals(row[column]) > 15}
        for number, row in enumerate(rows, 1)
    }
    long = {number: cells for number, cells in long.items() if cells}
    assert len(long) == 334
    assert (job.status, outcome(job)) == (Status.PARTIAL, {"read": 7698, "rejected": 334, "inserted": 7364})
    assert job.counts["rounded"] == {}

    kept = [row for number, row in enumerate(rows, 1) if number not in long]
    found = by_key(held(org, "Airport__c", AIRPORTS), "Airport_ID__c")
    assert found == by_key(airports(kept), "Airport_ID__c")

    groups = {group.field: group for group in ErrorGroup.all_objects.filter(job=job)}
    assert set(groups) == {"Latitude__c", "Longitude__c"}
    assert {group.code for group in groups.values()} == {"Too Many Decimals"}
    assert sum(group.rows for group in groups.values()) == 336

    refused = tmp_path / "refused.csv"
    write_refused_rows(job, refused)
    with open(refused, newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert {int(row["_row"]) for row in written} == set(long)
    for row in written:
        for column, value in long[int(row["_row"])].items():
            assert column in row["_error_fields"] + row["_error_message"], row
            assert value in row["_error_message"], row
