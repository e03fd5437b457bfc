"""Real tables, how they are mapped, and what Salesforce must hold of them: told from the files, by plain Python."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from jobs.models import Job
from orgs.models import Organization
from tests.jobs.scenario import file_of
from tests.org_reader import OrgReader
from tests.sandbox_process import SandboxProcess

COMPANIES_2024, COMPANIES_2025 = "sp500-2024-07-17.csv", "sp500-2025-08-12.csv"
AIRPORTS_FILE = "airports.csv"

# target field -> source column
COMPANIES = {
    "Symbol__c": "Symbol",
    "Name": "Security",
    "GICS_Sector__c": "GICS Sector",
    "GICS_Sub_Industry__c": "GICS Sub-Industry",
    "Headquarters_Location__c": "Headquarters Location",
    "Date_Added__c": "Date added",
    "CIK__c": "CIK",
    "Founded__c": "Founded",
}
AIRPORTS = {
    "Airport_ID__c": "Airport ID",
    "Name": "Name",
    "City__c": "City",
    "Country__c": "Country",
    "IATA__c": "IATA",
    "ICAO__c": "ICAO",
    "Latitude__c": "Latitude",
    "Longitude__c": "Longitude",
    "Altitude__c": "Altitude",
    "Timezone__c": "Timezone",
    "DST__c": "DST",
    "Tz_Database__c": "Tz database timezone",
    "Type__c": "Type",
    "Source__c": "Source",
}
COORDINATES = ("Latitude__c", "Longitude__c")
_NUMBERS = {*COORDINATES, "Altitude__c", "Timezone__c"}
_FIFTEEN_DECIMALS = Decimal(1).scaleb(-15)

COMPANY_TYPES = {"Date added": "date", "CIK": "integer"}
AIRPORT_TYPES = {"Airport ID": "integer", "Altitude": "integer", "Timezone": "numeric"}

Record = dict[str, Any]


def airports_mapping(too_precise: str) -> dict[str, Any]:
    """The mapping of the airports, with what happens to coordinates of more than 15 decimals."""
    lines: dict[str, Any] = dict(AIRPORTS)
    for field in COORDINATES:
        lines[field] = {"source_column": AIRPORTS[field], "too_precise": too_precise}
    return lines


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a file, as Python's own reader takes them."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def companies(rows: Iterable[dict[str, str]]) -> list[Record]:
    """What Salesforce must hold of companies."""
    return [{field: row[column] for field, column in COMPANIES.items()} for row in rows]


def airports(rows: Iterable[dict[str, str]]) -> list[Record]:
    """What Salesforce must hold of airports: null for `\\N`, no blanks at the edges, at most 15 decimals."""
    return [{field: _airport_value(field, row[column]) for field, column in AIRPORTS.items()} for row in rows]


def _airport_value(field: str, text: str) -> Any:
    value = text.strip()
    if value in ("", r"\N"):
        return None
    if field not in _NUMBERS:
        return value
    number = Decimal(value)
    too_fine = -int(number.as_tuple().exponent) > 15
    return number.quantize(_FIFTEEN_DECIMALS, ROUND_HALF_UP) if too_fine else number


def held(org: OrgReader, object: str, mapping: dict[str, Any]) -> list[Record]:
    """What the Salesforce org holds in the mapped fields, read by SOQL."""
    return org.query(f"SELECT {', '.join(mapping)} FROM {object}")


def by_key(records: Iterable[Record], key: str) -> dict[str, Record]:
    """Records by their key. Fails when two have the same."""
    found = list(records)
    sorted_out = {record[key]: record for record in found}
    assert len(sorted_out) == len(found)
    return sorted_out


def copy_file(organization: Organization, source: Path, name: str) -> Path:
    """Put a file where the organization's delimited files lie, over an older one of that name."""
    to = file_of(organization, name)
    shutil.copyfile(source, to)
    return to


def load_table(connection: psycopg.Connection[Any], schema: str, name: str, file: Path, types: dict[str, str]) -> str:
    """Load a file into a new table by PostgreSQL's own COPY. types: of the columns that are not text.

    Returns `schema.table`.
    """
    with open(file, newline="", encoding="utf-8") as lines:
        columns = next(csv.reader(lines))
    table = sql.Identifier(schema, name)
    parts = [sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(types.get(column, "text"))) for column in columns]
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(table, sql.SQL(", ").join(parts)))
    copy = sql.SQL(r"COPY {} FROM STDIN (FORMAT csv, HEADER, NULL '\N')").format(table)
    with connection.cursor() as cursor, cursor.copy(copy) as stream:
        stream.write(file.read_bytes())
    return f"{schema}.{name}"


def uploaded(sandbox: SandboxProcess) -> Counter[str]:
    """Rows that Salesforce was sent so far, by operation, as the Salesforce org itself counts them."""
    rows: Counter[str] = Counter()
    for job in sandbox.state()["jobs"]:
        rows[job["operation"]] += job.get("numberRecordsProcessed", 0)
    rows.pop("query", None)
    return +rows


def writing_calls(sandbox: SandboxProcess) -> dict[str, int]:
    """How often the Salesforce org saw which call that could have changed something: all but logins and reads."""
    return {
        call: times
        for call, times in sandbox.requests()["counts"].items()
        if not call.startswith(("GET ", "HEAD ")) and "/oauth2/" not in call and "/jobs/query" not in call
    }


def outcome(job: Job) -> dict[str, int]:
    """The counts of a job that are not zero, those of records that left the source included."""
    counts = {name: rows for name, rows in job.counts.items() if isinstance(rows, int)}
    counts |= {f"dropped: {name}": rows for name, rows in job.counts.get("dropped", {}).items()}
    return {name: rows for name, rows in counts.items() if rows}
