"""The page of settings: clock, limits, export and import, reset."""

from __future__ import annotations

import dataclasses
from typing import Any

from sandbox.call import Answer, Call
from sandbox.org import Org
from sandbox.web import layout
from sandbox.web.forms import read_form
from sandbox.web.html import Html, link, number, tag
from sandbox.web.layout import address
from sandbox.web.time_control import change_clock
from sandbox.wire import SalesforceError

STEPS = (("3600", "an hour"), ("86400", "a day"), ("604800", "a week"), ("7776000", "90 days"))
API = "DailyApiRequests"
BULK = {"DailyBulkApiBatches": "batches", "DailyBulkApiRecords": "records", "DailyBulkV2QueryJobs": "query_jobs"}
STORAGE = "DataStorageMB"
MOST = 10**12


def _limits(org: Org) -> dict[str, tuple[float | None, int | None]]:
    """Maximum of each limit (None: any amount), and what is used (None: not counted)."""
    most, used = dataclasses.asdict(org.bulk.limits), dataclasses.asdict(org.bulk.used())
    counted: dict[str, tuple[float | None, int | None]] = {API: (org.usage.most, org.usage.used())}
    counted.update({name: (most[key], used[key]) for name, key in BULK.items()})
    return {**counted, STORAGE: (org.policy.storage_mb, None)}


def show(org: Org, call: Call, problem: str | None = None) -> Answer:
    """GET settings."""
    message = tag("p", problem, class_="message bad", role="alert") if problem else None
    cards = [_clock_forms(org), _limit_form(org), _trouble_form(org), _files()]
    return layout.page(
        org, call, "Settings", message, live=_figures(org), after=tag("div", cards, class_="two settings")
    )


def _figures(org: Org) -> Html:
    speed = "as fast as ours" if org.clock.speed == 1 else f"{org.clock.speed:g} seconds pass in one"
    pairs: list[tuple[Any, Any]] = [("Clock", f"{layout.moment(org.clock.time())} UTC, {speed}")]
    for name, (most, used) in _limits(org).items():
        told = "any amount" if most is None else number(most)
        pairs.append((name, told if used is None else f"{number(used)} used of {told}"))
    return layout.card(layout.facts(pairs))


def _clock_forms(org: Org) -> Html:
    return layout.section(
        "Clock",
        layout.card(
            layout.form(
                address("settings"),
                layout.choice("Move on by", "advance", STEPS),
                layout.button("Move on", name="do", value="advance"),
                class_="row",
            ),
            layout.form(
                address("settings"),
                layout.entry("Set to (UTC)", "time", type="datetime-local", step="1", required=True),
                layout.button("Set", name="do", value="time"),
                class_="row",
            ),
            layout.form(
                address("settings"),
                layout.entry(
                    "Seconds that pass in one", "speed", f"{org.clock.speed:g}", type="number", step="any", min=0
                ),
                layout.button("Set", name="do", value="speed"),
                class_="row",
            ),
        ),
    )


def _limit_form(org: Org) -> Html:
    inputs = [
        layout.entry(name, name, most, type="number", min=0, step="any" if name == STORAGE else None)
        for name, (most, _) in _limits(org).items()
    ]
    used = layout.entry(f"{API}, used", "used", type="number", min=0, hint="empty: as it is")
    button = tag("div", layout.button("Set limits", name="do", value="limits"), class_="all")
    return layout.section("Limits", layout.card(layout.form(address("settings"), inputs, used, button, class_="grid")))


def _trouble_form(org: Org) -> Html:
    tick = tag("input", type="checkbox", name="row_locks", value="1", checked=org.policy.locks.enabled)
    return layout.section(
        "Bulk jobs",
        layout.card(
            layout.form(
                address("settings"),
                layout.entry(
                    "Seconds each job takes at least", "delay", f"{org.bulk.delay:g}", type="number", step="any", min=0
                ),
                tag("label", tag("span", "Parallel batches lock the parents of their rows"), tick, class_="tick"),
                layout.button("Set", name="do", value="bulk"),
                class_="row",
            )
        ),
    )


def _files() -> Html:
    upload = tag(
        "form",
        tag(
            "label", tag("span", "Replace all records by those of an export"), tag("input", type="file", accept=".zip")
        ),
        layout.button("Import"),
        tag("output"),
        action="/_sandbox/import",
        method="post",
        class_="row",
        data_upload=True,
        data_ask="Replace all records of this org?",
    )
    reset = tag(
        "form",
        layout.button("Empty the org", name="do", value="reset", class_="danger"),
        action=address("settings"),
        method="post",
        data_ask="Remove all records, jobs, faults and logs?",
    )
    export = tag(
        "p", link("/_sandbox/export", "Export the whole org", download=True), ": schema and records, as a zip."
    )
    return layout.section("The whole org", layout.card(export, upload, reset))


def change(org: Org, call: Call) -> Answer:
    """POST settings: what `do` says."""
    given = read_form(call)
    try:
        _change(org, given.pop("do", ""), given)
    except SalesforceError as error:
        return show(org, call, error.body[0]["message"])
    return layout.back(call, address("settings"))


def _change(org: Org, do: str, given: dict[str, str]) -> None:
    if do == "time":
        change_clock(org, {"time": given.get("time", "")})
    elif do in ("advance", "speed"):
        change_clock(org, {do: _number(given.get(do, ""))})
    elif do == "limits":
        _set_limits(org, given)
    elif do == "bulk":
        delay = _number(given.get("delay", ""))
        if not 0 <= delay < 1e9:
            raise SalesforceError(400, "BAD_SETTING", "seconds are a number from 0")
        org.bulk.delay = delay
        org.policy.locks.enabled = given.get("row_locks") == "1"
    elif do == "reset":
        org.reset()


def _set_limits(org: Org, given: dict[str, str]) -> None:
    """Set the limits that are filled in; an empty storage limit takes any amount."""
    numbers = {key: _number(text) for key, text in given.items() if text.strip()}
    if any(not 0 <= each <= MOST or (key != STORAGE and each % 1) for key, each in numbers.items()):
        raise SalesforceError(400, "BAD_SETTING", f"limits are whole numbers from 0 to {MOST:,}")
    whole = {key: int(each) for key, each in numbers.items() if key != STORAGE}
    org.usage.set(whole.get(API), whole.get("used"))
    bulk = {key: whole[name] for name, key in BULK.items() if name in whole}
    org.bulk.limits = dataclasses.replace(org.bulk.limits, **bulk)
    org.policy.storage_mb = numbers.get(STORAGE)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise SalesforceError(400, "BAD_SETTING", f"{text!r} is no number") from None
    if value != value or abs(value) == float("inf"):
        raise SalesforceError(400, "BAD_SETTING", f"{text!r} is no number")
    return value
