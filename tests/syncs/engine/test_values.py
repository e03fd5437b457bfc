"""What a cell becomes, by type of field."""

from __future__ import annotations

import decimal
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connections.salesforce.ids import id18
from syncs.engine import rules
from syncs.engine.values import canonical
from syncs.spec import MappingSpec

from .factories import KEY, Loads, errors, field, make_describe, make_spec, read_csv


def encode(tmp_path: Path, cells: list[str | None], type: str, time_zone: str = "UTC", **changes: Any) -> list[Any]:
    """What is sent for each cell in a field of this type; the name of the rule for a cell that is refused."""
    mapping = {name: changes.pop(name) for name in ("when_blank", "too_precise") if name in changes}
    spec = make_spec(MappingSpec("Ext__c", "id"), MappingSpec("X__c", "x", **mapping), time_zone=time_zone)
    loads = Loads(tmp_path, spec, make_describe(KEY, field("X__c", type, **changes)))
    loads.columns = ("id", "x")
    plan = loads.plan(loads.stage([(str(number), cell) for number, cell in enumerate(cells)]))
    sent = {row["Ext__c"]: row["X__c"] for batch in plan.batches for row in read_csv(batch.file)}
    refused = {row - 1: code for row, code, _ in errors(plan.errors_file)}
    return [sent.get(str(number), refused.get(number)) for number in range(len(cells))]


def check(tmp_path: Path, expected: dict[str, str], type: str, **changes: Any) -> None:
    found = encode(tmp_path, list(expected), type, **changes)
    assert dict(zip(expected, found, strict=True)) == expected


def test_numbers_are_plain_decimals_with_one_spelling_each(tmp_path: Path) -> None:
    expected = {
        "7": "7",
        "007": "7",
        "+7": "7",
        "-7": "-7",
        "-0": "0",
        "0": "0",
        "000": "0",
        "-0.000": "0",
        "1.50": "1.5",
        "5.": "5",
        ".5": "0.5",
        "-.25": "-0.25",
        "0.001": "0.001",
        "1e3": "1000",
        "1E+3": "1000",
        "-1.5e-1": "-0.15",
        "12.5e1": "125",
        "1.230e2": "123",
        "0e99": "0",
        "0.00001e4": "0.1",
        " 12 ": "12",
        "100": "100",
        "9999999999.99999999": "9999999999.99999999",
    }
    check(tmp_path, expected, "double", precision=18, scale=8)


@pytest.mark.parametrize(
    "text",
    ["abc", "1,000", "1.2.3", "--1", "+-1", "1e", "e5", ".", "-", "1 000", "0x10", "NaN", "inf", "١٢", "1_0", "½"],
)
def test_what_is_no_number_is_refused(tmp_path: Path, text: str) -> None:
    assert encode(tmp_path, [text], "double", precision=18, scale=2) == [rules.NUMBER]


def test_a_number_must_fit_the_field(tmp_path: Path) -> None:
    expected = {
        "9999.99": "9999.99",
        "10000": rules.TOO_LARGE,
        "-10000": rules.TOO_LARGE,
        "1e500": rules.TOO_LARGE,
        "10000.001": rules.TOO_LARGE,
        "1.001": rules.TOO_PRECISE,
        "1e-500": rules.TOO_PRECISE,
        "1.0010": rules.TOO_PRECISE,
        "1.010": "1.01",
    }
    check(tmp_path, expected, "currency", precision=6, scale=2)


def test_rounding_goes_half_away_from_zero_on_decimal_digits(tmp_path: Path) -> None:
    expected = {
        "1.005": "1.01",
        "-1.005": "-1.01",
        "1.0049999999999999999999": "1",
        "2.675": "2.68",
        "0.004": "0",
        "-0.004": "0",
        "-0.005": "-0.01",
        "1e-30": "0",
        "9999.994": "9999.99",
        "9999.995": rules.TOO_LARGE,
        "10000": rules.TOO_LARGE,
        "1.5": "1.5",
        "x": rules.NUMBER,
    }
    check(tmp_path, expected, "double", precision=6, scale=2, too_precise="round")


