"""Every error code in every channel: what the rows of the table are answered with, and that none is written."""

from __future__ import annotations

import re
from itertools import groupby

import pytest

from tests.sandbox.conftest import Client
from tests.sandbox.rows.channels import CHANNELS, Error, control
from tests.sandbox.rows.table import CASES, Case

# The records the rows of the table are about, by name.
WORLD: dict[str, tuple[str, dict[str, str]]] = {
    "account": ("Account", {"Name": "Main", "Code__c": "main"}),
    "held": ("Account", {"Name": "Held"}),
    "gone": ("Account", {"Name": "Gone"}),
    "bank": ("Account", {"Name": "Bank", "Industry": "Banking"}),
    "twin_1": ("Account", {"Name": "Twin", "Code__c": "twice"}),
    "twin_2": ("Account", {"Name": "Twin", "Code__c": "twice"}),
    "taken": (
        "Contact",
        {"LastName": "Müller", "FirstName": "Ann", "External_Id__c": "taken", "Badge__c": "B1", "Phone": "555"},
    ),
    "deleted": ("Contact", {"LastName": "Deleted"}),
    "locked": ("Contact", {"LastName": "Locked"}),
    "boss": ("Contact", {"LastName": "Boss", "Title": "Boss"}),
    "kept": ("Contact", {"LastName": "Kept", "Title": "Keep"}),
    "several_1": ("Contact", {"LastName": "Several", "Legacy_Code__c": "several"}),
    "several_2": ("Contact", {"LastName": "Several", "Legacy_Code__c": "several"}),
    "lead": ("Lead", {"LastName": "Lead", "Company": "C"}),
    "converted": ("Lead", {"LastName": "Converted", "Company": "C"}),
}


def _world(client: Client) -> dict[str, str]:
    """Make the records of `WORLD`; their ids by name."""
    types = {row["DeveloperName"]: row["Id"] for row in client.query("SELECT Id, DeveloperName FROM RecordType")}
    records = [{"attributes": {"type": name}, **fields} for name, fields in WORLD.values()]
    made = client.call("POST", "/composite/sobjects", json={"records": records}).json()
    known = {name: str(each["id"]) for name, each in zip(WORLD, made, strict=True)}
    known.update(vip=types["VIP"], old=types["Old"], taken15=known["taken"][:15])
    known["idle"] = client.query("SELECT Id FROM User WHERE Alias = 'idle'")[0]["Id"]
    client.create("Case", AccountId=known["account"])
    client.call("DELETE", "/composite/sobjects", params={"ids": f"{known['gone']},{known['deleted']}"})
    control(client, "convert", {"lead": known["converted"], "accountId": known["account"]})
    control(client, "lock", {"ids": [known["locked"]]})
    control(client, "hold", {"ids": [known["held"]]})
    return known


def _check(case: Case, error: Error | None, world: dict[str, str]) -> str | None:
    """What is wrong with the answer to a case; None when it is as the table says."""
    if error is None:
        return f"{case.row} was written"
    code, message, fields = error
    wanted = re.sub(r"\{([a-z]\w*)\}", lambda found: world[found[1]], case.message)
    fits = code == case.code and re.fullmatch(wanted, message, re.DOTALL) and sorted(fields) == sorted(case.fields)
    return None if fits else f"{case.row}: {error}, not {case.code} {wanted} {case.fields}"


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_rule_refuses_its_row_with_code_message_and_fields(ruled: Client, channel: str) -> None:
    world = _world(ruled)
    before = {each: counts["live"] for each, counts in ruled.sandbox.state()["objects"].items()}
    wrong = []
    chosen = [case for case in CASES if channel not in case.not_by]
    for (operation, name, key), group in groupby(chosen, key=lambda each: (each.operation, each.object, each.key)):
        cases = list(group)
        rows = [{title: value.format(**world) for title, value in case.row.items()} for case in cases]
        errors = CHANNELS[channel](ruled, operation, name, rows, key)
        wrong += [told for case, error in zip(cases, errors, strict=True) if (told := _check(case, error, world))]
    assert wrong == []
    assert {each: counts["live"] for each, counts in ruled.sandbox.state()["objects"].items()} == before


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_full_org_takes_no_new_record_and_still_lets_others_change(ruled: Client, channel: str) -> None:
    old = ruled.create("Contact", LastName="Old")
    control(ruled, "rules", {"storage_mb": 2 * 2 / 1024})
    send = CHANNELS[channel]
    rows = [{"LastName": "One"}, {"LastName": "Two"}]
    assert send(ruled, "insert", "Contact", rows, "") == [
        None,
        ("STORAGE_LIMIT_EXCEEDED", "storage limit exceeded", []),
    ]
    assert send(ruled, "update", "Contact", [{"Id": old, "Title": "x"}], "") == [None]
