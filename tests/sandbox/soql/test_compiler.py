from __future__ import annotations

import datetime
from typing import Any

import pytest

from sandbox.schema import Schema
from sandbox.soql.compiler import compile_query
from sandbox.wire import SalesforceError
from tests.sandbox.conftest import Client

ROWS = """LastName,External_Id__c,Case_Code__c,Score__c,Loyalty_Points__c,Birthdate,Last_Seen__c,Opted_In__c,Title,Email
Ada,a-1,x,1.5,10,2000-01-01,2024-01-01T00:00:00Z,true,100% sure,ada@x.io
bob,B-2,X,2.5,20,2000-01-02,2024-06-01T12:00:00Z,false,under_score,bob@x.io
Cyd,c-3,y,,30,,2025-01-01T00:00:00Z,true,O'Neil \\ co,
dan,d-4,z,-3,40,1999-12-31,,false,,dan@y.io
"""


def _names(client: Client, where: str) -> str:
    """Initials of the matching contacts, in order."""
    rows = client.query(f"SELECT LastName FROM Contact {where} ORDER BY LastName")
    return "".join(row["LastName"][0].lower() for row in rows)


@pytest.fixture
def loaded(client: Client) -> Client:
    assert client.load("insert", ROWS).info["numberRecordsFailed"] == 0
    return client


CONDITIONS = [
    ("", "abcd"),
    ("WHERE LastName = 'ADA'", "a"),
    ("where lastname='BOB'AND title = 'under_score'", "b"),
    ("WHERE LastName != 'ada'", "bcd"),
    ("WHERE LastName <> 'ada'", "bcd"),
    ("WHERE LastName > 'Ada' AND LastName < 'D'", "bc"),
    ("WHERE Case_Code__c = 'X'", "b"),
    ("WHERE Case_Code__c LIKE 'x'", "a"),
    ("WHERE Title = null", "d"),
    ("WHERE Title = ''", "d"),
    ("WHERE Title != NULL", "abc"),
    ("WHERE Title != '100% sure'", "bcd"),
    ("WHERE Score__c > 1.5", "b"),
    ("WHERE Score__c >= 1.50", "ab"),
    ("WHERE Score__c < 0", "d"),
    ("WHERE Score__c = -3", "d"),
    ("WHERE Score__c != 1.5", "bcd"),
    ("WHERE Loyalty_Points__c IN (10, 40)", "ad"),
    ("WHERE Loyalty_Points__c NOT IN (10, 40)", "bc"),
    ("WHERE Score__c NOT IN (1.5)", "bcd"),
    ("WHERE NOT Score__c = 1.5", "bcd"),
    ("WHERE NOT (Score__c > 1 OR LastName = 'dan')", "c"),
    ("WHERE (LastName = 'ada' OR LastName = 'bob') AND Opted_In__c = true", "a"),
    ("WHERE Opted_In__c = FALSE", "bd"),
    ("WHERE LastName IN ('ADA', 'nobody', 'Dan')", "ad"),
    ("WHERE Title IN ('x', null)", "d"),
    ("WHERE LastName NOT IN ('ADA')", "bcd"),
    ("WHERE LastName LIKE '%D%'", "acd"),
    ("WHERE LastName LIKE '_o_'", "b"),
    (r"WHERE Title LIKE '%\%%'", "a"),
    (r"WHERE Title LIKE '%\_%'", "b"),
    (r"WHERE Title = 'O\'Neil \\ co'", "c"),
    (r"WHERE Title LIKE '%\\%'", "c"),
    ("WHERE (NOT LastName LIKE 'a%')", "bcd"),
    ("WHERE Birthdate = 2000-01-01", "a"),
    ("WHERE Birthdate < 2000-01-01", "d"),
    ("WHERE Birthdate < TODAY", "abd"),
    ("WHERE Last_Seen__c > 2024-01-01T01:00:00+02:00", "abc"),
    ("WHERE Last_Seen__c = 2024-06-01T14:00:00+02:00", "b"),
    ("WHERE Last_Seen__c > 2024-06-01T12:00:00Z", "c"),
    ("WHERE Last_Seen__c < TODAY", "abc"),
    ("WHERE CreatedDate >= YESTERDAY AND CreatedDate <= TOMORROW", "abcd"),
    ("WHERE Email LIKE '%@X.IO'", "ab"),
    ("WHERE External_Id__c = 'b-2'", "b"),
]


