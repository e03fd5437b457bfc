"""Export and import of a whole org."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.sandbox.conftest import Client
from tests.sandbox_process import SandboxProcess

TEXTS = (
    "plain",
    'quo"ted',
    "comma, semi;",
    "line\nbreak",
    "line\r\nbreaks",
    "#N/A",
    "\\N",
    "NULL",
    "ünïcode 🐘",
    "' tick",
    "\ttab",
    "carriage\rreturn",
    "line\u2028separator \u0085 \u00a0",
    'long " \n' * 3000,
    ",",
    '"',
)


def _export(sandbox: SandboxProcess) -> bytes:
    answer = requests.get(f"{sandbox.http_url}/_sandbox/export", timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/zip"
    return answer.content


def _import(sandbox: SandboxProcess, content: bytes) -> requests.Response:
    return requests.post(f"{sandbox.http_url}/_sandbox/import", data=content, timeout=30)


def _files(content: bytes) -> dict[str, bytes]:
    """The files of an export; of org.json all but the time."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {each: archive.read(each) for each in archive.namelist()}
    facts = json.loads(files["org.json"])
    facts.pop("time")
    return {**files, "org.json": json.dumps(facts).encode()}


def _fill(client: Client) -> str:
    account = client.create("Account", Name="Parent", NumberOfEmployees=7, AnnualRevenue=1234567.89)
    rows = [{"LastName": text.strip()[:80], "Description": text, "AccountId": account} for text in TEXTS]
    for row in rows:
        client.create("Contact", **row, External_Id__c=f"k{rows.index(row)}")
    gone = client.create("Contact", LastName="Gone", Birthdate="2001-02-03")
    client.call("DELETE", f"/sobjects/Contact/{gone}")
    return gone


def test_an_export_brings_back_the_org_exactly(sandbox: SandboxProcess, client: Client) -> None:
    gone = _fill(client)
    soql = "SELECT FIELDS(ALL) FROM Contact ORDER BY Id LIMIT 200"
    before, content = client.query(soql, "queryAll"), _export(sandbox)
    assert len(before) == len(TEXTS) + 1
    sandbox.reset()
    client.create("Lead", LastName="A", Company="In the way")
    answer = _import(sandbox, content)
    assert (answer.status_code, answer.json()["records"] > len(TEXTS)) == (200, True)
    assert client.query(soql, "queryAll") == before
    assert client.query("SELECT Id FROM Lead") == []
    assert _files(_export(sandbox)) == _files(content)
    restored = requests.post(f"{sandbox.http_url}/_sandbox/undelete", json={"ids": [gone]}, timeout=10)
    assert restored.json()[0]["success"] is True
    assert client.create("Contact", LastName="New") > max(each["Id"] for each in before)


def _without(files: dict[str, bytes], facts: dict[str, Any]) -> None:
    del files["records/Contact.csv"]


def _other_org(files: dict[str, bytes], facts: dict[str, Any]) -> None:
    facts["org_id"] = "00D000000000009EAA"


def _unknown_object(files: dict[str, bytes], facts: dict[str, Any]) -> None:
    facts["objects"]["Nothing__c"] = facts["objects"]["Contact"]
    files["records/Nothing__c.csv"] = files["records/Contact.csv"]


def _unknown_field(files: dict[str, bytes], facts: dict[str, Any]) -> None:
    facts["objects"]["Contact"]["columns"]["Nothing__c"] = "VARCHAR"


def _other_type(files: dict[str, bytes], facts: dict[str, Any]) -> None:
    facts["objects"]["Contact"]["columns"]["LastName"] = "DATE"


def _other_header(files: dict[str, bytes], facts: dict[str, Any]) -> None:
    files["records/Contact.csv"] = files["records/Contact.csv"].replace(b"Id,", b"Key,", 1)


def _id_twice(files: dict[str, bytes], facts: dict[str, Any]) -> None:
    files["records/Contact.csv"] += files["records/Contact.csv"].splitlines(True)[1]
    facts["objects"]["Contact"]["records"] += 1


def _no_date(files: dict[str, bytes], facts: dict[str, Any]) -> None:
    files["records/Contact.csv"] = files["records/Contact.csv"].replace(b"2001-02-03", b"soon")


def _other_format(files: dict[str, bytes], facts: dict[str, Any]) -> None:
    facts["format"] = 2


def _wrong_counter(files: dict[str, bytes], facts: dict[str, Any]) -> None:
    facts["counters"]["Contact"] = "many"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_without, "lacks records/Contact.csv"),
        (_other_org, "--org-id 00D000000000009EAA"),
        (_unknown_object, "no object Nothing__c"),
        (_unknown_field, "Contact.Nothing__c is VARCHAR in the export and is none here"),
        (_other_type, "Contact.LastName is DATE in the export"),
        (_other_header, "columns of records/Contact.csv"),
        (_id_twice, "an Id of its own"),
        (_no_date, "soon"),
        (_other_format, "format 1"),
        (_wrong_counter, "counters are whole numbers"),
    ],
)
def test_a_wrong_export_is_refused_and_changes_nothing(
    sandbox: SandboxProcess, client: Client, spoil: Callable[[dict[str, bytes], dict[str, Any]], None], told: str
) -> None:
    client.create("Contact", LastName="Gone", Birthdate="2001-02-03")
    content = _export(sandbox)
    files = _files(content)
    facts = {**json.loads(files["org.json"]), "time": 1.0}
    spoil(files, facts)
    spoiled = io.BytesIO()
    with zipfile.ZipFile(spoiled, "w") as archive:
        for each, body in {**files, "org.json": json.dumps(facts).encode()}.items():
            archive.writestr(each, body)
    answer = _import(sandbox, spoiled.getvalue())
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "BAD_EXPORT")
    assert told in answer.json()[0]["message"]
    assert _files(_export(sandbox)) == _files(content)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_export_is_refused(sandbox: SandboxProcess, content: bytes) -> None:
    answer = _import(sandbox, content)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "BAD_EXPORT")


def test_a_sandbox_starts_from_an_export_with_its_schema(tmp_path: Path) -> None:
    plants = tmp_path / "plants.json"
    plants.write_text('{"name": "Plant__c", "fields": [{"name": "Name", "length": 80, "nameField": true}]}')
    export = tmp_path / "org.zip"
    with SandboxProcess(https=False, schema=plants, org_id="00D000000000042") as first:
        Client(first).create("Plant__c", Name="Fern")
        export.write_bytes(_export(first))
    plants.unlink()
    with SandboxProcess(https=False, **{"import": export}) as second:
        assert second.state()["org_id"].startswith("00D000000000042")
        assert [each["Name"] for each in Client(second).query("SELECT Name FROM Plant__c")] == ["Fern"]
