"""What each setting means, as cases: rows of a source, what Salesforce holds before, and what it must hold after.

Rows of one group go in one job, since they have nothing to do with each other; each has a name that says what it is
about.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

LONG = "0123456789" * 5
ACME, OTHER_OWNER = "Acme", "nobody@sandbox.example"


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a source.

    name: what it is about, in the words of the table. cells: by column, those that differ from the group's. before:
    what the record holds, or None for a row that is new. after: what it must hold, or None when there must be no
    record, or the record must be as it was. code: of the row's error; "" for none.
    """

    name: str
    cells: dict[str, str]
    after: dict[str, Any] | None
    before: dict[str, Any] | None = None
    code: str = ""


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows that go in one job. mappings: by field. cells: by column, what a row holds unless it says otherwise.
    settings: further ones of the sync."""

    mappings: dict[str, Any]
    cells: dict[str, str]
    rows: tuple[Row, ...]
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


def col(name: str, **options: Any) -> dict[str, Any]:
    return {"source_column": name, **options}


KEYED = {"External_Id__c": "id", "LastName": "last"}

OPTIONS = Group(
    {
        **KEYED,
        "Title": col("leave"),
        "Department": col("clear", when_blank="clear"),
        "AssistantName": col("filled", when_blank="default", default="nobody"),
        "FirstName": col("short"),
        "MailingCity": col("cut", too_long="truncate"),
        "Tier__c": col("tier"),
        "CleanStatus": col("status", unknown_picklist="clear"),
        "OtherGeocodeAccuracy": col("accuracy", unknown_picklist="default", default="City"),
        "Score__c": col("score"),
        "Loyalty_Points__c": col("points", too_precise="round"),
        "AccountId": col("account", lookup_object="Account", lookup_field="Name"),
        "OwnerId": col("owner", lookup_object="User", lookup_field="Email", missing_parent="leave"),
        "OtherCity": col("city", replacements=[{"pattern": "^St[.] ", "replacement": "Saint "}]),
        "Fax": col("fax", trim=False),
        "OtherStreet": col("street", mandatory=True),
        "OtherState": col("state", mandatory=True, validated=False),
        "Email": col("email", validated=False),
        "OtherCountry": {"constant": "Utopia"},
        "OtherPostalCode": {"expression": "upper(city) || '-' || score"},
    },
    {"leave": "x", "clear": "x", "filled": "x", "street": "Main St 1", "state": "NY"},
    (
        Row("when blank, leave: the field is not touched", {"leave": " "}, {"Title": "old"}, {"Title": "old"}),
        Row("when blank, leave: a new record has nothing there", {"leave": ""}, {"Title": None}),
        Row("when blank, clear: set to null", {"clear": "\t\u00a0"}, {"Department": None}, {"Department": "old"}),
        Row("when blank, clear: a new record has nothing there", {"clear": ""}, {"Department": None}),
        Row("when blank, default value", {"filled": ""}, {"AssistantName": "nobody"}, {"AssistantName": "old"}),
        Row("when blank, default value, of a new record", {"filled": ""}, {"AssistantName": "nobody"}),
        Row("too long, reject", {"short": LONG}, None, code="Max Length Violation"),
        Row("too long, just not", {"short": LONG[:40]}, {"FirstName": LONG[:40]}),
        Row("too long, truncate", {"cut": LONG}, {"MailingCity": LONG[:40]}),
        Row("unknown picklist value, reject", {"tier": "Tin"}, None, {"Tier__c": "Gold"}, "Invalid Picklist Value"),
        Row("unknown picklist value: a known one goes", {"tier": " Gold "}, {"Tier__c": "Gold"}),
        Row("unknown picklist value, clear", {"status": "?"}, {"CleanStatus": None}, {"CleanStatus": "Skipped"}),
        Row("unknown picklist value, default value", {"accuracy": "?"}, {"OtherGeocodeAccuracy": "City"}),
        Row("too precise, reject", {"score": "1.234"}, None, code="Too Many Decimals"),
        Row("too precise, round", {"points": "2.5"}, {"Loyalty_Points__c": 3}),
        Row("too precise, round: what is then too large", {"points": "999999999.5"}, None, code="Number Too Large"),
        Row("missing parent, reject", {"account": "None such"}, None, code="Unresolved Lookup"),
        Row("missing parent: one that is there", {"account": ACME}, {"Account.Name": ACME}),
        Row("missing parent, leave blank", {"owner": OTHER_OWNER}, {"Owner.Username": "admin@sandbox.example"}),
        Row("replacements", {"city": "St. Moritz"}, {"OtherCity": "Saint Moritz"}),
        Row("replacements, before validation", {"city": "St. " + "x" * 35}, None, code="Max Length Violation"),
        Row("mandatory and validated: a blank rejects", {"street": " "}, None, code="Mandatory Rule Violation"),
        Row(
            "mandatory only: the row goes through, with a violation",
            {"state": ""},
            {"OtherState": None, "Title": "x"},
            code="Mandatory Rule Violation",
        ),
        Row("validated only: a blank goes", {"leave": ""}, {"Title": None, "OtherStreet": "Main St 1"}),
        Row(
            "not validated: a bad value stays behind",
            {"email": "no@address@at.all"},
            {"Email": None},
            code="Invalid Email",
        ),
        Row("a constant", {}, {"OtherCountry": "Utopia"}),
        Row("an expression", {"city": "Bonn", "score": "1.5"}, {"OtherPostalCode": "BONN-1.5", "Score__c": 1.5}),
    ),
)

WRITE_ON = Group(
    {
        **KEYED,
        "Title": col("a"),
        "FirstName": col("a", write_on="insert"),
        "Department": col("a", write_on="update"),
        "Phone": col("a", write_on="only_if_empty"),
        "Fax": col("b", write_on="only_if_empty", when_blank="clear"),
    },
    {"a": "new", "b": ""},
    (
        Row(
            "write on, of a new record",
            {},
            {"Title": "new", "FirstName": "new", "Department": None, "Phone": "new", "Fax": None},
        ),
        Row(
            "write on, of a record that holds something",
            {},
            {"Title": "new", "FirstName": "old", "Department": "new", "Phone": "old", "Fax": "old"},
            {"Title": "old", "FirstName": "old", "Department": "old", "Phone": "old", "Fax": "old"},
        ),
        Row(
            "write on, of a record that holds nothing",
            {},
            {"Title": "new", "FirstName": None, "Department": "new", "Phone": "new", "Fax": None},
            {},
        ),
        Row(
            "write on, of a blank",
            {"a": "", "b": "b"},
            {"Title": "old", "FirstName": "old", "Department": "old", "Phone": "old", "Fax": "b"},
            {"Title": "old", "FirstName": "old", "Department": "old", "Phone": "old"},
        ),
    ),
)

VALUES = Group(
    {
        **KEYED,
        "Title": col("text"),
        "Description": col("long"),
        "Birthdate": col("date"),
        "Last_Seen__c": col("moment"),
        "Opted_In__c": col("yes"),
        "Score__c": col("number"),
        "Email": col("email"),
        "Phone": col("phone"),
        "AccountId": col("account"),
        "LeadSource": col("open"),
    },
    {"yes": "no"},
    (
        Row("dates YYYY-MM-DD", {"date": "2024-02-29"}, {"Birthdate": "2024-02-29"}),
        Row("dates: no day", {"date": "2023-02-29"}, None, code="Invalid Date"),
        Row("dates: another form", {"date": "29.02.2024"}, None, code="Invalid Date"),
        Row(
            "datetimes UTC with Z", {"moment": "2024-07-01T10:00:00Z"}, {"Last_Seen__c": "2024-07-01T10:00:00.000+0000"}
        ),
        Row(
            "a naive one in the time zone",
            {"moment": "2024-07-01 10:00"},
            {"Last_Seen__c": "2024-07-01T08:00:00.000+0000"},
        ),
        Row("datetimes: no time", {"moment": "tomorrow"}, None, code="Invalid Datetime"),
        Row("booleans: YES", {"yes": "YES"}, {"Opted_In__c": True}),
        Row("booleans: f", {"yes": "f"}, {"Opted_In__c": False}, {"Opted_In__c": True}),
        Row("booleans: anything else", {"yes": "oui"}, None, code="Invalid Boolean"),
        Row("numbers: scientific", {"number": "1.2e2"}, {"Score__c": 120}),
        Row("numbers: zeros around", {"number": "+007.50"}, {"Score__c": Decimal("7.5")}),
        Row("numbers: too large", {"number": "1234"}, None, code="Number Too Large"),
        Row("numbers: too precise", {"number": "0.001"}, None, code="Too Many Decimals"),
        Row("numbers: none", {"number": "1,5"}, None, code="Invalid Number"),
        Row("ids to 18 characters", {"account": "{account15}"}, {"Account.Name": ACME}),
        Row("ids: none", {"account": "0011"}, None, code="Invalid Id"),
        Row("e-mail", {"email": "a.b+c@example.com"}, {"Email": "a.b+c@example.com"}),
        Row("e-mail: no form", {"email": "a@b"}, None, code="Invalid Email"),
        Row("phone: length", {"phone": "1" * 41}, None, code="Max Length Violation"),
        Row("text keeps every code point", {"text": "Zoë 𝒳 \u202e\"'`,;"}, {"Title": "Zoë 𝒳 \u202e\"'`,;"}),
        Row("text keeps line breaks", {"long": 'a\nb "c"\n\nd'}, {"Description": 'a\nb "c"\n\nd'}),
        Row("blanks at the edges", {"text": "\t\u00a0 x y \u00a0"}, {"Title": "x y"}),
        Row("a cell that is literally #N/A", {"text": "#N/A"}, None, {"Title": "old"}, "Reserved Value #N/A"),
        Row("open picklists take anything", {"open": "Fair"}, {"LeadSource": "Fair"}),
        Row("nothing is converted: text that looks like null", {"text": "NULL"}, {"Title": "NULL"}),
        Row("nothing is converted: zeros in front of text", {"text": "007"}, {"Title": "007"}),
    ),
    {"time_zone": "Europe/Berlin"},
)

# Of a mode: (settings, new, changed, dropped), each what becomes of a record.
MODES: dict[str, tuple[dict[str, str], str, str, str]] = {
    "insert": ({"mode": "insert"}, "inserted", "ignored", "ignored"),
    "update": ({"mode": "update"}, "ignored", "updated", "ignored"),
    "upsert": ({"mode": "upsert"}, "inserted", "updated", "ignored"),
    "mirror": ({"mode": "mirror"}, "inserted", "updated", "deleted"),
    "custom: insert, ignore, delete": (
        {"mode": "custom", "on_new": "insert", "on_changed": "ignore", "on_dropped": "delete"},
        "inserted",
        "ignored",
        "deleted",
    ),
    "custom: ignore, update, ignore": (
        {"mode": "custom", "on_new": "ignore", "on_changed": "update", "on_dropped": "ignore"},
        "ignored",
        "updated",
        "ignored",
    ),
    "custom: insert, conditional, ignore": (
        {"mode": "custom", "on_new": "insert", "on_changed": "conditional", "on_dropped": "ignore"},
        "inserted",
        "conditional",
        "ignored",
    ),
    "custom: ignore, ignore, expire": (
        {"mode": "custom", "on_new": "ignore", "on_changed": "ignore", "on_dropped": "expire"},
        "ignored",
        "ignored",
        "expired",
    ),
}
