"""Several calls in one: composite with references, composite/batch, composite/graph (REST API guide, "Composite")."""

from __future__ import annotations

import re
from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.rest.collections import RollBack
from sandbox.rest.inner import answer_inside, call_inside, refused
from sandbox.wire import SalesforceError, json_text

MOST_CALLS = 25
MOST_SEARCHES = 5
MOST_NODES = 500
MOST_GRAPHS = 75
HALTED = "The transaction was rolled back since another operation in the same transaction failed."
HALTED_BATCH = "Batch processing halted as specified by haltOnError"
_REFERENCE = re.compile(r"@\{([A-Za-z0-9_]+)((?:\.[A-Za-z0-9_]+|\[[0-9]+\])*)\}")
_STEP = re.compile(r"\.([A-Za-z0-9_]+)|\[([0-9]+)\]")
_FORBIDDEN_HEADERS = frozenset({"accept", "authorization", "content-type"})
_SEARCHES = re.compile(r"/(query|queryAll|composite/sobjects)(/|\?|$)", re.IGNORECASE)
_METHODS = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE"})


class _NoValue(Exception):
    """A reference that leads nowhere; the text is Salesforce's message."""


def composite(org: Org, call: Call) -> Answer:
    """POST composite: subrequests in order, each may name values of the answers before it."""
    given = call.json_object()
    parts = _parts(given.get("compositeRequest"), "compositeRequest", MOST_CALLS)
    _check_parts(parts)
    if sum(1 for part in parts if _SEARCHES.search(part["url"])) > MOST_SEARCHES:
        message = f"Cannot have more than {MOST_SEARCHES} query or collection operations in a single composite request"
        raise SalesforceError(400, "LIMIT_EXCEEDED", message)
    return Answer(200, {"compositeResponse": _run(org, call, parts, all_or_none=bool(given.get("allOrNone", False)))})


def graph(org: Org, call: Call) -> Answer:
    """POST composite/graph: each graph is written whole or not at all, whatever becomes of the others."""
    graphs = _parts(call.json_object().get("graphs"), "graphs", MOST_GRAPHS)
    names = {each["graphId"] for each in graphs if isinstance(each.get("graphId"), str)}
    if len(names) < len(graphs):
        raise SalesforceError(400, "INVALID_INPUT", "Each graph needs a graphId of its own")
    nodes = [_parts(each.get("compositeRequest"), "compositeRequest", MOST_NODES) for each in graphs]
    if sum(map(len, nodes)) > MOST_NODES:
        raise SalesforceError(400, "LIMIT_EXCEEDED", f"A request may have at most {MOST_NODES} nodes in all")
    for parts in nodes:
        _check_parts(parts)
    answers = []
    for each, parts in zip(graphs, nodes, strict=True):
        told = _run(org, call, parts, all_or_none=True)
        good = all(one["httpStatusCode"] < 400 for one in told)
        answers.append({"graphId": each["graphId"], "graphResponse": {"compositeResponse": told}, "isSuccessful": good})
    return Answer(200, {"graphs": answers})


def batch(org: Org, call: Call) -> Answer:
    """POST composite/batch: calls that know nothing of each other."""
    given = call.json_object()
    parts = _parts(given.get("batchRequests"), "batchRequests", MOST_CALLS)
    halt_on_error = bool(given.get("haltOnError", False))
    results: list[dict[str, Any]] = []
    failed = False
    for part in parts:
        if failed and halt_on_error:
            results.append(_result(refused("BATCH_PROCESSING_HALTED", HALTED_BATCH, 412)))
            continue
        method, url = _method(part), part.get("url")
        if not isinstance(url, str) or not url:
            raise SalesforceError(400, "INVALID_INPUT", "Each request of a batch needs a url, such as v60.0/limits")
        inside = call_inside(call, method, "/services/data/" + url.lstrip("/"), part.get("richInput"), {})
        # Unlike the parts of a composite call, each of these counts against the daily limit.
        assert call.session is not None
        if org.usage.take(call.session.client_id):
            answer = answer_inside(org, inside)
        else:
            answer = refused("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", 403)
        failed = failed or answer.status >= 400
        results.append(_result(answer))
    return Answer(200, {"hasErrors": failed, "results": results})


def _result(answer: Answer) -> dict[str, Any]:
    return {"statusCode": answer.status, "result": answer.body}


def _parts(given: Any, told: str, most: int) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not given or not all(isinstance(each, dict) for each in given):
        raise SalesforceError(400, "JSON_PARSER_ERROR", f"'{told}' must be an array of objects")
    if len(given) > most:
        raise SalesforceError(400, "LIMIT_EXCEEDED", f"'{told}' may have at most {most} parts, not {len(given)}")
    return given