def test_eighteen_digits_stay_exact(tmp_path: Path) -> None:
    expected = {
        "145.391998291015625": "145.391998291015625",
        "-0.123456789012345": "-0.123456789012345",
        "-0.1234567890123456": "-0.123456789012346",
        "999.9999999999999995": rules.TOO_LARGE,
        "999.999999999999999": "999.999999999999999",
    }
    check(tmp_path, expected, "double", precision=18, scale=15, too_precise="round")


def test_whole_numbers_have_digits_of_their_own(tmp_path: Path) -> None:
    expected = {
        "12345678": "12345678",
        "123456789": rules.TOO_LARGE,
        "5.0": "5",
        "5.5": rules.TOO_PRECISE,
        "1e2": "100",
    }
    check(tmp_path, expected, "int", digits=8)


def test_a_field_without_digits_before_the_point_takes_fractions_only(tmp_path: Path) -> None:
    check(tmp_path, {"0.5": "0.5", ".5": "0.5", "0": "0", "1": rules.TOO_LARGE}, "double", precision=2, scale=2)


def test_dates_are_year_month_day(tmp_path: Path) -> None:
    bad = ["2023-02-29", "1699-12-31", "4001-01-01", "2024-1-1", "20240101", "01.02.2024", "2024/01/01"]
    bad += ["2024-01-01 00:00:00", "infinity", "epoch", "2024-13-01", "0044-03-15 (BC)", "today"]
    good = ["2024-02-29", "1700-01-01", "4000-12-31", "1957-03-04"]
    check(tmp_path, {**{day: day for day in good}, **dict.fromkeys(bad, rules.DATE)}, "date")


def test_moments_are_written_in_utc_in_whole_seconds(tmp_path: Path) -> None:
    expected = {
        "2024-01-01 10:00:00+00": "2024-01-01T10:00:00.000Z",
        "2024-01-01T10:00:00Z": "2024-01-01T10:00:00.000Z",
        "2024-01-01t10:00:00z": "2024-01-01T10:00:00.000Z",
        "2024-01-01 10:00:00 UTC": "2024-01-01T10:00:00.000Z",
        "2024-01-01 10:00:00.123456+02": "2024-01-01T08:00:00.000Z",
        "2024-01-01T10:00:00.5-0530": "2024-01-01T15:30:00.000Z",
        "2024-01-01T10:00+05:45": "2024-01-01T04:15:00.000Z",
        "2024-01-01 00:30:00 +01:00": "2023-12-31T23:30:00.000Z",
        "2024-01-01T10:00:00.1234567Z": "2024-01-01T10:00:00.000Z",
        "2024-01-01": rules.DATETIME,
        "2024-01-01 24:00:00": rules.DATETIME,
        "2024-01-01 10:61:00": rules.DATETIME,
        "2024-02-30 10:00:00Z": rules.DATETIME,
        "1600-01-01 10:00:00Z": rules.DATETIME,
        "yesterday": rules.DATETIME,
        "1704103200": rules.DATETIME,
    }
    check(tmp_path, expected, "datetime", time_zone="America/New_York")


def test_a_moment_without_an_offset_is_read_in_the_time_zone_of_the_sync(tmp_path: Path) -> None:
    expected = {
        "2024-01-15 10:00:00": "2024-01-15T09:00:00.000Z",
        "2024-07-15 10:00:00": "2024-07-15T08:00:00.000Z",
        "2024-07-15T10:00": "2024-07-15T08:00:00.000Z",
        "2024-03-31 01:59:59": "2024-03-31T00:59:59.000Z",
        "2024-03-31 03:00:00": "2024-03-31T01:00:00.000Z",
        # The clocks skip it.
        "2024-03-31 02:30:00": rules.DATETIME,
        # The clocks pass it twice; the later one counts.
        "2024-10-27 02:30:00": "2024-10-27T01:30:00.000Z",
    }
    check(tmp_path, expected, "datetime", time_zone="Europe/Berlin")


