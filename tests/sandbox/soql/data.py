"""The fixed records that queries are asked about: every field type, nulls, Unicode and quotes.

A value that starts with `@` is the id of the record of that key. The org's clock stands at NOW, a Wednesday.
"""

from __future__ import annotations

from typing import Any

NOW = "2024-05-15T10:30:00Z"

ACCOUNT_FIELDS = (
    *("Name", "Industry", "Rating", "AnnualRevenue", "NumberOfEmployees"),
    *("ParentId", "BillingCity", "Date_Added__c", "External_Id__c"),
)
ACCOUNTS: dict[str, tuple[Any, ...]] = {
    "1": ("Acme", "Banking", "Hot", 1_000_000, 100, None, "Berlin", "2024-05-15", "e1"),
    "2": ("acme labs", "Biotechnology", "Warm", 250_000, 20, "@1", "berlin", "2024-05-14", "E2"),
    "3": ("Ümlaut & Söhne", None, "Cold", None, 0, "@2", "München", "2024-04-30", None),
    "4": ('O\'Brien "Quotes" 100%', "Banking", None, 0, None, None, None, "2023-12-31", None),
    "5": ("Zeta_日本", "Apparel", "Hot", 75, 5, None, "東京", "2024-01-01", "e5"),
}

CONTACT_FIELDS = (
    *("FirstName", "LastName", "AccountId", "Email", "Birthdate", "Score__c", "Loyalty_Points__c", "Opted_In__c"),
    *("Last_Seen__c", "Skills__c", "Case_Code__c", "Title", "ReportsToId", "LeadSource", "CleanStatus"),
)
CONTACTS: dict[str, tuple[Any, ...]] = {
    "a": (
        *("Ada", "Lovelace", "@1", "ada@acme.example", "1990-12-10", 4.5, 10, True, "2024-05-15T09:00:00Z"),
        *("Math;Code", "x", "CTO", None, "Web", "Matched"),
    ),
    "b": (
        *("Bob", "Builder", "@1", "bob@acme.example", "1985-02-28", None, 20, False, "2024-05-14T23:59:59Z"),
        *("Code", "X", None, "@a", "Other", None),
    ),
    "c": (
        *("Cyd", "Álvarez", "@2", None, "2000-02-29", -1.25, None, True, "2024-04-01T00:00:00Z"),
        *("Art;Code;Math", "y", "cto", "@b", "Web", "Different"),
    ),
    "d": (
        *("Dan", "O'Neil", None, None, None, 4.5, 10, False, None),
        *(None, "z", "100% \\ sure_", None, None, None),
    ),
    "e": (
        *("eve", "adams", "@3", "eve@x.example", "1999-12-31", 0, 0, True, "2023-12-31T23:59:59Z"),
        *("Art", None, 'VP "Sales"', "@a", "Partner Referral", "Matched"),
    ),
}
# Created and deleted again.
GONE = {"FirstName": "Gone", "LastName": "Girl", "AccountId": "@1", "Score__c": 99}

OTHERS: list[tuple[str, str, dict[str, Any]]] = [
    ("m", "User", {"Username": "mia@u.example", "LastName": "Manager", "FirstName": "Mia", "Email": "mia@u.example"}),
    ("o1", "Opportunity", {"Name": "One", "AccountId": "@1", "StageName": "Prospecting", "Amount": 100.5}),
    ("o2", "Opportunity", {"Name": "Two", "AccountId": "@1", "StageName": "Closed Won", "Amount": 250.25}),
    ("o3", "Opportunity", {"Name": "Three", "AccountId": "@2", "StageName": "Closed Lost"}),
    ("o4", "Opportunity", {"Name": "Four", "StageName": "Prospecting", "Amount": 99.99}),
    ("o5", "Opportunity", {"Name": "Five", "AccountId": "@5", "StageName": "Qualification", "Amount": 1000}),
    ("k1", "Case", {"Subject": "Wheel", "AccountId": "@1", "ContactId": "@a", "Status": "New", "Priority": "High"}),
    ("k2", "Case", {"Subject": "Key", "ParentId": "@k1", "ContactId": "@b", "Status": "Working", "Priority": "Low"}),
    ("k3", "Case", {"Subject": "Noise", "Status": "Closed", "Priority": "Medium", "OwnerId": "@m"}),
    ("l1", "Lead", {"LastName": "Lead", "FirstName": "Lara", "Company": "Leads Inc", "Email": "lara@l.example"}),
    ("t1", "Task", {"Subject": "Call", "WhoId": "@a", "WhatId": "@1", "Priority": "High"}),
    ("t2", "Task", {"Subject": "Email", "WhoId": "@l1", "Status": "Completed", "OwnerId": "@m"}),
    ("t3", "Task", {"Subject": "Other", "WhatId": "@o1", "Priority": "Low"}),
    ("t4", "Task", {"Subject": "call", "WhoId": "@b", "WhatId": "@k1"}),
    ("v1", "Visit__c", {"Name": "V1", "Account__c": "@1", "Guest__c": "@a", "Rate__c": 12.5, "Rooms__c": 3}),
    ("v2", "Visit__c", {"Name": "V2", "Account__c": "@1", "Guest__c": "@d", "Rate__c": 0.25, "Rooms__c": 1}),
    ("v3", "Visit__c", {"Name": "V3", "Guest__c": "@a", "Rooms__c": 2}),
]
CLOSE_DATES = {"o1": "2024-05-15", "o2": "2024-06-30", "o3": "2024-03-31", "o4": "2023-05-15", "o5": "2025-01-01"}
USER_DEFAULTS = {
    "Alias": "mia",
    "TimeZoneSidKey": "GMT",
    "LocaleSidKey": "en_US",
    "EmailEncodingKey": "UTF-8",
    "LanguageLocaleKey": "en_US",
}


def records() -> list[tuple[str, str, dict[str, Any]]]:
    """Key, object and fields of every record, parents first."""
    made = [(key, "Account", dict(zip(ACCOUNT_FIELDS, row, strict=True))) for key, row in ACCOUNTS.items()]
    made += [(key, "Contact", dict(zip(CONTACT_FIELDS, row, strict=True))) for key, row in CONTACTS.items()]
    made += [("gone", "Contact", GONE)]
    for key, object_name, given in OTHERS:
        extra = {"CloseDate": CLOSE_DATES[key]} if object_name == "Opportunity" else {}
        made.append((key, object_name, {**given, **extra, **(USER_DEFAULTS if object_name == "User" else {})}))
    return made
