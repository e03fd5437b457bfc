"""Each rule that refuses a row, with Salesforce's code, message and fields, in bulk and by REST."""

from __future__ import annotations

import csv
import io
from typing import Any

from tests.sandbox.conftest import Client

WRONG_TYPE = "INVALID_TYPE_ON_FIELD_IN_RECORD"
CASES: list[tuple[dict[str, str], str]] = [
    ({"LastName": ""}, "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --"),
    ({"LastName": " \t\u00a0"}, "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --"),
    (
        {"LastName": "x" * 81},
        f"STRING_TOO_LONG:Last Name: data value too large: {'x' * 81} (max length=80):LastName --",
    ),
    (
        {"Tier__c": "Wood"},
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST:Tier: bad value for restricted picklist field: Wood:Tier__c --",
    ),
    ({"Score__c": "abc"}, f"{WRONG_TYPE}:Score: value not of required type: abc:Score__c --"),
    ({"Score__c": "1_0"}, f"{WRONG_TYPE}:Score: value not of required type: 1_0:Score__c --"),
    (
        {"Score__c": "1000"},
        "NUMBER_OUTSIDE_VALID_RANGE:Score: value outside of valid range on numeric field: 1000:Score__c --",
    ),
    (
        {"Loyalty_Points__c": "1e9"},
        "NUMBER_OUTSIDE_VALID_RANGE:Loyalty Points: value outside of valid range on numeric field:"
        " 1e9:Loyalty_Points__c --",
    ),
    ({"Opted_In__c": "perhaps"}, f"{WRONG_TYPE}:Opted In: value not of required type: perhaps:Opted_In__c --"),
    ({"Birthdate": "2023-02-29"}, f"{WRONG_TYPE}:Birthdate: value not of required type: 2023-02-29:Birthdate --"),
    ({"Birthdate": "1.2.2023"}, f"{WRONG_TYPE}:Birthdate: value not of required type: 1.2.2023:Birthdate --"),
    (
        {"Last_Seen__c": "2023-01-01 10:00"},
        f"{WRONG_TYPE}:Last Seen: value not of required type: 2023-01-01 10:00:Last_Seen__c --",
    ),
    ({"Email": "nobody"}, "INVALID_EMAIL_ADDRESS:Email: invalid email address: nobody:Email --"),
    ({"Email": "a b@c.io"}, "INVALID_EMAIL_ADDRESS:Email: invalid email address: a b@c.io:Email --"),
    ({"AccountId": "xyz"}, "MALFORMED_ID:Account ID: id value of incorrect type: xyz:AccountId --"),
    (
        {"AccountId": "003000000000001"},
        "MALFORMED_ID:Account ID: id value of incorrect type: 003000000000001:AccountId --",
    ),
    ({"AccountId": "001000000000001AAA"}, "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:AccountId --"),
    (
        {"CreatedDate": "2020-01-01T00:00:00Z"},
        "INVALID_FIELD_FOR_INSERT_UPDATE:Unable to create/update fields: CreatedDate. Please check the security"
        " settings of this field and verify that it is read/write for your profile or permission set.:CreatedDate --",
    ),
]


