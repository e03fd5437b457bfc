from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.soql import refused, table
from tests.sandbox.soql.conftest import Asked


def _keys(asked: Asked, soql: str) -> str:
    by_id = {record_id: key for key, record_id in asked.ids.items()}
    return "".join(sorted(by_id.get(each, each)[-1:] for each in asked.ask(soql)))


def test_each_condition_finds_what_it_should(asked: Asked) -> None:
    found = {tail: _keys(asked, f"SELECT Id FROM Contact {tail}") for tail, _ in table.CONTACTS}
    assert found == dict(table.CONTACTS)


def test_date_literals_are_of_the_clock_of_the_organization(asked: Asked) -> None:
    found = {tail: _keys(asked, f"SELECT Id FROM Account WHERE Date_Added__c {tail}") for tail, _ in table.DATES}
    assert found == dict(table.DATES)
    found = {tail: _keys(asked, f"SELECT Id FROM Opportunity WHERE CloseDate {tail}") for tail, _ in table.CLOSE_DATES}
    assert found == dict(table.CLOSE_DATES)


def test_each_query_has_its_answer(asked: Asked) -> None:
    asked.ids["case"] = asked.query("SELECT CaseNumber FROM Case WHERE Subject = 'Wheel'")[0]["CaseNumber"]

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return asked.filled(value)
        return type(value)(filled(each) for each in value) if isinstance(value, list | tuple) else value

    found = {soql: asked.ask(soql) for soql, _ in table.ANSWERS}
    assert found == {soql: filled(expected) for soql, expected in table.ANSWERS}


@pytest.mark.parametrize(("soql", "code", "message"), refused.REFUSED)
def test_what_cannot_be_asked_is_refused(asked: Asked, soql: str, code: str, message: str) -> None:
    answer = asked.call("GET", "/query", params={"q": soql})
    assert answer.status_code == 400, answer.text
    error = answer.json()[0]
    assert (error["errorCode"], message in error["message"]) == (code, True), error


def test_the_table_is_as_long_as_it_is_said_to_be() -> None:
    assert len(table.CONTACTS) + len(table.DATES) + len(table.CLOSE_DATES) + len(table.ANSWERS) >= 150
    assert len(refused.REFUSED) >= 40
