"""Every error code in every channel: what the rows of the table are answered with, and that none is written."""

from __future__ import annotations

import re
from itertools import groupby

import pytest

from tests.sandbox.conftest import Client
from tests.sandbox.rows.channels import CHANNELS, Error, control
from tests.sandbox.rows.table import CASES, Case


def _world(client: Client) -> dict[str, str]:
    """The records the rows of the table are about, by name."""
    types = {row["DeveloperName"]: row["Id"] for row in client.query("SELECT Id, DeveloperName FROM RecordType")}
    known = {
        "vip": types["VIP"],
        "old": types["Old"],
        "account": client.create("Account", Name="Main", Code__c="main"),
        "held": client.create("Account", Name="Held"),
        "gone": client.create("Account", Name="Gone"),
        "bank": client.create("Account", Name="Bank", Industry="Banking"),
        "taken": client.create(
            "Contact", LastName="Müller", FirstName="Ann", External_Id__c="taken", Badge__c="B1", Phone="555"
        ),
        "deleted": client.create("Contact", LastName="Deleted"),
        "locked": client.create("Contact", LastName="Locked"),
        "boss": client.create("Contact", LastName="Boss", Title="Boss"),
        "kept": client.create("Contact", LastName="Kept", Title="Keep"),
        "lead": client.create("Lead", LastName="Lead", Company="C"),
        "converted": client.create("Lead", LastName="Converted", Company="C"),
        "idle": client.query("SELECT Id FROM User WHERE Alias = 'idle'")[0]["Id"],
    }
    for _ in range(2):
        client.create("Account", Name="Twin", Code__c="twice")
        client.create("Contact", LastName="Twin", Legacy_Code__c="several")
    client.create("Case", AccountId=known["account"])
    client.call("DELETE", f"/sobjects/Account/{known['gone']}")
    client.call("DELETE", f"/sobjects/Contact/{known['deleted']}")
    control(client, "convert", {"lead": known["converted"], "accountId": known["account"]})
    control(client, "lock", {"ids": [known["locked"]]})
    control(client, "hold", {"ids": [known["held"]]})
    return {**known, "taken15": known["taken"][:15]}


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
