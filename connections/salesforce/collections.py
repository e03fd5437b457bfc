"""sObject collections: up to 200 records in one call, one HTTP call per function.

Source: REST API guide, "sObject Collections"; headers: "Assignment Rule Header", "Duplicate Rule Header".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import requests

from connections.salesforce.errors import TransientError, row_error_text
from connections.salesforce.session import SalesforceSession

MOST_RECORDS = 200
_JSON = "application/json; charset=UTF-8"


@dataclasses.dataclass(frozen=True)
class WriteOptions:
    """What Salesforce is asked to do beside the write.

    auto_assign: "off", "default" for the object's active assignment rule, or the id of a rule.
    allow_save: save records although a duplicate rule alerts. A rule that blocks still does.
    """

    auto_assign: str = "off"
    allow_save: bool = False

    def headers(self) -> dict[str, str]:
        """The headers that say so."""
        assign = {"off": "FALSE", "default": "TRUE"}.get(self.auto_assign, self.auto_assign)
        headers = {"Sforce-Auto-Assign": assign}
        if self.allow_save:
            headers["Sforce-Duplicate-Rule-Header"] = "allowSave=true"
        return headers


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one record.

    id: of the record, "" where Salesforce names none. created: it was made by this call. error: "" for a success, else
    in the form of a bulk job's `sf__Error`.
    """

    id: str
    created: bool
    error: str = ""


def create(session: SalesforceSession, records: Sequence[bytes], options: WriteOptions) -> list[Result]:
    """Insert records; also how platform events are published.

    records: each the JSON of one, with its `attributes`. One result per record, in their order. Raises SalesforceError.
    """
    return _written(_send(session, "POST", "composite/sobjects", records, options), len(records), created=True)


def update(session: SalesforceSession, records: Sequence[bytes], options: WriteOptions) -> list[Result]:
    """Update records that name their `Id`. As `create`."""
    return _written(_send(session, "PATCH", "composite/sobjects", records, options), len(records), created=False)


def upsert(
    session: SalesforceSession, object: str, key_field: str, records: Sequence[bytes], options: WriteOptions
) -> list[Result]:
    """Insert or update records by an external id. object, key_field: API names. As `create`."""
    path = f"composite/sobjects/{object}/{key_field}"
    return _written(_send(session, "PATCH", path, records, options), len(records), created=None)


def delete(session: SalesforceSession, ids: Sequence[str]) -> list[Result]:
    """Put records into the recycle bin. One result per id, in their order. Raises SalesforceError."""
    _check_count(len(ids))
    params = {"ids": ",".join(ids), "allOrNone": "false"}
    return _written(session.request("DELETE", "composite/sobjects", params=params), len(ids), created=False)


def _send(
    session: SalesforceSession, method: str, path: str, records: Sequence[bytes], options: WriteOptions
) -> requests.Response:
    _check_count(len(records))
    body = b'{"allOrNone":false,"records":[' + b",".join(records) + b"]}"
    return session.request(method, path, data=body, headers={"Content-Type": _JSON, **options.headers()})


def _check_count(count: int) -> None:
    if not 0 < count <= MOST_RECORDS:
        raise ValueError(f"a call takes 1 to {MOST_RECORDS} records, not {count}")


def _written(answer: requests.Response, count: int, *, created: bool | None) -> list[Result]:
    """The results in an answer. created: what the operation always does; None where each record tells."""
    try:
        told: Any = answer.json()
        results = [_result(each, created) for each in told]
    except (ValueError, TypeError, KeyError, AttributeError):
        results = []
    if len(results) != count:
        raise TransientError("Salesforce's answer about records was not understood.", effect_unknown=True)
    return results


def _result(told: Mapping[str, Any], created: bool | None) -> Result:
    record_id = str(told.get("id") or "")
    # A published event is a success, and still has an "error": OPERATION_ENQUEUED.
    if told["success"]:
        return Result(record_id, bool(told.get("created")) if created is None else created)
    errors = told.get("errors") or [{}]
    code = errors[0].get("statusCode") or "UNKNOWN_EXCEPTION"
    message = "; ".join(str(each.get("message") or "") for each in errors)
    fields = dict.fromkeys(str(name) for each in errors for name in each.get("fields") or ())
    return Result(record_id, False, row_error_text(code, message, tuple(fields)))
