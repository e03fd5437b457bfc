"""What REST says around queries: columns, plans, pages, searches, the tooling API."""

from __future__ import annotations

import datetime
import time
from typing import Any

import pytest
import requests

from sandbox.schema import Schema
from sandbox.soql.compiler import compile_query
from sandbox.wire import SalesforceError
from tests.sandbox.conftest import Client
from tests.sandbox.soql.conftest import Asked

NOW = datetime.datetime(2026, 1, 1)


def _get(asked: Client, path: str, **params: str) -> Any:
    answer = asked.call("GET", path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _refusal(answer: requests.Response) -> tuple[int, str, str]:
    error = answer.json()[0]
    return answer.status_code, error["errorCode"], error["message"]


def test_a_record_nests_its_parents_and_children_with_their_attributes(asked: Asked) -> None:
    soql = asked.filled(
        "SELECT Id, Account.Name, ReportsTo.LastName, (SELECT Subject FROM Cases) FROM Contact WHERE Id = '{a}'"
    )
    base, ids = "/services/data/v60.0/sobjects", asked.ids
    assert _get(asked, "/query", q=soql) == {
        "totalSize": 1,
        "done": True,
        "records": [
            {
                "attributes": {"type": "Contact", "url": f"{base}/Contact/{ids['a']}"},
                "Id": ids["a"],
                "Account": {
                    "attributes": {"type": "Account", "url": f"{base}/Account/{ids['1']}"},
                    "Name": "Acme",
                },
                "ReportsTo": None,
                "Cases": {
                    "totalSize": 1,
                    "done": True,
                    "records": [
                        {"attributes": {"type": "Case", "url": f"{base}/Case/{ids['k1']}"}, "Subject": "Wheel"}
                    ],
                },
            }
        ],
    }


def test_polymorphic_parents_are_of_the_type_name_and_have_the_address_of_what_they_are(asked: Asked) -> None:
    record = _get(asked, "/query", q="SELECT Who.Name, Owner.Name FROM Task WHERE Subject = 'Email'")["records"][0]
    url = f"/services/data/v60.0/sobjects/Lead/{asked.ids['l1']}"
    assert record["Who"] == {"attributes": {"type": "Name", "url": url}, "Name": "Lara Lead"}
    soql = "SELECT TYPEOF Who WHEN Lead THEN Company END FROM Task WHERE Subject = 'Email'"
    record = _get(asked, "/query", q=soql)["records"][0]
    assert record["Who"] == {"attributes": {"type": "Lead", "url": url}, "Company": "Leads Inc"}


def test_counts_and_aggregate_rows(asked: Asked) -> None:
    assert _get(asked, "/query", q="SELECT COUNT() FROM Contact WHERE Score__c > 0") == {
        "totalSize": 2,
        "done": True,
        "records": [],
    }
    assert _get(asked, "/query", q="select count() from Contact limit 3")["totalSize"] == 3
    answer = _get(asked, "/query", q="SELECT COUNT(Id), MAX(Score__c) best, MIN(Score__c) FROM Contact")
    row = {"attributes": {"type": "AggregateResult"}, "expr0": 5, "best": 4.5, "expr1": -1.25}
    assert answer == {"totalSize": 1, "done": True, "records": [row]}


def test_all_of_a_kind_of_fields(asked: Asked) -> None:
    described = _get(asked, "/sobjects/Contact/describe")["fields"]
    for group, wanted in (("ALL", (True, False)), ("STANDARD", (False,)), ("CUSTOM", (True,))):
        record = asked.query(f"SELECT FIELDS({group}) FROM Contact LIMIT 1")[0]
        assert list(record) == [each["name"] for each in described if each["custom"] in wanted]
    record = asked.query("SELECT Id, (SELECT FIELDS(ALL) FROM Contacts LIMIT 200) FROM Account ORDER BY Name LIMIT 1")
    assert record[0]["Contacts"]["totalSize"] == 2


def test_the_recycle_bin_is_seen_by_query_all_only(asked: Asked) -> None:
    soql = "SELECT FirstName, IsDeleted, Account.Name FROM Contact WHERE FirstName = 'Gone'"
    assert asked.ask(soql) == []
    assert asked.ask(soql, "queryAll") == [("Gone", True, "Acme")]
    children = "SELECT Name, (SELECT FirstName FROM Contacts ORDER BY FirstName) FROM Account WHERE Name = 'Acme'"
    assert asked.ask(children, "queryAll") == [("Acme", ["Ada", "Bob", "Gone"])]


def test_a_parent_in_the_recycle_bin_still_has_its_name(client: Client) -> None:
    account = client.create("Account", Name="Old")
    client.create("Contact", LastName="Child", AccountId=account)
    assert client.call("DELETE", f"/sobjects/Account/{account}").status_code == 204
    found = client.query("SELECT LastName, Account.Name, Account.IsDeleted FROM Contact", "queryAll")
    assert [(each["LastName"], each["Account"]["Name"], each["Account"]["IsDeleted"]) for each in found] == [
        ("Child", "Old", True)
    ]


def test_columns_tell_what_a_query_shows(asked: Asked) -> None:
    soql = "SELECT Id, Name, Owner.Name, NumberOfEmployees, (SELECT LastName FROM Contacts) FROM Account"
    answer = _get(asked, "/query", q=soql, columns="true")
    columns = answer.pop("columnMetadata")
    assert answer == {"entityName": "Account", "groupBy": False, "idSelected": True, "keyPrefix": "001"}
    assert columns[0] == {
        "aggregate": False,
        "apexType": "Id",
        "booleanType": False,
        "columnName": "Id",
        "custom": False,
        "displayName": "Id",
        "foreignKeyName": None,
        "insertable": False,
        "joinColumns": [],
        "numberType": False,
        "textType": False,
        "updatable": False,
    }
    shown = [
        (each["columnName"], each["aggregate"], [one["columnName"] for one in each["joinColumns"]]) for each in columns
    ]
    assert shown == [
        ("Id", False, []),
        ("Name", False, []),
        ("Owner", False, ["Name"]),
        ("NumberOfEmployees", False, []),
        ("Contacts", True, ["LastName"]),
    ]
    assert (columns[1]["textType"], columns[3]["numberType"], columns[3]["apexType"]) == (True, True, "Integer")
    grouped = _get(asked, "/query", q="SELECT Name, COUNT(Id) n FROM Account GROUP BY Name", columns="true")
    assert grouped["groupBy"] is True
    assert [(each["columnName"], each["aggregate"]) for each in grouped["columnMetadata"]] == [
        ("Name", False),
        ("n", True),
    ]
    typed = "SELECT TYPEOF Who WHEN Lead THEN Company ELSE Name END FROM Task"
    who = _get(asked, "/query", q=typed, columns="true")["columnMetadata"][0]
    assert (who["columnName"], [each["columnName"] for each in who["joinColumns"]]) == ("Who", ["Company", "Name"])


def test_a_plan_is_explained(asked: Asked) -> None:
    soql = "SELECT Id FROM Contact WHERE Score__c > 0"
    assert _get(asked, "/query", explain=soql) == {
        "plans": [
            {
                "cardinality": 2,
                "fields": [],
                "leadingOperationType": "TableScan",
                "notes": [],
                "relativeCost": 0.4,
                "sobjectCardinality": 5,
                "sobjectType": "Contact",
            }
        ],
        "sourceQuery": soql,
    }
    assert _refusal(asked.call("GET", "/query", params={"explain": "SELECT x"}))[:2] == (400, "MALFORMED_QUERY")


def test_a_query_needs_its_text(asked: Asked) -> None:
    for path in ("/query", "/queryAll", "/tooling/query"):
        assert _refusal(asked.call("GET", path))[:2] == (400, "MALFORMED_QUERY")


def test_the_tooling_api_knows_its_own_objects(asked: Asked) -> None:
    soql = "SELECT Id,Status FROM SandboxProcess WHERE SandboxOrganization='00D000000000001' ORDER BY CreatedDate DESC"
    empty = {"size": 0, "totalSize": 0, "done": True, "queryLocator": None, "entityTypeName": None, "records": []}
    assert _get(asked, "/tooling/query", q=soql) == empty
    packages = "SELECT SubscriberPackage.Id, SubscriberPackageVersionId FROM InstalledSubscriberPackage"
    assert _get(asked, "/tooling/query/", q=packages) == empty
    users = _get(asked, "/tooling/query", q="SELECT Username FROM User WHERE Username LIKE 'mia%'")
    assert (users["size"], users["entityTypeName"], users["records"][0]["Username"]) == (1, "User", "mia@u.example")
    refused = asked.call("GET", "/tooling/query", params={"q": "SELECT Id FROM Account"})
    assert _refusal(refused)[:2] == (400, "INVALID_TYPE")
    refused = asked.call("GET", "/tooling/query", params={"q": "SELECT COUNT(Id) FROM ApexClass"})
    assert _refusal(refused)[:2] == (400, "MALFORMED_QUERY")


SEARCHES: list[tuple[str, list[Any]]] = [
    ("FIND {acme} IN NAME FIELDS RETURNING Account(Name ORDER BY Name)", ["Acme", "acme labs"]),
    ("FIND {ACME} RETURNING Account(Name WHERE Industry = 'Banking'), Contact(FirstName)", ["Acme", "Ada", "Bob"]),
    ("FIND {acme labs} RETURNING Account(Name)", ["acme labs"]),
    ('FIND {"acme labs"} RETURNING Account(Name)', ["acme labs"]),
    ("FIND {acme AND NOT labs} IN NAME FIELDS RETURNING Account(Name)", ["Acme"]),
    ("FIND {labs OR (zeta* AND 東京)} RETURNING Account(Name ORDER BY Name DESC)", ["Zeta_日本", "acme labs"]),
    ("FIND {lov*} RETURNING Contact(FirstName, Account.Name)", [("Ada", "Acme")]),
    ("FIND {lov} RETURNING Contact(FirstName)", []),
    ("FIND {love?ace} IN ALL FIELDS RETURNING Contact(FirstName)", ["Ada"]),
    ("FIND {ada@acme.example} IN EMAIL FIELDS RETURNING Contact(FirstName)", ["Ada"]),
    ("FIND {ada} IN PHONE FIELDS RETURNING Contact(FirstName)", []),
    ("FIND {müNCHEN} RETURNING Account(Name)", ["Ümlaut & Söhne"]),
    ("FIND {gone} RETURNING Contact(FirstName)", []),
    ("find {example} returning Contact(FirstName order by FirstName desc limit 2 offset 1) limit 5", ["Bob", "Ada"]),
    ("FIND {example} RETURNING Contact(FirstName), Lead(LastName) LIMIT 2", ["Ada", "Bob"]),
    ("FIND {lara} WITH SPELL_CORRECTION = false", ["{l1}"]),
]
BAD_SEARCHES = [
    ("FIND acme", "MALFORMED_SEARCH", "unexpected token: 'acme'"),
    ("FIND {a}", "MALFORMED_SEARCH", "search term must be longer than one character: a"),
    ("FIND {}", "MALFORMED_SEARCH", "The search term is empty"),
    ("FIND {(acme}", "MALFORMED_SEARCH", "unexpected token: '<EOF>'"),
    ("FIND {acme OR}", "MALFORMED_SEARCH", "unexpected token: '<EOF>'"),
    ("FIND {acme} IN SOME FIELDS", "MALFORMED_SEARCH", "unexpected token: 'SOME'"),
    ("FIND {acme} RETURNING Nothing", "INVALID_TYPE", "sObject type 'Nothing' is not supported."),
    ("FIND {acme} RETURNING Account(Nothing)", "INVALID_FIELD", "No such column 'Nothing' on entity 'Account'."),
    ("FIND {acme} RETURNING Account(COUNT(Id))", "MALFORMED_SEARCH", "Aggregate functions cannot stand in a search"),
    ("FIND {acme} RETURNING RecordType(Id)", "INVALID_TYPE", "entity type RecordType is not searchable"),
]


def test_searches_find_whole_words(asked: Asked) -> None:
    found = {}
    for sosl, _ in SEARCHES:
        records = _get(asked, "/search", q=sosl)["searchRecords"]
        found[sosl] = [asked.short(each) for each in records]
    expected = {
        sosl: [asked.filled(each) if isinstance(each, str) else each for each in answer] for sosl, answer in SEARCHES
    }
    assert found == expected
    old = asked.http.get(asked.base.replace("v60.0", "v36.0") + "/search", params={"q": "FIND {lara}"}, timeout=30)
    assert [each["Id"] for each in old.json()] == [asked.ids["l1"]]


@pytest.mark.parametrize(("sosl", "code", "message"), BAD_SEARCHES)
def test_a_search_that_cannot_be_is_refused(asked: Asked, sosl: str, code: str, message: str) -> None:
    status, found, text = _refusal(asked.call("GET", "/search", params={"q": sosl}))
    assert (status, found, message in text) == (400, code, True), text


def test_searches_by_parameters(asked: Asked) -> None:
    params = {"q": "acme", "sobject": "Account,Contact", "Account.fields": "Name", "fields": "FirstName", "in": "ALL"}
    params["Account.where"] = "Industry = 'Banking'"
    answer = _get(asked, "/parameterizedSearch", **params)["searchRecords"]
    assert [asked.short(each) for each in answer] == ["Acme", "Ada", "Bob"]
    body = {
        "q": "acme",
        "sobjects": [{"name": "Account", "fields": ["Name"], "orderBy": "Name DESC", "limit": 1}, {"name": "Contact"}],
        "fields": ["LastName"],
        "overallLimit": 2,
    }
    answer = asked.call("POST", "/parameterizedSearch", json=body).json()["searchRecords"]
    assert [asked.short(each) for each in answer] == ["acme labs", "Lovelace"]
    for bad in ({}, {"q": 1}, {"q": "acme", "sobjects": [{"name": "Account", "fields": ["Id FROM x"]}]}):
        assert _refusal(asked.call("POST", "/parameterizedSearch", json=bad))[:2] == (400, "MALFORMED_SEARCH")
    assert _refusal(asked.call("GET", "/search"))[:2] == (400, "MALFORMED_SEARCH")


def test_long_answers_keep_parents_and_children_on_every_page(client: Client) -> None:
    accounts = [client.create("Account", Name=f"Account {number}") for number in range(2)]
    rows = "".join(f"n{number:04},{accounts[number % 2]}\n" for number in range(450))
    client.load("insert", "LastName,AccountId\n" + rows)
    last = client.query("SELECT Id FROM Contact WHERE LastName = 'n0449'")[0]["Id"]
    client.create("Task", Subject="Call", WhoId=last)
    soql = "SELECT LastName, Account.Name, (SELECT Subject FROM Tasks) FROM Contact ORDER BY LastName"
    headers = {"Sforce-Query-Options": "batchSize=200"}
    answer = client.call("GET", "/query", params={"q": soql}, headers=headers).json()
    assert (answer["totalSize"], len(answer["records"]), answer["done"]) == (450, 200, False)
    seen = answer["records"]
    while not answer["done"]:
        answer = client.http.get(client.sandbox.http_url + answer["nextRecordsUrl"], timeout=30).json()
        seen += answer["records"]
    assert [each["LastName"] for each in seen] == [f"n{number:04}" for number in range(450)]
    assert {each["Account"]["Name"] for each in seen[:2]} == {"Account 0", "Account 1"}
    assert [each["Tasks"] and each["Tasks"]["totalSize"] for each in seen[-2:]] == [None, 1]
    locator = client.call("GET", "/query", params={"q": soql}, headers=headers).json()["nextRecordsUrl"]
    for wrong in ("-x", "-99999", "", "-9999999999999999999999"):
        answer = client.http.get(client.sandbox.http_url + locator.rpartition("-")[0] + wrong, timeout=30)
        assert _refusal(answer)[:2] == (400, "INVALID_QUERY_LOCATOR")
    clock = client.sandbox.http_url + "/_sandbox/clock"
    assert requests.post(clock, json={"advance": 2 * 24 * 3600 + 60}, timeout=30).status_code == 200
    fresh = {"Authorization": f"Bearer {client.sandbox.login()}"}
    answer = client.http.get(client.sandbox.http_url + locator, headers=fresh, timeout=30)
    assert _refusal(answer) == (400, "INVALID_QUERY_LOCATOR", "invalid query locator")


def test_groups_of_more_than_a_page_are_refused(client: Client) -> None:
    client.load("insert", "LastName\n" + "".join(f"n{number}\n" for number in range(2001)))
    status, code, message = _refusal(
        client.call("GET", "/query", params={"q": "SELECT LastName, COUNT(Id) FROM Contact GROUP BY LastName"})
    )
    assert (status, code) == (400, "EXCEEDED_ID_LIMIT")
    assert "does not support queryMore()" in message


def test_a_field_that_may_not_be_read_is_not_there() -> None:
    schema = Schema()

    def may_read(object_name: str, field_name: str) -> bool:
        return (object_name, field_name) not in (("Account", "Phone"), ("Contact", "ReportsToId"))

    for soql, message in (
        ("SELECT Phone FROM Account", "No such column 'Phone' on entity 'Account'."),
        ("SELECT Account.Phone FROM Contact", "No such column 'Phone' on entity 'Account'."),
        ("SELECT Id FROM Account WHERE Phone = '1'", "No such column 'Phone' on entity 'Account'."),
        ("SELECT ReportsTo.Name FROM Contact", "Didn't understand relationship 'ReportsTo' in field path."),
    ):
        with pytest.raises(SalesforceError) as refusal:
            compile_query(schema, soql, NOW, may_read=may_read)
        assert message in refusal.value.body[0]["message"]
    compiled = compile_query(schema, "SELECT FIELDS(ALL) FROM Account LIMIT 1", NOW, may_read=may_read)
    assert "Phone" not in compiled.nodes
    assert "Name" in compiled.nodes


@pytest.mark.parametrize(
    ("soql", "why"),
    [
        ("SELECT Id, Account.Name, toLabel(LeadSource) FROM Contact WHERE Id IN (SELECT WhoId FROM Task)", None),
        ("SELECT COUNT() FROM Contact", "aggregate functions"),
        ("SELECT LastName FROM Contact GROUP BY LastName", "GROUP BY"),
        ("SELECT Id FROM Contact OFFSET 1", "OFFSET"),
        ("SELECT Id, (SELECT Id FROM Cases) FROM Contact", "nested queries"),
        ("SELECT TYPEOF Who WHEN Lead THEN Company END FROM Task", "TYPEOF"),
        ("SELECT TYPEOF Parent.Owner WHEN User THEN Name END FROM Case", "TYPEOF"),
        ("SELECT MailingAddress FROM Contact", "compound data"),
    ],
)
def test_bulk_queries_run_what_is_flat(soql: str, why: str | None) -> None:
    refusal = compile_query(Schema(), soql, NOW).bulk_refusal()
    assert (refusal is None) if why is None else (why in str(refusal))


def test_limits_of_a_statement() -> None:
    schema = Schema()
    nested = "LastName = 'a'"
    for _ in range(200):
        nested = f"(Email = 'b' OR ({nested} AND Score__c > 1))"
    children = ", ".join("(SELECT Id FROM Contacts)" for _ in range(21))
    for soql, code, message in (
        ("SELECT Id FROM Contact WHERE LastName = '" + "x" * 100_000 + "'", "MALFORMED_QUERY", "longer than 100000"),
        ("SELECT Id FROM Contact WHERE LastName = '" + "x" * 4_001 + "'", "MALFORMED_QUERY", "at most 4000 characters"),
        (f"SELECT Id FROM Contact WHERE {nested}", "QUERY_TOO_COMPLICATED", "too complicated"),
        (
            "SELECT Id FROM Contact WHERE " + "NOT " * 5000 + "Id = null",
            "QUERY_TOO_COMPLICATED",
            "too complicated",
        ),
        (f"SELECT {children} FROM Account", "MALFORMED_QUERY", "at most 20 child relationship"),
        ("SELECT Id FROM Contact WHERE LastName = '\0'", "MALFORMED_QUERY", "unexpected character"),
    ):
        with pytest.raises(SalesforceError) as refusal:
            compile_query(schema, soql, NOW)
        assert (refusal.value.code, message in refusal.value.body[0]["message"]) == (code, True)
    brackets = "(" * 5000 + "LastName = 'a'" + ")" * 5000
    assert compile_query(schema, f"SELECT Id FROM Contact WHERE {brackets}", NOW).kind == "records"


def test_an_ordinary_query_is_compiled_in_less_than_five_milliseconds() -> None:
    schema = Schema()
    soql = (
        "SELECT Id, Name, Account.Name, Owner.Name FROM Contact WHERE LastName LIKE 'a%' AND (Email != null OR Phone IN"
        " ('1', '2')) AND CreatedDate > LAST_N_DAYS:30 ORDER BY LastName DESC LIMIT 100"
    )
    compile_query(schema, soql, NOW)
    durations = []
    for _ in range(20):
        started = time.perf_counter()
        compile_query(schema, soql, NOW)
        durations.append(time.perf_counter() - started)
    assert sorted(durations)[10] < 0.005
