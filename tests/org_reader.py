"""Reads the sandbox by plain HTTP, with none of our own client's code: an independent witness."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import requests

from tests.sandbox_process import SandboxProcess


class OrgReader:
    """Asks a Salesforce org by SOQL over REST."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        self._sandbox = sandbox
        self._token = ""

    def _login(self) -> str:
        answer = requests.post(
            f"{self._sandbox.http_url}/services/oauth2/token",
            data={
                "grant_type": "password",
                "client_id": self._sandbox.client_id,
                "client_secret": self._sandbox.client_secret,
                "username": self._sandbox.username,
                "password": self._sandbox.password + self._sandbox.security_token,
            },
            timeout=30,
        )
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def _get(self, path: str, params: dict[str, str] | None = None) -> Any:
        for _ in range(2):
            self._token = self._token or self._login()
            headers = {"Authorization": f"Bearer {self._token}"}
            answer = requests.get(self._sandbox.http_url + path, params=params, headers=headers, timeout=60)
            if answer.status_code != 401:
                break
            self._token = ""
        assert answer.status_code == 200, answer.text
        return answer.json(parse_float=Decimal)

    def query(self, soql: str) -> list[dict[str, Any]]:
        """All records of a query, as dictionaries of its fields."""
        page = self._get("/services/data/v62.0/query", {"q": soql})
        records = page["records"]
        while not page["done"]:
            page = self._get(page["nextRecordsUrl"])
            records += page["records"]
        return [{name: value for name, value in record.items() if name != "attributes"} for record in records]

    def count(self, object: str) -> int:
        """How many records an object has."""
        return int(self._get("/services/data/v62.0/query", {"q": f"SELECT COUNT() FROM {object}"})["totalSize"])