def _method(part: dict[str, Any]) -> str:
    method = part.get("method")
    if not isinstance(method, str) or method.upper() not in _METHODS:
        raise SalesforceError(
            400, "INVALID_INPUT", f"method must be one of {', '.join(sorted(_METHODS))}, not {method!r}"
        )
    return method.upper()


def _check_parts(parts: list[dict[str, Any]]) -> None:
    """Refuse the whole request for what no subrequest can have."""
    seen: set[str] = set()
    for part in parts:
        _method(part)
        reference, url = part.get("referenceId"), part.get("url")
        if not isinstance(url, str) or not url.startswith("/services/data/"):
            raise SalesforceError(400, "INVALID_INPUT", f"url must start with /services/data/, not {url!r}")
        if not isinstance(reference, str) or not re.fullmatch("[A-Za-z0-9_]+", reference):
            message = f"referenceId must consist of letters, digits and underscores, not {reference!r}"
            raise SalesforceError(400, "INVALID_INPUT", message)
        if reference in seen:
            raise SalesforceError(400, "INVALID_INPUT", f"referenceId {reference!r} stands more than once")
        seen.add(reference)
        headers = part.get("httpHeaders") or {}
        if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
            raise SalesforceError(400, "JSON_PARSER_ERROR", "httpHeaders must be an object of texts")
        if wrong := [key for key in headers if key.lower() in _FORBIDDEN_HEADERS]:
            raise SalesforceError(400, "INVALID_INPUT", f"httpHeaders may not hold {', '.join(wrong)}")


def _run(org: Org, call: Call, parts: list[dict[str, Any]], *, all_or_none: bool) -> list[dict[str, Any]]:
    """Run subrequests in order; with `all_or_none` in one transaction that a failure ends."""
    if not all_or_none:
        return _run_each(org, call, parts)
    told: list[dict[str, Any]] = []
    try:
        with org.store.writing():
            told = _run_each(org, call, parts, until_failure=True)
            if told[-1]["httpStatusCode"] >= 400:
                raise RollBack
    except RollBack:
        halted = [{"errorCode": "PROCESSING_HALTED", "message": HALTED}]
        failed = told[-1]
        told = [
            failed
            if part["referenceId"] == failed["referenceId"]
            else _told(Answer(400, halted), str(part["referenceId"]))
            for part in parts
        ]
    return told


def _run_each(
    org: Org, call: Call, parts: list[dict[str, Any]], *, until_failure: bool = False
) -> list[dict[str, Any]]:
    answers: dict[str, Any] = {}
    told: list[dict[str, Any]] = []
    for part in parts:
        answer = _run_one(org, call, part, answers)
        answers[part["referenceId"]] = answer.body if answer.status < 400 else None
        told.append(_told(answer, part["referenceId"]))
        if until_failure and answer.status >= 400:
            break
    return told


def _told(answer: Answer, reference: str) -> dict[str, Any]:
    return {
        "body": answer.body,
        "httpHeaders": answer.headers,
        "httpStatusCode": answer.status,
        "referenceId": reference,
    }


def _run_one(org: Org, call: Call, part: dict[str, Any], answers: dict[str, Any]) -> Answer:
    try:
        url = _in_text(part["url"], answers)
        body = _resolved(part.get("body"), answers)
    except _NoValue as missing:
        return refused("PROCESSING_HALTED", str(missing))
    inside = call_inside(call, _method(part), url, body, part.get("httpHeaders") or {})
    if inside.segments[3:4] == ["composite"] and inside.segments[4:5] != ["sobjects"]:
        return refused("INVALID_OPERATION", f"{inside.path} is not supported as a subrequest")
    answer = answer_inside(org, inside)
    if isinstance(answer.body, str):
        return refused("INVALID_OPERATION", f"{inside.path} is not supported as a subrequest")
    return answer


def _resolved(value: Any, answers: dict[str, Any]) -> Any:
    """A body with its references replaced."""
    if isinstance(value, str):
        return _in_text(value, answers)
    if isinstance(value, list):
        return [_resolved(each, answers) for each in value]
    if isinstance(value, dict):
        return {key: _resolved(each, answers) for key, each in value.items()}
    return value


def _in_text(text: str, answers: dict[str, Any]) -> str:
    return _REFERENCE.sub(lambda found: _value_of(found[1], found[2], answers), text)


def _value_of(reference: str, path: str, answers: dict[str, Any]) -> str:
    """The text of a referenced value. Names are case-sensitive."""
    value = answers.get(reference)
    for key, place in _STEP.findall(path):
        if key and isinstance(value, dict):
            value = value.get(key)
        elif place and isinstance(value, list) and int(place) < len(value):
            value = value[int(place)]
        else:
            value = None
    text = None if isinstance(value, dict | list) else json_text(value)
    if text is None:
        shown = f"{reference}{path}"
        raise _NoValue(f"Invalid reference specified. No value for {shown} found in {reference}")
    return text
