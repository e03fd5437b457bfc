"""How Bulk API 1.0 looks on the wire: XML in the order of the guide, or JSON with its keys in alphabetical order."""

from __future__ import annotations

import csv
import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.sax import saxutils

from sandbox.bulk.classic import Batch, ClassicJob
from sandbox.bulk.extract import Extract
from sandbox.call import Answer
from sandbox.rows.write import split_error
from sandbox.schema import NUMBER_TYPES
from sandbox.wire import dumps

NAMESPACE = "http://www.force.com/2009/06/asyncapi/dataload"
XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
# Exactly these, without a charset: clients compare the whole header.
CONTENT_TYPES = {"CSV": "text/csv", "XML": "application/xml", "JSON": "application/json"}
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
NO_RECORDS = b"Records not found for this query\n"
_JOB_KEYS = [
    *("id", "operation", "object", "createdById", "createdDate", "systemModstamp", "state", "externalIdFieldName"),
    *("concurrencyMode", "contentType", "numberBatchesQueued", "numberBatchesInProgress", "numberBatchesCompleted"),
    *("numberBatchesFailed", "numberBatchesTotal", "numberRecordsProcessed", "numberRetries", "apiVersion"),
    *("assignmentRuleId", "numberRecordsFailed", "totalProcessingTime", "apiActiveProcessingTime"),
    "apexProcessingTime",
]


def control(status: int, element: str, values: dict[str, Any], *, as_json: bool) -> Answer:
    """One control message: a jobInfo, a batchInfo or an error."""
    shown = {key: value for key, value in values.items() if value is not None}
    if as_json:
        return _json(status, dict(sorted(shown.items())))
    return _xml(status, f'<{element} xmlns="{NAMESPACE}">{_elements(shown)}</{element}>')


def batch_list(batches: list[Batch], *, as_json: bool) -> Answer:
    """The batchInfoList of a job."""
    listed = [{key: value for key, value in batch_values(each).items() if value is not None} for each in batches]
    if as_json:
        return _json(200, {"batchInfo": [dict(sorted(each.items())) for each in listed]})
    if not listed:
        return _xml(200, f'<batchInfoList xmlns="{NAMESPACE}" />')
    inside = "".join(f"<batchInfo>{_elements(each)}</batchInfo>" for each in listed)
    return _xml(200, f'<batchInfoList xmlns="{NAMESPACE}">{inside}</batchInfoList>')


def _json(status: int, value: Any) -> Answer:
    return Answer(status, dumps(value), content_type=CONTENT_TYPES["JSON"])


def _xml(status: int, text: str) -> Answer:
    return Answer(status, XML_HEAD + text, content_type=CONTENT_TYPES["XML"])


def _escape(text: str) -> str:
    """Text for XML, which has no way to write control characters, and loses a bare carriage return."""
    return saxutils.escape(_NOT_IN_XML.sub("\ufffd", text), {"\r": "&#13;"})


def _elements(values: dict[str, Any]) -> str:
    return "".join(f"<{key}>{_text(value)}</{key}>" for key, value in values.items())


def _text(value: Any) -> str:
    text = str(value)
    # Datetimes end in Z here, and in +0000 in JSON.
    return _escape(text.removesuffix("+0000") + "Z" if text.endswith(".000+0000") else text)


def job_values(job: ClassicJob) -> dict[str, Any]:
    """The jobInfo of a job, in the order of the guide."""
    states = [each.state for each in job.batches.values()]
    numbers = {
        f"numberBatches{state}": states.count(state) for state in ("Queued", "InProgress", "Completed", "Failed")
    }
    known = {**job.document, **numbers, "numberBatchesTotal": len(states), "numberRetries": 0}
    return {key: known[key] for key in _JOB_KEYS}


def batch_values(batch: Batch) -> dict[str, Any]:
    """The batchInfo of a batch, in the order of the guide."""
    return batch.document


def ingest_result(batch: Batch, content_type: str) -> Answer:
    """What became of each row of a batch, in the order of the rows."""
    file = batch.folder / "result.csv"
    if content_type == "CSV":
        text = '"Id","Success","Created","Error"\n' + file.read_bytes().decode()
    elif content_type == "JSON":
        return _json(200, _result_values(file))
    else:
        inside = "".join(map(_xml_result, _result_values(file)))
        return _xml(200, f'<results xmlns="{NAMESPACE}">{inside}</results>')
    return Answer(200, text, content_type=CONTENT_TYPES["CSV"])


def _result_values(file: Path) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return [
            {
                "success": success == "true",
                "created": created == "true",
                "id": record_id or None,
                "errors": [_error(error)] if error else [],
            }
            for record_id, success, created, error in csv.reader(lines)
        ]