def test_each_condition_finds_what_it_should(loaded: Client) -> None:
    found = {where: _names(loaded, where) for where, _ in CONDITIONS}
    assert found == dict(CONDITIONS)


def test_the_emulated_day_is_utc(loaded: Client) -> None:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    loaded.load("insert", f"LastName,Last_Seen__c\neve,{today}T00:00:00Z\n")
    assert _names(loaded, "WHERE Last_Seen__c = TODAY") == "e"
    assert _names(loaded, "WHERE Last_Seen__c != TODAY") == "abcd"


def test_an_id_is_found_by_its_short_and_long_form(loaded: Client) -> None:
    record_id = loaded.query("SELECT Id FROM Contact WHERE LastName = 'Cyd'")[0]["Id"]
    for form in (record_id, record_id[:15]):
        assert loaded.query(f"SELECT LastName FROM Contact WHERE Id = '{form}'") == [{"LastName": "Cyd"}]
        assert loaded.query(f"SELECT LastName FROM Contact WHERE Id IN ('{form}')") == [{"LastName": "Cyd"}]


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ("ORDER BY LastName DESC", ["dan", "Cyd", "bob", "Ada"]),
        ("ORDER BY Score__c", ["Cyd", "dan", "Ada", "bob"]),
        ("ORDER BY Score__c DESC NULLS LAST", ["bob", "Ada", "dan", "Cyd"]),
        ("ORDER BY Opted_In__c DESC, LastName LIMIT 3", ["Ada", "Cyd", "bob"]),
        ("ORDER BY LastName LIMIT 2 OFFSET 1", ["bob", "Cyd"]),
        ("ORDER BY LastName LIMIT 0", []),
        ("FOR VIEW", ["Ada", "bob", "Cyd", "dan"]),
    ],
)
def test_order_limit_and_offset(loaded: Client, tail: str, expected: list[str]) -> None:
    assert [row["LastName"] for row in loaded.query(f"SELECT LastName FROM Contact {tail}")] == expected


def test_counts(loaded: Client) -> None:
    answer = loaded.call("GET", "/query/?q=select+count()+from+Contact+where+Score__c+>+0").json()
    assert answer == {"totalSize": 2, "done": True, "records": []}
    answer = loaded.call("GET", "/query?q=SELECT COUNT(Score__c) FROM Contact").json()
    assert answer["records"] == [{"attributes": {"type": "AggregateResult"}, "expr0": 3}]


def test_an_alias_and_all_rows_are_understood(loaded: Client) -> None:
    record_id = loaded.query("SELECT c.Id FROM Contact c WHERE c.LastName = 'dan'")[0]["Id"]
    loaded.call("DELETE", f"/sobjects/Contact/{record_id}")
    assert len(loaded.query("SELECT Id FROM Contact")) == 3
    assert len(loaded.query("SELECT Id FROM Contact ALL ROWS")) == 4
    assert len(loaded.query("SELECT Id FROM Contact", "queryAll")) == 4


def test_records_carry_their_type_and_address(loaded: Client) -> None:
    record = loaded.call("GET", "/query?q=SELECT LastName, MailingAddress FROM Contact LIMIT 1").json()["records"][0]
    assert list(record) == ["attributes", "LastName", "MailingAddress"]
    assert record["attributes"]["url"].startswith("/services/data/v60.0/sobjects/Contact/003")
    assert record["MailingAddress"] is None