def _csv(rows: list[dict[str, str]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def test_bulk_refuses_each_bad_row_for_its_own_reason_and_takes_the_rest(client: Client) -> None:
    rows = [{"External_Id__c": f"K{number}", "LastName": "Ok", **change} for number, (change, _) in enumerate(CASES)]
    good = {"External_Id__c": "good", "LastName": "Fine", "Email": "o'neil+x@mail.example.co.uk", "Tier__c": "Gold"}
    ended = client.load("insert", _csv([*rows, good]))
    assert ended.info["state"] == "JobComplete"
    assert (ended.info["numberRecordsProcessed"], ended.info["numberRecordsFailed"]) == (len(CASES) + 1, len(CASES))
    assert ended.errors("External_Id__c") == {f"K{number}": error for number, (_, error) in enumerate(CASES)}
    assert [row["External_Id__c"] for row in ended.success] == ["good"]


def test_rest_refuses_the_same_with_code_message_and_fields(client: Client) -> None:
    for change, error in CASES:
        if change.keys() & {"Score__c", "Opted_In__c"}:
            # A number or a boolean that is none fails the whole body as JSON.
            continue
        answer = client.call("POST", "/sobjects/Contact", json={"LastName": "Ok", **change})
        code, _, rest = error.partition(":")
        message, _, fields = rest.rpartition(":")
        assert answer.status_code == 400
        assert answer.json() == [{"message": message, "errorCode": code, "fields": [fields.removesuffix(" --")]}]


def test_more_decimals_than_the_scale_are_rounded_silently(client: Client) -> None:
    ended = client.load("insert", "LastName,Score__c\na,1.005\nb,-1.005\nc,999.994\nd,999.995\ne,1e-9\n")
    assert ended.errors("LastName").keys() == {"d"}
    scores = {row["LastName"]: row["Score__c"] for row in client.query("SELECT LastName, Score__c FROM Contact")}
    assert scores == {"a": 1.01, "b": -1.01, "c": 999.99, "e": 0.0}


def test_edges_are_trimmed_of_all_unicode_blanks_and_insides_kept(client: Client) -> None:
    content = '"LastName","Title","Description"\n"\t\u00a0 A  b\u2003","\u3000"," two\nlines \n"\n'
    assert client.load("insert", content).info["numberRecordsFailed"] == 0
    row = client.query("SELECT LastName, Title, Description FROM Contact")[0]
    assert row == {"LastName": "A  b", "Title": None, "Description": "two\nlines"}


def test_keys_are_matched_after_trimming_and_whatever_their_case(client: Client) -> None:
    client.create("Contact", LastName="Old", External_Id__c="Key-1")
    ended = client.load("upsert", 'External_Id__c,LastName\n"\u00a0kEY-1 ",New\n', externalIdFieldName="External_Id__c")
    assert ended.success[0]["sf__Created"] == "false"
    assert client.query("SELECT LastName FROM Contact") == [{"LastName": "New"}]


def test_datetimes_are_kept_in_utc_to_the_second(client: Client) -> None:
    content = (
        "LastName,Last_Seen__c\na,2024-03-01T01:30:00.750+02:00\nb,2024-03-01T01:30:00Z\nc,2024-03-01T01:30-0330\n"
    )
    assert client.load("insert", content).info["numberRecordsFailed"] == 0
    seen = {row["LastName"]: row["Last_Seen__c"] for row in client.query("SELECT LastName, Last_Seen__c FROM Contact")}
    assert seen == {
        "a": "2024-02-29T23:30:00.000+0000",
        "b": "2024-03-01T01:30:00.000+0000",
        "c": "2024-03-01T05:00:00.000+0000",
    }


def test_booleans_are_read_in_their_usual_spellings(client: Client) -> None:
    spellings = {"TRUE": True, "yes": True, "1": True, "No": False, "0": False}
    client.load("insert", "LastName,Opted_In__c\n" + "".join(f"{text},{text}\n" for text in spellings))
    rows = client.query("SELECT LastName, Opted_In__c FROM Contact")
    assert {row["LastName"]: row["Opted_In__c"] for row in rows} == spellings


def test_a_unique_value_is_refused_when_another_record_or_an_earlier_row_has_it(client: Client) -> None:
    taken = client.create("Contact", LastName="First", External_Id__c="a")
    ended = client.load("insert", "LastName,External_Id__c\none,A\ntwo,b\nthree,B\n")
    message = "DUPLICATE_VALUE:duplicate value found: External_Id__c duplicates value on record with id: {}:--"
    assert ended.errors("LastName") == {
        "one": message.format(taken[:15]),
        "three": message.format(ended.success[0]["sf__Id"][:15]),
    }
    answer = client.call("POST", "/sobjects/Contact", json={"LastName": "x", "External_Id__c": "A"})
    assert answer.json()[0]["errorCode"] == "DUPLICATE_VALUE"
    moved = client.call("PATCH", f"/sobjects/Contact/{taken}", json={"External_Id__c": "b"})
    assert moved.json()[0]["errorCode"] == "DUPLICATE_VALUE"
    own = client.call("PATCH", f"/sobjects/Contact/{taken}", json={"External_Id__c": "A"})
    assert own.status_code == 204


def test_a_deleted_record_does_not_hold_its_unique_value(client: Client) -> None:
    old = client.create("Contact", LastName="Old", External_Id__c="a")
    client.call("DELETE", f"/sobjects/Contact/{old}")
    ended = client.load("upsert", "LastName,External_Id__c\nNew,a\n", externalIdFieldName="External_Id__c")
    assert ended.success[0]["sf__Created"] == "true"
    assert ended.success[0]["sf__Id"] != old


def test_a_key_that_stands_twice_in_an_upsert_refuses_both_rows(client: Client) -> None:
    content = "External_Id__c,LastName\na,1\nb,2\nA ,3\n"
    ended = client.load("upsert", content, externalIdFieldName="External_Id__c")
    message = "DUPLICATE_VALUE:Duplicate external id specified: {}:External_Id__c --"
    assert ended.errors("LastName") == {"1": message.format("a"), "3": message.format("A")}
    assert [row["LastName"] for row in ended.success] == ["2"]


def test_an_upsert_without_a_key_or_with_one_of_several_records_is_refused(client: Client) -> None:
    ids = [client.create("Contact", LastName=name, Legacy_Code__c="dup") for name in ("A", "B")]
    content = "Legacy_Code__c,LastName\n,1\nDUP,2\n"
    ended = client.load("upsert", content, externalIdFieldName="Legacy_Code__c")
    assert ended.errors("LastName") == {
        "1": "MISSING_ARGUMENT:Legacy_Code__c not specified:Legacy_Code__c --",
        "2": "DUPLICATE_EXTERNAL_ID:Legacy_Code__c: more than one record found for external id field:"
        f" [{', '.join(ids)}]:Legacy_Code__c --",
    }


def test_an_update_by_id_refuses_missing_unknown_and_deleted_records(client: Client) -> None:
    live, deleted = (client.create("Contact", LastName=name) for name in ("Live", "Gone"))
    client.call("DELETE", f"/sobjects/Contact/{deleted}")
    ids: list[Any] = [live[:15], "", deleted, "003000000000001AAA", "nonsense", "001000000000001AAA"]
    content = "Id,Title\n" + "".join(f"{each},{number}\n" for number, each in enumerate(ids))
    ended = client.load("update", content)
    assert [(row["sf__Id"], row["sf__Created"], row["Title"]) for row in ended.success] == [(live, "false", "0")]
    assert {title: error.split(":")[0] for title, error in ended.errors("Title").items()} == {
        "1": "MISSING_ARGUMENT",
        "2": "ENTITY_IS_DELETED",
        "3": "INVALID_CROSS_REFERENCE_KEY",
        "4": "MALFORMED_ID",
        "5": "MALFORMED_ID",
    }
    assert client.query("SELECT Title FROM Contact") == [{"Title": "0"}]


def test_clearing_a_required_field_is_refused_and_any_other_clears(client: Client) -> None:
    made = client.create("Contact", LastName="Doe", Title="Boss", Department="X")
    ended = client.load("update", f"Id,LastName,Title\n{made},#N/A,#N/A\n")
    assert ended.failed[0]["sf__Error"].startswith("REQUIRED_FIELD_MISSING")
    ended = client.load("update", f"Id,LastName,Title,Department\n{made},,#N/A,\n")
    assert ended.failed == []
    assert client.query("SELECT LastName, Title, Department FROM Contact") == [
        {"LastName": "Doe", "Title": None, "Department": "X"}
    ]


def test_na_is_plain_text_by_rest(client: Client) -> None:
    client.create("Contact", LastName="#N/A")
    assert client.query("SELECT LastName FROM Contact") == [{"LastName": "#N/A"}]


def test_defaults_fill_what_a_new_record_leaves_blank(client: Client) -> None:
    client.load("insert", "LastName,Company,Status\na,X,\nb,X,#N/A\nc,X,Working\n", "Lead")
    rows = client.query("SELECT LastName, Status FROM Lead ORDER BY LastName")
    assert [row["Status"] for row in rows] == ["Open - Not Contacted", "Open - Not Contacted", "Working"]
