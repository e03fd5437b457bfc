"""The page of events: platform events and change events as they come."""

from __future__ import annotations

import json
from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.web import layout
from sandbox.web.html import code, html, link, tag
from sandbox.web.layout import address

SHOWN = 100


def index(org: Org, call: Call) -> Answer:
    """GET events[?topic=]: the newest events, and their topics."""
    wanted = call.query.get("topic", "")
    events = org.bus.newest(SHOWN, wanted or None)
    topics = org.bus.topics()
    tabs = [link(address("events"), "All", aria_current=None if wanted else "page")]
    for topic, count in topics.items():
        marked = "page" if topic == wanted else None
        tabs.append(link(address("events", topic=topic), f"{topic} {count:,}", aria_current=marked))
    if not events:
        return layout.page(org, call, "Events", live=layout.none_yet("No events yet. They are kept for 72 hours."))
    rows: list[list[Any]] = []
    for each in events:
        body = json.dumps(each.body, indent=2, ensure_ascii=False)
        user = org.users.with_id(each.user_id)
        shown = tag("details", tag("summary", _gist(each.body)), tag("pre", body))
        rows.append([layout.moment(each.at), each.topic, code(each.replay_id), user.username if user else "", shown])
    heads = ("Time", "Topic", "Replay id", "By", "Event")
    nav = tag("nav", tabs, class_="tabs", aria_label="Topics")
    return layout.page(org, call, "Events", live=html(nav, layout.table(heads, rows, right=(2,))))


def _gist(body: dict[str, Any]) -> str:
    """The beginning of an event in one line."""
    line = json.dumps({key: value for key, value in body.items() if value is not None}, ensure_ascii=False)
    return line if len(line) <= 90 else line[:89] + "…"
