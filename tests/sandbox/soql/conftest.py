"""A sandbox that holds the fixed records, for all tests that only ask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.sandbox.conftest import Client
from tests.sandbox.soql import data
from tests.sandbox_process import SandboxProcess


class Asked(Client):
    """A client whose answers are easy to compare; `ids` are the record ids by their key."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        super().__init__(sandbox)
        self.ids: dict[str, str] = {}

    def ask(self, soql: str, resource: str = "query") -> Any:
        """The records of a query, shortened: the value itself where only one is selected, else a tuple.

        Of a refused query, the text of its answer.
        """
        answer = self.call("GET", f"/{resource}", params={"q": self.filled(soql)})
        if answer.status_code != 200:
            return answer.text
        return [self.short(record) for record in answer.json()["records"]]

    def filled(self, text: str) -> str:
        """A text with the ids of the records it names as {key}."""
        return re.sub(r"\{(\w+)\}", lambda found: self.ids[found[1]], text)

    def short(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if "records" in value:
            assert value["done"] is True and value["totalSize"] == len(value["records"])
            return [self.short(each) for each in value["records"]]
        values = [self.short(each) for key, each in value.items() if key != "attributes"]
        return values[0] if len(values) == 1 else tuple(values)


@pytest.fixture(scope="session")
def asked() -> Iterator[Asked]:
    schema = Path(__file__).parent / "schema.json"
    with SandboxProcess(https=False, schema=schema) as sandbox:
        clock = requests.post(sandbox.http_url + "/_sandbox/clock", json={"time": data.NOW, "speed": 0}, timeout=30)
        assert clock.status_code == 200, clock.text
        client = Asked(sandbox)
        profile = client.query("SELECT Id FROM Profile LIMIT 1")[0]["Id"]
        for key, object_name, given in data.records():
            extra = {"ProfileId": profile} if object_name == "User" else {}
            fields = {name: _resolved(client.ids, value) for name, value in {**given, **extra}.items()}
            client.ids[key] = client.create(object_name, **fields)
        assert client.call("DELETE", f"/sobjects/Contact/{client.ids['gone']}").status_code == 204
        yield client


def _resolved(ids: dict[str, str], value: Any) -> Any:
    return ids[value[1:]] if isinstance(value, str) and value.startswith("@") else value