BAD: list[tuple[str, str, str]] = [
    ("SELECT Id FORM Contact", "MALFORMED_QUERY", "unexpected token: 'FORM'"),
    ("SELECT Id FROM", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
    ("SELECT Id FROM Contact WHERE", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
    ("SELECT Id FROM Contact WHERE LastName = 'x", "MALFORMED_QUERY", "character"),
    ("SELECT Id FROM Contact WHERE a = 'x' AND b = 'y' OR c = 'z'", "MALFORMED_QUERY", "unexpected token: 'OR'"),
    ("SELECT * FROM Contact", "MALFORMED_QUERY", "character"),
    ("SELECT Id FROM Contact LIMIT 1.5", "MALFORMED_QUERY", "unexpected token: '1.5'"),
    ("", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
    ("SELECT Id FROM Nothing", "INVALID_TYPE", "sObject type 'Nothing' is not supported."),
    ("SELECT foo FROM Contact", "INVALID_FIELD", "No such column 'foo' on entity 'Contact'."),
    ("SELECT Id FROM Contact WHERE foo = 1", "INVALID_FIELD", "No such column 'foo' on entity 'Contact'."),
    ("SELECT Acount.Name FROM Contact", "INVALID_FIELD", "Didn't understand relationship 'Acount' in field path."),
    ("SELECT Id, Id FROM Contact", "INVALID_FIELD", "duplicate field selected: Id"),
    ("SELECT Id FROM Contact WHERE LastName = 5", "INVALID_FIELD", "must be of type string and should be enclosed"),
    ("SELECT Id FROM Contact WHERE Score__c = '5'", "INVALID_FIELD", "must be of type double and should not be"),
    ("SELECT Id FROM Contact WHERE Birthdate = '2000-01-01'", "INVALID_FIELD", "must be of type date and should not"),
    ("SELECT Id FROM Contact WHERE Description = 'x'", "INVALID_FIELD", "can not be filtered in a query call"),
    ("SELECT Id FROM Contact ORDER BY Description", "MALFORMED_QUERY", "can not be sorted in a query call"),
    ("SELECT Id FROM Contact WHERE Id = 'x'", "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: x"),
    ("SELECT Id FROM Contact WHERE Score__c LIKE '5'", "INVALID_QUERY_FILTER_OPERATOR", "invalid operator on"),
    ("SELECT Id FROM Contact WHERE Birthdate = 2000-02-30", "MALFORMED_QUERY", "Invalid date"),
    ("SELECT Id FROM Contact OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"),
]


@pytest.mark.parametrize(("soql", "code", "message"), BAD)
def test_a_query_that_cannot_be_is_refused_with_its_place(client: Client, soql: str, code: str, message: str) -> None:
    answer = client.call("GET", "/query", params={"q": soql})
    assert answer.status_code == 400
    error = answer.json()[0]
    assert error["errorCode"] == code
    assert message in error["message"]


def test_the_place_of_an_error_is_drawn_as_salesforce_draws_it() -> None:
    with pytest.raises(SalesforceError) as refusal:
        compile_query(Schema(), "select count() from XYZZY", datetime.datetime(2026, 1, 1))
    assert refusal.value.body[0]["message"].startswith(
        "\nselect count() from XYZZY\n                    ^\nERROR at Row:1:Column:21\nsObject type 'XYZZY'"
    )


def test_nothing_a_query_says_reaches_the_store_as_code(loaded: Client) -> None:
    attack = "'') OR 1=1; DROP TABLE Contact; --"
    escaped = attack.replace("'", "\\'")
    assert loaded.query(f"SELECT Id FROM Contact WHERE LastName = '{escaped}'") == []
    assert loaded.query(f"SELECT Id FROM Contact WHERE LastName LIKE '{escaped}'") == []
    assert len(loaded.query("SELECT Id FROM Contact")) == 4


def test_long_results_come_in_pages_that_do_not_change_meanwhile(client: Client) -> None:
    total = 4_501
    client.load("insert", "LastName,Number_Ext__c\n" + "".join(f"n{n},{n}\n" for n in range(total)))
    seen: list[Any] = []
    answer = client.call("GET", "/query?q=SELECT Number_Ext__c FROM Contact").json()
    client.load("upsert", "Number_Ext__c,LastName\n9999,late\n", externalIdFieldName="Number_Ext__c")
    while True:
        assert answer["totalSize"] == total
        seen += [record["Number_Ext__c"] for record in answer["records"]]
        if answer["done"]:
            break
        assert answer["nextRecordsUrl"].startswith("/services/data/v60.0/query/01g")
        answer = client.http.get(client.sandbox.http_url + answer["nextRecordsUrl"], timeout=30).json()
    assert sorted(seen) == [float(n) for n in range(total)]
    gone = client.call("GET", "/query/01g000000000000AAA-2000")
    assert (gone.status_code, gone.json()[0]["errorCode"]) == (400, "INVALID_QUERY_LOCATOR")


def test_the_page_size_follows_the_header(client: Client) -> None:
    client.load("insert", "LastName\n" + "x\n" * 500)
    answer = client.call(
        "GET", "/query?q=SELECT Id FROM Contact", headers={"Sforce-Query-Options": "batchSize=200"}
    ).json()
    assert (len(answer["records"]), answer["done"], answer["totalSize"]) == (200, False, 500)
