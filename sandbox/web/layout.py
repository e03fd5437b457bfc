"""What all pages share: frame, navigation, headers, tables, and the parts that fetch themselves anew."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.web.html import Html, html, link, tag

VIEW = "/_sandbox/view"
STATIC = "/_sandbox/static"
PAGES = (
    ("/", "Overview"),
    (f"{VIEW}/objects", "Objects"),
    (f"{VIEW}/jobs", "Bulk jobs"),
    (f"{VIEW}/requests", "Requests"),
    (f"{VIEW}/events", "Events"),
    (f"{VIEW}/faults", "Faults"),
    (f"{VIEW}/settings", "Settings"),
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
GOOD_STATES = frozenset({"JobComplete", "Completed", "Closed"})
BAD_STATES = frozenset({"Failed", "Aborted", "NotProcessed"})


def page(org: Org, call: Call, title: str, *body: Any, live: Any = None, after: Any = None) -> Answer:
    """A page: what stays, what is fetched anew every few seconds (`?part=live`: that alone), what stays."""
    fresh = html(live)
    if call.query.get("part") == "live":
        return Answer(200, str(fresh), dict(HEADERS))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · Sandbox"),
        tag("link", rel="icon", href=f"{STATIC}/icon.svg", type="image/svg+xml"),
        tag("link", rel="stylesheet", href=f"{STATIC}/style.css"),
        tag("script", src=f"{STATIC}/live.js", defer=True),
    )
    parts = [tag("h1", title), body, tag("div", fresh, data_live=True) if fresh else None, after]
    main = tag("main", parts, id="main")
    footer = tag("footer", "A practice org. Nothing here is Salesforce, and nothing leaves this machine.")
    whole = tag("html", head, tag("body", _bar(org, call), main, footer), lang="en")
    return Answer(200, f"<!doctype html>{whole}", dict(HEADERS))


def _bar(org: Org, call: Call) -> Html:
    here = next((address for address, _ in PAGES[1:] if call.path.startswith(address)), "/")
    if call.path.startswith(f"{VIEW}/records"):
        here = f"{VIEW}/objects"
    links = [link(each, name, aria_current="page" if each == here else None) for each, name in PAGES]
    brand = link("/", tag("b", "Sandbox"), tag("span", "a practice Salesforce org"), class_="brand")
    return tag("header", tag("div", brand, tag("nav", links, aria_label="Pages"), class_="bar"))


def back(call: Call, address: str) -> Answer:
    """Go to a page after a change."""
    return Answer(303, "", {**HEADERS, "Location": address})


def address(*parts: str, **query: Any) -> str:
    """The address of a page below `/_sandbox/view`; empty values of the query are left out."""
    path = "/".join([VIEW, *(quote(part, safe="") for part in parts)])
    given = {key.rstrip("_"): value for key, value in query.items() if value not in (None, "", False)}
    return f"{path}?{urlencode(given)}" if given else path


def section(title: str, *body: Any, note: Any = None) -> Html:
    heading = tag("h2", title, tag("small", " ", note) if note else None)
    return tag("section", heading, body)


def card(*body: Any) -> Html:
    return tag("div", body, class_="card")


def none_yet(text: str) -> Html:
    return tag("p", text, class_="none")


def table(heads: Sequence[Any], rows: Sequence[Sequence[Any]], *, right: Sequence[int] = ()) -> Html:
    """A table that scrolls sideways when it is wide; `right` are the columns of numbers."""
    marks = ["number" if place in right else None for place in range(len(heads))]
    head = tag("tr", [tag("th", each, class_=mark, scope="col") for each, mark in zip(heads, marks, strict=True)])
    body = [tag("tr", [tag("td", each, class_=mark) for each, mark in zip(row, marks, strict=True)]) for row in rows]
    return tag("div", tag("table", tag("thead", head), tag("tbody", body)), class_="scroll", tabindex="0")


def facts(pairs: Sequence[tuple[Any, Any]]) -> Html:
    """Names and values, one pair a line."""
    return tag("dl", [tag("div", tag("dt", key), tag("dd", value)) for key, value in pairs], class_="facts")


def badge(state: Any) -> Html:
    mood = "good" if state in GOOD_STATES else "bad" if state in BAD_STATES else ""
    return tag("span", state, class_=f"badge {mood}")


def copyable(value: str) -> Html:
    """Code with a button that copies it."""
    button = tag("button", "Copy", type="button", class_="copy", data_copy=True, hidden=True)
    return tag("div", tag("pre", value, tabindex="0"), button, class_="copyable")


def form(action: str, *body: Any, method: str = "post", class_: str | None = None) -> Html:
    return tag("form", body, action=action, method=method, class_=class_)


def button(text: str, **attributes: Any) -> Html:
    return tag("button", text, type="submit", **attributes)


def entry(label: str, name: str, value: Any = None, *, hint: str | None = None, **attributes: Any) -> Html:
    """A labelled input."""
    small = tag("small", hint) if hint else None
    return tag("label", tag("span", label), tag("input", name=name, value=value, **attributes), small)


def choice(label: str, name: str, options: Sequence[str | tuple[str, str]], chosen: str = "") -> Html:
    """A labelled list to choose from, of values or of values with their names."""
    pairs = [each if isinstance(each, tuple) else (each, each) for each in options]
    items = [tag("option", shown, value=value, selected=value == chosen) for value, shown in pairs]
    return tag("label", tag("span", label), tag("select", items, name=name))


def pager(number: int, size: int, total: int, address_of: Any) -> Html | None:
    """Links to the page before and after; pages count from 1."""
    last = max(1, -(-total // size))
    if last == 1:
        return None
    before = link(address_of(number - 1), "← Before", rel="prev") if number > 1 else tag("span")
    after = link(address_of(number + 1), "Next →", rel="next") if number < last else tag("span")
    middle = tag("span", f"{(number - 1) * size + 1:,} to {min(number * size, total):,} of {total:,}")
    return tag("nav", before, middle, after, class_="pager", aria_label="Pages of this list")


def page_number(call: Call) -> int:
    """Which page of a list is asked for."""
    given = call.query.get("page", "1")
    return min(max(1, int(given)), 10**9) if given.isascii() and given.isdecimal() and len(given) < 12 else 1


def moment(seconds: float) -> str:
    """A time of the org's clock as people read it, in UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def short(stamp: Any) -> str:
    """A datetime of the API without its zone."""
    return str(stamp or "")[:19].replace("T", " ")
