"""The page at /: what has arrived in the org, for people. One self-contained HTML document, no scripts."""

from __future__ import annotations

import datetime
from html import escape
from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.rows.rules import name
from sandbox.schema import Field, ObjectType
from sandbox.wire import plain_number, timestamp

NEWEST = 25
SHOWN_CALLS = 60
SHOWN_JOBS = 15
MAX_COLUMNS = 14
QUIET = frozenset({"IsDeleted", "CreatedById", "LastModifiedById", "LastModifiedDate", "SystemModstamp", "OwnerId"})

STYLE = """
:root{color-scheme:light dark;--ink:#1d2733;--soft:#66758a;--line:#dfe5ec;--card:#fff;--ground:#f3f6fa;--brand:#0b6bcb;
--good:#1b7f4b;--bad:#b3261e;--tint:#eef4fb}
@media(prefers-color-scheme:dark){:root{--ink:#e4eaf1;--soft:#93a1b3;--line:#2c3744;--card:#18202a;--ground:#0f151c;
--brand:#6cb2ff;--good:#5fd39a;--bad:#ff8a80;--tint:#1d2937}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main,header{max-width:1240px;margin:0 auto;padding:0 20px}
header{padding-top:26px}h1{font-size:22px;margin:0}h2{font-size:16px;margin:30px 0 10px}
header p,.none{color:var(--soft);margin:4px 0}
a{color:var(--brand);text-decoration:none}a:hover{text-decoration:underline}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(165px,1fr));gap:12px}
.card{display:block;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px;
color:inherit}
.card.chosen{outline:2px solid var(--brand)}.card b{display:block;font-size:24px;line-height:1.2;font-weight:600}
.card small{color:var(--soft)}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th,td{text-align:left;padding:7px 12px;border-bottom:1px solid var(--line);white-space:nowrap;vertical-align:top;
max-width:420px;overflow:hidden;text-overflow:ellipsis}
th{color:var(--soft);font-weight:600;background:var(--tint)}tr:last-child td{border-bottom:0}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}code{font:12.5px ui-monospace,Menlo,monospace}
.good{color:var(--good)}.bad{color:var(--bad)}footer{color:var(--soft);text-align:center;padding:34px 0}
"""


def home(org: Org, call: Call) -> Answer:
    """GET /[?object=Contact]: objects, records, jobs and calls."""
    counts = org.store.counts()
    wanted = org.schema.object_named(call.query.get("object", ""))
    chosen = wanted or _fullest(org, counts)
    parts = [
        _header(org),
        "<main>",
        _objects(counts, chosen),
        _jobs(org),
        _records(org, chosen) if chosen else "",
        _calls(org),
        "<footer>A practice org. Nothing here is Salesforce, and nothing leaves this machine.</footer></main>",
    ]
    head = f'<meta charset="utf-8"><title>Sandbox</title><meta http-equiv="refresh" content="5"><style>{STYLE}</style>'
    page = f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'
    return Answer(200, page, {"Cache-Control": "no-store"})


def _fullest(org: Org, counts: dict[str, tuple[int, int]]) -> ObjectType | None:
    """The object with the most records, for a start."""
    best = max(counts, key=lambda each: counts[each][0] if each not in ("User", "Profile", "Organization") else -1)
    return org.schema.object_named(best) if counts[best][0] else None


def _header(org: Org) -> str:
    used = f"{org.usage.used():,} of {org.usage.most:,} API requests used"
    return (
        "<header><h1>Sandbox</h1>"
        f"<p>Org <code>{escape(org.org_id)}</code>, user <code>{escape(org.settings.username)}</code>, {used}</p>"
        "</header>"
    )


def _objects(counts: dict[str, tuple[int, int]], chosen: ObjectType | None) -> str:
    cards = []
    for object_name, (live, deleted) in counts.items():
        mark = " chosen" if chosen and chosen.name == object_name else ""
        bin_note = f"<small>{deleted:,} in the recycle bin</small>" if deleted else "<small>&nbsp;</small>"
        cards.append(
            f'<a class="card{mark}" href="/?object={escape(object_name)}">{escape(object_name)}<b>{live:,}</b>'
            f"{bin_note}</a>"
        )
    return f'<h2>Objects</h2><div class="cards">{"".join(cards)}</div>'


