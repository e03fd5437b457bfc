"""The few calls that surround an upload by curl."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import requests

from sfsync.demo.data import SANDBOX_LOGIN

VERSION = "v62.0"


def token(url: str) -> str:
    """An access token of the sandbox at `url`."""
    login = {name: value for name, value in SANDBOX_LOGIN.items() if name not in ("flow", "security_token")}
    login["password"] += SANDBOX_LOGIN["security_token"]
    answer = requests.post(f"{url}/services/oauth2/token", data={"grant_type": "password", **login}, timeout=60)
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def open_job(url: str, access: str) -> str:
    """Open an upsert job. Returns its path."""
    body = {"object": "Contact", "operation": "upsert", "externalIdFieldName": "External_Id__c"}
    path = f"/services/data/{VERSION}/jobs/ingest"
    answer = requests.post(url + path, json=body, headers={"Authorization": f"Bearer {access}"}, timeout=60)
    answer.raise_for_status()
    return f"{path}/{answer.json()['id']}"


def close_job(url: str, access: str, path: str) -> None:
    """Say that the upload is complete."""
    headers = {"Authorization": f"Bearer {access}"}
    requests.patch(url + path, json={"state": "UploadComplete"}, headers=headers, timeout=60).raise_for_status()


def halves(path: Path, folder: Path) -> Iterator[Path]:
    """Cut a CSV file in two at a row boundary; a Salesforce job takes 100 MB at most."""
    with path.open("rb") as file:
        header = file.readline()
        middle = path.stat().st_size // 2
        for number in (1, 2):
            part = folder / f"half-{number}.csv"
            with part.open("wb") as out:
                out.write(header)
                while (number == 2 or file.tell() < middle) and (piece := file.read(1 << 20)):
                    out.write(piece + file.readline())
            yield part
