"""What happens to an ingest job after its upload is closed: parse, write batch by batch, keep the results.

A job's rows are staged as text, then written 10,000 at a time (five batches in one step while nothing asks the job to
be slow or to stop half-way), each step in one transaction with the job's own progress. Results are CSV files per step.
"""

from __future__ import annotations

import csv
import io
import logging
import threading
import time
from pathlib import Path
from typing import Any

import duckdb

from sandbox.bulk.jobs import TERMINAL, Job
from sandbox.rows import rules
from sandbox.rows.rules import literal, name
from sandbox.rows.write import BULK_NULL, DELETES, Write, apply_rows
from sandbox.schema import Field, ObjectType
from sandbox.wire import SalesforceError

log = logging.getLogger("sandbox.ingest")

BATCH = 10_000
STEP = 5 * BATCH
YIELD = 0.005
MAX_HEADER = 32_000
MAX_CELL = 10_000_000
# Parsing takes memory by the size of the upload, so one job parses at a time.
_PARSING = threading.Semaphore(1)


class InvalidBatch(Exception):
    """The whole upload is refused; the message becomes the job's errorMessage."""


def start_job(job: Job) -> None:
    """Process a closed job in a thread of its own."""
    threading.Thread(target=_process, args=(job,), name=f"job {job.id}", daemon=True).start()


def abort_job(job: Job) -> None:
    """Abort: rows written so far stay, the rest becomes unprocessed.

    Raises SalesforceError when the job has ended already.
    """
    with job.org.jobs_lock:
        if job.state in TERMINAL:
            message = f"Cannot abort a job that has ended. Current job state is '{job.state}'"
            raise SalesforceError(400, "INVALIDJOBSTATE", message)
        never_started = job.state == "Open"
        job.move("Aborted")
        job.stopped.set()
        if never_started:
            upload = job.folder / "upload.csv"
            if upload.exists():
                _keep_unparsed(job, upload)
            job.settled.set()


def header_line(job: Job, own_columns: str, which: str) -> bytes:
    """The header of a result file: our columns, quoted, then the uploaded names as they were written."""
    names = job.inner.get("header") or []
    order = _column_order(job) if which != "unprocessed" else list(range(len(names)))
    shown = [own_columns.replace(",", job.delimiter)] if own_columns else []
    line = job.delimiter.join([*shown, *(names[place] for place in order)])
    return (line + "\n").encode() if job.document["lineEnding"] == "LF" else (line + "\r\n").encode()


def _column_order(job: Job) -> list[int]:
    """Columns of results in an order of the job's own: neither row nor column order is promised."""
    count = len(job.inner.get("header") or [])
    turn = int.from_bytes(job.id[9:15].encode()) % max(count, 1)
    return [*range(turn, count), *range(turn)]


def settle(job: Job) -> None:
    """Bring the files of an ended job in order, where an earlier process ended before it could."""
    with job.org.jobs_lock:
        if _is_staged(job):
            _keep_unprocessed(job)
        _drop_stage(job)
        job.settled.set()


def _process(job: Job) -> None:
    started = time.monotonic()
    try:
        _run(job)
    except InvalidBatch as refusal:
        _end(job, "Failed", str(refusal), started)
    except Exception as error:
        if job.org.jobs.get(job.id) is job:
            log.exception("job %s broke", job.id)
        _end(job, "Failed", f"InternalServerError : {error}", started)
    else:
        _end(job, "JobComplete", None, started)


def _end(job: Job, state: str, message: str | None, started: float) -> None:
    """Bring the job to its end, write what is unprocessed, and drop the staged rows."""
    with job.org.jobs_lock:
        if job.org.jobs.get(job.id) is job:
            if not job.settled.is_set():
                _keep_unprocessed(job)
            if job.state not in TERMINAL:
                spent = round((time.monotonic() - started) * 1000)
                times = {"totalProcessingTime": spent, "apiActiveProcessingTime": spent}
                job.move(state, errorMessage=message, **times)
        _drop_stage(job)
        job.settled.set()


def _drop_stage(job: Job) -> None:
    with job.org.store.writing() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {_stage(job)}")
        cursor.execute(f"DROP TABLE IF EXISTS {name(f'_stage_{job.id}_keys')}")
    (job.folder / "upload.csv").unlink(missing_ok=True)


