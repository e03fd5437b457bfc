"""Plans for real tables: two states of the S&P 500, and the airports of the world."""

from __future__ import annotations

import csv
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from syncs.engine import rules
from syncs.engine.stage import Staged
from syncs.spec import MappingSpec

from .factories import Loads, actions, errors, field, make_describe, make_spec, read_csv, table

DATA = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not beside the repository")

_COMPANY = {
    "Symbol": field("Symbol__c", length=20, external_id=True, unique=True),
    "Security": field("Name", length=255, nillable=False),
    "GICS Sector": field("Sector__c", "picklist"),
    "GICS Sub-Industry": field("Sub_Industry__c"),
    "Headquarters Location": field("Headquarters__c"),
    "Date added": field("Date_Added__c", "date"),
    "CIK": field("CIK__c", "double", precision=10, scale=0, external_id=True, unique=True),
    "Founded": field("Founded__c"),
}
_AIRPORT = {
    "Airport ID": field("Airport_ID__c", "double", precision=18, scale=0, external_id=True, unique=True),
    "Name": field("Name", nillable=False),
    "City": field("City__c"),
    "Country": field("Country__c"),
    "IATA": field("IATA__c", length=3),
    "ICAO": field("ICAO__c", length=4),
    "Latitude": field("Latitude__c", "double", precision=18, scale=15),
    "Longitude": field("Longitude__c", "double", precision=18, scale=15),
    "Altitude": field("Altitude__c", "double", precision=18, scale=0),
    "Timezone": field("Timezone__c", "double", precision=4, scale=2),
    "DST": field("DST__c"),
    "Tz database timezone": field("Tz__c"),
    "Type": field("Type__c"),
    "Source": field("Source__c"),
}


def make(folder: Path, fields: dict[str, object], key: str, too_precise: str = "reject") -> Loads:
    mappings = (
        MappingSpec(each.name, column, too_precise=too_precise)  # type: ignore[attr-defined, arg-type]
        for column, each in fields.items()
    )
    spec = make_spec(*mappings, key_fields=(key,), mode="mirror")
    loads = Loads(folder, spec, make_describe(*fields.values()))  # type: ignore[arg-type]
    loads.org.key = key
    return loads


def read(loads: Loads, name: str) -> tuple[Staged, list[list[str | None]]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        header, *lines = list(csv.reader(file))
    rows = [[None if cell == r"\N" else cell for cell in line] for line in lines]
    loads.columns = header
    return loads.stage(rows), rows


def run(loads: Loads, name: str) -> tuple[object, object]:
    staged, _ = read(loads, name)
    plan = loads.plan(staged)
    final = loads.end(staged, plan, [answer.file for answer in loads.send(plan)])
    assert final.balanced
    return plan, final


def test_a_year_of_the_s_and_p_500(tmp_path: Path) -> None:
    loads = make(tmp_path, _COMPANY, "Symbol__c")
    _, final = run(loads, "sp500-2024-07-17.csv")
    assert final.source["inserted"] == 503  # type: ignore[attr-defined]
    staged, _ = read(loads, "sp500-2025-08-12.csv")
    plan = loads.plan(staged)
    assert {name: plan.counts[name] for name in ("upsert", "unchanged", "delete", "rejected")} == {
        "upsert": 65,
        "unchanged": 438,
        "delete": 16,
        "rejected": 0,
    }
    assert plan.guard.deletes == 16 and not plan.guard.exceeded
    final = loads.end(staged, plan, [answer.file for answer in loads.send(plan)])
    assert (final.source["inserted"], final.source["updated"], final.dropped["deleted"]) == (16, 49, 16)
    assert final.balanced and len(loads.org.records) == 503
    plan, _ = run(loads, "sp500-2025-08-12.csv")  # type: ignore[assignment]
    assert plan.batches == ()


def test_companies_that_share_a_cik_are_refused_by_row(tmp_path: Path) -> None:
    loads = make(tmp_path, _COMPANY, "CIK__c")
    staged, rows = read(loads, "sp500-2024-07-17.csv")
    plan = loads.plan(staged)
    assert (plan.counts["rejected"], plan.counts["upsert"]) == (6, 497)
    ciks = [str(int(row[6] or "0")) for row in rows]
    twice = [number for number, cik in enumerate(ciks, 1) if ciks.count(cik) > 1]
    assert errors(plan.errors_file) == [(number, rules.DUPLICATE_KEY, "CIK__c") for number in twice]
    assert f"rows {twice[0]}, " in table(plan.errors_file)[0]["message"]


def test_airports_are_trimmed_and_rounded_where_that_is_allowed(tmp_path: Path) -> None:
    loads = make(tmp_path, _AIRPORT, "Airport_ID__c", "round")
    staged, rows = read(loads, "airports.csv")
    plan = loads.plan(staged)
    assert (staged.rows, plan.counts["upsert"], plan.counts["rejected"]) == (7698, 7698, 0)
    assert plan.trimmed == {"City__c": 8}
    assert sum(plan.adjusted["rounded"].values()) == 336 and plan.adjusted["rounded"].keys() == {
        "Latitude__c",
        "Longitude__c",
    }
    sent = [row for batch in plan.batches for row in read_csv(batch.file)]
    step = Decimal("1e-15")
    for row, found in zip(rows, sent, strict=True):
        for (column, each), cell in zip(_AIRPORT.items(), row, strict=True):
            text = found[each.name]
            if each.type == "double" and cell:
                assert Decimal(text) == Decimal(cell).quantize(step, ROUND_HALF_UP), (column, row)
            else:
                assert text == (cell or "").strip(), (column, row)


def test_airports_with_more_decimals_than_the_field_has_are_refused_by_column_and_value(tmp_path: Path) -> None:
    loads = make(tmp_path, _AIRPORT, "Airport_ID__c")
    staged, rows = read(loads, "airports.csv")
    plan = loads.plan(staged)
    assert (plan.counts["rejected"], plan.counts["upsert"]) == (334, 7698 - 334)
    found = table(plan.errors_file)
    assert len(found) == 336
    for error in found:
        assert error["code"] == rules.TOO_PRECISE and error["column"] in ("Latitude", "Longitude")
        assert error["value"] == rows[error["_row"] - 1][6 if error["column"] == "Latitude" else 7]
        assert error["value"] in error["message"] and error["field"] in error["message"]
    assert sum(action == "rejected" for action in actions(plan).values()) == 334