def _error(text: str) -> dict[str, Any]:
    parts = split_error(text)
    named = {"message": parts["message"], "fields": parts["fields"], "statusCode": parts["code"]}
    return {**named, "extendedErrorDetails": None}


def _xml_result(each: dict[str, Any]) -> str:
    errors = ""
    for error in each["errors"]:
        fields = "".join(f"<fields>{_escape(name)}</fields>" for name in error["fields"])
        message = f"<message>{_escape(error['message'])}</message><statusCode>{error['statusCode']}</statusCode>"
        errors += f"<errors>{fields}{message}</errors>"
    own_id = f"<id>{each['id']}</id>" if each["id"] else ""
    flags = "".join(f"<{key}>{str(each[key]).lower()}</{key}>" for key in ("success", "created"))
    return f"<result>{errors}{own_id}{flags}</result>"


def _listed(parts: Iterator[str], head: bytes, between: bytes, tail: bytes) -> Iterator[bytes]:
    yield head
    for place, each in enumerate(parts):
        yield (between if place else b"") + each.encode()
    yield tail


def result_list(ids: list[str], content_type: str) -> Answer:
    """The result ids of a query batch."""
    if content_type == "JSON":
        return _json(200, ids)
    inside = "".join(f"<result>{each}</result>" for each in ids)
    return _xml(200, f'<result-list xmlns="{NAMESPACE}">{inside}</result-list>')


def query_result(batch: Batch, content_type: str, version: str) -> Answer:
    """The records a query batch found."""
    extract = batch.extract
    target = str(batch.job.document["object"])
    if content_type == "CSV":
        stream = extract.csv(0, extract.total) if extract.total else iter([NO_RECORDS])
    elif content_type == "JSON":
        shown = (dumps(_json_record(each, version)) for each in _records(extract, target))
        stream = _listed(shown, b"[", b",", b"]")
    else:
        instance = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        head = f'{XML_HEAD}<queryResult xmlns="{NAMESPACE}" {instance}>'.encode()
        stream = _listed(map(_xml_record, _records(extract, target)), head, b"", b"</queryResult>")
    return Answer(200, stream=stream, content_type=CONTENT_TYPES[content_type])


@dataclass
class _Record:
    """A record of a query result, or a parent in one; `values` are texts with their types, or parents (None: null)."""

    kind: str
    values: dict[str, tuple[str, str] | _Record | None] = field(default_factory=dict)


def _records(extract: Extract, target: str) -> Iterator[_Record]:
    types = extract.facts["types"]
    titles = [title.split(".") for title in extract.header]
    for row in extract.rows():
        flags = row[len(titles) :]
        kinds = {path: kind for (path, kind), there in zip(extract.facts["parents"], flags, strict=True) if there}
        record = _Record(target)
        for path, kind, text in zip(titles, types, row, strict=False):
            place: _Record | None = record
            for depth, key in enumerate(path[:-1], 1):
                if place is not None:
                    above = kinds.get(".".join(path[:depth]))
                    found = place.values.setdefault(key, _Record(above) if above else None)
                    place = found if isinstance(found, _Record) else None
            if place is not None:
                place.values[path[-1]] = (kind, text)
        yield record


def _json_record(record: _Record, version: str) -> dict[str, Any]:
    attributes = {"type": record.kind}
    values: dict[str, Any] = {}
    for key, each in record.values.items():
        if each is None or isinstance(each, _Record):
            values[key] = each and _json_record(each, version)
            continue
        values[key] = _json_value(*each)
        if key == "Id":
            attributes["url"] = f"/services/data/v{version}/sobjects/{record.kind}/{each[1]}"
    return {"attributes": attributes, **values}


def _json_value(kind: str, text: str) -> Any:
    """Datetimes are milliseconds since 1970, as simple-salesforce issue 290 shows them."""
    if text == "":
        return None
    if kind == "boolean":
        return text == "true"
    if kind in NUMBER_TYPES:
        return Decimal(text) if "." in text else int(text)
    if kind in ("date", "datetime"):
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
        return int(moment.replace(tzinfo=datetime.UTC).timestamp() * 1000)
    return text


def _xml_record(record: _Record, element: str = "records") -> str:
    """A query for Id gives it twice ("Use Bulk Query")."""
    cells = []
    for key, each in record.values.items():
        name = _escape(key)
        if each is None or isinstance(each, _Record):
            cells.append(_xml_record(each, name) if each else f'<{name} xsi:nil="true"/>')
            continue
        cell = f"<{name}>{_escape(each[1])}</{name}>" if each[1] else f'<{name} xsi:nil="true"/>'
        cells += [cell, cell] if key == "Id" else [cell]
    return f'<{element} xsi:type="sObject"><type>{record.kind}</type>{"".join(cells)}</{element}>'