def _stage(job: Job) -> str:
    return name(f"_stage_{job.id}")


def _run(job: Job) -> None:
    """Parse and write; returns early when the job was aborted meanwhile."""
    seconds = _seconds(job)
    job.stopped.wait(min(seconds * 0.2, 5.0))
    with job.org.jobs_lock:
        if job.stopped.is_set() or job.state not in ("UploadComplete", "InProgress"):
            return
        job.move("InProgress")
    if not _is_staged(job):
        _parse(job)
    total = int(job.inner["total"])
    write, source_columns = _prepare(job)
    trouble = _planned_trouble(job, total)
    stop_at = int(trouble.get("after_rows", 0)) if trouble else total
    step = BATCH if seconds or job.inner["actions"] else STEP
    pause = seconds * 0.8 / max(1, -(-total // step)) or YIELD
    if not total:
        job.stopped.wait(pause)
    while (done := int(job.inner["done"])) < stop_at:
        # Between two steps others get at the lock, and an abort is noticed.
        job.stopped.wait(pause)
        with job.org.jobs_lock:
            if job.state != "InProgress" or job.stopped.is_set():
                return
            _write_step(job, write, source_columns, done, min(done + step, stop_at))
    if trouble and trouble["action"] == "fail_job":
        raise InvalidBatch(trouble.get("message", "InternalServerError : Retried more than 20 times"))
    if trouble:
        with job.org.jobs_lock:
            if job.state == "InProgress":
                job.move("Aborted")


def _seconds(job: Job) -> float:
    """How long the job shall take at least."""
    slow = [action["seconds"] for action in job.inner["actions"] if action["action"] == "slow_job"]
    return float(slow[0]) if slow else job.org.settings.bulk_delay


def _planned_trouble(job: Job, total: int) -> dict[str, Any] | None:
    """The fault rule that ends this job after some of its rows, if any."""
    for action in job.inner["actions"]:
        if action["action"] in ("fail_job", "abort_job") and int(action.get("after_rows", 0)) <= total:
            return dict(action)
    return None


# Parsing


def _is_staged(job: Job) -> bool:
    found = job.org.store.rows("SELECT 1 FROM duckdb_tables() WHERE table_name = ?", [f"_stage_{job.id}"])
    return bool(found) and "total" in job.inner


def _parse(job: Job) -> None:
    """Check the header and stage all rows as text."""
    upload = job.folder / "upload.csv"
    if not upload.exists():
        raise InvalidBatch("InvalidBatch : Records not found: the job was closed without an upload")
    header, titles = _read_header(job, upload)
    with job.org.jobs_lock:
        job.inner["header"] = header
    _resolve(job, titles)
    columns = "{" + ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(titles))) + "}"
    # The reader finds the line ending itself: told a wrong one, it would read no rows and say nothing.
    sql = (
        f"CREATE OR REPLACE TABLE {_stage(job)} AS SELECT * FROM read_csv({literal(str(upload))}, auto_detect = false,"
        f" header = true, columns = {columns}, delim = {literal(job.delimiter)}, quote = '\"', escape = '\"',"
        f" nullstr = '', allow_quoted_nulls = true, strict_mode = true, max_line_size = {MAX_CELL})"
    )
    with _PARSING, job.org.store.reading() as cursor:
        try:
            cursor.execute(sql)
        except duckdb.Error as error:
            raise InvalidBatch(f"InvalidBatch : Failed to parse CSV. {_csv_reason(str(error))}") from None
        found = cursor.execute(f"SELECT count(*) FROM {_stage(job)}").fetchone()
    with job.org.jobs_lock:
        job.inner["total"] = int(found[0]) if found else 0
        job.save()


def _csv_reason(text: str) -> str:
    """Salesforce's words for what the CSV reader stumbled over."""
    if "state machine" in text:
        return "Line endings are mixed, or a quote is not escaped"
    if "quote" in text.lower():
        return "Found unescaped quote. A value with quote should be within a quote"
    if "unicode" in text.lower() or "utf-8" in text.lower():
        return "Invalid UTF-8"
    if "number of columns" in text.lower() or "Expected Number of Columns" in text:
        return "A row has another number of columns than the header"
    return text.splitlines()[0]