def _records(org: Org, chosen: ObjectType) -> str:
    fields = [each for each in chosen.fields.values() if each.type != "address"]
    columns = ", ".join(name(each.name) for each in fields)
    source = f"SELECT {columns} FROM {name('v_' + chosen.name)} ORDER BY CreatedDate DESC, Id DESC LIMIT {NEWEST}"
    rows = org.store.rows(source)
    if not rows:
        return f"<h2>{escape(chosen.name)}</h2><p class=none>No records yet.</p>"
    shown = [place for place, each in enumerate(fields) if _worth_showing(each, [row[place] for row in rows])][
        :MAX_COLUMNS
    ]
    head = "".join(f"<th>{escape(fields[place].name)}</th>" for place in shown)
    body = "".join(f"<tr>{''.join(_cell(row[place]) for place in shown)}</tr>" for row in rows)
    return f"<h2>{escape(chosen.name)}: newest records</h2>{_table(head, body)}"


def _worth_showing(field: Field, values: list[Any]) -> bool:
    if field.name in QUIET or field.name.endswith("GeocodeAccuracy"):
        return False
    return any(value is not None and value is not False for value in values)


def _cell(value: Any) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, datetime.datetime):
        return f"<td>{timestamp(value)[:19].replace('T', ' ')}</td>"
    text = plain_number(value) if hasattr(value, "as_tuple") else str(value)
    return f'<td title="{escape(text)}">{escape(text)}</td>'


def _table(head: str, body: str) -> str:
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _jobs(org: Org) -> str:
    jobs = list(org.jobs.values())[::-1][:SHOWN_JOBS]
    if not jobs:
        return "<h2>Bulk jobs</h2><p class=none>None yet.</p>"
    titles = ("Job", "Operation", "Object", "State", "Created", "Reason")
    head = "".join(f"<th>{each}</th>" for each in titles[:4])
    head += "<th class=number>Processed</th><th class=number>Failed</th>" + "".join(
        f"<th>{each}</th>" for each in titles[4:]
    )
    return f"<h2>Bulk jobs</h2>{_table(head, ''.join(_job_row(job.document, job.inner) for job in jobs))}"


def _job_row(document: dict[str, Any], inner: dict[str, Any]) -> str:
    mood = {"JobComplete": "good", "Failed": "bad", "Aborted": "bad"}.get(document["state"], "")
    failed = document["numberRecordsFailed"]
    reasons = [f"{each['count']:,} × {each['sample']}" for each in inner.get("errors", {}).values()]
    if document.get("errorMessage"):
        reasons.insert(0, document["errorMessage"])
    reason = "<br>".join(escape(each) for each in reasons)
    return (
        f"<tr><td><code>{escape(document['id'])}</code></td><td>{escape(document['operation'])}</td>"
        f"<td>{escape(document['object'])}</td><td class='{mood}'>{escape(document['state'])}</td>"
        f"<td class=number>{document['numberRecordsProcessed']:,}</td>"
        f"<td class='number{' bad' if failed else ''}'>{failed:,}</td>"
        f"<td>{document['createdDate'][:19].replace('T', ' ')}</td>"
        f'<td title="{escape(" | ".join(reasons))}">{reason}</td></tr>'
    )


def _calls(org: Org) -> str:
    entries = list(org.log)[::-1][:SHOWN_CALLS]
    if not entries:
        return "<h2>Requests</h2><p class=none>None yet.</p>"
    head = "<th>Time</th><th>Method</th><th>Path</th><th class=number>Status</th><th class=number>ms</th><th>Fault</th>"
    return f"<h2>Requests</h2>{_table(head, ''.join(_call_row(entry) for entry in entries))}"


def _call_row(entry: dict[str, Any]) -> str:
    moment = datetime.datetime.fromtimestamp(entry["time"], datetime.UTC).strftime("%H:%M:%S")
    status = str(entry["status"] if entry["status"] is not None else "…")
    mood = "good" if status.startswith("2") and not entry["fault"] else "bad" if status[0] in "45c" else ""
    query = f"<br><code>{escape(entry['query'])}</code>" if entry["query"] else ""
    return (
        f"<tr><td>{moment}</td><td>{escape(entry['method'])}</td><td><code>{escape(entry['path'])}</code>{query}</td>"
        f"<td class='number {mood}'>{escape(status)}</td>"
        f"<td class=number>{entry['ms'] if entry['ms'] is not None else ''}</td>"
        f"<td>{escape(entry['fault'] or '')}</td></tr>"
    )