def test_times_of_day_are_whole_seconds_with_a_z(tmp_path: Path) -> None:
    expected = {
        "10:00": "10:00:00.000Z",
        "23:59:59.9999": "23:59:59.000Z",
        "10:00:01.5Z": "10:00:01.000Z",
        "9:00": rules.TIME,
        "24:00": rules.TIME,
        "10:60": rules.TIME,
    }
    check(tmp_path, expected, "time")


def test_checkboxes_take_the_usual_words_and_no_others(tmp_path: Path) -> None:
    true = dict.fromkeys(["true", "TRUE", "1", "yes", "Y", "t", " T "], "true")
    false = dict.fromkeys(["false", "False", "0", "no", "N", "f"], "false")
    bad = dict.fromkeys(["x", "on", "2", "ja", "truee"], rules.BOOLEAN)
    check(tmp_path, {**true, **false, **bad}, "boolean")


def test_email_addresses_have_the_form_that_salesforce_accepts(tmp_path: Path) -> None:
    good = ["a@b.co", "first.last+tag@sub.example-1.com", "o'neil@example.com", "#!$%&*/=?^_`{|}~-@x.yz"]
    bad = ["a", "a@b", "a@", "@b.co", "a b@c.de", ".a@b.co", "a.@b.co", "a..b@c.de", "a@-b.co", "a@b-.co", "a@b..co"]
    check(tmp_path, {**{each: each for each in good}, **dict.fromkeys(bad, rules.EMAIL)}, "email", length=80)


def test_an_email_address_must_fit_the_field(tmp_path: Path) -> None:
    assert encode(tmp_path, ["a@" + "b" * 80 + ".co"], "email", length=80) == [rules.TOO_LONG]


def test_ids_get_eighteen_characters(tmp_path: Path) -> None:
    pairs = {"012000000000000": "AAA", "0015f00002JUWMV": "AA5", "00Dxx0000001gPL": "EAY", "750Do00000DmVvB": "IAV"}
    expected = {short: short + check for short, check in pairs.items()}
    expected |= {full: full for full in list(expected.values())}
    expected |= dict.fromkeys(
        ["0015f00002JUWMVAA4", "0015F00002JUWMVAA5", "0015f00002JUWM", "0015f00002JUWM-"], rules.ID
    )
    check(tmp_path, expected, "reference", reference_to=("Account",))


@settings(max_examples=25, deadline=None)
@given(st.text("abcXYZ019", min_size=15, max_size=15))
def test_the_check_characters_are_those_of_the_salesforce_client(short: str) -> None:
    with duckdb.connect() as connection:
        query = f"SELECT {canonical('id', 't', 'UTC')} FROM (SELECT ? AS t)"
        assert connection.execute(query, [short]).fetchall() == [(id18(short),)]


def test_a_restricted_picklist_takes_its_values_only(tmp_path: Path) -> None:
    values = ("Hot", "It's warm", "Cold")
    expected = {"Hot": "Hot", "It's warm": "It's warm", "hot": rules.PICKLIST, "Hot;Cold": rules.PICKLIST}
    check(tmp_path, expected, "picklist", restricted_picklist=True, picklist_values=values)


def test_an_open_picklist_takes_anything_of_its_length(tmp_path: Path) -> None:
    check(tmp_path, {"Lukewarm": "Lukewarm", "x" * 256: rules.TOO_LONG}, "picklist", picklist_values=("Hot",))