def _read_header(job: Job, upload: Path) -> tuple[list[str], list[str]]:
    """The header's names as they were written (quotes and all) and without quotes; checks the line ending."""
    with upload.open("rb") as file:
        head = file.read(MAX_HEADER + 2)
    if not head.strip():
        raise InvalidBatch("InvalidBatch : Records not found: the upload is empty")
    if head.startswith(b"\xef\xbb\xbf"):
        if head[3:4] == b'"':
            raise InvalidBatch(
                "InvalidBatch : Failed to parse CSV. Found unescaped quote. A value with quote should be within a quote"
            )
        first = head[3:].split(b"\n")[0].decode("utf-8", "replace").split(job.delimiter)[0].strip()
        raise InvalidBatch(f"InvalidBatch : Field name not found : \ufeff{first}")
    line, ending = _first_line(head)
    wanted = job.document["lineEnding"]
    if ending is not None and ending != wanted:
        raise InvalidBatch(
            f"ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {wanted}"
        )
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidBatch("InvalidBatch : Failed to parse CSV. Invalid UTF-8") from None
    written = _split_header(text, job.delimiter)
    titles = next(csv.reader(io.StringIO(text), delimiter=job.delimiter))
    return written, titles


def _first_line(head: bytes) -> tuple[bytes, str | None]:
    """The first line outside quotes and its ending: LF, CRLF, or None when the file has one line only."""
    inside = False
    for place, byte in enumerate(head):
        if byte == 0x22:
            inside = not inside
        elif byte == 0x0A and not inside:
            if place and head[place - 1] == 0x0D:
                return head[: place - 1], "CRLF"
            return head[:place], "LF"
    return head, None


def _split_header(text: str, delimiter: str) -> list[str]:
    parts, start, inside = [], 0, False
    for place, character in enumerate(text):
        if character == '"':
            inside = not inside
        elif character == delimiter and not inside:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]


def _resolve(job: Job, titles: list[str]) -> list[tuple[str, Field]]:
    """The staged columns with their fields; raises InvalidBatch for a name that is no field."""
    target = _target(job)
    columns: list[tuple[str, Field]] = []
    for place, title in enumerate(titles):
        found = target.field_named(title)
        if found is None or found.type == "address":
            raise InvalidBatch(f"InvalidBatch : Field name not found : {title}")
        if any(found is other for _, other in columns):
            raise InvalidBatch(f"InvalidBatch : Duplicate column name in header : {title}")
        columns.append((f"c{place}", found))
    if job.document["operation"] in DELETES and [each.name for _, each in columns] != ["Id"]:
        raise InvalidBatch("InvalidBatch : Field name not found : a delete takes the column Id and no other")
    return columns


def _target(job: Job) -> ObjectType:
    found = job.org.schema.object_named(job.document["object"])
    if found is None:
        raise InvalidBatch(f"InvalidEntity : Entity '{job.document['object']}' is not supported by the Bulk API.")
    return found


# Writing


def _prepare(job: Job) -> tuple[Write, int]:
    """The write of this job, with the keys that stand more than once in it set aside."""
    target = _target(job)
    titles = next(csv.reader([job.delimiter.join(job.inner["header"])], delimiter=job.delimiter))
    columns = _resolve(job, titles)
    operation = job.document["operation"]
    key = target.field_named(job.document["externalIdFieldName"] or "") if operation == "upsert" else None
    duplicates = None
    if key and key.name != "Id":
        column = next((column for column, each in columns if each is key), None)
        if column is None:
            raise InvalidBatch(f"InvalidBatch : Field name not found : {key.name}")
        duplicates = name(f"_stage_{job.id}_keys")
        _collect_duplicates(job, column, key, duplicates)
    user_id, now = job.document["createdById"], job.org.clock.now()
    refusals = job.org.faults.for_rows(target.name, operation)
    write = Write(target, operation, columns, key, user_id, BULK_NULL, duplicates, now, refusals)
    return write, len(titles)


def _collect_duplicates(job: Job, column: str, key: Field, table: str) -> None:
    text = rules.cell_text(column, BULK_NULL)
    value = rules.key_form(key, "v")
    with job.org.store.writing() as cursor:
        cursor.execute(
            f"CREATE OR REPLACE TABLE {table} AS SELECT k FROM (SELECT {value} AS k FROM (SELECT"
            f" {rules.typed_value(key, 't')}"
            f" AS v FROM (SELECT {text} AS t FROM {_stage(job)}))) WHERE k IS NOT NULL GROUP BY k HAVING count(*) > 1"
        )


