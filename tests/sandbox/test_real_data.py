"""The real files beside the project, through a bulk job and back by query, cell by cell."""

from __future__ import annotations

import csv
import io
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from tests.sandbox.conftest import Client

AIRPORT_FIELDS = {
    "Airport ID": "Airport_ID__c",
    "Name": "Name",
    "City": "City__c",
    "Country": "Country__c",
    "IATA": "IATA__c",
    "ICAO": "ICAO__c",
    "Latitude": "Latitude__c",
    "Longitude": "Longitude__c",
    "Altitude": "Altitude__c",
    "Timezone": "Timezone__c",
    "Tz database timezone": "Tz_Database__c",
    "Type": "Type__c",
    "Source": "Source__c",
}
NUMBERS = ("Latitude__c", "Longitude__c", "Altitude__c", "Timezone__c")


def _rows(path: Path, fields: dict[str, str]) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {field: "" if row[column] == "\\N" else row[column] for column, field in fields.items()}
            for row in csv.DictReader(file)
        ]


def _csv(rows: list[dict[str, str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _read_back(client: Client, fields: list[str], object_name: str) -> list[dict[str, str]]:
    soql = f"SELECT {', '.join(fields)} FROM {object_name}"
    job = client.call("POST", "/jobs/query", json={"operation": "query", "query": soql}).json()["id"]
    while (state := client.call("GET", f"/jobs/query/{job}").json()["state"]) != "JobComplete":
        assert state in ("UploadComplete", "InProgress")
    text = client.call("GET", f"/jobs/query/{job}/results").content.decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_airports_come_back_equal_but_for_trimming_and_rounding(client: Client, shared: Path) -> None:
    rows = _rows(shared / "data" / "airports.csv", AIRPORT_FIELDS)
    ended = client.load("upsert", _csv(rows), "Airport__c", externalIdFieldName="Airport_ID__c")
    assert (ended.info["numberRecordsProcessed"], ended.failed) == (7_698, [])
    stored = {row["Airport_ID__c"]: row for row in _read_back(client, list(rows[0]), "Airport__c")}
    trimmed = rounded = 0
    for row in rows:
        for field, value in row.items():
            got = stored[row["Airport_ID__c"]][field]
            if field in NUMBERS and value:
                exact = Decimal(value)
                places = {"Altitude__c": 0, "Timezone__c": 2}.get(field, 15)
                kept = exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
                rounded += kept != exact
                assert Decimal(got) == kept
            else:
                trimmed += value != value.strip()
                assert got == value.strip()
    assert (trimmed, rounded) == (8, 336)


def test_companies_come_back_equal(client: Client, shared: Path) -> None:
    fields = {
        "Symbol": "Symbol__c",
        "Security": "Name",
        "GICS Sector": "GICS_Sector__c",
        "GICS Sub-Industry": "GICS_Sub_Industry__c",
        "Headquarters Location": "Headquarters_Location__c",
        "Date added": "Date_Added__c",
        "CIK": "CIK__c",
        "Founded": "Founded__c",
    }
    rows = _rows(shared / "data" / "sp500-2024-07-17.csv", fields)
    first_of_each = list({row["CIK__c"]: row for row in reversed(rows)}.values())
    ended = client.load("upsert", _csv(first_of_each), "Account", externalIdFieldName="Symbol__c")
    assert (len(ended.success), ended.failed) == (len(first_of_each), [])
    stored = {row["Symbol__c"]: row for row in _read_back(client, list(rows[0]), "Account")}
    assert all(stored[row["Symbol__c"]] == row for row in first_of_each)


def test_airlines_fit_but_for_one_name_longer_than_salesforce_takes(client: Client, shared: Path) -> None:
    names = ("Airline ID", "Name", "Alias", "IATA", "ICAO", "Callsign", "Country", "Active")
    fields = {each: each if each == "Name" else f"{each.replace(' ', '_')}__c" for each in names}
    rows = _rows(shared / "data" / "airlines.csv", fields)
    ended = client.load("upsert", _csv(rows), "Airline__c", externalIdFieldName="Airline_ID__c")
    assert len(ended.success) + len(ended.failed) == 6_162
    assert {row["sf__Error"].split(":")[0] for row in ended.failed} <= {"STRING_TOO_LONG", "REQUIRED_FIELD_MISSING"}
    assert len(ended.failed) < 5
