"""Describe, lists of objects, and small queries."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connections.salesforce import bulk
from connections.salesforce.describe import Field, ObjectDescribe, parse_object
from connections.salesforce.discover import describe_object, list_objects
from connections.salesforce.errors import FilterRefused, MisconfiguredError, PermanentError
from connections.salesforce.ids import id18
from connections.salesforce.query import count, records_by_key, rows, soql_text
from connections.salesforce.session import SalesforceSession
from tests.connections.salesforce.scripted import ScriptedServer, answer
from tests.connections.salesforce.sessions import sandbox_session, scripted_session
from tests.sandbox_process import SandboxProcess

RECORDINGS = Path(__file__).resolve().parents[3] / ".." / "shared" / "salesforce" / "describe"


def insert(session: SalesforceSession, object: str, *records: dict[str, Any]) -> list[str]:
    return [str(session.request("POST", f"sobjects/{object}", json=record).json()["id"]) for record in records]


def test_an_object_is_described_with_what_a_mapping_needs(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        account = describe_object(session, "Account")
        assert session.calls == 2
    assert (account.name, account.key_prefix, account.createable) == ("Account", "001", True)
    name = account.field("NAME")
    assert name is not None and name.name == "Name"
    assert (name.type, name.length, name.required_on_insert) == ("string", 255, True)
    symbol = account.fields["Symbol__c"]
    assert symbol.external_id and symbol.unique and symbol.id_lookup and not symbol.required_on_insert
    owner = account.fields["OwnerId"]
    assert (owner.type, owner.reference_to, owner.relationship_name) == ("reference", ("User",), "Owner")
    assert account.field("Nope") is None


def test_an_object_that_is_not_there_is_told(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        for name in ("NoSuch__c", "../limits", "Account?x", ""):
            with pytest.raises(MisconfiguredError, match="no object '.*Check its API name"):
                describe_object(session, name)


def test_all_objects_are_listed(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        found = {item.name: item for item in list_objects(session)}
    assert {"Account", "Contact", "Lead", "Opportunity", "Case", "Campaign", "Task", "User"} <= set(found)
    assert found["Account"].createable and found["Account"].key_prefix == "001"


def test_a_describe_survives_json(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        contact = describe_object(session, "Contact")
    assert ObjectDescribe.from_json(json.loads(json.dumps(contact.to_json()))) == contact


def test_recorded_describes_are_understood() -> None:
    if not RECORDINGS.is_dir():
        pytest.skip("the recorded describes are not beside the project")
    lead = parse_object(json.loads((RECORDINGS / "Lead.json").read_text()))
    assert [field.name for field in lead.fields.values() if field.required_on_insert] == ["LastName", "Company"]
    assert lead.fields["OwnerId"].reference_to == ("Group", "User")
    account = parse_object(json.loads((RECORDINGS / "Account.json").read_text()))
    assert account.fields["BillingStreet"].compound_field_name == "BillingAddress"
    assert account.fields["CleanStatus"].restricted_picklist
    assert account.fields["CleanStatus"].picklist_values


def test_only_active_picklist_values_are_kept() -> None:
    values = [{"value": "A", "active": True}, {"value": "B", "active": False}, {"value": "C", "active": True}]
    described = {"name": "X", "fields": [{"name": "F", "type": "picklist", "picklistValues": values}]}
    assert parse_object(described).fields["F"].picklist_values == ("A", "C")


def test_records_are_plain_dictionaries_without_attributes(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        insert(session, "Contact", {"LastName": "Zoë O'Neil"})
        assert list(rows(session, "SELECT LastName, Phone FROM Contact")) == [{"LastName": "Zoë O'Neil", "Phone": None}]
        for name, count in (("Zoë O'Neil", 1), ("'", 0), ("x' OR Name != '", 0)):
            found = rows(session, f"SELECT Id FROM Contact WHERE LastName = {soql_text(name)}")
            assert len(list(found)) == count
        with pytest.raises(PermanentError, match="MALFORMED_QUERY"):
            list(rows(session, "SELECT FROM"))
    inner = '{"attributes":{"type":"Account"},"Name":"Acme"}'
    page = f'{{"done":true,"records":[{{"attributes":{{}},"LastName":"A","Account":{inner}}}]}}'
    with ScriptedServer(answer("200 OK", page)) as server, scripted_session(server.url) as session:
        assert list(rows(session, "SELECT LastName, Account.Name FROM Contact")) == [
            {"LastName": "A", "Account": {"Name": "Acme"}}
        ]


def test_a_result_of_several_pages_is_whole(sandbox: SandboxProcess, tmp_path: Path) -> None:
    (tmp_path / "batch.csv").write_text("Name\n" + "".join(f"N{number}\n" for number in range(4500)))
    with sandbox_session(sandbox) as session:
        job = bulk.create_job(session, "Account", "insert")
        bulk.upload(session, job.id, tmp_path / "batch.csv")
        bulk.close(session, job.id)
        while not bulk.state(session, job.id).terminal:
            time.sleep(0.02)
        before = session.calls
        assert {row["Name"] for row in rows(session, "SELECT Name FROM Account")} == {f"N{n}" for n in range(4500)}
        assert session.calls - before == 3


PATHS = ["Id", "External_Id__c"]


def test_text_is_quoted_so_that_it_stays_text() -> None:
    assert soql_text("a'b\\c\nd\"e") == "'a\\'b\\\\c\\nd\\\"e'"


def test_records_are_found_by_key_with_the_key_as_salesforce_holds_it(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        key = describe_object(session, "Account").fields["External_Id__c"]
        keys = ["a-1", "O'Neil", "Zoë", 'q"uote', "back\\slash", "x,y", "with space"]
        ids = insert(session, "Account", *({"Name": "N", "External_Id__c": value} for value in keys))
        before = session.calls
        found = dict(
            records_by_key(session, "Account", PATHS, [key], [(each,) for each in (*keys, "not there", "A-1")])
        )
        assert session.calls - before == 1
    assert found == dict(zip(ids, keys, strict=True))


def test_records_are_found_by_several_fields_with_what_their_parents_hold(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        describe = describe_object(session, "Contact")
        keys = [describe.fields["LastName"], describe.fields["Birthdate"]]
        (parent,) = insert(session, "Account", {"Name": "Acme"})
        rows_of = [("Roe", "1990-01-02"), ("Roe", "1991-01-02"), ("O'Neil", "1990-01-02")]
        people = [{"LastName": last, "Birthdate": born, "AccountId": parent} for last, born in rows_of]
        ids = insert(session, "Contact", *people, {"LastName": "Roe"})
        paths = ["Id", "LastName", "Account.Name"]
        wanted = [("Roe", "1990-01-02"), ("O'Neil", "1990-01-02"), ("Nobody", "1990-01-02")]
        found = set(records_by_key(session, "Contact", paths, keys, wanted))
        assert found == {(ids[0], "Roe", "Acme"), (ids[2], "O'Neil", "Acme")}
        assert not list(records_by_key(session, "Contact", paths, keys, wanted, "Account.Name = 'Other'"))


def test_many_keys_are_cut_into_calls_that_fit(sandbox: SandboxProcess) -> None:
    key = Field("External_Id__c", "External Id", "string")
    with sandbox_session(sandbox) as session:
        insert(session, "Account", *({"Name": "N", "External_Id__c": f"k{number}"} for number in (0, 199, 200, 449)))
        before = session.calls
        assert (
            len(list(records_by_key(session, "Account", PATHS, [key], [(f"k{number}",) for number in range(450)]))) == 4
        )
        assert session.calls - before == 3
        before = session.calls
        long = [("é" * 40 + str(number),) for number in range(200)]
        assert list(records_by_key(session, "Account", PATHS, [key], long)) == []
        assert 4 < session.calls - before < 10
        assert list(records_by_key(session, "Account", PATHS, [key], [])) == []


def test_no_query_is_longer_than_salesforce_takes() -> None:
    page = answer("200 OK", '{"done":true,"records":[]}')
    key = Field("External_Id__c", "External Id", "string")
    with ScriptedServer(*[page] * 20) as server, scripted_session(server.url) as session:
        assert (
            list(records_by_key(session, "Account", PATHS, [key], [("é" * 40 + str(number),) for number in range(200)]))
            == []
        )
        lengths = [len(head.split("\r\n")[0]) for head in server.seen[1:]]
    assert len(lengths) > 3
    assert max(lengths) < 12_100


def test_number_keys_are_not_quoted() -> None:
    page = '{"done":true,"totalSize":2,"records":[{"Id":"001A","N__c":7.0},{"Id":"001B","N__c":12.50}]}'
    key = Field("N__c", "N", "double")
    with ScriptedServer(answer("200 OK", page)) as server, scripted_session(server.url) as session:
        found = list(records_by_key(session, "Thing__c", ["Id", "N__c"], [key], [("7",), ("1.25E1",)]))
        assert found == [("001A", "7"), ("001B", "12.5")]
        assert "IN+%287%2C12.5%29" in server.seen[-1]
        with pytest.raises(MisconfiguredError, match="'x' is not a number"):
            list(records_by_key(session, "Thing__c", ["Id"], [key], [("x",)]))
        with pytest.raises(MisconfiguredError, match="not an API name"):
            list(records_by_key(session, "Thing__c WHERE Id != null", ["Id"], [key], [("1",)]))


def test_numbers_of_a_query_are_exact(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        insert(session, "Airport__c", {"Name": "x", "Latitude__c": "-6.081689834590001"})
        [record] = rows(session, "SELECT Latitude__c FROM Airport__c")
    assert record["Latitude__c"] == Decimal("-6.081689834590001")


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("012000000000000", "012000000000000AAA"),
        ("0015f00002JUWMV", "0015f00002JUWMVAA5"),
        ("00Dxx0000001gPL", "00Dxx0000001gPLEAY"),
        ("005xx000001SwiU", "005xx000001SwiUAAS"),
    ],
)
def test_ids_get_their_check_characters(short: str, long: str) -> None:
    assert id18(short) == id18(long) == long
    for wrong in (short[:-1], long + "A", short[:-1] + "-"):
        with pytest.raises(ValueError, match="is not a Salesforce id"):
            id18(wrong)


def test_records_that_meet_a_filter_are_counted(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        insert(session, "Account", {"Name": "One"}, {"Name": "Two"}, {"Name": "Three"})
        calls = session.calls
        assert count(session, "Account", "Name LIKE 'T%'") == 2
        assert count(session, "Account", "") == 3
        assert session.calls == calls + 2


@pytest.mark.parametrize(
    ("where", "at"),
    [
        ("Nope__c = 1", "Nope__c"),
        ("Name = 'One' AND Nope__c = 1", "Nope__c"),
        ("Name = 'One'\nAND Nope__c = 1", "Nope__c"),
        ("Name = 'One' LIMIT 1", "LIMIT"),
        ("Name ! 'One'", "!"),
    ],
)
def test_a_filter_that_salesforce_does_not_take_is_told_with_its_position(
    sandbox: SandboxProcess, where: str, at: str
) -> None:
    with sandbox_session(sandbox) as session, pytest.raises(FilterRefused) as caught:
        count(session, "Account", where)
    assert caught.value.position is not None
    assert where[caught.value.position - 1 :].startswith(at), (str(caught.value), caught.value.position)


def test_a_filter_that_is_too_long_is_not_sent(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        calls = session.calls
        with pytest.raises(FilterRefused, match="longer than Salesforce takes"):
            count(session, "Account", "Name = '" + "x" * 20_000 + "'")
        assert session.calls == calls