def _write_step(job: Job, write: Write, count: int, start: int, end: int) -> None:
    """Write the rows from `start` to before `end`, keep their results, and save the progress, all or nothing."""
    columns = ", ".join(f"c{place}" for place in range(count))
    source = f"SELECT rowid AS n, {columns} FROM {_stage(job)} WHERE rowid >= {start} AND rowid < {end}"
    with job.org.store.writing() as cursor:
        apply_rows(job.org.store, cursor, write, source)
        found = cursor.execute("SELECT count(*), count(error) FROM outcome").fetchone()
        rows, failed = found or (0, 0)
        if failed:
            _count_errors(job, cursor)
        if failed < rows:
            created = "CASE WHEN o.created THEN 'true' ELSE 'false' END"
            _export(job, cursor, source, ["coalesce(o.id, '')", created], "o.error IS NULL", f"success-{start:09d}.csv")
        if failed:
            given_id = "CASE WHEN o.created THEN '' ELSE coalesce(o.id, '') END"
            _export(job, cursor, source, [given_id, "o.error"], "o.error IS NOT NULL", f"failed-{start:09d}.csv")
        job.inner["done"] = end
        job.document["numberRecordsProcessed"] += rows
        job.document["numberRecordsFailed"] += failed
        body: dict[str, Any] = {"document": job.document, "inner": job.inner}
        job.org.store.put_document(cursor, "job", job.id, body)


def _count_errors(job: Job, cursor: duckdb.DuckDBPyConnection) -> None:
    """Keep how often each status code came up in the job, with one sample."""
    found = cursor.execute(
        "SELECT split_part(error, ':', 1), count(*), min(error) FROM outcome WHERE error IS NOT NULL GROUP BY 1"
    )
    errors = job.inner.setdefault("errors", {})
    for code, count, sample in found.fetchall():
        known = errors.setdefault(code, {"count": 0, "sample": sample})
        known["count"] += count


def _export(job: Job, cursor: duckdb.DuckDBPyConnection, source: str, own: list[str], which: str, file: str) -> None:
    cells = [f"coalesce(s.c{place}, '')" for place in _column_order(job)]
    listed = ", ".join(f"{expression} AS x{place}" for place, expression in enumerate([*own, *cells]))
    _copy(
        job,
        cursor,
        f"SELECT {listed} FROM outcome o JOIN ({source}) s ON s.n = o.n WHERE {which} ORDER BY hash(o.n)",
        file,
    )


def _copy(job: Job, cursor: duckdb.DuckDBPyConnection, sql: str, file: str) -> None:
    target = literal(str(job.folder / file))
    cursor.execute(
        f"COPY ({sql}) TO {target} (FORMAT csv, HEADER false, FORCE_QUOTE *, DELIM {literal(job.delimiter)})"
    )


def _keep_unprocessed(job: Job) -> None:
    """Write the rows the job never came to."""
    upload = job.folder / "upload.csv"
    if _is_staged(job):
        if job.inner["done"] >= job.inner["total"]:
            return
        cells = ", ".join(f"coalesce(c{place}, '') AS c{place}" for place in range(len(job.inner["header"])))
        with job.org.store.reading() as cursor:
            sql = f"SELECT {cells} FROM {_stage(job)} WHERE rowid >= {job.inner['done']} ORDER BY rowid"
            _copy(job, cursor, sql, "unprocessed-0.csv")
    elif upload.exists() and job.state == "Aborted":
        _keep_unparsed(job, upload)


def _keep_unparsed(job: Job, upload: Path) -> None:
    """All rows of an upload that was never parsed are unprocessed: the file without its header line."""
    try:
        job.inner["header"], _ = _read_header(job, upload)
    except (InvalidBatch, StopIteration):
        return
    with upload.open("rb") as file:
        line, _ = _first_line(file.read(MAX_HEADER + 2))
        file.seek(len(line) + (2 if job.document["lineEnding"] == "CRLF" else 1))
        (job.folder / "unprocessed-0.csv").write_bytes(file.read())
    job.save()
