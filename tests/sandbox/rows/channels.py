"""The ways in which rows reach an org. Each takes rows of one operation and tells what became of every one."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from typing import Any

from tests.sandbox.conftest import Client

Error = tuple[str, str, list[str]]
Rows = list[dict[str, str]]
# Operation, object, rows, key of an upsert -> per row its error (code, message, fields), or None when it was written.
Channel = Callable[[Client, str, str, Rows, str], list[Error | None]]


def control(client: Client, path: str, body: Any = None, method: str = "POST") -> Any:
    """One of the sandbox's own calls."""
    answer = client.http.request(method, f"{client.sandbox.http_url}/_sandbox/{path}", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def nested(row: dict[str, str]) -> dict[str, Any]:
    """A row as JSON: parents by key are objects of their own, and what is blank is not there."""
    record: dict[str, Any] = {}
    for title, value in row.items():
        relationship, dot, name = title.rpartition(".")
        if dot:
            record[relationship] = {name: value}
        elif value:
            record[title] = value
    return record


def split(text: str) -> Error:
    """An error as bulk results print it: the code ends at the first colon, the fields follow the last."""
    code, _, rest = text.partition(":")
    message, _, tail = rest.rpartition(":")
    fields = tail.removesuffix("--").strip()
    return code, message, fields.split(",") if fields else []


def single(client: Client, operation: str, object_name: str, rows: Rows, key: str) -> list[Error | None]:
    """One REST call per row."""
    errors: list[Error | None] = []
    for row in rows:
        record = nested(row)
        path, method = f"/sobjects/{object_name}", "POST"
        if operation != "insert":
            path, method = f"{path}/{record.pop('Id')}", "PATCH" if operation == "update" else "DELETE"
        answer = client.call(method, path, json=None if operation == "delete" else record)
        assert answer.status_code in (201, 204, 400, 403, 404), answer.text
        if answer.status_code < 400:
            errors.append(None)
        else:
            (given,) = answer.json()
            errors.append((given["errorCode"], given["message"], given["fields"]))
    return errors


def collections(client: Client, operation: str, object_name: str, rows: Rows, key: str) -> list[Error | None]:
    """One call of composite/sobjects."""
    records = [{"attributes": {"type": object_name}, **nested(row)} for row in rows]
    if operation == "delete":
        answer = client.call("DELETE", "/composite/sobjects", params={"ids": ",".join(row["Id"] for row in rows)})
    else:
        path = f"/composite/sobjects/{object_name}/{key}" if operation == "upsert" else "/composite/sobjects"
        answer = client.call("POST" if operation == "insert" else "PATCH", path, json={"records": records})
    assert answer.status_code == 200, answer.text
    assert len(answer.json()) == len(rows)
    return [_first(each["errors"]) for each in answer.json()]


def _first(errors: list[dict[str, Any]]) -> Error | None:
    return (errors[0]["statusCode"], errors[0]["message"], errors[0]["fields"]) if errors else None


def _csv(rows: Rows) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def bulk_2(client: Client, operation: str, object_name: str, rows: Rows, key: str) -> list[Error | None]:
    """A job of Bulk API 2.0, whose failed rows are found again by what was sent."""
    options = {"externalIdFieldName": key} if key else {}
    ended = client.load(operation, _csv(rows), object_name, **options)
    assert ended.info["state"] == "JobComplete", ended.info
    columns = list(dict.fromkeys(each for row in rows for each in row))
    failed = {tuple(row[each] for each in columns): row["sf__Error"] for row in ended.failed}
    told = [failed.get(tuple(row.get(each, "") for each in columns)) for row in rows]
    return [split(each) if each else None for each in told]


def bulk_1(client: Client, operation: str, object_name: str, rows: Rows, key: str) -> list[Error | None]:
    """A job of Bulk API 1.0 with one CSV batch, whose results stand in the order of the rows."""
    base = client.base.replace("/services/data/v", "/services/async/")
    headers = {"X-SFDC-Session": client.http.headers["Authorization"].split()[1], "Content-Type": "application/json"}
    job = {"operation": operation, "object": object_name, "contentType": "CSV"}
    if key:
        job["externalIdFieldName"] = key
    made = client.http.post(f"{base}/job", json=job, headers=headers, timeout=30)
    assert made.status_code == 201, made.text
    path = f"{base}/job/{made.json()['id']}"
    sent = client.http.post(
        f"{path}/batch", data=_csv(rows).encode(), headers={**headers, "Content-Type": "text/csv"}, timeout=30
    )
    assert sent.status_code == 201, sent.text
    # What a batch answers with follows the job: its results are CSV, its state is asked for as JSON.
    client.http.post(path, json={"state": "Closed"}, headers=headers, timeout=30)
    deadline = time.monotonic() + 20
    while True:
        batch = client.http.get(f"{path}/batch", headers=headers, timeout=30).text
        if "Completed" in batch or "Failed<" in batch or '"Failed"' in batch:
            break
        assert time.monotonic() < deadline, batch
        time.sleep(0.02)
    batch_id = batch[batch.index("751") :][:18]
    result = client.http.get(f"{path}/batch/{batch_id}/result", headers=headers, timeout=30)
    told = [row["Error"] for row in csv.DictReader(io.StringIO(result.text, newline=""))]
    assert len(told) == len(rows), result.text
    return [split(each) if each else None for each in told]


CHANNELS: dict[str, Channel] = {"single": single, "collections": collections, "bulk_1": bulk_1, "bulk_2": bulk_2}
