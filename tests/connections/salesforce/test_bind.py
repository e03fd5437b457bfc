"""Parameters in SOQL conditions: each value becomes a literal of the field that it is compared with."""

from __future__ import annotations

from typing import Any

import pytest

from connections.salesforce.bind import bind
from connections.salesforce.describe import Field, ObjectDescribe
from connections.salesforce.errors import FilterRefused
from connections.salesforce.query import count
from tests.connections.salesforce.sessions import sandbox_session
from tests.sandbox_process import SandboxProcess

VALUES = {
    "text": "O'Neil\\",
    "least": "1e3",
    "flag": "True",
    "day": "2024-01-31",
    "moment": "2024-01-31 08:00",
    "literal": "last_n_days:7",
    "n": "30",
    "none": " ",
    "loose": "1_0",
}


def _object(name: str, **types: str) -> ObjectDescribe:
    fields = {field: Field(field, field, type) for field, type in types.items()}
    return ObjectDescribe(name, name, True, True, True, True, None, fields)


def _described(name: str) -> ObjectDescribe:
    if name == "Person":
        return _object("Person", Age__c="double")
    if name == "User":
        return _object("User", Name="string", IsActive="boolean")
    found = _object(
        "Account", Name="string", Amount__c="currency", Active__c="boolean", Day__c="date", CreatedDate="datetime"
    )
    found.fields["OwnerId"] = Field("OwnerId", "Owner", "reference", reference_to=("User",), relationship_name="Owner")
    several = Field("AnyId", "Any", "reference", reference_to=("Account", "User"), relationship_name="Any")
    found.fields["AnyId"] = several
    return found


def _bound(condition: str, **more: Any) -> str:
    return bind(condition, VALUES, "Account", _described, **more).text


@pytest.mark.parametrize(
    ("condition", "bound"),
    [
        ("Name = @text", "Name = 'O\\'Neil\\\\'"),
        ("name LIKE @text", "name LIKE 'O\\'Neil\\\\'"),
        ("Account.Name != @n", "Account.Name != '30'"),
        ("Amount__c >= @least", "Amount__c >= 1000"),
        ("Active__c=@flag", "Active__c=true"),
        ("Owner.IsActive = @flag AND Any.Name = @flag", "Owner.IsActive = true AND Any.Name = 'True'"),
        ("Day__c < @day OR Day__c = @literal", "Day__c < 2024-01-31 OR Day__c = LAST_N_DAYS:7"),
        ("CreatedDate > @day", "CreatedDate > 2024-01-30T23:00:00Z"),
        ("CreatedDate > @moment", "CreatedDate > 2024-01-31T07:00:00Z"),
        ("CreatedDate = LAST_N_DAYS:@n", "CreatedDate = LAST_N_DAYS:30"),
        ("CALENDAR_YEAR(CreatedDate) = @n", "CALENDAR_YEAR(CreatedDate) = 30"),
        ("DAY_ONLY(convertTimezone(CreatedDate)) = @day", "DAY_ONLY(convertTimezone(CreatedDate)) = 2024-01-31"),
        ("Name IN (@text, 'b', @n)", "Name IN ('O\\'Neil\\\\', 'b', '30')"),
        ("(NOT Name NOT IN (@n))", "(NOT Name NOT IN ('30'))"),
        ("Name = @none", "Name = null"),
        (
            "Id IN (SELECT AccountId FROM Person WHERE Age__c > @n) AND Name = @n",
            "Id IN (SELECT AccountId FROM Person WHERE Age__c > 30) AND Name = '30'",
        ),
        ("Name = 'a@least.com' AND Name = '\\'@n'", "Name = 'a@least.com' AND Name = '\\'@n'"),
        ("Name = @", "Name = @"),
    ],
)
def test_a_value_is_written_as_its_field_needs_it(condition: str, bound: str) -> None:
    assert _bound(condition, time_zone="Europe/Berlin") == bound


@pytest.mark.parametrize(
    ("condition", "position", "told"),
    [
        ("Name = @nope", 8, "no such parameter; it has @day"),
        ("Amount__c > @loose", 13, "its value '1_0' is compared with Amount__c, which needs a number"),
        ("Amount__c > @text", 13, "its value 'O'Neil\\' is compared with Amount__c, which needs a number"),
        ("Active__c = @n", 13, "needs true or false"),
        ("Day__c = @moment", 10, "a day such as 2024-01-31"),
        ("CreatedDate > @text", 15, "a date-time such as"),
        ("CreatedDate = LAST_N_DAYS:@text", 27, "is no whole number"),
        ("Nope__c = @n", 11, "Account has no field 'Nope__c'"),
        ("Nope.Name = @n", 13, "no relationship 'Nope'"),
        ("@text = 'x'", 1, "stands for a value"),
        ("Name = 'a' AND @text", 16, "stands for a value"),
        ("FIND(@text)", 6, "stands for a value"),
        ("(Name) = @n", 10, "stands for a value"),
    ],
)
def test_what_cannot_be_bound_is_told_with_its_place(condition: str, position: int, told: str) -> None:
    with pytest.raises(FilterRefused) as caught:
        _bound(condition)
    assert caught.value.position == position and told in str(caught.value)


def test_a_time_zone_that_there_is_not_is_told() -> None:
    with pytest.raises(FilterRefused, match="there is no time zone 'Europe/Nowhere'"):
        _bound("CreatedDate > @moment", time_zone="Europe/Nowhere")


def test_nothing_is_asked_for_a_condition_without_parameters() -> None:
    def never(name: str) -> ObjectDescribe:
        raise AssertionError(name)

    assert bind("Name = 'x'", {"x": "1"}, "Account", never).text == "Name = 'x'"


def test_a_place_in_what_was_sent_is_told_of_what_was_written() -> None:
    written = "Name = @text AND Nope = @least"
    found = bind("Name = @text AND Nope = 1", VALUES, "Account", _described)
    assert found.written(found.text.index("Nope") + 1) == written.index("Nope") + 1
    assert found.written(found.text.index("Neil") + 1) == written.index("@text") + 1
    assert found.written(1) == 1


def test_a_value_stays_a_value_whatever_it_holds(sandbox: SandboxProcess) -> None:
    with sandbox_session(sandbox) as session:
        for name in ("x' OR Name != '", "plain"):
            session.request("POST", "sobjects/Account", json={"Name": name})
        values = {"name": "x' OR Name != '"}
        assert count(session, "Account", bind("Name = @name", values, "Account", _described).text) == 1
