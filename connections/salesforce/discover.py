"""Which objects a Salesforce org has, and what their fields are like."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import requests

from connections.salesforce.describe import ObjectDescribe, parse_object
from connections.salesforce.errors import MisconfiguredError, PermanentError, TransientError
from connections.salesforce.session import SalesforceSession

_API_NAME = re.compile(r"[A-Za-z]\w*")


@dataclasses.dataclass(frozen=True)
class ObjectSummary:
    """One line of the list of objects. `key_prefix`: first three characters of its record ids, or None."""

    name: str
    label: str
    createable: bool
    updateable: bool
    deletable: bool
    queryable: bool
    key_prefix: str | None


def list_objects(session: SalesforceSession) -> list[ObjectSummary]:
    """All objects the connected user may see, in Salesforce's order (one call). Raises SalesforceError."""
    answer = _read(lambda: session.rest.describe())
    return [
        ObjectSummary(
            name=item["name"],
            label=item.get("label") or item["name"],
            createable=bool(item.get("createable")),
            updateable=bool(item.get("updateable")),
            deletable=bool(item.get("deletable")),
            queryable=bool(item.get("queryable")),
            key_prefix=item.get("keyPrefix"),
        )
        for item in answer["sobjects"]
    ]


def describe_object(session: SalesforceSession, name: str) -> ObjectDescribe:
    """The object of this API name with all its fields (one call).

    Raises MisconfiguredError when there is no such object for the connected user, else SalesforceError.
    """
    missing = MisconfiguredError(
        f"Salesforce has no object '{name}' that the connected user may see. Check its API name (custom objects end in "
        "'__c') and the user's permissions."
    )
    if not _API_NAME.fullmatch(name):
        raise missing
    try:
        return parse_object(_read(lambda: session.rest.restful(f"sobjects/{name}/describe")))
    except PermanentError as error:
        if error.http_status == 404:
            raise missing from None
        raise


def _read(call: Any) -> Any:
    try:
        answer = call()
    except requests.exceptions.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise TransientError("Salesforce's answer to a describe call was not JSON. A proxy may have answered instead.")
    return answer
