"""Pages of bulk jobs of both APIs: the list, one job with its batches and errors, and its files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from typing import Any

from sandbox.bulk.classic import Batch, ClassicJob
from sandbox.bulk.extract import Extract
from sandbox.bulk.ingest import header_line, own_columns
from sandbox.bulk.jobs import Job, file_chunks
from sandbox.bulk.state import BATCH
from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.web import layout
from sandbox.web.html import Html, code, html, link, number, tag
from sandbox.web.layout import address
from sandbox.wire import not_found

SIZE = 50
SHOWN_ROWS = 50
# Of a 1.0 job, how many batches show their refused rows; of a 2.0 job, how many batches are listed.
SHOWN_BATCHES = 5
LISTED_BATCHES = 100
APIS = {"V2Ingest": "2.0 ingest", "V2Query": "2.0 query", "Classic": "1.0"}
RESULTS = {"success": "successful", "failed": "failed", "unprocessed": "unprocessed"}
CLASSIC_HEADER = b'"Id","Success","Created","Error"\n'
DATES = frozenset({"createdDate", "systemModstamp"})
COUNTED = ("numberRecordsProcessed", "numberRecordsFailed")


def index(org: Org, call: Call) -> Answer:
    """GET jobs[?state=&page=]: the jobs, newest first."""
    jobs = list(org.jobs.values())[::-1]
    states = sorted({job.state for job in jobs})
    wanted = call.query.get("state", "")
    tabs = [link(address("jobs"), f"All {len(jobs):,}", aria_current=None if wanted else "page")]
    for state in states:
        count = sum(job.state == state for job in jobs)
        marked = "page" if state == wanted else None
        tabs.append(link(address("jobs", state=state), f"{state} {count:,}", aria_current=marked))
    nav = tag("nav", tabs, class_="tabs", aria_label="States")
    chosen = [job for job in jobs if not wanted or job.state == wanted]
    page = layout.page_number(call)
    rows = [_row(job) for job in chosen[(page - 1) * SIZE : page * SIZE]]
    if not rows:
        return layout.page(org, call, "Bulk jobs", live=html(nav, layout.none_yet("No bulk jobs yet.")))
    heads = ("Job", "API", "Operation", "Object", "State", "Processed", "Failed", "Created", "By")
    pager = layout.pager(page, SIZE, len(chosen), lambda at: address("jobs", state=wanted, page=at))
    return layout.page(org, call, "Bulk jobs", live=html(nav, layout.table(heads, rows, right=(5, 6)), pager))


def _row(job: Job) -> list[Any]:
    document = job.document
    return [
        link(address("jobs", job.id), code(job.id)),
        APIS.get(document["jobType"], document["jobType"]),
        document["operation"],
        document["object"],
        layout.badge(job.state),
        number(document["numberRecordsProcessed"]),
        _failed(document["numberRecordsFailed"]),
        layout.short(document["createdDate"]),
        job.user.username,
    ]


def _failed(count: int) -> Any:
    return tag("span", number(count), class_="bad") if count else "0"


def _find(org: Org, call: Call) -> Job:
    job = org.jobs.get(call.arguments["id"])
    if not isinstance(job, Job):
        raise not_found()
    return job


def show(org: Org, call: Call) -> Answer:
    """GET jobs/ID."""
    job = _find(org, call)
    document = job.document
    hidden = {"id", "contentUrl", "createdById", *COUNTED}
    pairs: list[tuple[Any, Any]] = [
        ("state", layout.badge(job.state)),
        ("records", html(number(document[COUNTED[0]]), " processed, ", _failed(document[COUNTED[1]]), " failed")),
        ("created by", job.user.username),
    ]
    for key, value in job.public().items():
        if key not in hidden | {"state"}:
            pairs.append((key, layout.short(value) if key in DATES else value))
    if job.inner.get("query"):
        pairs.append(("query", code(job.inner["query"])))
    batches = _classic_batches(job) if isinstance(job, ClassicJob) else _own_batches(job)
    live = html(layout.card(layout.facts(pairs)), _files(job), _errors(job), batches, _failed_rows(job))
    crumbs = tag("p", link(f"{layout.VIEW}/jobs", "Bulk jobs"), " / ", APIS.get(document["jobType"]), class_="crumbs")
    return layout.page(org, call, f"{document['operation']} {document['object']} {job.id}", crumbs, live=live)


def _errors(job: Job) -> Html | None:
    """The reasons for refused rows, with how many rows each has."""
    grouped: dict[str, dict[str, Any]] = {}
    sources = [each.inner for each in job.batches.values()] if isinstance(job, ClassicJob) else [job.inner]
    for inner in sources:
        for reason, known in dict(inner.get("errors", {})).items():
            entry = grouped.setdefault(reason, {"count": 0, "sample": known["sample"]})
            entry["count"] += known["count"]
    if not grouped:
        return None
    ranked = sorted(grouped.items(), key=lambda each: -each[1]["count"])
    rows = [[number(each["count"]), code(reason), tag("div", each["sample"], class_="wrap")] for reason, each in ranked]
    return layout.section("Why rows were refused", layout.table(("Rows", "Code", "For example"), rows, right=(0,)))


def _own_batches(job: Job) -> Html | None:
    """A 2.0 job is split into batches by Salesforce itself; the job tells how far they are."""
    total, done = int(job.inner.get("total", 0)), int(job.inner.get("done", 0))
    if job.document["jobType"] != "V2Ingest" or not total:
        return None
    rows = []
    for at, start in enumerate(range(0, min(total, BATCH * LISTED_BATCHES), BATCH), 1):
        size = min(BATCH, total - start)
        ready = max(0, min(size, done - start))
        told = "Completed" if ready == size else "InProgress" if ready else "Queued"
        if told != "Completed" and job.state in layout.BAD_STATES:
            told = "NotProcessed"
        rows.append([number(at), number(start + 1), number(size), number(ready), layout.badge(told)])
    heads = ("Batch", "From row", "Rows", "Done", "State")
    note = f"of {BATCH:,} rows each, as Salesforce makes them itself"
    if total > BATCH * LISTED_BATCHES:
        note += f"; the first {LISTED_BATCHES}"
    return layout.section("Batches", layout.table(heads, rows, right=(0, 1, 2, 3)), note=note)


def _classic_batches(job: ClassicJob) -> Html:
    batches = list(job.batches.values())
    if not batches:
        return layout.section("Batches", layout.none_yet("No batches yet."))
    rows = []
    for each in batches:
        document = each.document
        links = [[link(_file_address(job, file), text), " "] for file, text in _classic_files(each)]
        counts = [number(document[COUNTED[0]]), _failed(document[COUNTED[1]])]
        message = tag("div", document["stateMessage"] or "", class_="wrap")
        rows.append([code(each.id), layout.badge(each.state), *counts, links, message])
    heads = ("Batch", "State", "Processed", "Failed", "Files", "Message")
    return layout.section("Batches", layout.table(heads, rows, right=(2, 3)))


def _file_address(job: Job, file: str) -> str:
    return address("jobs", job.id, "files", file)


def _classic_files(batch: Batch) -> list[tuple[str, str]]:
    files = [(f"{batch.id}-request", "request")]
    if (batch.folder / "result.csv").exists() or "result" in batch.inner:
        files.append((f"{batch.id}-result.csv", "result"))
    return files


def _files(job: Job) -> Html | None:
    names = list(_sources(job))
    if not names or isinstance(job, ClassicJob):
        return None
    links = [[link(_file_address(job, each), each, download=each), " \u2003"] for each in names]
    return layout.section("Files", layout.card(links))


def _sources(job: Job) -> dict[str, Callable[[], Iterator[bytes]]]:
    """The files of a job by name, with what reads each."""
    if isinstance(job, ClassicJob):
        found: dict[str, Callable[[], Iterator[bytes]]] = {}
        for batch in list(job.batches.values()):
            for file, _ in _classic_files(batch):
                found[file] = _reader(batch, file)
        return found
    if job.document["jobType"] == "V2Query":
        done = job.state == "JobComplete" and "columns" in job.inner
        return {"result.csv": lambda: _all(Extract(job.org.store, job.folder, job.inner))} if done else {}
    sources: dict[str, Callable[[], Iterator[bytes]]] = {}
    if (job.folder / "upload.csv").exists():
        sources["upload.csv"] = lambda: file_chunks([job.folder / "upload.csv"])
    for which, told in RESULTS.items():
        if job.settled.is_set() or sorted(job.folder.glob(f"{which}-*.csv")):
            sources[f"{told}.csv"] = _result_reader(job, which)
    return sources


def _result_reader(job: Job, which: str) -> Callable[[], Iterator[bytes]]:
    return lambda: file_chunks(
        sorted(job.folder.glob(f"{which}-*.csv")), header_line(job, own_columns(job, which), which)
    )


def _reader(batch: Batch, file: str) -> Callable[[], Iterator[bytes]]:
    if file.endswith("-request"):
        return lambda: file_chunks([batch.folder / "request"])
    if "result" in batch.inner:
        return lambda: _all(batch.extract)
    return lambda: file_chunks([batch.folder / "result.csv"], CLASSIC_HEADER)


def _all(extract: Extract) -> Iterator[bytes]:
    return extract.csv(0, extract.total)


def download(org: Org, call: Call) -> Answer:
    """GET jobs/ID/files/NAME."""
    source = _sources(_find(org, call)).get(call.arguments["file"])
    if source is None:
        raise not_found()
    headers = {**layout.HEADERS, "Content-Disposition": f'attachment; filename="{call.arguments["file"]}"'}
    return Answer(200, headers=headers, stream=source(), content_type="text/csv; charset=UTF-8")


def _failed_rows(job: Job) -> Html | None:
    """The first rows that were refused, with their reasons."""
    if isinstance(job, ClassicJob):
        refusing = [each for each in job.batches.values() if each.document["numberRecordsFailed"]]
        return html([_refused_of(each) for each in refusing[:SHOWN_BATCHES]])
    if not job.document["numberRecordsFailed"] or job.document["jobType"] != "V2Ingest":
        return None
    rows = list(islice(_parse(_result_reader(job, "failed")(), job.delimiter), SHOWN_ROWS + 1))
    if len(rows) < 2:
        return None
    note = f"the first {SHOWN_ROWS}" if len(rows) > SHOWN_ROWS else None
    return layout.section("Refused rows", layout.table(rows[0], [_fit(row, rows[0]) for row in rows[1:]]), note=note)


def _fit(row: list[str], heads: list[str]) -> list[Any]:
    return [tag("span", cell, title=cell) for cell in [*row, *[""] * len(heads)][: len(heads)]]


def _refused_of(batch: Batch) -> Html | None:
    """The refused rows of a batch; their cells too where it came as CSV."""
    if not (batch.folder / "result.csv").exists():
        return None
    is_csv = batch.job.document["contentType"] == "CSV"
    given: Iterator[list[str]] = _parse(file_chunks([batch.folder / "request"]), ",") if is_csv else repeat([])
    heads = ["Row", "Error", *next(given, [])]
    results = _parse(file_chunks([batch.folder / "result.csv"]), ",")
    both = enumerate(zip(results, given, strict=False), 1)
    failed = ([str(place), result[3], *row] for place, (result, row) in both if result[1] == "false")
    rows = [_fit(row, heads) for row in islice(failed, SHOWN_ROWS)]
    if not rows:
        return None
    return layout.section("Refused rows", layout.table(heads, rows), note=code(batch.id))


def _parse(chunks: Iterator[bytes], delimiter: str) -> Iterator[list[str]]:
    """The rows of a CSV file that comes in pieces."""

    class Pieces(io.RawIOBase):
        rest = b""

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            self.rest = self.rest or next(chunks, b"")
            taken, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
            buffer[: len(taken)] = taken
            return len(taken)

    text = io.TextIOWrapper(io.BufferedReader(Pieces()), encoding="utf-8", errors="replace", newline="")
    csv.field_size_limit(1 << 24)
    return csv.reader(text, delimiter=delimiter)