def test_multiselect_values_are_trimmed_one_by_one(tmp_path: Path) -> None:
    expected = {
        "A; B b ;": "A;B b",
        "A": "A",
        "B b;A": "B b;A",
        "A;C": rules.PICKLIST,
        "C": rules.PICKLIST,
        ";": rules.PICKLIST,
    }
    values = ("A", "B b")
    check(tmp_path, expected, "multipicklist", restricted_picklist=True, picklist_values=values, length=4099)


def test_text_keeps_every_code_point_and_loses_only_blanks_at_its_edges(tmp_path: Path) -> None:
    inner = 'a "quote", a comma,\ta tab,\r\na line\u2028break, \u200bzero width, e\u0301, \U0001f600, \u00a0inside'
    expected = {
        inner: inner,
        f"\u00a0\t\u3000{inner}\u2003\n": inner,
        "\u200bkept\u200b": "\u200bkept\u200b",
        "\\N": "\\N",
        "NULL": "NULL",
        "=1+1": "=1+1",
        "'": "'",
    }
    check(tmp_path, expected, "textarea", length=32000)


def test_length_counts_utf16_code_units(tmp_path: Path) -> None:
    expected = {
        "ééé": "ééé",
        "éééé": rules.TOO_LONG,
        "a\U0001f600": "a\U0001f600",
        "ab\U0001f600": rules.TOO_LONG,
        "abc  ": "abc",
        "日本語": "日本語",
    }
    check(tmp_path, expected, "string", length=3)


@pytest.mark.parametrize("type", ["string", "double", "date", "picklist", "boolean", "reference", "email"])
def test_the_text_that_would_clear_a_field_is_refused_by_its_own_rule(tmp_path: Path, type: str) -> None:
    assert encode(tmp_path, ["#N/A", " #N/A "], type) == [rules.RESERVED, rules.RESERVED]


@pytest.mark.parametrize("blank", [None, "", "  ", "\t\u00a0\u2009"])
def test_a_blank_leaves_the_field_alone_or_clears_it(tmp_path: Path, blank: str | None) -> None:
    for number, type in enumerate(("string", "double", "boolean", "datetime", "multipicklist")):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert encode(folder, [blank], type) == [""]
        (folder / "clear").mkdir()
        assert encode(folder / "clear", [blank], type, when_blank="clear") == ["#N/A"]


def test_a_blank_cannot_clear_a_field_that_must_have_a_value(tmp_path: Path) -> None:
    assert encode(tmp_path, ["x", None], "string", nillable=False, when_blank="clear") == ["x", rules.REQUIRED]


_numbers = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, places=None).map(str),
    st.from_regex(r"[+-]?[0-9]{1,25}(\.[0-9]{0,25})?([eE][+-]?[0-9]{1,2})?", fullmatch=True),
)


def _as_decimal(text: str, precision: int, scale: int, rounding: bool) -> str:
    """What the number must become, by Python's own exact arithmetic."""
    with decimal.localcontext(prec=400) as context:
        context.Emax, context.Emin = 10**6, -(10**6)
        number = Decimal(text)
        whole = Decimal(10) ** (precision - scale)
        if abs(number) >= whole:
            return rules.TOO_LARGE
        step = Decimal(1).scaleb(-scale)
        rounded = number.quantize(step, ROUND_HALF_UP)
        if rounded != number and not rounding:
            return rules.TOO_PRECISE
        if abs(rounded) >= whole:
            return rules.TOO_LARGE
        plain = format(rounded, "f")
        plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
        return "0" if plain in ("-0", "") else plain


@settings(max_examples=15, deadline=None)
@given(st.lists(_numbers, min_size=20, max_size=60), st.integers(0, 15), st.booleans())
def test_numbers_are_what_exact_decimal_arithmetic_makes_of_them(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], scale: int, rounding: bool
) -> None:
    how = "round" if rounding else "reject"
    folder = tmp_path_factory.mktemp("numbers")
    found = encode(folder, texts, "double", precision=18, scale=scale, too_precise=how)
    assert found == [_as_decimal(text, 18, scale, rounding) for text in texts]
