"""A person who edits records of the sandbox by hand, with none of our own client's code."""

from __future__ import annotations

from typing import Any

import requests

from tests.sandbox_process import SandboxProcess


class OrgHand:
    """Makes, changes and deletes single records over REST."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        self._sandbox = sandbox
        self._headers: dict[str, str] = {}

    def insert(self, object: str, **fields: Any) -> str:
        """A new record; its id."""
        return str(self._call("POST", object, fields)["id"])

    def update(self, object: str, record_id: str, **fields: Any) -> None:
        self._call("PATCH", f"{object}/{record_id}", fields)

    def delete(self, object: str, record_id: str) -> None:
        self._call("DELETE", f"{object}/{record_id}")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        self._headers = self._headers or {"Authorization": f"Bearer {self._sandbox.login()}"}
        url = f"{self._sandbox.http_url}/services/data/v62.0/sobjects/{path}"
        answer = requests.request(method, url, json=body, headers=self._headers, timeout=30)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None
