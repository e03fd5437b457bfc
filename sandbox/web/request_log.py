"""Pages of the request log: the latest calls, and one with headers and bodies."""

from __future__ import annotations

import re
from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.web import layout
from sandbox.web.exchanges import MASK, Body, Exchange
from sandbox.web.html import Html, code, html, link, number, tag
from sandbox.web.layout import address
from sandbox.wire import not_found

SHOWN = 200
# Strings (the last one perhaps cut off), what is empty, marks, and all else.
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"?|\[\s*\]|\{\s*\}|[\[\]{},:]|[^\s\[\]{},:"]+')
# Values of forms, of JSON and of XML that let somebody in.
_SECRET_NAMES = (
    "password|client_secret|refresh_token|access_token|assertion|client_assertion|code_verifier|id_token|token"
    "|oauth_token|device_code|sessionId"
)
_SECRETS = (
    (re.compile(rf"((?:^|[?&])(?:code|sid|{_SECRET_NAMES})=)[^&\s]+", re.MULTILINE), rf"\1{MASK}"),
    (re.compile(rf'("(?:{_SECRET_NAMES})"\s*:\s*)"[^"]*"'), rf'\1"{MASK}"'),
    (re.compile(rf"(<(?:\w+:)?(?:{_SECRET_NAMES})(?:\s[^>]*)?>)[^<]+"), rf"\1{MASK}"),
)


def index(org: Org, call: Call) -> Answer:
    """GET requests[?q=&status=]: the latest calls, newest first."""
    text, status = call.query.get("q", ""), call.query.get("status", "")
    search = layout.form(
        address("requests"),
        layout.entry("Method, path or query", "q", text, type="search", autocomplete="off"),
        layout.choice(
            "Status", "status", [("", "all"), ("2", "2xx"), ("4", "4xx"), ("5", "5xx"), ("f", "faults")], status
        ),
        layout.button("Search"),
        method="get",
        class_="row",
    )
    entries = [each for each in list(org.log)[::-1] if _fits(each, text.lower(), status)]
    if not entries:
        body = layout.none_yet("No requests yet." if not org.log else "No request is like that.")
    else:
        heads = ("Time", "Status", "Method", "Path", "ms", "Fault")
        body = layout.table(heads, [_row(org, each) for each in entries[:SHOWN]], right=(4,))
    note = (
        tag("p", f"The newest {SHOWN} of {len(entries):,} are shown.", class_="soft") if len(entries) > SHOWN else None
    )
    return layout.page(org, call, "Requests", search, live=html(note, body))


def _fits(entry: dict[str, Any], text: str, status: str) -> bool:
    told = f"{entry['method']} {entry['path']} {entry['query'] or ''}".lower()
    if status == "f":
        return text in told and bool(entry["fault"])
    return text in told and str(entry["status"]).startswith(status)


def _row(org: Org, entry: dict[str, Any]) -> list[Any]:
    path = code(entry["path"])
    shown = link(address("requests", str(entry["number"])), path) if org.exchanges.find(entry["number"]) else path
    query = tag("div", code(entry["query"]), class_="soft wrap") if entry["query"] else None
    spent = "" if entry["ms"] is None else number(entry["ms"])
    time = layout.moment(entry["time"])[11:]
    return [time, _status(entry), entry["method"], html(shown, query), spent, entry["fault"]]


def _status(entry: dict[str, Any]) -> Html:
    status = "…" if entry["status"] is None else str(entry["status"])
    mood = "good" if status.startswith("2") and not entry["fault"] else "bad" if status[0] in "45c" else ""
    return tag("span", status, class_=f"badge {mood}")


def show(org: Org, call: Call) -> Answer:
    """GET requests/NUMBER."""
    given = call.arguments["number"]
    exchange = org.exchanges.find(int(given)) if given.isascii() and given.isdecimal() else None
    if exchange is None:
        raise not_found()
    entry = exchange.entry
    pairs: list[tuple[Any, Any]] = [
        ("Time", f"{layout.moment(entry['time'])} UTC"),
        ("Status", _status(entry)),
        ("Took", "" if entry["ms"] is None else f"{entry['ms']:,} ms"),
    ]
    pairs += [("Fault", entry["fault"])] if entry["fault"] else []
    pairs += [("Query", code(_masked(exchange.query)))] if exchange.query else []
    body = html(
        layout.card(layout.facts(pairs)),
        _side("Request", exchange.request_headers, exchange.request),
        _side("Response", exchange.response_headers, exchange.response),
    )
    crumbs = tag("p", link(address("requests"), "Requests"), _neighbours(org, exchange), class_="crumbs")
    return layout.page(org, call, f"{entry['method']} {entry['path']}", crumbs, live=body)


def _neighbours(org: Org, exchange: Exchange) -> list[Any]:
    links = []
    for step, text in ((-1, "← before"), (1, "next →")):
        if org.exchanges.find(exchange.number + step):
            links.append([" \u2003", link(address("requests", str(exchange.number + step)), text)])
    return links


def _side(title: str, headers: list[tuple[str, str]], body: Body) -> Html:
    lines = "\n".join(f"{name}: {value}" for name, value in headers)
    parts = [tag("details", tag("summary", f"{len(headers)} headers"), tag("pre", _masked(lines)))]
    if body.size:
        parts.append(tag("pre", _text(bytes(body.kept))))
    if body.size > len(body.kept):
        parts.append(tag("p", f"The first {len(body.kept):,} bytes are shown.", class_="soft"))
    return layout.section(title, layout.card(parts), note=f"{body.size:,} bytes" if body.size else "no body")


def _text(kept: bytes) -> str:
    """A body for people: JSON with a line per value, anything but text by its first bytes, secrets masked."""
    if b"\0" in kept[:1024]:
        return kept[:256].hex(" ")
    text = kept.decode("utf-8", "replace")
    return _masked(_indented(text) if text[:1] in ("[", "{") else text)


def _indented(text: str) -> str:
    """JSON with a line per value, every token as it came, however the text goes on or breaks off."""
    parts: list[str] = []
    depth = 0
    for token in _TOKENS.findall(text):
        if token in "]}":
            depth = max(0, depth - 1)
            parts.append("\n" + "  " * depth)
        parts.append(": " if token == ":" else token)
        if token in "[{":
            depth += 1
        if token in "[{,":
            parts.append("\n" + "  " * depth)
    return "".join(parts)


def _masked(text: str) -> str:
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text
